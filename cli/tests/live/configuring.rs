//! The configuration: where its paths start, and what a change of it does to a running process.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::json;

use crate::scene::Scene;
use crate::secrecy::{Running, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_start_at_the_folder_of_the_configuration() {
    let scene = Scene::set().await;
    scene.change_config(|config, folder| {
        config.replace(&format!("file:{}/", folder.display()), "file:")
    });
    let mut elsewhere = scene.command(&["status"]);
    let ended = elsewhere.current_dir("/").output().expect("it runs");
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_process_takes_a_changed_configuration() {
    let scene = Scene::set().await;
    let mut run = scene.command(&["run"]);
    let run = run.stderr(Stdio::piped()).spawn().expect("it runs");
    let mut run = Running(run);
    let mut log = BufReader::new(run.0.stderr.take().expect("its log")).lines();
    scene
        .sql("insert into account (external_id, name, phone) values ('C-1042', 'Ada', '1')")
        .await;
    let agreed = "select count(*) from syncline.sync_link where agreed";
    wait_for(&scene, agreed, 1).await;

    // It has a mistake: reported, and the one before is kept.
    let valid = scene.change_config(|config, _| config.replace("table =", "tabel ="));
    let refused = log.find(|line| {
        let line = line.as_ref().expect("a line");
        line.contains("the new configuration cannot be used") && line.contains("tabel")
    });
    assert!(refused.is_some(), "it is reported");
    scene
        .sql("update account set name = 'Bob', phone = '2'")
        .await;
    while scene.field("Name") != json!("Bob") {
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.field("Phone"), json!("2"));

    // The phone is mapped no more.
    scene.change_config(|_, _| valid.replace("Phone = { column = \"phone\" }\n", ""));
    let taken = log.find(|line| {
        let line = line.as_ref().expect("a line");
        assert!(
            !line.contains("cannot be used"),
            "it is reported once: {line}"
        );
        line.contains("acme runs with the new configuration")
    });
    assert!(taken.is_some(), "it is taken");
    scene
        .sql("update account set name = 'Cem', phone = '3'")
        .await;
    while scene.field("Name") != json!("Cem") {
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.field("Phone"), json!("2"));
    run.end();
}
