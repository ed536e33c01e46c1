//! Cells of an upload: their CSV form, and their meaning for each kind of column.

use serde_json::{Value as Json, json};

use crate::fixture::{Fixture, column, insert, job, upsert};

fn with(mut body: Json, members: &Json) -> Json {
    let members = members.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(members);
    body
}

#[test]
fn every_delimiter_and_line_ending_round_trips() {
    for (name, delimiter) in [
        ("BACKQUOTE", '`'),
        ("CARET", '^'),
        ("COMMA", ','),
        ("PIPE", '|'),
        ("SEMICOLON", ';'),
        ("TAB", '\t'),
    ] {
        for (ending, newline) in [("LF", "\n"), ("CRLF", "\r\n")] {
            let mut f = Fixture::new();
            let form = json!({"columnDelimiter": name, "lineEnding": ending});
            let csv = format!(
                "Name{delimiter}Description{newline}\"a{delimiter}b\"{delimiter}\"x\ny\"{newline}"
            );
            let ended = f.run(&with(insert(), &form), csv);
            let mut lines = ended.successful.splitn(2, newline);
            assert_eq!(
                lines.next().unwrap(),
                format!(
                    "\"sf__Id\"{delimiter}\"sf__Created\"{delimiter}Name{delimiter}Description"
                )
            );
            let row = lines.next().unwrap();
            let end = format!("\"true\"{delimiter}\"a{delimiter}b\"{delimiter}\"x\ny\"{newline}");
            assert!(row.ends_with(&end), "{name} {ending}: {row:?}");
            let id = row[1..19].to_owned();
            assert_eq!(f.value(&id, "Name"), Some(format!("a{delimiter}b")));
            assert_eq!(f.value(&id, "Description").as_deref(), Some("x\ny"));
        }
    }
}

#[test]
fn quoted_cells_keep_newlines_quotes_and_row_like_text() {
    let mut f = Fixture::new();
    let csv = "Name,Description\n\"say \"\"hi\"\"\",\"one\r\n\"\"two\"\"\n,three\"\nlast,\n";
    let ended = f.run(&insert(), csv);
    let ids = column(&ended.successful, "sf__Id");
    assert_eq!(f.value(&ids[0], "Name").as_deref(), Some("say \"hi\""));
    assert_eq!(
        f.value(&ids[0], "Description").as_deref(),
        Some("one\r\n\"two\"\n,three")
    );
    assert_eq!(f.value(&ids[1], "Description"), None);
}

#[test]
fn checkboxes_accept_more_words_in_csv_than_in_json() {
    let mut f = Fixture::new();
    let csv = "Name,Active__c\na,1\nb,YES\nc,true\nd,0\ne,no\nf,FALSE\ng,maybe\n";
    let ended = f.run(&insert(), csv);
    let ids = column(&ended.successful, "sf__Id");
    let held: Vec<_> = ids
        .iter()
        .map(|id| f.value(id, "Active__c").unwrap())
        .collect();
    assert_eq!(held, ["true", "true", "true", "false", "false", "false"]);
    assert_eq!(
        column(&ended.failed, "sf__Error"),
        [
            "INVALID_FIELD:Failed to deserialize field at col 1. Due to, 'maybe' is not a valid value \
          for the type xsd:boolean:Active__c --"
        ]
    );
}

#[test]
fn type_errors_name_column_and_type() {
    let mut f = Fixture::new();
    for (field, value, kind) in [
        ("Opened__c", "05/01/2026", "xsd:date"),
        ("Checked_At__c", "yesterday", "xsd:dateTime"),
        ("NumberOfEmployees", "many", "xsd:int"),
        ("AnnualRevenue", "1,5", "xsd:double"),
    ] {
        let csv = format!("Name,{field}\nx,\"{value}\"\n");
        assert_eq!(
            f.errors(&insert(), &csv),
            [format!(
                "INVALID_FIELD:Failed to deserialize field at col 1. Due to, '{value}' is not a \
                 valid value for the type {kind}:{field} --"
            )]
        );
    }
    assert_eq!(f.org.count("Account"), 0);
}

