//! What every store does, whatever it is made of.

use std::path::Path;

use super::*;

/// Runs the whole suite on an empty store that `open` gives, and on what it gives again after that one is closed.
pub async fn run<S: Store>(open: impl AsyncFn() -> S, folder: &Path) {
    let store = open().await;
    steps(&store).await;
    pages(&store).await;
    changes(&store).await;
    bounds(&store).await;
    let before = store.list("", None, 10_000).await.expect("readable");
    let copy = folder.join("copy");
    store.backup(&copy).await.expect("a copy");
    let again = store.backup(&copy).await.expect_err("a backup overwrites nothing");
    assert!(again.to_string().contains("there already"), "{again}");
    drop(store);
    assert_eq!(
        open().await.list("", None, 10_000).await.expect("readable").entries,
        before.entries,
        "it is kept"
    );
    let copy = Embedded::open(&copy).expect("whole");
    assert_eq!(copy.list("", None, 10_000).await.expect("readable"), before);
    assert_eq!(copy.changes(before.revision, 1).await, Ok(Vec::new()));
    let next = copy.commit(Step::default().write("next", bytes("x"))).await.expect("room");
    assert_eq!(next, before.revision + 1, "a copy goes on where the store was");
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    Some(text.as_bytes().to_vec())
}

async fn steps(store: &impl Store) {
    assert_eq!(store.get("a").await, Ok(None));
    let first =
        store.commit(Step::default().demand("a", None).write("a", bytes("1")).write("b", bytes("2"))).await;
    let first = first.expect("nobody else");
    assert_eq!(store.get("b").await, Ok(Some(Stored { value: b"2".to_vec(), revision: first })));
    for demand in [None, Some(first + 1), Some(0)] {
        let step = Step::default().demand("a", demand).write("a", bytes("x")).write("c", bytes("x"));
        assert_eq!(store.commit(step).await, Err(Refusal::Conflict("a".to_owned())), "{demand:?}");
    }
    assert_eq!(store.get("c").await, Ok(None), "of a step that is refused nothing is written");
    let second =
        store.commit(Step::default().demand("a", Some(first)).write("a", bytes("3")).write("b", None)).await;
    assert!(second.expect("as demanded") > first);
    assert_eq!(store.get("b").await, Ok(None));
    assert_eq!(store.get("a").await.expect("readable").expect("there").value, b"3");
    let twice = Step::default().write("twice", bytes("1")).write("twice", None).write("twice", bytes("3"));
    store.commit(twice).await.expect("two writes of one key");
    assert_eq!(
        store.get("twice").await.expect("readable").expect("there").value,
        b"3",
        "the last one counts"
    );
    let never = Step::default().demand("none", Some(0)).write("none", bytes("x"));
    assert_eq!(store.commit(never).await, Err(Refusal::Conflict("none".to_owned())), "no key stands at 0");
    let race = |value| store.commit(Step::default().demand("race", None).write("race", bytes(value)));
    let (one, other) = tokio::join!(race("1"), race("2"));
    assert!(one.is_ok() != other.is_ok(), "one of two is first: {one:?}, {other:?}");
}

async fn pages(store: &impl Store) {
    for number in 0..25 {
        let step = Step::default().write(format!("page/{number:02}"), bytes("x")).write("pagf", bytes("y"));
        store.commit(step).await.expect("room");
    }
    let mut seen = Vec::new();
    loop {
        let after = seen.last().cloned();
        let page = store.list("page/", after.as_deref(), 10).await.expect("readable");
        if page.entries.is_empty() {
            break;
        }
        assert!(page.entries.len() <= 10);
        seen.extend(page.entries.into_iter().map(|(key, _)| key));
    }
    let wanted: Vec<String> = (0..25).map(|number| format!("page/{number:02}")).collect();
    assert_eq!(seen, wanted);
    assert!(store.list("page/", Some("z"), 10).await.expect("readable").entries.is_empty());
    let many = |from: u64| {
        (from..from + 100).fold(Step::default(), |step, n| step.write(format!("many/{n:03}"), bytes("x")))
    };
    for from in [0, 100, 200] {
        store.commit(many(from)).await.expect("room");
    }
    let all = store.list("many/", None, 250).await.expect("readable").entries;
    assert_eq!((all.len(), all[249].0.as_str()), (250, "many/249"), "as many as are asked for");
    assert_eq!(store.list("many/", Some("many/249"), 250).await.expect("readable").entries.len(), 50);
}

async fn changes(store: &impl Store) {
    let since = store.list("none/", None, 1).await.expect("readable").revision;
    assert_eq!(store.changes(since, 10).await, Ok(Vec::new()));
    let one =
        store.commit(Step::default().write("f/1", bytes("1")).write("f/2", bytes("2"))).await.expect("room");
    let two = store.commit(Step::default().write("f/1", None)).await.expect("room");
    let told = store.changes(since, 10).await.expect("kept");
    let short: Vec<(u64, &str)> = told.iter().map(|change| (change.revision, change.key.as_str())).collect();
    assert_eq!(short, [(one, "f/1"), (one, "f/2"), (two, "f/1")]);
    assert_eq!((&told[1].value, &told[2].value), (&bytes("2"), &None));
    assert_eq!(store.changes(since, 1).await.expect("kept").len(), 2, "a step is told whole");
    assert_eq!(store.changes(two + 1, 10).await, Err(Refusal::Forgotten), "nobody has seen the future");
}

