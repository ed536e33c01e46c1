//! What `syncline plan` shows: what the jobs then do, and nothing is written for it.

use serde_json::{Value as Json, json};
use syncline::engine::plan::{ObjectPlan, PlanListener, PlanProgress, TenantPlan, Work};
use syncline::model::ids::{FieldName, ObjectName};
use syncline::planner::facts::RecordFacts;
use syncline::planner::route::Lane;

use crate::mapping::{MAPPING, with_line};
use crate::stage::Stage;

/// Keeps what a plan reports.
#[derive(Default)]
struct Heard {
    records: Vec<RecordFacts<FieldName>>,
    pages: usize,
}

impl PlanListener for Heard {
    fn progress(&mut self, _: &PlanProgress<'_>) {
        self.pages += 1;
    }

    fn record(&mut self, _: &ObjectName, facts: RecordFacts<FieldName>) {
        self.records.push(facts);
    }

    fn wants_records(&self) -> bool {
        true
    }
}

async fn planned(stage: &Stage) -> TenantPlan {
    let mut heard = Heard::default();
    let plan = stage.engine.plan(&stage.tenant, None, &mut heard);
    plan.await.unwrap()
}

/// Returns the plan of an object.
fn of<'p>(plan: &'p TenantPlan, object: &str) -> &'p ObjectPlan {
    let mut objects = plan.objects.iter();
    let found = objects.find(|one| one.object.as_str() == object).unwrap();
    assert_eq!(found.problem, None);
    found
}

/// Returns the records by what would be done.
fn work(plan: &ObjectPlan) -> Json {
    json!(plan.work)
}

/// Returns the content of every table of the database.
async fn content(stage: &Stage) -> Vec<Json> {
    let tables = stage
        .rows(
            "select format('%I.%I', schemaname, tablename) as name from pg_tables
            where schemaname in ('public', 'syncline') order by 1",
        )
        .await;
    let mut content = Vec::new();
    for table in tables {
        let name = table["name"].as_str().unwrap();
        let rows = format!(
            "select coalesce(jsonb_agg(to_jsonb(one) order by one::text), '[]') from {name} as one"
        );
        content.push(json!([name, stage.one(&rows).await]));
    }
    content
}

/// A row of each kind, and its record.
async fn both_sides(stage: &Stage) {
    stage
        .sql(
            "insert into account (external_id, name, phone) values
                ('same', 'Same', '1'),
                ('differs', 'Here', '1'),
                ('CASE', 'Case', '1'),
                ('MiXed', 'Mixed', null),
                ('twice', 'Twice', null),
                ('TWICE', 'Twice', null),
                ('only-here', 'Here alone', null),
                (null, 'Nameless', null);
            insert into contact (external_id, last_name, account_external_id) values
                ('c-same', 'Same', 'same'),
                ('c-here', 'Here', 'only-here')",
        )
        .await;
    let account = |key: Option<&str>, name: &str, phone: Option<&str>| {
        stage.org.insert(
            "Account",
            json!({"External_Id__c": key, "Name": name, "Phone": phone}),
        )
    };
    let same = account(Some("same"), "Same", Some("1"));
    account(Some("differs"), "There", Some("1"));
    account(Some("case"), "Case", Some("1"));
    account(Some("mIxEd"), "Mixed", None);
    account(Some("twice"), "Twice", None);
    account(Some("only-there"), "There alone", None);
    account(None, "Nameless", None);
    stage.org.insert(
        "Contact",
        json!({"External_Id__c": "c-same", "LastName": "Same", "AccountId": same}),
    );
    stage.org.insert(
        "Contact",
        json!({"External_Id__c": "c-there", "LastName": "There", "AccountId": same}),
    );
}

#[tokio::test]
async fn plan_needs_no_control_plane_and_says_what_the_first_load_would_do() {
    let stage = Stage::prepared(MAPPING).await;
    both_sides(&stage).await;
    let plan = planned(&stage).await;
    assert!(!plan.has_control_plane);
    let account = of(&plan, "Account");
    assert_eq!(
        work(account),
        json!({
            "create_in_postgres": 2,
            "create_in_salesforce": 2,
            "update_in_postgres": 1,
            "update_in_salesforce": 3,
            "generate_id": 2,
            "conflict": 1,
            "park": 1,
            "equal": 1,
        }),
        "{:?}",
        account.samples
    );
    assert_eq!(
        (account.in_salesforce, account.in_postgres, account.records),
        (7, 8, 9)
    );
    let contact = of(&plan, "Contact");
    assert_eq!(
        work(contact),
        json!({"create_in_postgres": 1, "equal": 1, "create_in_salesforce": 1}),
    );
}

