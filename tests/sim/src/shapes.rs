//! The objects and tables of a world, and their mapping.

use std::fmt::Write as _;

use crate::script::{Mistake, World};

/// A mapped object.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) object: &'static str,
    pub(crate) table: &'static str,
    /// Fields that users edit, with their columns. The first is the one a record is created with.
    pub(crate) fields: [(&'static str, &'static str); 2],
    /// The lookup, its column, and its parent's external id in SOQL.
    pub(crate) lookup: (&'static str, &'static str, &'static str),
    /// A field that no one edits, with its column: a side may have lost it.
    pub(crate) extra: (&'static str, &'static str),
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
        extra: ("Site", "site"),
        parent: 0,
    },
    Shape {
        object: "Contact",
        table: "contact",
        fields: [("LastName", "last_name"), ("Title", "title")],
        lookup: ("AccountId", "account_external_id", "Account.External_Id__c"),
        extra: ("Department", "department"),
        parent: 0,
    },
];

/// Count what users write.
const COUNTS: &str = "
    create trigger count after insert or update or delete on account
        for each row execute function sim.count_user_write();
    create trigger count after insert or update or delete on contact
        for each row execute function sim.count_user_write();
    create trigger count_truncate after truncate on account
        for each statement execute function sim.count_user_write();
    create trigger count_truncate after truncate on contact
        for each statement execute function sim.count_user_write();";

/// What differs between the tables of worlds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// Contacts reference accounts by a foreign key.
    pub key: Option<OnDelete>,
    /// The foreign key is checked at commit.
    pub is_deferred: bool,
    /// The name must not be null.
    pub requires_name: bool,
    /// What a side does to values that begin with [`BAD`].
    pub refusal: Option<Refusal>,
    /// The column of the second field.
    pub second: Second,
    /// The column of the external id.
    pub names: Names,
}

/// What the column of the external id takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Any text.
    Any,
    /// At most [`SHORT`] characters.
    Short,
}

/// Characters of the shorter column.
pub(crate) const SHORT: usize = 16;

/// The end of an external id that is too long for it.
pub(crate) const TOO_LONG: &str = "-that-is-too-long";

/// A column of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Second {
    /// Any text or null.
    Text,
    /// No null.
    NotNull,
    /// Padded with spaces.
    Char,
    /// Each value once.
    Unique,
}

/// Every column of the second field.
pub(crate) const SECONDS: [Second; 4] =
    [Second::Text, Second::NotNull, Second::Char, Second::Unique];

/// How values that users may write begin, and that the other side refuses or changes.
pub(crate) const BAD: &str = "bad";

/// What a side does to a value of the second field that it does not want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// A trigger of the table raises an error.
    Raise,
    /// The table has a check.
    Check,
    /// A trigger of the table cancels the write without a word.
    Cancel,
    /// A trigger of the table changes the value.
    Change,
    /// Salesforce has a validation rule.
    Rule,
    /// A rule of the table of contacts keeps each row that is deleted.
    Keep,
}

