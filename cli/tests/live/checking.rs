//! What `check` reports, with its fix.

use crate::scene::Scene;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn choices_of_one_side_are_a_warning() {
    let scene = Scene::set().await;
    scene
        .sql(
            "create type industry as enum ('Retail');
            alter table account alter industry type industry using null",
        )
        .await;
    let printed = scene.syncline(&["check"]).await;
    let warning =
        "industry of type industry lacks 31 of the values of Industry (Agriculture, Apparel, ";
    assert!(printed.contains(warning), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn object_that_does_not_exist_has_a_suggestion() {
    let scene = Scene::set().await;
    scene.change_config(|config, _| config.replace("object = \"Account\"", "object = \"Acount\""));
    let (status, printed) = scene.failing(&["check"]).await;
    assert_eq!(status, 1);
    assert!(printed.contains("did you mean Account?"), "{printed}");
    let unmapped = "capture of Account is installed, but it is not mapped";
    assert!(printed.contains(unmapped), "{printed}");
}
