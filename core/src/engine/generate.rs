//! Writes the mapping of objects, and the SQL of tables for them, from what the org and the database show.
//!
//! Nothing is changed on either side: the answer is text for a person. What a column can hold, and what is wrong with a
//! table, is decided by [`super::check`] alone: each mapping is checked here as `syncline check` will check it.

mod existing;
mod fields;
mod names;
mod new_table;
mod pattern;
mod select;
mod text;

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use serde::Serialize;

use super::SyncEngine;
use super::check::{
    Finding, Level, check_access, check_lookups, check_object, mapped_object, parents_of,
};
use crate::config::{Direction, ObjectSync};
use crate::job::error::Error;
use crate::job::tenant::Tenant;
use crate::model::ids::{ColumnName, FieldName, ObjectName, RelationName, SalesforceId, TenantId};
use crate::model::schema::ObjectSchema;
use crate::ports::operator_store::{RelationKind, TableFacts};
use crate::ports::salesforce::ObjectAccess;
use crate::store::NewTable;
use fields::{Parents, Source};
use select::{Chosen, Known};

pub use pattern::Pattern;

/// Describes that are asked for at the same time.
const DESCRIBES_AT_ONCE: usize = 5;

/// What a mapping is written for.
#[derive(Debug, Clone, Default)]
pub struct GenerateOptions {
    /// Objects by name.
    pub objects: Vec<Pattern>,
    /// Existing tables by name.
    pub tables: Vec<TablePattern>,
    /// The external id field of an object, both as a person wrote them.
    pub external_ids: Vec<(String, String)>,
    /// How picklists are held.
    pub picklists: Picklists,
}

/// Existing tables, by `table` or `schema.table`.
#[derive(Debug, Clone)]
pub struct TablePattern {
    /// Their names.
    pub pattern: Pattern,
    /// Their object, if its name is not that of the table.
    pub object: Option<String>,
}

/// How a new table holds a picklist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Picklists {
    /// As text.
    #[default]
    Text,
    /// As text with a check constraint, if the picklist is restricted.
    Check,
}

/// Mappings, and why other objects have none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Generated {
    /// The tenant.
    pub tenant: TenantId,
    /// The schema of tables that are written without one.
    pub schema: String,
    /// The objects with a mapping, by name.
    pub objects: Vec<Draft>,
    /// The others that were selected, by name.
    pub skipped: Vec<Skipped>,
}

/// The mapping of one object.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Draft {
    /// The mapping.
    pub sync: ObjectSync,
    /// The table to create; `None` if it exists.
    pub new_table: Option<NewTable>,
    /// Fields that are not mapped.
    pub left_out: Vec<LeftOut>,
    /// What a person should know.
    pub notes: Vec<String>,
    /// What does not fit.
    pub problems: Vec<Finding>,
    /// Columns of an existing table that are not mapped.
    pub spare_columns: Vec<SpareColumn>,
    /// The table as it is, or will be.
    #[serde(skip)]
    facts: TableFacts,
}

/// A field that is not mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// The field.
    pub field: FieldName,
    /// The reason.
    pub why: String,
    /// The statement after which it could be mapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
}

/// A column that is not mapped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpareColumn {
    /// The column.
    pub column: ColumnName,
    /// A field that may have been meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub like: Option<String>,
}

/// An object without a mapping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The object, the table or the pattern.
    pub object: String,
    /// The reason.
    pub why: String,
    /// What to do about it; `None` if there is nothing to do.
    pub fix: Option<String>,
    /// It was named itself, not by a pattern.
    #[serde(skip)]
    pub named: bool,
}

impl GenerateOptions {
    fn external_id(&self, object: &ObjectName) -> Option<&str> {
        let mut asked = self.external_ids.iter();
        let found = asked.find(|(name, _)| name.eq_ignore_ascii_case(object.as_str()));
        found.map(|(_, field)| field.as_str())
    }
}

impl SyncEngine {
    /// Writes the mapping of the selected objects that are not mapped yet. Fails if a side cannot be reached.
    pub async fn generate(
        &self,
        tenant: &TenantId,
        options: &GenerateOptions,
    ) -> Result<Generated, Error> {
        let tenant = self
            .shared()
            .tenants
            .get(tenant)
            .ok_or_else(|| Error::UnknownTenant(tenant.clone()))?;
        let organization = tenant.salesforce.identity().await?.organization_id;
        tenant.store.require_usable_database().await?;
        let schema = tenant.config.postgres.schema.clone();
        let (sources, mut skipped) = described(tenant, &schema, options).await?;
        let generator = Generator {
            tenant,
            organization,
            options,
        };
        let objects = generator.drafts(sources, &mut skipped).await?;
        skipped.sort_by(|one, other| one.object.cmp(&other.object));
        Ok(Generated {
            tenant: tenant.config.tenant.clone(),
            schema,
            objects,
            skipped,
        })
    }
}