/// Every refusal.
pub(crate) const REFUSALS: [Refusal; 6] = [
    Refusal::Keep,
    Refusal::Raise,
    Refusal::Check,
    Refusal::Cancel,
    Refusal::Change,
    Refusal::Rule,
];

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
    /// Returns the value that the side with the refusal keeps.
    pub(crate) fn kept(&self, value: &str) -> String {
        match self.refusal {
            Some(Refusal::Change) if value.starts_with(BAD) => value.to_uppercase(),
            _ => value.to_owned(),
        }
    }

    /// Returns the org file: its validation rules.
    pub(crate) fn org_file(&self) -> String {
        if self.refusal != Some(Refusal::Rule) {
            return String::new();
        }
        let rule = |shape: &Shape| {
            let (object, field) = (shape.object, shape.fields[1].0);
            format!(
                "[[object]]\nname = \"{object}\"\n[[object.validation_rule]]\nname = \"Good\"\n\
                formula = 'BEGINS({field}, \"{BAD}\")'\nmessage = \"It is bad.\"\nfield = \"{field}\"\n"
            )
        };
        SHAPES.iter().map(rule).collect()
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
        let check = |column: &str| match self.refusal {
            Some(Refusal::Check) => format!("check ({column} not like '{BAD}%')"),
            _ => String::new(),
        };
        let names = match self.names {
            Names::Any => "text".to_owned(),
            Names::Short => format!("varchar({SHORT})"),
        };
        // Rows of a table that is not mapped.
        let notes = match self.key {
            Some(OnDelete::NoAction) => {
                "create table note (account_id bigint not null references account (id));"
            }
            _ => "",
        };
        let second = match self.second {
            Second::Text => "text",
            Second::NotNull => "text not null default ''",
            Second::Char => "char(16)",
            Second::Unique => "text unique",
        };
        let (phone, title) = (check("phone"), check("title"));
        let triggers = self.triggers();
        format!(
            "create table account (id bigint generated always as identity primary key,
                external_id {names} unique, name {name}, phone {second} {phone}, fax text, parent_external_id text, site text,
                deleted_at timestamptz);
            create table contact (id bigint generated always as identity primary key,
                external_id {names} unique, last_name {name}, title {second} {title}, fax text, account_external_id {names} {key},
                department text, deleted_at timestamptz);
            create table {OTHER_TABLE} (like contact including all);
            {notes}
            {triggers}
            {COUNTS}"
        )
    }

    /// Returns the statements that create the triggers of a refusal.
    fn triggers(&self) -> String {
        let act = match self.refusal {
            Some(Refusal::Raise) => {
                "raise exception using errcode = 'QQ001', message = 'it is bad'"
            }
            Some(Refusal::Cancel) => "return null",
            Some(Refusal::Change) => {
                "new := jsonb_populate_record(new, jsonb_build_object(tg_argv[0], upper(to_jsonb(new) ->> tg_argv[0])))"
            }
            Some(Refusal::Keep) => {
                return "create rule keep as on delete to contact
                    do instead update contact set fax = fax where id = old.id;"
                    .to_owned();
            }
            Some(Refusal::Check | Refusal::Rule) | None => return String::new(),
        };
        let mut triggers = format!(
            "create function sim.refuse() returns trigger language plpgsql as $$
            begin
                if to_jsonb(new) ->> tg_argv[0] like '{BAD}%' then {act}; end if;
                return new;
            end $$;"
        );
        for shape in &SHAPES {
            // A String takes every line.
            let _ = write!(
                triggers,
                "create trigger refuse before insert or update on {} for each row execute function sim.refuse('{}');",
                shape.table, shape.fields[1].1
            );
        }
        triggers
    }
}

/// A table like that of contacts, which is mapped by mistake.
pub(crate) const OTHER_TABLE: &str = "contact_other";

/// The column of local keys to which a lookup is mapped by mistake.
pub(crate) const LOCAL_KEYS: &str = "account_id";

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
        let (lookup, mut column, _) = shape.lookup;
        if shape.object == "Contact" && world.mistake == Some(Mistake::LocalKeys) {
            column = LOCAL_KEYS;
        }
        let marks = if world.deletes == "soft" {
            ", column = \"deleted_at\""
        } else {
            ""
        };
        let filter = match (world.filters, shape.object) {
            (true, "Account") => format!("where = \"{} LIKE 'k%'\"\n", KEY.0),
            _ => String::new(),
        };
        // A String takes every line.
        let _ = write!(
            toml,
            "[[tenant.acme.object]]\n{filter}object = \"{}\"\ntable = \"{}\"\n\
            external_id = {{ field = \"External_Id__c\", column = \"external_id\" }}\n\
            conflicts = \"{}\"\ndeletes = {{ mode = \"{}\", on_edit = \"{}\"{marks} }}\n[tenant.acme.object.fields]\n\
            {lookup} = {{ column = \"{column}\", references = \"{}\" }}\n",
            shape.object,
            shape.table,
            world.conflicts,
            world.deletes,
            world.on_edit,
            SHAPES[shape.parent].object
        );
        let [first, second] = shape.fields;
        for ((field, column), owner) in [(first, "shared"), (second, world.owner), (KEY, "shared")]
        {
            let _ = writeln!(
                toml,
                "{field} = {{ column = \"{column}\", owner = \"{owner}\" }}"
            );
        }
        if world.lacks.is_some() {
            let (field, column) = shape.extra;
            // A String takes every line.
            let _ = writeln!(toml, "{field} = {{ column = \"{column}\" }}");
        }
    }
    toml
}
