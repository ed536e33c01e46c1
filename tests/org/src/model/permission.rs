//! The permissions of a user: objects, fields, records.
//!
//! A user may do everything that is not restricted. Restrictions are declared in the org file and
//! changed while the org runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Model;
use super::id::RecordId;
use super::schema::{FieldNo, ObjectNo};
use super::value::Value;
use crate::soql::Criterion;

/// The restrictions of a user, as declared.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Restrictions {
    /// Objects that do not exist for the user.
    no_access: Vec<String>,
    cannot_create: Vec<String>,
    cannot_edit: Vec<String>,
    cannot_delete: Vec<String>,
    /// Objects without "View All Records": the user sees records that it owns or that are shared
    /// with it, and receives no change events.
    cannot_view_all: Vec<String>,
    /// Objects without "Modify All Records": the user changes records that it owns or that are
    /// shared with it for editing.
    cannot_modify_all: Vec<String>,
    sharing: Vec<SharingRule>,
    /// Fields as `Object.Field`.
    hidden_fields: Vec<String>,
    read_only_fields: Vec<String>,
    /// Whether encrypted text is shown without its mask.
    view_encrypted_data: bool,
}

/// Shares the records of an object that meet a condition, as a criteria-based sharing rule does.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SharingRule {
    object: String,
    /// The condition of a query: `Industry = 'Media'`.
    r#where: String,
    #[serde(default)]
    edit: bool,
}

/// What a user wants to do with records of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    Read,
    Create,
    Edit,
    Delete,
    ViewAll,
    ModifyAll,
}

/// The permissions of one user. By default the user may do everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Permissions {
    denied: BTreeSet<(ObjectNo, Action)>,
    shared: BTreeMap<ObjectNo, Vec<Shared>>,
    hidden: BTreeMap<ObjectNo, Vec<FieldNo>>,
    read_only: BTreeMap<ObjectNo, Vec<FieldNo>>,
    /// Whether encrypted text is shown masked.
    pub(crate) masks: bool,
    /// When they were given.
    pub(crate) since_ms: i64,
    /// The declaration, for a dump.
    pub(crate) declared: Restrictions,
}

/// A resolved sharing rule.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) condition: Criterion,
    pub(crate) edit: bool,
}

impl Permissions {
    /// Resolves a declaration, or returns what is wrong with it.
    pub(crate) fn read(model: &Model, declared: Restrictions) -> Result<Self, String> {
        let object = |name: &String| {
            let found = model.schema.find(name);
            found.ok_or_else(|| format!("there is no object {name}"))
        };
        let mut permissions = Self {
            masks: !declared.view_encrypted_data,
            ..Self::default()
        };
        for (names, action) in [
            (&declared.no_access, Action::Read),
            (&declared.cannot_create, Action::Create),
            (&declared.cannot_edit, Action::Edit),
            (&declared.cannot_delete, Action::Delete),
            (&declared.cannot_view_all, Action::ViewAll),
            (&declared.cannot_modify_all, Action::ModifyAll),
        ] {
            for name in names {
                permissions.denied.insert((object(name)?, action));
            }
        }
        for rule in &declared.sharing {
            let of = object(&rule.object)?;
            let condition = Criterion::parse(model.whole(), of, &rule.r#where);
            let shared = Shared {
                condition: condition.map_err(|error| format!("{}: {error}", rule.r#where))?,
                edit: rule.edit,
            };
            permissions.shared.entry(of).or_default().push(shared);
        }
        permissions.hidden = fields(model, &declared.hidden_fields)?;
        permissions.read_only = fields(model, &declared.read_only_fields)?;
        permissions.declared = declared;
        Ok(permissions)
    }

    /// Returns whether the user may do this with records of an object, as far as they are shared.
    pub(crate) fn allows(&self, object: ObjectNo, action: Action) -> bool {
        let denied = |action: Action| self.denied.contains(&(object, action));
        // Each permission includes weaker ones.
        match action {
            Action::Read => !denied(Action::Read),
            Action::Create | Action::Edit | Action::Delete | Action::ViewAll => {
                !denied(Action::Read) && !denied(action)
            }
            Action::ModifyAll => self.allows(object, Action::ViewAll) && !denied(action),
        }
    }

    /// Returns the sharing rules of an object.
    pub(crate) fn shared(&self, object: ObjectNo) -> &[Shared] {
        self.shared.get(&object).map_or(&[], Vec::as_slice)
    }

    /// Returns the fields of an object that the user may not see.
    pub(crate) fn hidden(&self, object: ObjectNo) -> &[FieldNo] {
        self.hidden.get(&object).map_or(&[], Vec::as_slice)
    }

    /// Returns whether the user may see but not write a field.
    pub(crate) fn read_only(&self, object: ObjectNo, field: FieldNo) -> bool {
        let fields = self.read_only.get(&object);
        fields.is_some_and(|fields| fields.contains(&field))
    }
}

/// Resolves fields written `Object.Field`.
fn fields(model: &Model, paths: &[String]) -> Result<BTreeMap<ObjectNo, Vec<FieldNo>>, String> {
    let mut found: BTreeMap<ObjectNo, Vec<FieldNo>> = BTreeMap::new();
    for path in paths {
        let named = path.split_once('.');
        let (object, name) = named.ok_or("a field is written Object.Field")?;
        let object = model.schema.find(object);
        let object = object.ok_or_else(|| format!("{path}: there is no such object"))?;
        let field = model.field_named(object, name);
        let field = field.map_err(|error| error.to_string())?;
        found.entry(object).or_default().push(field);
    }
    Ok(found)
}

impl Model {
    /// Writes the permissions of a user into the record that it can read.
    fn show_permissions(&mut self, user: RecordId, permissions: &Permissions) {
        let Some(object) = self.schema.own_permissions else {
            return;
        };
        let shape = &self.schema.objects[object.0];
        let field = shape.find("PermissionsViewEncryptedData");
        let row = user.number();
        let row = row.filter(|row| self.tables[object.0].row(*row).is_some());
        if let (Some(field), Some(row)) = (field, row) {
            let granted = Value::Bool(!permissions.masks);
            self.tables[object.0].set(shape, row, field, granted);
        }
    }

    /// Returns the permissions of a user.
    pub(crate) fn permissions_of(&self, user: RecordId) -> Arc<Permissions> {
        self.permissions.get(&user).cloned().unwrap_or_default()
    }

    /// Replaces the restrictions of a user.
    pub(crate) fn restrict(
        &mut self,
        user: RecordId,
        declared: Restrictions,
    ) -> Result<(), String> {
        self.restrict_since(user, self.now_ms, declared)
    }

    /// Replaces the restrictions of a user with those that it has had since a time.
    pub(crate) fn restrict_since(
        &mut self,
        user: RecordId,
        since_ms: i64,
        declared: Restrictions,
    ) -> Result<(), String> {
        let permissions = Permissions {
            since_ms,
            ..Permissions::read(self, declared)?
        };
        self.show_permissions(user, &permissions);
        self.permissions.insert(user, permissions.into());
        Ok(())
    }
}
