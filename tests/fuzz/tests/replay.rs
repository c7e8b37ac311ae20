//! Replays the committed corpora through every target.

use std::path::{Path, PathBuf};

use forebay_fuzz::{TARGETS, Target};

#[test]
fn requests_of_the_corpus_break_no_promise() {
    replay("h1_request");
}

#[test]
fn responses_of_the_corpus_break_no_promise() {
    replay("h1_response");
}

#[test]
fn chunks_of_the_corpus_break_no_promise() {
    replay("chunked");
}

#[test]
fn frames_of_the_corpus_break_no_promise() {
    replay("h2_frames");
}

#[test]
fn header_blocks_of_the_corpus_break_no_promise() {
    replay("hpack");
}

#[test]
fn cookies_of_the_corpus_break_no_promise() {
    replay("cookie");
}

#[test]
fn set_cookies_of_the_corpus_break_no_promise() {
    replay("set_cookie");
}

#[test]
fn proxy_headers_of_the_corpus_break_no_promise() {
    replay("proxy_header");
}

//= test TLS-HELLO-CUT-01
#[test]
fn client_hellos_of_the_corpus_break_no_promise() {
    replay("client_hello");
}

//= test SYNC-WIRE-01
#[test]
fn frames_of_object_sync_of_the_corpus_break_no_promise() {
    replay("sync_frames");
}

#[test]
fn members_of_the_corpus_break_no_promise() {
    replay("sync_member");
}

#[test]
fn documents_of_the_corpus_break_no_promise() {
    replay("config");
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let mut folders: Vec<String> =
        std::fs::read_dir(corpus()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    folders.sort();
    let mut names: Vec<String> = TARGETS.iter().map(|t| t.name.to_owned()).collect();
    names.sort();
    assert_eq!(folders, names);
}

/// Fewer inputs mean that a corpus was lost.
const INPUTS_MIN: usize = 20;

fn replay(name: &str) {
    let target: &Target = forebay_fuzz::target(name).unwrap();
    let mut inputs = 0;
    for entry in std::fs::read_dir(corpus().join(name)).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        // Shown only when the target panics: the input that did it.
        println!("{}", path.display());
        (target.run)(&bytes);
        inputs += 1;
    }
    assert!(inputs >= INPUTS_MIN, "only {inputs} inputs for {name}");
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}
