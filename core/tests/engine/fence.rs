//! Two physical copies of one database behind one address: the fence shows them to each other.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use secrecy::SecretString;
use serde_json::json;
use sqlx::PgPool;
use syncline::capture::CaptureOptions;
use syncline::config::FenceRef;
use syncline::engine::SyncEngine;
use syncline::host::aws::Aws;
use syncline::host::fence::fence;
use syncline::job::error::Error;
use syncline::ports::database::DatabaseState;
use syncline::store::{PgStore, PgStoreOptions};

use crate::stage::Stage;

/// Lets one address lead to the server whose socket is in `folder`.
fn lead(address: &Path, folder: &Path) {
    let _ = std::fs::remove_file(address);
    symlink(folder, address).unwrap();
}

fn engine(stage: &Stage, url: &str, place: &FenceRef) -> (PgStore, SyncEngine) {
    let options = PgStoreOptions {
        // A second connection of the original, opened later, would lead to the copy.
        connections_max: 1,
        ..PgStoreOptions::new(SecretString::from(url))
    };
    let store = PgStore::open(&options).unwrap();
    let engine = SyncEngine::builder()
        .tenant(
            stage.config.clone(),
            Arc::new(store.clone()),
            Arc::clone(&stage.salesforce),
        )
        .fence(&stage.tenant, fence(place, &Arc::new(Aws::default())))
        .build();
    (store, engine)
}

pub(crate) async fn capture(stage: &Stage, engine: &SyncEngine) -> Result<usize, Error> {
    let options = CaptureOptions::draining(stage.deadline());
    let captured = engine.capture_postgres(&stage.tenant, &options).await?;
    Ok(captured.counts.seen)
}

/// Lets the minute between two moves pass in one of the copies.
pub(crate) async fn pass_a_minute(pool: &PgPool, minutes: i32) {
    let earlier = "update syncline.sync_database
        set fence_moved_at = fence_moved_at - make_interval(mins => $1),
            fence_claimed_at = fence_claimed_at - make_interval(mins => $1)";
    sqlx::query(earlier)
        .bind(minutes)
        .execute(pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn physical_copy_behind_the_same_address_is_held() {
    let stage = Stage::alone().await;
    let folder = tempfile::tempdir().unwrap();
    let place = FenceRef::File(folder.path().join("fence").display().to_string());
    let address = folder.path().join("db");
    let url = format!(
        "postgres://postgres@localhost/{}?host={}",
        stage.database_name(),
        address.display()
    );
    lead(&address, &stage.database().socket_folder());
    let (store, original) = engine(&stage, &url, &place);
    stage
        .sql("insert into account (external_id, name) values ('a-1', 'Ada')")
        .await;
    assert_eq!(capture(&stage, &original).await.unwrap(), 1);

    let copy = stage.database().physical_copy();
    let copied = PgPool::connect(copy.url()).await.unwrap();
    // The original goes on, and later another operator starts the copy under the same name.
    pass_a_minute(&stage.pool, 2).await;
    capture(&stage, &original).await.unwrap();
    lead(&address, &copy.socket_folder());
    let (in_copy, second) = engine(&stage, &url, &place);
    sqlx::query("update account set phone = '7'")
        .execute(&copied)
        .await
        .unwrap();
    pass_a_minute(&copied, 2).await;
    let held = capture(&stage, &second).await.unwrap_err();
    assert!(
        held.to_string().contains("another copy of this database"),
        "{held}"
    );
    assert!(
        held.to_string().contains(&address.display().to_string()),
        "{held}"
    );
    let state = in_copy.status(&stage.tenant).await.unwrap().database;
    assert!(matches!(state, DatabaseState::Fenced { .. }), "{state:?}");
    pass_a_minute(&stage.pool, 2).await;
    capture(&stage, &original)
        .await
        .expect("the original is not affected");

    // A person lets the copy go on; then the original is held.
    in_copy.adopt_database(&stage.tenant).await.unwrap();
    assert_eq!(capture(&stage, &second).await.unwrap(), 1);
    pass_a_minute(&stage.pool, 2).await;
    let held = capture(&stage, &original).await.unwrap_err();
    assert!(held.is_database_held(), "{held}");
    store.close().await;
    in_copy.close().await;
}

#[tokio::test]
async fn fence_out_of_reach_holds_after_a_quarter_of_an_hour() {
    let stage = Stage::open().await;
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("shared");
    std::fs::create_dir(&inner).unwrap();
    let place = FenceRef::File(inner.join("fence").display().to_string());
    let (store, engine) = engine(&stage, stage.url_text(), &place);
    capture(&stage, &engine).await.unwrap();

    std::fs::rename(&inner, folder.path().join("gone")).unwrap();
    pass_a_minute(&stage.pool, 10).await;
    capture(&stage, &engine)
        .await
        .expect("an outage does not hold at once");
    let status = store.status(&stage.tenant).await.unwrap();
    assert!(status.fence_problem.is_some(), "{status:?}");
    pass_a_minute(&stage.pool, 10).await;
    let held = capture(&stage, &engine).await.unwrap_err();
    assert!(held.to_string().contains("15 minutes"), "{held}");

    std::fs::rename(folder.path().join("gone"), &inner).unwrap();
    pass_a_minute(&stage.pool, 2).await;
    capture(&stage, &engine).await.expect("it ends by itself");
    let problems = "select count(fence_problem) from syncline.sync_database";
    assert_eq!(stage.one(problems).await, json!(0));
}

#[tokio::test]
async fn value_of_an_interrupted_move_is_still_ours() {
    let stage = Stage::open().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fence");
    let place = FenceRef::File(path.display().to_string());
    let (_, engine) = engine(&stage, stage.url_text(), &place);
    capture(&stage, &engine).await.unwrap();
    // The process ended between its two transactions, after it had written the file.
    stage
        .sql("update syncline.sync_database set fence_known = fence_known || 'interrupted'::text")
        .await;
    std::fs::write(&path, "interrupted").unwrap();
    pass_a_minute(&stage.pool, 2).await;
    capture(&stage, &engine).await.unwrap();
    std::fs::write(&path, "foreign db:5432/app").unwrap();
    pass_a_minute(&stage.pool, 2).await;
    let held = capture(&stage, &engine).await.unwrap_err();
    assert!(held.to_string().contains("db:5432/app"), "{held}");
}
