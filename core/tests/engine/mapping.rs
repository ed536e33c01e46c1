//! The mapping of the tests: two objects with a lookup between them, and every kind of owner.

/// The default mapping of the tests.
pub(crate) const MAPPING: &str = r#"
[tenant.acme]
salesforce = { login_url = "https://acme.my.salesforce.com", client_id = "id", auth = "client_credentials", secret = "env:SECRET" }
postgres   = { url = "env:DATABASE_URL", schema = "public" }

[[tenant.acme.object]]
object      = "Account"
table       = "account"
external_id = { field = "External_Id__c", column = "external_id" }

[tenant.acme.object.fields]
Name          = { column = "name" }
Phone         = { column = "phone" }
Industry      = { column = "industry", owner = "salesforce" }
Rating        = { column = "rating", owner = "postgres" }
AnnualRevenue = { column = "revenue" }
Active__c     = { column = "active" }
ParentId      = { column = "parent_external_id", references = "Account" }

[[tenant.acme.object]]
object      = "Contact"
table       = "contact"
external_id = { field = "External_Id__c", column = "external_id" }

[tenant.acme.object.fields]
LastName  = { column = "last_name" }
Email     = { column = "email" }
AccountId = { column = "account_external_id", references = "Account" }
"#;

/// The tables that [`MAPPING`] maps.
pub(crate) const TABLES: &str = "
create table account (
    id bigint generated always as identity primary key,
    external_id text unique,
    name text,
    phone text,
    industry text,
    rating text,
    revenue numeric,
    active boolean not null default false,
    parent_external_id text,
    deleted_at timestamptz
);
create table contact (
    id bigint generated always as identity primary key,
    external_id text unique,
    last_name text,
    email text,
    account_external_id text
);
";

/// Returns [`MAPPING`] with one more line in the section of Account.
pub(crate) fn with_line(line: &str) -> String {
    let key = "external_id = { field = \"External_Id__c\", column = \"external_id\" }\n";
    MAPPING.replacen(key, &format!("{key}{line}\n"), 1)
}

/// Returns [`MAPPING`] without one field.
pub(crate) fn without_field(field: &str) -> String {
    let of_field = |line: &&str| !line.starts_with(&format!("{field} "));
    let lines: Vec<&str> = MAPPING.lines().filter(of_field).collect();
    lines.join("\n")
}
