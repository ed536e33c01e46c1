//! The built-in org file, its features, and how a file is merged with them.

use super::{ObjectEntry, OrgEntry, OrgFile, OrgFileError, content};

/// The built-in org file.
const DEFAULT: &str = include_str!("../../../default-org.toml");

/// Parts of Salesforce that an org has only if its file names them.
const FEATURES: [(&str, &str); 4] = [
    (
        "activities",
        include_str!("../../../features/activities.toml"),
    ),
    (
        "person_accounts",
        include_str!("../../../features/person_accounts.toml"),
    ),
    ("products", include_str!("../../../features/products.toml")),
    ("queues", include_str!("../../../features/queues.toml")),
];

impl OrgFile {
    /// Returns the built-in org file.
    pub(crate) fn built_in() -> Self {
        toml::from_str(DEFAULT).expect("the built-in org file is well formed")
    }

    /// Returns the built-in org file, with the features that `text` names, merged with `text`.
    pub(crate) fn parse(text: &str) -> Result<Self, OrgFileError> {
        let over: Self = toml::from_str(text)?;
        let mut file = Self::built_in();
        for name in &over.org.features {
            let known = FEATURES.iter().find(|(known, _)| known == name);
            let (_, feature) = known.ok_or_else(|| unknown_feature(name))?;
            file.merge(toml::from_str(feature)?);
        }
        file.merge(over);
        Ok(file)
    }

    /// Adds another file. Its settings and fields replace those of the same name.
    fn merge(&mut self, over: Self) {
        self.org.merge(over.org);
        self.users.extend(over.users);
        self.apps.extend(over.apps);
        self.platform_events.extend(over.platform_events);
        self.channels.extend(over.channels);
        self.managed_subscriptions
            .extend(over.managed_subscriptions);
        self.event_relays.extend(over.event_relays);
        self.duplicate_rules.extend(over.duplicate_rules);
        self.assignment_rules.extend(over.assignment_rules);
        self.queues.extend(over.queues);
        self.countries.extend(over.countries);
        for object in over.objects {
            let mut known = self.objects.iter_mut();
            match known.find(|known| known.name == object.name) {
                Some(known) => known.merge(object),
                None => self.objects.push(object),
            }
        }
    }
}

impl OrgEntry {
    fn merge(&mut self, over: Self) {
        fn replace<T>(known: &mut Option<T>, over: Option<T>) {
            if over.is_some() {
                *known = over;
            }
        }
        replace(&mut self.id, over.id);
        replace(&mut self.name, over.name);
        replace(&mut self.is_sandbox, over.is_sandbox);
        replace(&mut self.instance_name, over.instance_name);
        replace(&mut self.organization_type, over.organization_type);
        replace(&mut self.daily_api_requests, over.daily_api_requests);
        replace(&mut self.session_idle_minutes, over.session_idle_minutes);
        replace(&mut self.delete_log_max, over.delete_log_max);
        replace(
            &mut self.daily_event_deliveries,
            over.daily_event_deliveries,
        );
        replace(&mut self.subscriptions_max, over.subscriptions_max);
        self.audiences.extend(over.audiences);
        self.unconfirmed.extend(over.unconfirmed);
        self.features.extend(over.features);
        self.currencies.extend(over.currencies);
    }
}

impl ObjectEntry {
    fn merge(&mut self, over: Self) {
        self.change_events = over.change_events.or(self.change_events);
        self.queues |= over.queues;
        self.record_types.extend(over.record_types);
        self.validation_rules.extend(over.validation_rules);
        for field in over.fields {
            let mut known = self.fields.iter_mut();
            match known.find(|known| known.name == field.name) {
                Some(known) => *known = field,
                None => self.fields.push(field),
            }
        }
    }
}

fn unknown_feature(name: &str) -> OrgFileError {
    let known: Vec<&str> = FEATURES.iter().map(|(known, _)| *known).collect();
    content(format!(
        "org.features: there is no feature {name}; known are {}",
        known.join(", ")
    ))
}