/// Returns the selected objects that have an external id.
async fn described(
    tenant: &Tenant,
    schema: &str,
    options: &GenerateOptions,
) -> Result<(Vec<Source>, Vec<Skipped>), Error> {
    let objects = tenant.salesforce.objects().await?;
    let tables = match options.tables.as_slice() {
        [] => Vec::new(),
        _ => tenant.store.table_names().await?,
    };
    let known = Known {
        objects: &objects,
        tables: &tables,
        mapped: &tenant.config.objects,
        schema: &RelationName::parse(schema).expect("the configuration was checked"),
    };
    let (chosen, mut skipped) = select::select(&known, options);
    let mut sources = Vec::new();
    for (chosen, answer) in describe_all(tenant, chosen).await? {
        let Some((schema, access)) = answer else {
            skipped.push(Skipped {
                object: chosen.object.to_string(),
                why: "it cannot be described".to_owned(),
                fix: Some("grant the integration user access".to_owned()),
                named: chosen.named,
            });
            continue;
        };
        let asked = options.external_id(&chosen.object);
        match select::external_id(&schema, chosen.named, asked) {
            Ok(key) => sources.push(Source {
                schema,
                access,
                key,
                table: chosen.table,
            }),
            Err(why) => skipped.push(why),
        }
    }
    Ok((sources, skipped))
}

type Described = Option<(ObjectSchema, ObjectAccess)>;

/// Describes the objects, one call each; `None` for one that our user may not see.
async fn describe_all(
    tenant: &Tenant,
    chosen: Vec<Chosen>,
) -> Result<Vec<(Chosen, Described)>, Error> {
    let calls = chosen.into_iter().map(|chosen| async move {
        match tenant.salesforce.describe_with_access(&chosen.object).await {
            Ok(described) => Ok((chosen, Some(described))),
            Err(error) if error.status == Some(404) => Ok((chosen, None)),
            Err(error) => Err(Error::from(error)),
        }
    });
    let answers: Vec<Result<(Chosen, Described), Error>> = futures_util::stream::iter(calls)
        .buffered(DESCRIBES_AT_ONCE)
        .collect()
        .await;
    answers.into_iter().collect()
}

/// Drafts the mappings of one tenant.
struct Generator<'a> {
    tenant: &'a Tenant,
    organization: SalesforceId,
    options: &'a GenerateOptions,
}

