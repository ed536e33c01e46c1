//! The configuration as JSON and as words, without serde: see [`crate::model::text`].

use crate::model::text::{JsonText, WriteJson, names};
use crate::write_object;

use super::{
    AuthFlow, CaptureMode, Config, ConflictPolicy, DeleteMode, DeleteOnEdit, Deletes, Direction,
    DuplicateRules, ExternalId, FieldSync, LaneThresholds, Mistake, ObjectSync, OnFilterExit,
    Owner, PostgresConfig, SalesforceConfig, SecretRef, Seed, TenantConfig,
};

impl WriteJson for Config {
    fn write_json(&self, text: &mut JsonText) {
        let Self { tenants } = self;
        text.object(&[Some(("tenants", &Tenants(tenants)))]);
    }
}

struct Tenants<'a>(&'a std::collections::BTreeMap<crate::model::ids::TenantId, TenantConfig>);

impl WriteJson for Tenants<'_> {
    fn write_json(&self, text: &mut JsonText) {
        let members = self.0.iter();
        text.members(&mut members.map(|(name, tenant)| (name.as_str(), tenant as &dyn WriteJson)));
    }
}

impl WriteJson for AuthFlow {
    fn write_json(&self, text: &mut JsonText) {
        match self {
            Self::Jwt { username } => {
                text.object(&[Some(("flow", &"jwt")), Some(("username", username))]);
            }
            Self::ClientCredentials => text.object(&[Some(("flow", &"client_credentials"))]),
        }
    }
}

impl WriteJson for SecretRef {
    fn write_json(&self, text: &mut JsonText) {
        text.string(&self.to_string());
    }
}

write_object!(TenantConfig {
    tenant,
    salesforce,
    postgres,
    api_version,
    capture,
    objects,
    config_hash
});
write_object!(SalesforceConfig {
    login_url,
    pubsub_url,
    client_id,
    auth,
    secret
});
write_object!(PostgresConfig {
    url,
    schema,
    statement_cache,
    connections_max
});
write_object!(ObjectSync {
    object,
    table,
    external_id,
    direction,
    conflicts,
    seed,
    deletes,
    lanes,
    filter,
    on_filter_exit,
    auto_assign,
    duplicate_rules,
    fields
});
write_object!(ExternalId { field, column });
write_object!(FieldSync { column, owner, references [if Option::is_some] });
write_object!(Deletes { mode, on_edit, column [if Option::is_some], max_per_hour [if Option::is_some] });
write_object!(LaneThresholds {
    rest_max_batch_size,
    bulk_min_batch_size
});
write_object!(Mistake {
    line,
    path,
    problem,
    fix
});

names!(CaptureMode Owner Direction ConflictPolicy Seed DeleteMode DeleteOnEdit OnFilterExit DuplicateRules);
