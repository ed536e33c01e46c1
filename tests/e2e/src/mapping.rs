//! What the demo maps: two objects, two tables, and their `syncline.toml`.

use crate::salesforce::API_VERSION;

/// The tenant of the demo and of the tests.
pub const TENANT: &str = "acme";

/// How values of a field are to be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text; empty is null.
    Text,
    /// A number of any precision.
    Number,
    /// True or false.
    Boolean,
    /// A date and time.
    Moment,
}

/// One mapped field.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The Salesforce field.
    pub field: &'static str,
    /// The SOQL expression: the field, or the parent's external id through its relationship.
    pub path: &'static str,
    /// The column.
    pub column: &'static str,
    /// How values compare.
    pub kind: Kind,
    /// Further settings of the field in `syncline.toml`.
    rules: &'static str,
}

/// One mapped object.
#[derive(Debug, Clone, Copy)]
pub struct Object {
    /// The Salesforce object.
    pub object: &'static str,
    /// The table.
    pub table: &'static str,
    /// The mapped fields, without the external id.
    pub fields: &'static [Field],
}

const fn text(field: &'static str, column: &'static str) -> Field {
    Field {
        field,
        path: field,
        column,
        kind: Kind::Text,
        rules: "",
    }
}

const fn number(field: &'static str, column: &'static str) -> Field {
    Field {
        kind: Kind::Number,
        ..text(field, column)
    }
}

const fn with_rules(field: Field, rules: &'static str) -> Field {
    Field { rules, ..field }
}

/// Accounts: airports and companies.
pub const ACCOUNT: Object = Object {
    object: "Account",
    table: "account",
    fields: &[
        text("Name", "name"),
        text("IATA__c", "iata"),
        text("BillingCity", "city"),
        text("BillingState", "state"),
        text("BillingCountry", "country"),
        number("Elevation__c", "elevation"),
        number("BillingLatitude", "latitude"),
        number("BillingLongitude", "longitude"),
        text("Timezone__c", "timezone"),
        Field {
            kind: Kind::Boolean,
            ..text("Active__c", "active")
        },
        Field {
            kind: Kind::Moment,
            ..text("Checked_At__c", "checked_at")
        },
        text("Phone", "phone"),
        text("Description", "description"),
        with_rules(text("Industry", "industry"), r#", owner = "salesforce""#),
        with_rules(text("Rating", "rating"), r#", owner = "postgres""#),
    ],
};

/// Contacts: customers, some of them of a company.
pub const CONTACT: Object = Object {
    object: "Contact",
    table: "contact",
    fields: &[
        Field {
            path: "Account.External_Id__c",
            ..with_rules(
                text("AccountId", "account_external_id"),
                r#", references = "Account""#,
            )
        },
        text("FirstName", "first_name"),
        text("LastName", "last_name"),
        text("Email", "email"),
        text("Phone", "phone"),
        text("Fax", "fax"),
        text("MailingStreet", "street"),
        text("MailingCity", "city"),
        text("MailingState", "state"),
        text("MailingPostalCode", "postal_code"),
        text("MailingCountry", "country"),
        text("Title", "title"),
    ],
};

/// Every mapped object, parents first.
pub const OBJECTS: [Object; 2] = [ACCOUNT, CONTACT];

/// The tables, as an application would have them.
pub const TABLES: &str = "
create table account (
    account_id bigint generated always as identity primary key,
    external_id text,
    name text not null,
    iata text,
    city varchar(40),
    state text,
    country text,
    elevation numeric(18, 3),
    latitude numeric(18, 15),
    longitude numeric(18, 15),
    timezone text,
    active boolean not null default false,
    checked_at timestamptz(3),
    phone text,
    description text,
    industry text,
    rating text,
    constraint account_external_id_key unique (external_id)
);

create table contact (
    contact_id bigint generated always as identity primary key,
    external_id text,
    account_external_id text,
    first_name text,
    last_name text not null,
    email text,
    phone text,
    fax text,
    street text,
    city text,
    state text,
    postal_code text,
    country text,
    title text,
    constraint contact_external_id_key unique (external_id),
    constraint contact_account_fkey foreign key (account_external_id)
        references account (external_id) on update cascade
);

create index contact_account_external_id_idx
    on contact (account_external_id);
";

/// Where the sides are and where their secrets are kept.
#[derive(Debug, Clone)]
pub struct Places {
    /// The org's HTTP address.
    pub login_url: String,
    /// The org's Pub/Sub address.
    pub pubsub_url: String,
    /// The consumer key.
    pub client_id: String,
    /// The user that the engine signs in as.
    pub username: String,
    /// Place of the private key, as `syncline.toml` writes it.
    pub secret: String,
    /// Place of the database URL, as `syncline.toml` writes it.
    pub database: String,
    /// How Salesforce's changes are captured.
    pub capture: Capture,
}

/// How Salesforce's changes are captured, as `syncline.toml` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// By a subscription of the Pub/Sub API.
    Pubsub,
    /// By Event Relay, through a queue.
    Relay,
}

impl Capture {
    fn word(self) -> &'static str {
        match self {
            Self::Pubsub => "pubsub",
            Self::Relay => "relay",
        }
    }
}

/// Returns the `syncline.toml` for these places.
pub fn configuration(places: &Places) -> String {
    let Places {
        login_url,
        pubsub_url,
        client_id,
        username,
        secret,
        database,
        capture,
    } = places;
    let capture = capture.word();
    let objects: Vec<String> = OBJECTS.iter().map(object_section).collect();
    format!(
        r#"[tenant.{TENANT}]
salesforce = {{ login_url = "{login_url}", pubsub_url = "{pubsub_url}", client_id = "{client_id}", auth = "jwt", username = "{username}", secret = "{secret}" }}
postgres = {{ url = "{database}", schema = "public" }}
api_version = "{API_VERSION}"
capture = "{capture}"

{}"#,
        objects.join("\n")
    )
}

fn object_section(object: &Object) -> String {
    let fields: Vec<String> = object
        .fields
        .iter()
        .map(|field| {
            format!(
                "{} = {{ column = \"{}\"{} }}",
                field.field, field.column, field.rules
            )
        })
        .collect();
    format!(
        r#"[[tenant.{TENANT}.object]]
object = "{}"
table = "{}"
external_id = {{ field = "External_Id__c", column = "external_id" }}
conflicts = "manual_review"

[tenant.{TENANT}.object.fields]
{}
"#,
        object.object,
        object.table,
        fields.join("\n")
    )
}
