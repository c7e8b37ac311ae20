//! The document that is checked in is the one that the tables make.

use std::path::Path;

use forebay_model::{kinds, openapi};

//= test API-DOCUMENT-01
#[test]
fn the_document_that_is_checked_in_is_that_of_the_tables() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../controller/openapi/controller.json");
    let document = openapi::document();
    let text = serde_json::to_string(&document).expect("text").replace("},\"", "},\n\"") + "\n";
    if std::env::var_os("FOREBAY_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("room");
        std::fs::write(&file, &text).expect("room");
    }
    let held = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        held == text,
        "{} differs: run this test with FOREBAY_BLESS=1, and look at what changed",
        file.display()
    );
    let paths = document["paths"].as_object().expect("paths");
    for kind in kinds() {
        assert!(paths.contains_key(&format!("/api/{}", kind.path)), "{}", kind.path);
        assert!(
            document["components"]["schemas"][kind.name]["properties"]["uuid"].is_object(),
            "{}",
            kind.path
        );
    }
}