#[test]
fn values_are_refused_as_in_single_calls() {
    let mut f = Fixture::new();
    f.account(&json!({"Name": "Acme", "External_Id__c": "taken"}));
    let long = "x".repeat(256);
    let csv = format!(
        "Name,External_Id__c,CreatedDate\n,,\n{long},,\nb,taken,\nc,,2026-05-01T00:00:00Z\n"
    );
    let errors = f.errors(&insert(), &csv);
    let codes: Vec<_> = errors
        .iter()
        .map(|e| e.split(':').next().unwrap())
        .collect();
    assert_eq!(
        codes,
        [
            "REQUIRED_FIELD_MISSING",
            "STRING_TOO_LONG",
            "DUPLICATE_VALUE",
            "INVALID_FIELD_FOR_INSERT_UPDATE"
        ]
    );
    assert_eq!(
        errors[0],
        "REQUIRED_FIELD_MISSING:Required fields are missing: [Name]:Name --"
    );
    assert_eq!(
        f.errors(&insert(), "Id,Name\n0015g00000000zzAAA,x\n"),
        ["INVALID_FIELD_FOR_INSERT_UPDATE:cannot specify Id in an insert call:Id --"]
    );
}

#[test]
fn only_the_field_trims_its_text() {
    let mut f = Fixture::new();
    let ended = f.run(&upsert(), "External_Id__c,Name,Phone\n a , Acme ,  \n");
    assert!(
        ended.successful.ends_with(",\" a \",\" Acme \",\"  \"\n"),
        "{}",
        ended.successful
    );
    let id = column(&ended.successful, "sf__Id").remove(0);
    assert_eq!(f.value(&id, "Name").as_deref(), Some("Acme"));
    assert_eq!(f.value(&id, "External_Id__c").as_deref(), Some("a"));
    assert_eq!(
        f.value(&id, "Phone"),
        None,
        "blanks are a value, and the value is empty"
    );
}

#[test]
fn rows_with_unreadable_cells_fail_alone() {
    let mut f = Fixture::new();
    let csv = "Name,Phone\nok,1\n\"A\", \"B\"\nonly\na,b,c\nalso ok,2\n";
    let whole = f.run(&insert(), csv);
    assert_eq!(whole.info["state"], "Failed", "a stray quote fails the job");
    f.control("unconfirmed", &json!({"stray_quote_in_bulk": "fails_row"}));
    let ended = f.run(&insert(), csv);
    assert_eq!(column(&ended.successful, "Name"), ["ok", "also ok"]);
    assert_eq!(ended.info["numberRecordsFailed"], json!(3));
    assert!(
        ended
            .failed
            .contains("INVALID_FIELD:Failed to parse CSV. Found unescaped quote.")
    );
    let long = format!("Name,Description\nx,{}\n", "y".repeat(32_001));
    assert_eq!(
        f.errors(&insert(), &long),
        ["INVALID_FIELD:A cell is longer than 32000 characters:--"]
    );
}

#[test]
fn headers_ignore_case_and_decimals_become_doubles() {
    let mut f = Fixture::new();
    let ended = f.run(&insert(), "NAME,annualrevenue\nAcme,912260031\nBorg,30\n");
    assert!(
        ended
            .successful
            .starts_with("\"sf__Id\",\"sf__Created\",NAME,annualrevenue\n")
    );
    assert_eq!(
        column(&ended.successful, "annualrevenue"),
        ["9.12260031E8", "30.0"]
    );
}

#[test]
fn polymorphic_references_need_their_type() {
    let org = "[[object]]\nname = \"Visit__c\"\n\
        [[object.field]]\nname = \"Who__c\"\ntype = \"reference\"\n\
        reference_to = [\"Account\", \"Contact\"]\n";
    let mut f = Fixture::of(salesforce_org::Org::from_toml(org).unwrap());
    let account = f.account(&json!({"Name": "Acme", "External_Id__c": "a"}));
    let body = json!({"object": "Visit__c", "operation": "insert"});
    let ended = f.run(&body, "Account:Who__r.External_Id__c\na\n");
    let id = column(&ended.successful, "sf__Id").remove(0);
    assert_eq!(f.value(&id, "Who__c"), Some(account));
    for (header, message) in [
        (
            "Who__r.External_Id__c",
            "type is needed for polymorphic foreign key references: Who__r",
        ),
        ("Lead:Who__r.External_Id__c", "Unable to find object: Lead"),
    ] {
        let ended = f.run(&body, format!("{header}\na\n"));
        assert_eq!(
            ended.info["errorMessage"],
            format!("InvalidBatch : {message}")
        );
    }
}

#[test]
fn id_column_may_be_anywhere() {
    let mut f = Fixture::new();
    let id = f.account(&json!({"Name": "Acme"}));
    let csv = format!("Opened__c,ID,Name\nnever,{id},x\n2020-01-01,{id},\n");
    let ended = f.run(&job("update"), csv);
    assert_eq!(column(&ended.failed, "sf__Id"), [id.as_str()]);
    assert_eq!(f.value(&id, "Opened__c").as_deref(), Some("2020-01-01"));
}
