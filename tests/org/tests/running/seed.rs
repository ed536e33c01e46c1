//! Records from CSV files: their values, and the reported position of an invalid one.

use salesforce_org::Org;

use crate::stand::Stand;

fn refusal(object: &str, csv: &[u8]) -> String {
    let refused = Org::default().seed(object, csv, |_| {});
    refused.unwrap_err().to_string()
}

#[test]
fn seed_file_creates_records_without_events() {
    let mut stand = Stand::new();
    let accounts = "External_Id__c,Name,Elevation__c\nA-1,\"Acme,\nLtd\",12\nA-2,Borg,\n";
    let contacts = "LastName,Account.External_Id__c\nIto,A-2\nKim,\n";
    let mut seed = |object: &str, csv: &str| stand.org.seed(object, csv.as_bytes(), |_| {});
    assert_eq!(seed("account", accounts).unwrap(), 2);
    assert_eq!(seed("Contact", contacts).unwrap(), 2);
    let rest = "query?q=select+LastName,Account.Name+from+Contact+order+by+LastName";
    let found = stand.get(rest).to_json();
    assert_eq!(found["records"][0]["Account"]["Name"], "Borg");
    assert_eq!(found["records"][1]["Account"], serde_json::Value::Null);
    let rest = "query?q=select+Name+from+Account+where+Elevation__c=12";
    assert_eq!(
        stand.get(rest).to_json()["records"][0]["Name"],
        "Acme,\nLtd"
    );
    assert!(stand.events().is_empty());
}

#[test]
fn invalid_record_is_reported_by_line_and_column() {
    for (csv, expected) in [
        (
            "Name,Nope\nx,y\n",
            "line 1, column 2 (Nope): Account has no such field",
        ),
        (
            "Name\nx\n\"two\nlines\"\n,\n",
            "line 5: the record has 2 cells, the header 1",
        ),
        (
            "Name,Elevation__c\nx,1\ny,high\n",
            "line 3, column 2 (Elevation__c): ",
        ),
        (
            "External_Id__c,Name\na,x\nA,y\n",
            "line 3, column 1 (External_Id__c): DUPLICATE_VALUE",
        ),
        (
            "Name,External_Id__c\n,a\n",
            "line 2, column 1 (Name): REQUIRED_FIELD_MISSING",
        ),
        ("Id,Name\n0015g00000000000AA,x\n", "line 2, column 1 (Id): "),
    ] {
        let refused = refusal("Account", csv.as_bytes());
        assert!(refused.starts_with(expected), "{expected}: {refused}");
    }
    let orphan = refusal("Contact", b"LastName,Account.External_Id__c\nIto,none\n");
    assert!(
        orphan.starts_with("line 2, column 2 (Account.External_Id__c): "),
        "{orphan}"
    );
    let latin = refusal("Account", b"Name\nx\nZo\xeb\n");
    assert!(
        latin.starts_with("line 3: the record is not UTF-8"),
        "{latin}"
    );
    let unknown = refusal("Nope", b"Name\n");
    assert!(
        unknown.contains("no object Nope; it has ") && unknown.contains("Account"),
        "{unknown}"
    );
}

#[test]
fn large_seed_files_report_progress() {
    let names: String = (0..20_001).map(|n| format!("{n}\n")).collect();
    let mut counts = Vec::new();
    let csv = format!("Name\n{names}");
    let created = Org::default().seed("Account", csv.as_bytes(), |count| counts.push(count));
    assert_eq!((created.unwrap(), counts), (20_001, vec![10_000, 20_000]));
}
