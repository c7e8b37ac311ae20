use super::*;
use crate::store::suite::Folder;

const WORDS: &str = "correct horse battery staple";

fn value(number: usize) -> Vec<u8> {
    (0..200 + number * 7).map(|at| u8::try_from((at * 31 + number) % 251).unwrap_or(0)).collect()
}

async fn filled(folder: &Path) -> Embedded {
    let store = Embedded::open(&folder.join(STORE)).expect("new");
    for chunk in 0..5 {
        let step = (0..100).fold(Step::default(), |step, number| {
            let number = chunk * 100 + number;
            step.write(format!("object/{number:04}"), Some(value(number)))
        });
        store.commit(step).await.expect("room");
    }
    fs::write(folder.join(KEY), [7; 32]).expect("room");
    store
}

//= test CTL-BACKUP-01
//= test CTL-BACKUP-02
#[tokio::test]
async fn what_was_backed_up_is_restored_and_nothing_of_it_can_be_read_without_the_passphrase() {
    let (from, to) = (Folder::new("backup-from"), Folder::new("backup-to"));
    let file = from.0.join("backup");
    let store = filled(&from.0).await;
    let counted = write(&store, &from.0, &file, WORDS).await.expect("written");
    assert_eq!(counted, Counted { entries: 500, files: 1 });
    let bytes = fs::read(&file).expect("a file");
    assert!(!bytes.windows(7).any(|window| window == b"object/"), "it can be read");
    let refusal = write(&store, &from.0, &file, WORDS).await.expect_err("it is there");
    assert!(refusal.contains("overwrites nothing"), "{refusal}");

    let refusal = read(&file, &from.0, WORDS).await.expect_err("a store is there");
    assert!(refusal.contains("overwrites no store"), "{refusal}");
    let refusal = read(&file, &to.0, "another passphrase").await.expect_err("wrong");
    assert!(refusal.contains("passphrase does not open"), "{refusal}");
    assert!(fs::read_dir(&to.0).expect("a folder").next().is_none(), "nothing is left of what was refused");
    assert_eq!(read(&file, &to.0, WORDS).await, Ok(counted));
    let again = Embedded::open(&to.0.join(STORE)).expect("whole");
    let values = |entries: Vec<(String, crate::store::Stored)>| -> Vec<(String, Vec<u8>)> {
        entries.into_iter().map(|(key, stored)| (key, stored.value)).collect()
    };
    let (old, new) = (store.list("", None, 1000).await, again.list("", None, 1000).await);
    assert!(values(old.expect("readable").entries) == values(new.expect("readable").entries));
    assert_eq!(fs::read(to.0.join(KEY)).expect("a key"), [7; 32]);
}

//= test CTL-BACKUP-02
#[tokio::test]
async fn a_backup_that_is_damaged_cut_or_of_a_newer_version_is_refused_and_leaves_nothing() {
    let (from, to) = (Folder::new("bad-from"), Folder::new("bad-to"));
    let file = from.0.join("backup");
    let store = filled(&from.0).await;
    write(&store, &from.0, &file, WORDS).await.expect("written");
    let good = fs::read(&file).expect("a file");
    let line = good.iter().position(|byte| *byte == b'\n').expect("a line");
    let mut bad: Vec<(String, Vec<u8>)> = [0, line / 2, line + 1, line + 5000, line + 70_000, good.len() - 1]
        .into_iter()
        .map(|at| {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            (format!("a bit of byte {at}"), bytes)
        })
        .collect();
    for length in [0, line, line + 1, line + 1 + PIECE_SEALED, good.len() - 1] {
        bad.push((format!("cut to {length}"), good[..length].to_vec()));
    }
    let mut swapped = good.clone();
    let (first, second) = (line + 1, line + 1 + PIECE_SEALED);
    swapped[first..first + PIECE_SEALED].copy_from_slice(&good[second..second + PIECE_SEALED]);
    swapped[second..second + PIECE_SEALED].copy_from_slice(&good[first..first + PIECE_SEALED]);
    bad.push(("pieces change places".to_owned(), swapped));
    bad.push(("something behind it".to_owned(), [&good[..], b"x"].concat()));
    for (what, bytes) in bad {
        fs::write(&file, bytes).expect("room");
        let refusal = read(&file, &to.0, WORDS).await.expect_err(&what);
        assert!(refusal.contains("backup"), "{what}: {refusal}");
        assert!(fs::read_dir(&to.0).expect("a folder").next().is_none(), "{what}: something is left");
    }
    let newer = String::from_utf8_lossy(&good[..line]).replace("\"form\":1", "\"form\":2");
    fs::write(&file, [newer.as_bytes(), &good[line..]].concat()).expect("room");
    let refusal = read(&file, &to.0, WORDS).await.expect_err("newer");
    assert!(refusal.contains("form 2") && refusal.contains("restore it by that version"), "{refusal}");
}

/// A piece as it stands in the file.
const PIECE_SEALED: usize = 64 * 1024 + 16;
