//! Several tenants: one that is broken stops no other, and each has its element in the JSON.

use serde_json::{Value as Json, json};

use crate::scene::Scene;
use crate::secrecy::Running;

const ERROR: &str = "error: zz: the environment variable SYNCLINE_TEST_MISSING_URL is not set";

/// Returns a scene with a second tenant, whose database has no URL.
async fn with_broken_tenant() -> Scene {
    let scene = Scene::set().await;
    scene.add_tenants(&["zz".to_owned()], "env:UNUSED");
    scene.point_tenant_at("zz", "env:SYNCLINE_TEST_MISSING_URL");
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_tenant_does_not_stop_the_others() {
    let scene = with_broken_tenant().await;
    for words in [
        ["status"].as_slice(),
        &["check"],
        &["conflicts", "list"],
        &["deadletters", "list"],
        &["deadletters", "replay", "--all"],
        &["discarded"],
        &["compare"],
        &["migrate"],
        &["install"],
        &["pause"],
        &["resume"],
        &["deletes", "approve", "Account"],
        &["adopt", "--yes"],
        &["uninstall", "--yes"],
    ] {
        let (status, printed) = scene.failing(words).await;
        assert_eq!(status, 1, "{words:?}");
        assert!(printed.contains(ERROR), "{words:?}: {printed}");
        let answer = match words {
            ["conflicts", ..] => "no open conflicts",
            ["deadletters", "list"] => "no dead letters",
            ["discarded"] => "no discarded values",
            _ => "acme:",
        };
        assert!(printed.contains(answer), "{words:?}: {printed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_is_a_list_with_one_element_a_tenant() {
    let scene = with_broken_tenant().await;
    for (words, member) in [
        (["migrate"].as_slice(), "done"),
        (&["check"], "findings"),
        (&["install"], "enqueued"),
        (&["status"], "objects"),
        (&["conflicts", "list"], "conflicts"),
        (&["deadletters", "list"], "dead_letters"),
        (&["deadletters", "replay", "--all"], "replayed"),
        (&["discarded"], "discarded_values"),
        (&["compare"], "objects"),
        (&["pause"], "state"),
        (&["resume"], "state"),
        (&["deletes", "approve", "Account"], "approved"),
        (&["adopt", "--yes"], "found"),
        (&["uninstall", "--yes"], "done"),
    ] {
        let (_, printed) = scene.failing(&[words, &["--json"]].concat()).await;
        let (json, _) = printed.split_once("\nerror:").expect("an error too");
        let answers: Json = serde_json::from_str(json).expect("it prints JSON");
        let names: Vec<&Json> = answers.as_array().expect("a list").iter().collect();
        let [acme, zz] = names.as_slice() else {
            panic!("{words:?}: {printed}")
        };
        assert_eq!(
            (&acme["tenant"], &zz["tenant"]),
            (&Json::from("acme"), &Json::from("zz"))
        );
        assert!(!acme[member].is_null(), "{words:?}: {printed}");
        let fix = zz["fix"].as_str().expect("a fix");
        assert!(fix.contains("export SYNCLINE_TEST_MISSING_URL"), "{fix}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hidden_field_at_the_start_stops_no_tenant() {
    let scene = Scene::set().await;
    scene.add_tenants(&["zz".to_owned()], &scene.secret());
    // The second tenant does not map the field.
    scene.change_config(|config, _| {
        let (acme, zz) = config.split_at(config.find("[tenant.zz]").expect("the tenant"));
        format!(
            "{acme}{}",
            zz.replace("Phone = { column = \"phone\" }\n", "")
        )
    });
    scene
        .sql("create table account_zz (like account including all)")
        .await;
    scene.syncline(&["install"]).await;
    scene
        .sql("insert into account (external_id, name, phone) values ('C-1042', 'Ada', '1')")
        .await;
    scene.drain().await;
    scene.hide(&["Account.Phone"]);
    scene
        .sql(
            "update account set name = 'Ada Ltd', phone = '2';
            insert into account_zz (external_id, name) values ('Z-1', 'Zoe')",
        )
        .await;
    let run_until = async |is_done: &dyn Fn() -> bool| {
        let mut run = Running(scene.command(&["run"]).spawn().expect("it runs"));
        while !is_done() {
            assert!(run.0.try_wait().expect("its state").is_none(), "it ended");
            tokio::task::yield_now().await;
        }
        run.end();
    };
    run_until(&|| scene.field("Name") == json!("Ada Ltd") && scene.accounts() == 2).await;
    assert_eq!(scene.field("Phone"), json!("1"));
    let (status, printed) = scene.failing(&["status"]).await;
    assert_eq!(status, 1);
    let (acme, zz) = printed.split_at(printed.find("zz: ").expect("the tenant"));
    let alarm = "PROBLEM: changes of Account (Phone) are withheld since ";
    assert!(acme.contains(alarm), "{printed}");
    assert!(!zz.contains("PROBLEM"), "{printed}");

    scene.hide(&[]);
    run_until(&|| scene.field("Phone") == json!("2")).await;
    scene.syncline(&["status"]).await;
}
