//! A fence in SSM, which cannot compare and set: refused, throttled, out of reach, and overtaken by another copy.

use std::sync::Arc;

use syncline::config::FenceRef;
use syncline::engine::SyncEngine;
use syncline::host::fence::fence;
use syncline::job::error::Error;

use crate::fence::{capture, pass_a_minute};
use crate::parameters::{Fate, Parameters};
use crate::stage::Stage;

/// A stage whose engine has a fence in SSM.
struct Fenced {
    stage: Stage,
    engine: SyncEngine,
    parameters: Parameters,
}

impl Fenced {
    async fn open() -> Self {
        let stage = Stage::open().await;
        let parameters = Parameters::new().await;
        let place = FenceRef::Ssm("/syncline/acme/fence".to_owned());
        let engine = SyncEngine::builder()
            .tenant(
                stage.config.clone(),
                Arc::new(stage.store.clone()),
                Arc::clone(&stage.salesforce),
            )
            .fence(&stage.tenant, fence(&place, &parameters.aws().await))
            .build();
        Self {
            stage,
            engine,
            parameters,
        }
    }

    /// Runs a job.
    async fn work(&self) -> Result<usize, Error> {
        capture(&self.stage, &self.engine).await
    }

    /// Runs a job after so many minutes.
    async fn work_after(&self, minutes: i32) -> Result<usize, Error> {
        pass_a_minute(&self.stage.pool, minutes).await;
        self.work().await
    }

    /// Returns what `status` says of the fence, if it cannot be used.
    async fn problem(&self) -> Option<String> {
        let status = self.stage.store.status(&self.stage.tenant).await;
        status.unwrap().fence_problem
    }
}

#[tokio::test]
async fn parameter_is_created_then_replaced_once_a_minute() {
    let fenced = Fenced::open().await;
    for (minutes, version) in [(0, 1), (0, 1), (2, 2), (0, 2), (2, 3)] {
        fenced.work_after(minutes).await.unwrap();
        assert_eq!(fenced.parameters.version(), version);
    }
}

#[tokio::test]
async fn throttled_fence_is_tried_again_and_holds_nothing() {
    let fenced = Fenced::open().await;
    let parameters = &fenced.parameters;
    parameters.next("GetParameter", 2, Fate::Throttled);
    fenced.work().await.unwrap();
    assert_eq!((parameters.version(), parameters.fates_left()), (1, 0));

    for call in ["GetParameter", "PutParameter"] {
        let version = parameters.version();
        // A write is attempted once: two versions would look like another copy's write.
        let times = if call == "GetParameter" { 3 } else { 1 };
        parameters.next(call, times, Fate::Throttled);
        fenced.work_after(2).await.unwrap();
        assert_eq!(
            (parameters.version(), parameters.fates_left()),
            (version, 0)
        );
        let problem = fenced.problem().await.unwrap();
        assert!(problem.contains("Rate exceeded"), "{problem}");
        fenced.work_after(2).await.unwrap();
        assert_eq!(parameters.version(), version + 1);
        assert_eq!(fenced.problem().await, None);
    }
}

#[tokio::test]
async fn refused_fence_holds_until_it_is_allowed() {
    for call in ["GetParameter", "PutParameter"] {
        let fenced = Fenced::open().await;
        fenced.parameters.next(call, 1, Fate::Refused);
        let held = fenced.work().await.unwrap_err();
        assert!(held.is_database_held(), "{held}");
        assert!(
            held.to_string().contains("may be read and written"),
            "{held}"
        );
        let problem = fenced.problem().await.unwrap();
        assert!(problem.contains("AccessDeniedException"), "{problem}");
        fenced.work_after(2).await.expect("it ends by itself");
        assert_eq!(fenced.parameters.version(), 1);
        assert_eq!(fenced.problem().await, None);
    }
}

#[tokio::test]
async fn parameter_store_that_is_down_holds_after_fifteen_minutes() {
    let fenced = Fenced::open().await;
    fenced.work().await.unwrap();
    fenced.parameters.set_down(true);
    fenced.work_after(10).await.unwrap();
    let problem = fenced.problem().await.unwrap();
    assert!(problem.contains("cannot be reached"), "{problem}");
    let held = fenced.work_after(10).await.unwrap_err();
    assert!(held.to_string().contains("15 minutes"), "{held}");
    fenced.parameters.set_down(false);
    fenced.work_after(2).await.expect("it ends by itself");
    assert_eq!(fenced.parameters.version(), 2);
}

#[tokio::test]
async fn lost_answer_of_a_move_is_no_other_copy() {
    let fenced = Fenced::open().await;
    fenced.work().await.unwrap();
    fenced.parameters.next("PutParameter", 1, Fate::AnswerLost);
    fenced.work_after(2).await.unwrap();
    assert_eq!(fenced.parameters.version(), 2, "it was written once");
    assert!(fenced.problem().await.is_some());
    fenced.work_after(2).await.unwrap();
    assert_eq!(fenced.parameters.version(), 3);
    assert_eq!(fenced.problem().await, None);
}

#[tokio::test]
async fn move_that_loses_to_another_copy_holds() {
    for moves_before in [0, 1] {
        let fenced = Fenced::open().await;
        for _ in 0..moves_before {
            fenced.work().await.unwrap();
        }
        let overtaken = Fate::OvertakenBy("other db:5432/app");
        fenced.parameters.next("PutParameter", 1, overtaken);
        let held = fenced.work_after(2).await.unwrap_err();
        assert!(held.to_string().contains("another copy"), "{held}");
        let held = fenced.work_after(2).await.unwrap_err();
        assert!(held.is_database_held(), "{held}");
        fenced
            .stage
            .store
            .adopt_database(&fenced.stage.tenant)
            .await
            .unwrap();
        fenced.work_after(2).await.expect("a person has decided");
        assert_eq!(fenced.problem().await, None);
    }
}
