//! No value, key or secret reaches a log, whatever goes wrong.

use std::fs::File;
use std::process::{Child, Command};

use salesforce_org::local;
use serde_json::json;

use crate::scene::Scene;

/// A part of every value that the test writes.
const VALUE: &str = "Xyzzy";

/// The external id of the record.
const KEY: &str = "C-1042";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_have_no_value_key_or_secret() {
    let scene = Scene::set().await;
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let file = File::create(&log).expect("a file");
    let mut run = scene.command(&["run"]);
    run.env("RUST_LOG", "syncline=trace")
        .stdout(file.try_clone().expect("the same file"))
        .stderr(file);
    let mut run = Running(run.spawn().expect("it runs"));

    scene
        .sql(
            "insert into account (external_id, name, phone, rating)
            values ('C-1042', 'Xyzzy name', 'Xyzzy phone', 'Xyzzy rating')",
        )
        .await;
    wait_for(
        &scene,
        "select count(*) from syncline.sync_link where agreed",
        1,
    )
    .await;
    // Postgres refuses an edit of Salesforce with a message that quotes it.
    scene
        .sql(
            "create function refuse() returns trigger language plpgsql as $$
            begin
                if new.name = 'Xyzzy refused' then
                    raise exception 'the name % is refused', new.name;
                end if;
                return new;
            end $$;
            create trigger refuse before update on account for each row execute function refuse()",
        )
        .await;
    scene.edit(json!({"Name": "Xyzzy refused"}));
    let letters = "select count(*) from syncline.sync_dead_letter";
    wait_for(&scene, letters, 1).await;
    // Salesforce refuses an edit of Postgres with a message that quotes it.
    scene.refuse_next_write(
        "FIELD_CUSTOM_VALIDATION_EXCEPTION",
        "Xyzzy rating 2 is refused",
    );
    scene
        .sql("update account set rating = 'Xyzzy rating 2', phone = 'Xyzzy phone 2'")
        .await;
    wait_for(&scene, letters, 2).await;
    // A row that cannot be captured at all.
    scene
        .sql("select syncline.emit('Account', 'Xyzzy operation', 'Xyzzy key')")
        .await;
    wait_for(&scene, letters, 3).await;
    run.end();

    let log = std::fs::read_to_string(&log).expect("the log");
    assert!(log.contains("captured changes of Postgres"), "{log}");
    for secret in [VALUE, KEY, local::CLIENT_SECRET] {
        let leak = log.lines().find(|line| line.contains(secret));
        assert_eq!(leak, None, "{secret} is in the log");
    }
    for words in [["status"].as_slice(), &["status", "--json"], &["check"]] {
        let printed = scene.printed(words).await;
        for secret in [VALUE, KEY, local::CLIENT_SECRET] {
            assert!(
                !printed.contains(secret),
                "{words:?} prints {secret}: {printed}"
            );
        }
    }
}

async fn wait_for(scene: &Scene, count: &'static str, at_least: i64) {
    while scene.one(count).await < at_least {
        tokio::task::yield_now().await;
    }
}

/// A process that does not outlive its test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Ends the process as a service manager does, and waits for its end.
    pub(crate) fn end(&mut self) {
        let id = self.0.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.expect("a signal is sent").success());
        let status = self.0.wait().expect("it ends");
        assert!(status.success(), "{status}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has usually ended by itself.
        let _ = self.0.kill();
    }
}
