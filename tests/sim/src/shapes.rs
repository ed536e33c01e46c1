//! The objects and tables of a world, and their mapping.

use std::fmt::Write as _;

use crate::script::World;

/// A mapped object.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) object: &'static str,
    pub(crate) table: &'static str,
    /// Fields that users edit, with their columns. The first is the one a record is created with.
    pub(crate) fields: [(&'static str, &'static str); 2],
    /// The lookup, its column, and its parent's external id in SOQL.
    pub(crate) lookup: (&'static str, &'static str, &'static str),
    /// The place of the parent's object.
    pub(crate) parent: usize,
}

/// The field that says which record it is: no user edits it after the record was created.
pub(crate) const KEY: (&str, &str) = ("Fax", "fax");

/// The objects of every world.
pub(crate) const SHAPES: [Shape; 2] = [
    Shape {
        object: "Account",
        table: "account",
        fields: [("Name", "name"), ("Phone", "phone")],
        lookup: ("ParentId", "parent_external_id", "Parent.External_Id__c"),
        parent: 0,
    },
    Shape {
        object: "Contact",
        table: "contact",
        fields: [("LastName", "last_name"), ("Title", "title")],
        lookup: ("AccountId", "account_external_id", "Account.External_Id__c"),
        parent: 0,
    },
];

/// What differs between the tables of worlds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// Contacts reference accounts by a foreign key.
    pub key: Option<OnDelete>,
    /// The foreign key is checked at commit.
    pub is_deferred: bool,
    /// The name must not be null.
    pub requires_name: bool,
}

/// What a foreign key does when the parent is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDelete {
    /// The delete is refused.
    NoAction,
    /// The children lose their parent.
    SetNull,
    /// The children are deleted.
    Cascade,
}

impl Schema {
    /// Returns a name for databases with these tables.
    pub(crate) fn kind(&self) -> String {
        let key = match self.key {
            None => "free",
            Some(OnDelete::NoAction) => "refused",
            Some(OnDelete::SetNull) => "set_null",
            Some(OnDelete::Cascade) => "cascade",
        };
        format!("sim_{key}_{}_{}", self.is_deferred, self.requires_name)
    }

    /// Returns the statements that create the tables.
    pub(crate) fn tables(&self) -> String {
        let name = if self.requires_name {
            "text not null"
        } else {
            "text"
        };
        let on_delete = self.key.map(|on_delete| match on_delete {
            OnDelete::NoAction => "no action",
            OnDelete::SetNull => "set null",
            OnDelete::Cascade => "cascade",
        });
        let key = on_delete.map_or_else(String::new, |on_delete| {
            let deferred = if self.is_deferred { "deferrable initially deferred" } else { "" };
            format!("references account (external_id) on update cascade on delete {on_delete} {deferred}")
        });
        format!(
            "create table account (id bigint generated always as identity primary key,
                external_id text unique, name {name}, phone text, fax text, parent_external_id text);
            create table contact (id bigint generated always as identity primary key,
                external_id text unique, last_name {name}, title text, fax text, account_external_id text {key});"
        )
    }
}

/// Returns the configuration of a world.
pub(crate) fn mapping(world: &World) -> String {
    let mut toml = format!(
        "[tenant.acme]\n\
        salesforce = {{ login_url = \"https://acme.my.salesforce.com\", client_id = \"id\", \
        auth = \"client_credentials\", secret = \"env:SECRET\" }}\n\
        postgres = {{ url = \"env:DATABASE_URL\" }}\n\
        capture = \"{}\"\n",
        world.capture
    );
    for shape in &SHAPES {
        let (lookup, column, _) = shape.lookup;
        // A String takes every line.
        let _ = write!(
            toml,
            "[[tenant.acme.object]]\nobject = \"{}\"\ntable = \"{}\"\n\
            external_id = {{ field = \"External_Id__c\", column = \"external_id\" }}\n\
            conflicts = \"{}\"\ndeletes = {{ on_edit = \"{}\" }}\n[tenant.acme.object.fields]\n\
            {lookup} = {{ column = \"{column}\", references = \"{}\" }}\n",
            shape.object, shape.table, world.conflicts, world.on_edit, SHAPES[shape.parent].object
        );
        for (field, column) in shape.fields.iter().chain([&KEY]) {
            let _ = writeln!(toml, "{field} = {{ column = \"{column}\" }}");
        }
    }
    toml
}
