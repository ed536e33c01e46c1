//! Does every file of this repository keep the house rules?

use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("tests/tidy is two levels deep")
}

#[test]
fn every_file_keeps_the_house_rules() {
    let sources = syncline_tidy::sources(root()).expect("the repository can be read");
    assert!(
        sources
            .iter()
            .any(|source| source.path == "core/src/lib.rs"),
        "the walk missed the engine"
    );

    let broken: Vec<String> = sources
        .iter()
        .flat_map(syncline_tidy::Source::violations)
        .map(|found| found.to_string())
        .collect();
    assert!(
        broken.is_empty(),
        "house rules are broken:\n{}",
        broken.join("\n")
    );
}

#[test]
fn every_link_leads_somewhere_and_the_book_has_every_page() {
    let sources = syncline_tidy::sources(root()).expect("the repository can be read");
    let broken: Vec<String> = syncline_tidy::pages::violations(root(), &sources)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert!(
        broken.is_empty(),
        "links are broken:\n{}",
        broken.join("\n")
    );
}
