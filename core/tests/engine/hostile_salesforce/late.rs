//! Change events that come minutes after their edits, while both sides are edited: every policy holds, and each value
//! ends on both sides, in a conflict or in the log.

use serde_json::{Value as Json, json};
use syncline::engine::system::SystemClock;
use syncline::ports::Clock;

use crate::mapping::with_line;
use crate::stage::Stage;

/// Minutes that the events are late.
const MINUTES: u32 = 5;

/// Which edit of the two is later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Later {
    Row,
    Record,
}

/// Whether the edit in Salesforce is found before our write replaces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edit {
    /// The record's stamp shows that it has changed.
    IsFound,
    /// It is of the same second as the last change that was seen, so no condition and no read of stamps shows it.
    IsReplaced,
}

/// What becomes of two edits of a shared field: `here` in the row, `there` in the record.
#[derive(Debug, PartialEq)]
struct End {
    row: &'static str,
    record: &'static str,
    /// Side and value in the log.
    discarded: Option<(&'static str, &'static str)>,
    conflicts: usize,
}

const CONFLICT: End = End {
    row: "here",
    record: "there",
    discarded: None,
    conflicts: 1,
};

/// The replaced value is kept in the conflict.
const CONFLICT_AFTER_WRITE: End = End {
    row: "here",
    record: "here",
    discarded: None,
    conflicts: 1,
};

const SALESFORCE: End = End {
    row: "there",
    record: "there",
    discarded: Some(("postgres", "here")),
    conflicts: 0,
};

const POSTGRES: End = End {
    row: "here",
    record: "here",
    discarded: Some(("salesforce", "there")),
    conflicts: 0,
};

/// Every policy, in both orders of the edits, found in time or not.
const POLICIES: [(&str, Later, Edit, End); 15] = [
    ("manual_review", Later::Row, Edit::IsFound, CONFLICT),
    ("manual_review", Later::Record, Edit::IsFound, CONFLICT),
    (
        "manual_review",
        Later::Row,
        Edit::IsReplaced,
        CONFLICT_AFTER_WRITE,
    ),
    ("field_ownership", Later::Row, Edit::IsFound, CONFLICT),
    ("field_ownership", Later::Record, Edit::IsFound, CONFLICT),
    (
        "field_ownership",
        Later::Row,
        Edit::IsReplaced,
        CONFLICT_AFTER_WRITE,
    ),
    ("last_writer_wins", Later::Row, Edit::IsFound, POSTGRES),
    ("last_writer_wins", Later::Record, Edit::IsFound, SALESFORCE),
    ("last_writer_wins", Later::Row, Edit::IsReplaced, POSTGRES),
    ("salesforce_wins", Later::Row, Edit::IsFound, SALESFORCE),
    ("salesforce_wins", Later::Record, Edit::IsFound, SALESFORCE),
    ("salesforce_wins", Later::Row, Edit::IsReplaced, SALESFORCE),
    ("postgres_wins", Later::Row, Edit::IsFound, POSTGRES),
    ("postgres_wins", Later::Record, Edit::IsFound, POSTGRES),
    ("postgres_wins", Later::Row, Edit::IsReplaced, POSTGRES),
];

/// Opens a stage with one account in step. Returns its Salesforce id.
async fn in_step(line: &str) -> (Stage, String) {
    let stage = Stage::with_mapping(&with_line(line)).await;
    stage.org.set_wall_ms(SystemClock.now_ms());
    stage
        .sql("insert into account (external_id, name, phone) values ('a-1', 'Ada', '0'), ('a-2', 'Bob', '0')")
        .await;
    stage.drain().await;
    stage.assert_equal().await;
    let id = stage.org.id_of("Account", "a-1").unwrap();
    (stage, id)
}

/// Works for some minutes without events, then until all work is done. Returns the calls that it took.
async fn receive_late(stage: &Stage) -> u64 {
    let calls = || stage.org.calls().values().sum::<u64>();
    let before = calls();
    for _ in 0..MINUTES {
        stage.capture_postgres().await;
        stage.apply("Account").await;
        stage.sweep().await;
        stage.org.advance_ms(60_000);
        stage.pass_seconds(60).await;
        // Its owner listens; the events are late in Salesforce.
        stage
            .sql("update syncline.sync_checkpoint set read_at = now()")
            .await;
    }
    stage.make_due().await;
    stage.drain().await;
    calls() - before
}

/// The log as `field side value`, in order.
async fn discarded(stage: &Stage) -> Vec<String> {
    let log = "select distinct field || ' ' || side || ' ' || (value #>> '{}') as text
        from syncline.sync_discarded_value order by 1";
    let rows = stage.rows(log).await;
    rows.iter()
        .map(|row| row["text"].as_str().unwrap().to_owned())
        .collect()
}

/// Reads one field of both sides without the engine.
async fn both(stage: &Stage, id: &str, column: &str, field: &str) -> (Json, Option<String>) {
    let row = format!("select {column} from account where external_id = 'a-1'");
    (stage.one(&row).await, stage.org.value(id, field))
}