#[tokio::test]
async fn plan_writes_nothing_on_either_side() {
    for installed in [false, true] {
        let stage = Stage::prepared(MAPPING).await;
        both_sides(&stage).await;
        if installed {
            stage.install().await;
            stage
                .engine
                .enqueue_existing_rows(&stage.tenant)
                .await
                .unwrap();
            stage.drain().await;
            stage
                .sql("update account set name = 'Edited'; delete from contact")
                .await;
        }
        let before = (content(&stage).await, stage.org.writing_calls());
        let plan = planned(&stage).await;
        assert!(plan.objects.iter().all(|object| object.records > 0));
        let after = (content(&stage).await, stage.org.writing_calls());
        assert_eq!(before.1, after.1, "the org was written to");
        assert!(before.0 == after.0, "the database was written to");
    }
}

#[tokio::test]
async fn jobs_do_what_the_plan_says() {
    let stage = Stage::prepared(MAPPING).await;
    both_sides(&stage).await;
    let plan = planned(&stage).await;
    let (rows, records) = (8 + 2, 7 + 2);
    stage.install().await;
    stage
        .engine
        .enqueue_existing_rows(&stage.tenant)
        .await
        .unwrap();
    stage.drain().await;
    stage.make_due().await;
    stage.drain().await;
    let sum = |work: Work| plan.objects.iter().map(|one| one.of(work)).sum::<u64>();
    let rows_now = stage
        .one("(select count(*) from account) + (select count(*) from contact)")
        .await;
    let records_now = stage.org.count("Account") + stage.org.count("Contact");
    assert_eq!(rows_now, json!(rows + sum(Work::CreateInPostgres)));
    assert_eq!(
        json!(records_now),
        json!(records + sum(Work::CreateInSalesforce))
    );
    assert_eq!(
        json!(stage.conflicts().await.len()),
        json!(sum(Work::Conflict))
    );

    let after = planned(&stage).await;
    assert!(after.has_control_plane);
    assert_eq!(
        work(of(&after, "Account")),
        json!({"conflict": 1, "park": 1, "equal": 7})
    );
    let parked = stage
        .one("select count(*) from syncline.sync_task where state = 'parked'")
        .await;
    assert_eq!(parked, json!(sum(Work::Park)));
    assert_eq!(work(of(&after, "Contact")), json!({"equal": 3}));
}

#[tokio::test]
async fn plan_of_a_changed_configuration_decides_by_it() {
    let mut stage = Stage::prepared(MAPPING).await;
    both_sides(&stage).await;
    stage.install().await;
    stage
        .engine
        .enqueue_existing_rows(&stage.tenant)
        .await
        .unwrap();
    stage.drain().await;
    stage.configure(&with_line("seed = \"postgres\""));
    let plan = planned(&stage).await;
    let account = of(&plan, "Account");
    assert_eq!(
        work(account),
        json!({"update_in_salesforce": 1, "park": 1, "equal": 7})
    );
    let name = FieldName::parse("Name").unwrap();
    assert_eq!(account.fields[&name].to_salesforce, 1);
}

#[tokio::test]
async fn rows_and_records_that_went_are_planned_as_deletes() {
    let stage = Stage::open().await;
    both_sides(&stage).await;
    stage
        .engine
        .enqueue_existing_rows(&stage.tenant)
        .await
        .unwrap();
    stage.drain().await;
    stage
        .org
        .delete(&stage.org.id_of("Account", "only-there").unwrap());
    stage
        .sql("delete from account where external_id in ('only-here', 'CASE')")
        .await;
    let plan = planned(&stage).await;
    let account = work(of(&plan, "Account"));
    assert_eq!(account["delete_in_postgres"], json!(1), "{account}");
    assert_eq!(account["delete_in_salesforce"], json!(2), "{account}");
}

#[tokio::test]
async fn row_whose_record_is_outside_the_filter_is_left_alone() {
    let stage = Stage::prepared(&with_line("where = \"Industry = 'Energy'\"")).await;
    let account = |key: &str, industry: &str| {
        let fields = json!({"External_Id__c": key, "Name": key, "Industry": industry});
        stage.org.insert("Account", fields)
    };
    account("inside", "Energy");
    account("outside", "Retail");
    stage
        .sql("insert into account (external_id, name) values ('outside', 'Here'), ('new', 'New')")
        .await;
    let plan = planned(&stage).await;
    assert_eq!(
        work(of(&plan, "Account")),
        json!({"create_in_postgres": 1, "create_in_salesforce": 1, "filtered_out": 1})
    );
}

