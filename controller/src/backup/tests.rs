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

//= test CTL-BACKUP-02
#[tokio::test]
async fn a_restore_destroys_neither_the_key_of_another_store_nor_a_certificate() {
    let (from, to) = (Folder::new("key-from"), Folder::new("key-to"));
    let file = from.0.join("backup");
    let store = filled(&from.0).await;
    fs::write(from.0.join(CERTIFICATE[0]), "of the backup").expect("room");
    write(&store, &from.0, &file, WORDS).await.expect("written");
    let all = |folder: &Path| -> std::collections::BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
        entries
            .map(|entry| {
                (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).expect("it"))
            })
            .collect()
    };
    // The store was moved away, as people are told to, and its key was not.
    fs::write(to.0.join(KEY), [9; 32]).expect("room");
    let before = all(&to.0);
    let refusal = read(&file, &to.0, WORDS).await.expect_err("the key of another store");
    assert!(refusal.contains("not the key of this backup") && refusal.contains("move it"), "{refusal}");
    assert_eq!(all(&to.0), before, "nothing has changed");
    // Its own key is no hindrance; another certificate is set aside, and that once.
    fs::write(to.0.join(KEY), [7; 32]).expect("room");
    fs::write(to.0.join(CERTIFICATE[0]), "newer").expect("room");
    read(&file, &to.0, WORDS).await.expect("it fits");
    let after = all(&to.0);
    assert_eq!(after["api.crt"], b"of the backup");
    assert_eq!(after["api.crt.before"], b"newer");
    assert_eq!(after.keys().collect::<Vec<_>>(), ["api.crt", "api.crt.before", KEY, STORE]);
    fs::remove_file(to.0.join(STORE)).expect("it is there");
    read(&file, &to.0, WORDS).await.expect("the same once more");
    fs::remove_file(to.0.join(STORE)).expect("it is there");
    fs::write(to.0.join(CERTIFICATE[0]), "newer still").expect("room");
    let refusal = read(&file, &to.0, WORDS).await.expect_err("two to set aside");
    assert!(refusal.contains("api.crt.before is there already"), "{refusal}");
    assert!(!to.0.join(STORE).exists() && !to.0.join("restored.redb").exists());
}

//= test CTL-BACKUP-01
#[tokio::test]
async fn a_backup_takes_nothing_away_that_is_none() {
    let folder = Folder::new("unfinished");
    let store = filled(&folder.0).await;
    let (file, other) = (folder.0.join("x.backup"), folder.0.join("x.unfinished"));
    fs::write(&other, "somebody's").expect("room");
    let rest = folder.0.join("x.backup.unfinished");
    fs::write(&rest, "somebody's too").expect("room");
    let refusal = write(&store, &folder.0, &file, WORDS).await.expect_err("it is in the way");
    assert!(refusal.contains("no backup: move it away"), "{refusal}");
    assert_eq!(fs::read(&rest).expect("it"), b"somebody's too");
    fs::write(&rest, "FOREBAY-BACKUP {and then it was killed").expect("room");
    write(&store, &folder.0, &file, WORDS).await.expect("written");
    assert!(!rest.exists());
    assert_eq!(fs::read(&other).expect("it"), b"somebody's");
}

//= test CTL-BACKUP-02
#[tokio::test]
async fn a_backup_with_a_file_twice_is_refused() {
    let (from, to) = (Folder::new("twice-from"), Folder::new("twice-to"));
    let file = from.0.join("backup");
    let mut out = Sealing::begin(fs::File::create(&file).expect("room"), WORDS, 0).expect("begun");
    for _ in 0..2 {
        out.record(FILE, KEY.as_bytes(), &[7; 32]).expect("room");
    }
    out.record(END, &[], &0_u64.to_be_bytes()).expect("room");
    out.end().expect("room");
    let refusal = read(&file, &to.0, WORDS).await.expect_err("twice");
    assert!(refusal.contains("does not know"), "{refusal}");
}