async fn bounds(store: &impl Store) {
    let refused = |step| async move {
        let refusal = store.commit(step).await.expect_err("too large");
        assert!(matches!(refusal, Refusal::TooLarge(_)), "{refusal}");
    };
    refused(Step::default().write("large", Some(vec![0; VALUE_BYTES_MAX + 1]))).await;
    refused(Step::default().write("k".repeat(KEY_BYTES_MAX + 1), bytes("x"))).await;
    refused((0..=STEP_MAX).fold(Step::default(), |step, number| step.write(format!("{number}"), bytes("x"))))
        .await;
    let half = || Some(vec![7; super::STEP_BYTES_MAX / 2 + 1]);
    refused(Step::default().write("one", half()).write("other", half())).await;
    let full = (0..STEP_MAX).fold(Step::default(), |step, number| {
        step.demand(format!("full/{number}"), None).write(format!("full/{number}"), bytes("x"))
    });
    store.commit(full).await.expect("as many as it takes");
    store
        .commit(Step::default().write("large", Some(vec![7; VALUE_BYTES_MAX])))
        .await
        .expect("as much as it takes");
    let held = store.get("large").await.expect("readable").expect("there");
    assert!(held.value.len() == VALUE_BYTES_MAX && held.value.iter().all(|byte| *byte == 7));
    store.commit(Step::default().write("large", None)).await.expect("room");
}

//= test API-STORE-01
//= test API-STORE-03
#[test]
fn the_embedded_store_does_what_a_store_does() {
    let folder = Folder::new("suite");
    let file = folder.0.join("store");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(run(async || Embedded::open(&file).expect("whole"), &folder.0));
}

#[test]
fn a_file_that_another_process_has_or_that_is_none_of_ours_is_refused() {
    let folder = Folder::new("taken");
    let file = folder.0.join("store");
    let first = Embedded::open(&file).expect("new");
    let refusal = Embedded::open(&file).err().expect("taken");
    assert!(refusal.to_string().contains("another process"), "{refusal}");
    drop(first);
    std::fs::write(folder.0.join("text"), "this is no store".repeat(1000)).expect("room");
    let refusal = Embedded::open(&folder.0.join("text")).err().expect("no store");
    assert!(matches!(refusal, Refusal::Damaged(_)) && refusal.to_string().contains("backup"), "{refusal}");
}

//= test API-STORE-02
#[test]
fn of_a_damaged_file_nothing_wrong_is_ever_read() {
    let folder = Folder::new("damaged");
    let file = folder.0.join("store");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let value = |number: usize| vec![number as u8; 700 + number % 300];
    {
        let store = Embedded::open(&file).expect("new");
        for chunk in 0..8 {
            let step = (0..100).fold(Step::default(), |step, number| {
                step.write(format!("object/{:04}", chunk * 100 + number), Some(value(chunk * 100 + number)))
            });
            runtime.block_on(store.commit(step)).expect("room");
        }
    }
    let good = std::fs::read(&file).expect("a file");
    let (mut refused, mut harmless) = (0, 0);
    let mut seed = 1_u64;
    for _ in 0..40 {
        let mut bad = good.clone();
        for _ in 0..64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (seed >> 20) as usize % bad.len();
            bad[at] ^= 1 << (seed >> 60 & 7);
        }
        std::fs::write(&file, &bad).expect("room");
        match Embedded::open(&file) {
            Err(refusal) => {
                assert!(matches!(refusal, Refusal::Damaged(_)), "{refusal}");
                refused += 1;
            }
            Ok(store) => {
                let all = runtime.block_on(store.list("object/", None, 1000)).expect("readable");
                assert_eq!(all.entries.len(), 800);
                for (number, (_, held)) in all.entries.iter().enumerate() {
                    assert!(held.value == value(number), "wrong data was read");
                }
                harmless += 1;
            }
        }
    }
    println!("{refused} damaged files were refused, in {harmless} nothing that is used was hit");
    assert!(refused > 0);
}

/// A folder that goes with its test.
pub struct Folder(pub std::path::PathBuf);

impl Folder {
    /// A new one.
    pub fn new(name: &str) -> Self {
        Self::below(&std::env::temp_dir(), name)
    }

    /// A new one in memory, if there is room: an etcd is waited for by the second, and the disk of a machine that builds stands
    /// still for as long.
    pub fn in_memory(name: &str) -> Self {
        let memory = std::path::Path::new("/dev/shm");
        let free = rustix::fs::statvfs(memory).map_or(0, |disk| disk.f_bavail * disk.f_frsize);
        if free >> 30 > 0 { Self::below(memory, name) } else { Self::new(name) }
    }

    fn below(place: &std::path::Path, name: &str) -> Self {
        let folder = place.join(format!("forebay-controller-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a place for files");
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