#[tokio::test]
async fn every_page_of_both_sides_is_planned() {
    let stage = Stage::prepared(MAPPING).await;
    stage
        .sql(
            "insert into account (external_id, name)
            select 'K-' || number, 'Name ' || number from generate_series(1, 4500) as number",
        )
        .await;
    for number in 3_001..=5_200 {
        let key = format!("K-{number}");
        stage.org.insert(
            "Account",
            json!({"External_Id__c": key, "Name": format!("Name {number}")}),
        );
    }
    let mut heard = Heard::default();
    let account = ObjectName::parse("Account").unwrap();
    let plan = stage
        .engine
        .plan(&stage.tenant, Some(&account), &mut heard)
        .await
        .unwrap();
    assert_eq!(plan.objects.len(), 1);
    assert_eq!(
        work(of(&plan, "Account")),
        json!({"create_in_postgres": 700, "create_in_salesforce": 3_000, "equal": 1_500})
    );
    let lane = plan.objects[0].lanes[&Lane::Collections];
    assert_eq!((lane.records, lane.calls), (3_000, 15));
    assert_eq!(heard.records.len(), 5_200);
    assert!(
        heard.pages > 2 + 3,
        "several pages of each side: {}",
        heard.pages
    );
}

#[tokio::test]
async fn object_that_cannot_be_read_does_not_stop_the_others() {
    let stage = Stage::prepared(MAPPING).await;
    both_sides(&stage).await;
    stage.sql("drop table contact").await;
    let plan = planned(&stage).await;
    assert_eq!(of(&plan, "Account").of(Work::Conflict), 1);
    let problem = plan.objects[1].problem.as_ref().unwrap();
    assert!(problem.contains("contact does not exist"), "{problem}");
}

#[tokio::test]
async fn install_that_would_be_refused_is_said() {
    let stage = Stage::prepared(MAPPING).await;
    for name in ["Ada", "Bob", "Eve"] {
        stage.org.insert("Account", json!({"Name": name}));
    }
    stage
        .sql("insert into account (external_id, name) values ('1', 'Ada')")
        .await;
    let plan = planned(&stage).await;
    let account = of(&plan, "Account");
    assert!(account.is_held && account.needs_person());
    assert!(
        account.notes[0].contains("`syncline install` refuses"),
        "{:?}",
        account.notes
    );
    assert_eq!(account.of(Work::GenerateId), 3);
}

#[tokio::test]
async fn lookups_to_parents_that_neither_side_has_are_withheld() {
    let stage = Stage::prepared(MAPPING).await;
    stage
        .sql(
            "insert into account (external_id, name, parent_external_id) values
                ('top', 'Top', null), ('below', 'Below', 'top'), ('lost', 'Lost', 'nowhere');
            insert into contact (external_id, last_name, account_external_id) values
                ('c-1', 'Good', 'TOP'), ('c-2', 'Lost', 'nowhere')",
        )
        .await;
    let plan = planned(&stage).await;
    for (object, key, field) in [
        ("Account", "lost", "ParentId"),
        ("Contact", "c-2", "AccountId"),
    ] {
        let plan = of(&plan, object);
        assert_eq!(plan.of(Work::Withhold), 1, "{:?}", plan.reasons);
        let [reason] = plan.reasons.as_slice() else {
            panic!("one reason: {:?}", plan.reasons)
        };
        let found = (
            reason.code.as_str(),
            reason.key.as_str(),
            reason.field.as_ref().unwrap().as_str(),
        );
        assert_eq!(found, ("missing_parent", key, field));
    }
}

#[tokio::test]
async fn rebuilt_table_is_named_before_its_rows_count_as_deleted() {
    let stage = Stage::open().await;
    both_sides(&stage).await;
    stage
        .engine
        .enqueue_existing_rows(&stage.tenant)
        .await
        .unwrap();
    stage.drain().await;
    stage
        .sql(
            "alter table contact rename to contact_before;
            create table contact (like contact_before including all)",
        )
        .await;
    let plan = planned(&stage).await;
    let contact = of(&plan, "Contact");
    assert_eq!(contact.of(Work::DeleteInSalesforce), 3);
    assert!(contact.is_held);
    assert!(
        contact.notes[0].contains("was recreated since"),
        "{:?}",
        contact.notes
    );
}