impl Generator<'_> {
    /// Returns the mapping of each source.
    async fn drafts(
        &self,
        sources: Vec<Source>,
        skipped: &mut Vec<Skipped>,
    ) -> Result<Vec<Draft>, Error> {
        let mut placed = self.placed(sources, skipped).await?;
        loop {
            let drafts = self.drafts_of(&placed).await?;
            let empty = |draft: &Draft| draft.sync.fields.is_empty();
            let Some(place) = drafts.iter().position(empty) else {
                return Ok(drafts);
            };
            // Without it, lookups that point to it cannot be mapped either.
            placed.remove(place);
            skipped.push(Skipped {
                object: drafts[place].sync.object.to_string(),
                why: "none of its fields can be mapped".to_owned(),
                fix: None,
                named: true,
            });
        }
    }

    /// Reads the table of each source, and leaves out those that have something else in its place.
    async fn placed(
        &self,
        sources: Vec<Source>,
        skipped: &mut Vec<Skipped>,
    ) -> Result<Vec<(Source, TableFacts)>, Error> {
        let mut placed = Vec::new();
        for source in sources {
            let key = column_like(&source.key);
            let provisional = source.mapping(Direction::default(), key, []);
            let facts = self.facts(&source, &provisional, &[]).await?;
            match facts.kind {
                RelationKind::Missing | RelationKind::Table | RelationKind::Partitioned => {
                    placed.push((source, facts));
                }
                RelationKind::Other => skipped.push(Skipped {
                    object: source.schema.object.to_string(),
                    why: format!(
                        "{}.{} is not a table",
                        source.table.schema, source.table.table
                    ),
                    fix: Some("name the table behind it: --tables TABLE=OBJECT".to_owned()),
                    named: true,
                }),
            }
        }
        Ok(placed)
    }

    async fn drafts_of(&self, placed: &[(Source, TableFacts)]) -> Result<Vec<Draft>, Error> {
        let parents = self.parents(placed).await?;
        let drafts = placed.iter().map(|(source, facts)| match facts.kind {
            RelationKind::Missing => new_table::draft(source, &parents, self.options),
            RelationKind::Table | RelationKind::Partitioned | RelationKind::Other => {
                let key = existing::key_column(&source.key, facts);
                let key = key.unwrap_or_else(|| column_like(&source.key));
                existing::draft(source, key, facts.clone(), &parents, self.options)
            }
        });
        let mut drafts: Vec<Draft> = drafts.collect();
        let all: Vec<ObjectSync> = drafts.iter().map(|draft| draft.sync.clone()).collect();
        for (draft, (source, _)) in drafts.iter_mut().zip(placed) {
            if draft.new_table.is_none() {
                draft.facts = self.facts(source, &draft.sync, &all).await?;
                // `install` will put them there.
                draft.facts.triggers_installed = true;
            }
            let found = check_object(&draft.sync, &source.schema, &draft.facts);
            draft.take(found);
            draft.take(check_access(&draft.sync, &source.access, &draft.facts));
        }
        self.check_lookups(&mut drafts);
        Ok(drafts)
    }

    /// Reads what the database knows of the table of a mapping.
    async fn facts(
        &self,
        source: &Source,
        sync: &ObjectSync,
        objects: &[ObjectSync],
    ) -> Result<TableFacts, Error> {
        let schema = source.schema.clone();
        let mapped = mapped_object(self.tenant, &self.organization, sync, schema);
        let parents = parents_of(sync, objects);
        Ok(self.tenant.store.table_facts(&mapped, &parents).await?)
    }

    /// Returns the objects that a lookup can reference: those of the sources, and those that are mapped already and that
    /// a source points to.
    async fn parents(&self, placed: &[(Source, TableFacts)]) -> Result<Parents, Error> {
        let mut parents = BTreeMap::new();
        for (source, facts) in placed {
            let existing = existing::key_column(&source.key, facts);
            let existing = existing.and_then(|column| facts.columns.get(&column));
            let column_type = existing.map(|column| column.column_type.clone());
            let column_type = column_type.unwrap_or_else(|| source.key_type());
            parents.insert(source.schema.object.clone(), column_type);
        }
        for sync in &self.tenant.config.objects {
            let mut fields = placed
                .iter()
                .flat_map(|(source, _)| source.schema.fields.values());
            let points_to_it = fields.any(|field| {
                let targets = field.field_type.targets();
                targets.is_some_and(|targets| targets.contains(&sync.object))
            });
            if !points_to_it {
                continue;
            }
            let schema = self.tenant.salesforce.describe(&sync.object).await?;
            let mapped = mapped_object(self.tenant, &self.organization, sync, schema);
            let facts = self.tenant.store.table_facts(&mapped, &[]).await?;
            if let Some(column) = facts.columns.get(&sync.external_id.column) {
                parents.insert(sync.object.clone(), column.column_type.clone());
            }
        }
        Ok(parents)
    }

    /// Checks that each lookup column holds external ids of its parent.
    fn check_lookups(&self, drafts: &mut [Draft]) {
        let drafted = drafts.iter().map(|draft| &draft.sync);
        let objects: Vec<ObjectSync> = drafted
            .chain(&self.tenant.config.objects)
            .cloned()
            .collect();
        let tables: BTreeMap<ObjectName, TableFacts> = drafts
            .iter()
            .map(|draft| (draft.sync.object.clone(), draft.facts.clone()))
            .collect();
        for draft in drafts {
            let schema = ObjectSchema {
                object: draft.sync.object.clone(),
                key_prefix: String::new(),
                fields: BTreeMap::new(),
                cascades: Vec::new(),
            };
            draft.take(check_lookups(&draft.sync, &objects, &schema, &tables));
        }
    }
}

fn column_like(field: &FieldName) -> ColumnName {
    let name = names::snake_case(names::stem(field.as_str()));
    let plain = || ColumnName::parse("external_id").expect("it is a name");
    ColumnName::parse(&name).unwrap_or_else(|_| plain())
}

impl Draft {
    /// Takes what `check` finds. A field with an error is left out, so that the rest can be used.
    fn take(&mut self, found: Vec<Finding>) {
        for finding in found {
            let field = finding.field.as_ref();
            let field = field.filter(|field| self.sync.fields.contains_key(*field));
            match (finding.level, field) {
                (Level::Note, _) => {}
                (Level::Error, Some(field)) => {
                    self.sync.fields.remove(field);
                    self.left_out.push(LeftOut {
                        field: field.clone(),
                        why: format!("{}: {}", finding.what, finding.fix),
                        sql: finding.sql,
                    });
                }
                (Level::Error | Level::Warning, _) => self.problems.push(finding),
            }
        }
        self.left_out
            .sort_by(|one, other| one.field.cmp(&other.field));
        let syncs = &self.sync;
        if let Some(table) = &mut self.new_table {
            let is_used = |name: &ColumnName| {
                syncs.external_id.column == *name
                    || syncs.fields.values().any(|field| field.column == *name)
            };
            table.columns.retain(|column| is_used(&column.name));
        }
    }
}
