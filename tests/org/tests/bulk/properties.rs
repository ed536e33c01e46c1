//! For any upload the org answers, and every row is in exactly one result set.

use proptest::prelude::*;
use salesforce_org::Response;
use serde_json::{Value as Json, json};

use crate::fixture::Fixture;

fn form() -> impl Strategy<Value = Json> {
    let operation = prop::sample::select(vec!["insert", "update", "upsert", "delete"]);
    let delimiter = prop::sample::select(vec!["COMMA", "TAB", "PIPE", "BACKQUOTE"]);
    let ending = prop::sample::select(vec!["LF", "CRLF"]);
    (operation, delimiter, ending).prop_map(|(operation, delimiter, ending)| {
        json!({"object": "Account", "operation": operation, "columnDelimiter": delimiter,
            "lineEnding": ending, "externalIdFieldName": "External_Id__c"})
    })
}

/// Uploads, runs the job to its end, and returns it with its three result sets.
fn run(f: &mut Fixture, body: &Json, csv: Vec<u8>) -> (Json, Vec<Response>) {
    let id = f.submit(body, csv);
    f.org.advance_ms(60_000);
    let sets = ["successfulResults", "failedResults", "unprocessedrecords"];
    let sets = sets.map(|set| f.call("GET", &format!("jobs/ingest/{id}/{set}")));
    (f.info(&id), sets.into())
}

fn rows(csv: &[u8]) -> usize {
    csv::Reader::from_reader(csv).into_byte_records().count()
}

proptest! {
    // Each case creates its own org.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_bytes_end_in_a_final_state(body in form(), csv in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut f = Fixture::new();
        let (info, sets) = run(&mut f, &body, csv);
        prop_assert!(info["state"] == "JobComplete" || info["state"] == "Failed", "{}", info);
        prop_assert!(sets.iter().all(|set| set.status == 200));
    }

    #[test]
    fn csv_like_text_ends_in_a_final_state(
        body in form(),
        csv in "(Id|Name|External_Id__c|Parent\\.External_Id__c)(,(Id|Name|Phone))?(\r?\n[\",|a-c#N/A\t ]{0,12}){0,6}",
    ) {
        let mut f = Fixture::new();
        let (info, sets) = run(&mut f, &body, csv.into_bytes());
        prop_assert!(info["state"] == "JobComplete" || info["state"] == "Failed", "{}", info);
        prop_assert!(sets.iter().all(|set| set.status == 200));
    }

    #[test]
    fn every_row_is_in_exactly_one_result_set(
        names in prop::collection::vec("[a-c\"\n,]{0,3}", 1..40),
        batch_rows in 1_usize..7,
        stop_after in prop::option::of(0_u32..20),
    ) {
        let mut f = Fixture::new();
        f.control("bulk", &json!({"batch_rows": batch_rows}));
        if let Some(rows) = stop_after {
            f.control("faults", &json!({"action": "fail_job", "after_rows": rows}));
        }
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["Name", "Phone"]).unwrap();
        for name in &names {
            writer.write_record([name, "1"]).unwrap();
        }
        let csv = writer.into_inner().unwrap();
        let body = json!({"object": "Account", "operation": "insert"});
        let (info, sets) = run(&mut f, &body, csv);
        let counts: Vec<usize> = sets.iter().map(|set| rows(&set.body)).collect();
        prop_assert_eq!(counts.iter().sum::<usize>(), names.len());
        prop_assert_eq!(counts[0], f.org.count("Account"));
        prop_assert_eq!(&info["numberRecordsFailed"], &json!(counts[1]));
        prop_assert_eq!(&info["numberRecordsProcessed"], &json!(counts[0] + counts[1]));
        let empty = names.iter().filter(|name| name.trim().is_empty()).count();
        prop_assert!(counts[2] > 0 || counts[1] == empty);
    }
}