async fn edit_both_sides(policy: &str, later: Later, edit: Edit) -> (Stage, String) {
    let (stage, id) = in_step(&format!("conflicts = \"{policy}\"")).await;
    if edit == Edit::IsFound {
        stage.org.advance_ms(5_000);
    }
    stage.org.update(
        &id,
        json!({"Phone": "there", "Rating": "Warm", "Industry": "Media"}),
    );
    stage.org.advance_ms(5_000);
    stage
        .sql("update account set phone = 'here', rating = 'Hot', industry = 'Energy' where external_id = 'a-1'")
        .await;
    let minutes = match later {
        Later::Row => 5,
        Later::Record => -5,
    };
    stage
        .sql(&format!(
            "update syncline.sync_outbox set changed_at = changed_at + interval '{minutes} minutes'"
        ))
        .await;
    (stage, id)
}

#[tokio::test]
async fn every_conflict_policy_holds_for_late_events() {
    for (policy, later, edit, end) in POLICIES {
        let case = format!("{policy}, {later:?} later, edit {edit:?}");
        let (stage, id) = edit_both_sides(policy, later, edit).await;
        // A neighbour whose record alone was edited.
        let bob = stage.org.id_of("Account", "a-2").unwrap();
        stage.org.update(&bob, json!({"Phone": "there"}));
        let calls = receive_late(&stage).await;
        assert!(calls <= 20, "{case}: {calls} calls");

        let (row, record) = both(&stage, &id, "phone", "Phone").await;
        assert_eq!(
            (&row, record.as_deref()),
            (&json!(end.row), Some(end.record)),
            "{case}"
        );
        // Owners decide before any policy.
        let hot = (json!("Hot"), Some("Hot".to_owned()));
        assert_eq!(both(&stage, &id, "rating", "Rating").await, hot, "{case}");
        let media = (json!("Media"), Some("Media".to_owned()));
        assert_eq!(
            both(&stage, &id, "industry", "Industry").await,
            media,
            "{case}"
        );
        let shared = end
            .discarded
            .map(|(side, value)| format!("Phone {side} {value}"));
        let mut log = vec![
            "Industry postgres Energy".to_owned(),
            "Rating salesforce Warm".to_owned(),
        ];
        log.extend(shared);
        log.sort();
        assert_eq!(discarded(&stage).await, log, "{case}");
        let conflict = json!({
            "field": "Phone", "base_value": "0", "postgres_value": "here", "salesforce_value": "there"
        });
        assert_eq!(
            stage.conflicts().await,
            vec![conflict; end.conflicts],
            "{case}"
        );
        let phone = stage
            .one("select phone from account where external_id = 'a-2'")
            .await;
        assert_eq!(phone, json!("there"), "{case}");
        if end.conflicts == 0 {
            stage.assert_equal().await;
        }
    }
}

/// Which side deletes; the other one edits the phone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deleted {
    Row,
    Record,
}

/// What becomes of a delete and an edit: the phone of the row and of the record, the log, and conflicts.
type DeleteEnd = (
    Option<&'static str>,
    Option<&'static str>,
    Option<&'static str>,
    usize,
);

/// Every policy for a delete that meets an edit, in both directions.
const DELETES: [(&str, Deleted, DeleteEnd); 6] = [
    (
        "delete_wins",
        Deleted::Row,
        (None, None, Some("Phone salesforce there"), 0),
    ),
    (
        "delete_wins",
        Deleted::Record,
        (None, None, Some("Phone postgres here"), 0),
    ),
    (
        "edit_wins",
        Deleted::Row,
        (Some("there"), Some("there"), None, 0),
    ),
    (
        "edit_wins",
        Deleted::Record,
        (Some("here"), Some("here"), None, 0),
    ),
    ("manual", Deleted::Row, (None, Some("there"), None, 1)),
    ("manual", Deleted::Record, (Some("here"), None, None, 1)),
];

#[tokio::test]
async fn every_delete_policy_holds_for_late_events() {
    for (policy, deleted, (row, record, log, conflicts)) in DELETES {
        let case = format!("{policy}, {deleted:?} deleted");
        let (stage, id) = in_step(&format!("deletes = {{ on_edit = \"{policy}\" }}")).await;
        stage.org.advance_ms(5_000);
        let statement = match deleted {
            Deleted::Row => {
                stage.org.update(&id, json!({"Phone": "there"}));
                "delete from account where external_id = 'a-1'"
            }
            Deleted::Record => {
                stage.org.delete(&id);
                "update account set phone = 'here' where external_id = 'a-1'"
            }
        };
        stage.org.advance_ms(5_000);
        stage.sql(statement).await;
        let calls = receive_late(&stage).await;
        assert!(calls <= 20, "{case}: {calls} calls");

        let phone = "select phone from account where external_id = 'a-1'";
        let rows = stage.rows(phone).await;
        let expected: Vec<Json> = row.iter().map(|phone| json!({"phone": phone})).collect();
        assert_eq!(rows, expected, "{case}");
        let records = stage
            .org
            .query("select Phone from Account where External_Id__c = 'a-1'");
        let found: Vec<Option<&str>> = records
            .iter()
            .map(|found| found["Phone"].as_str())
            .collect();
        let expected: Vec<Option<&str>> = record.iter().map(|phone| Some(*phone)).collect();
        assert_eq!(found, expected, "{case}");
        let expected: Vec<&str> = log.into_iter().collect();
        assert_eq!(discarded(&stage).await, expected, "{case}");
        assert_eq!(stage.conflicts().await.len(), conflicts, "{case}");
        if conflicts == 0 {
            stage.assert_equal().await;
        }
        assert_eq!(
            stage
                .one("select count(*) from account where external_id = 'a-2'")
                .await,
            json!(1)
        );
    }
}
