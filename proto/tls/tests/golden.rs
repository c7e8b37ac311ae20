//! First messages of clients, and others.

mod kit;

use forebay_tls_hello::{HELLO_BYTES_MAX, Malformed, Peek, peek};
use kit::{asks_for, content, message, records, server_name};

/// The name of a whole message.
#[track_caller]
fn name(bytes: &[u8]) -> Option<String> {
    match peek(bytes) {
        Ok(Peek::Done(hello)) => hello.name.map(|name| name.as_str().to_owned()),
        other => panic!("{other:?}"),
    }
}

fn with(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    records(&message(&content(Some(extensions))), &[16_384])
}

//= test TLS-HELLO-PARTS-01
#[test]
fn a_name_is_found_among_whatever_else_there_is() {
    assert_eq!(name(&asks_for("app.test")).as_deref(), Some("app.test"));
    assert_eq!(name(&asks_for("APP.Test")).as_deref(), Some("app.test"), "names have no case");
    assert_eq!(name(&with(&[(43, vec![2, 3, 4])])), None);
    assert_eq!(name(&with(&[])), None);
    assert_eq!(name(&records(&message(&content(None)), &[16_384])), None, "TLS 1.2 without extensions");
    // Of an encrypted client hello, the name that everybody may see.
    let hidden = with(&[(0xfe0d, vec![0; 250]), server_name(b"public.test"), (41, vec![1; 90])]);
    assert_eq!(name(&hidden).as_deref(), Some("public.test"));
    let longest = "a".repeat(63) + "." + &"b".repeat(63) + "." + &"c".repeat(63) + "." + &"d".repeat(61);
    assert_eq!(name(&asks_for(&longest)), Some(longest));
}

//= test TLS-HELLO-RECORD-01
#[test]
fn records_may_cut_a_message_anywhere() {
    let whole = message(&content(Some(&[(5, vec![0; 700]), server_name(b"app.test")])));
    for sizes in [&[1][..], &[2, 3], &[4], &[5, 1, 300], &[100], &[16_384]] {
        let bytes = records(&whole, sizes);
        assert_eq!(name(&bytes).as_deref(), Some("app.test"), "{sizes:?}");
        let behind = [&bytes[..], b"\x17\x03\x03\0\0what else comes"].concat();
        assert_eq!(peek(&behind), peek(&bytes), "what follows is not looked at");
        let Ok(Peek::Done(hello)) = peek(&bytes) else { panic!("whole") };
        assert_eq!(hello.len, bytes.len());
    }
    // Another message in the last record.
    let two = [whole.clone(), vec![11, 0, 0, 0]].concat();
    let bytes = records(&two, &[16_384]);
    let Ok(Peek::Done(hello)) = peek(&bytes) else { panic!("whole") };
    assert_eq!(hello.len, bytes.len() - 4);
    let good = records(&whole, &[200]);
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        peek(&bytes)
    };
    assert_eq!(changed(205, 23), Err(Malformed::Record), "data between the records of a handshake");
    assert_eq!(changed(206, 2), Err(Malformed::Record), "another version");
    let empty = [&good[..205], &[22, 3, 1, 0, 0], &good[205..]].concat();
    assert_eq!(peek(&empty), Err(Malformed::Record), "an empty record");
    let long = [&[22, 3, 1, 0x40, 1][..], &whole].concat();
    assert_eq!(peek(&long), Err(Malformed::Record), "a record that is too long");
}

//= test TLS-HELLO-RECORD-01
#[test]
fn what_is_no_tls_is_told_by_its_first_bytes() {
    for other in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"SSH-2.0-x\r\n",
        b"\x80\x2e\x01\0\x02",
        b"\x16\x02\0\0\0",
        b"\x15\x03\x01\0\x02\x02\x28",
        b"\0",
    ] {
        assert_eq!(peek(other), Err(Malformed::Start), "{other:?}");
    }
    assert_eq!(peek(b""), Ok(Peek::NeedMore));
    assert_eq!(peek(b"\x16\x03\x01\0\x01\x02"), Err(Malformed::Kind), "a server's message");
}

//= test TLS-HELLO-LENGTH-01
#[test]
fn one_that_is_too_long_is_refused_as_soon_as_that_is_known() {
    assert_eq!(peek(b"\x16\x03\x01\x3f\xff\x01\x00\x40\x01"), Err(Malformed::TooLong), "it says so");
    // It fits by itself, and not with the heads of its records.
    let tiny = records(&message(&content(Some(&[(21, vec![0; 15_000])]))), &[4]);
    assert_eq!(peek(&tiny[..HELLO_BYTES_MAX - 1]), Ok(Peek::NeedMore));
    assert_eq!(peek(&tiny[..HELLO_BYTES_MAX]), Err(Malformed::TooLong));
    assert_eq!(peek(&tiny), Err(Malformed::TooLong));
    let large =
        records(&message(&content(Some(&[(21, vec![0; 15_000]), server_name(b"app.test")]))), &[16_384]);
    assert_eq!(name(&large).as_deref(), Some("app.test"));
}

//= test TLS-HELLO-NAME-01
#[test]
fn names_that_could_be_read_in_two_ways_are_refused() {
    let of = |data: &[u8]| peek(&with(&[(0, data.to_vec())]));
    let twice = [server_name(b"one.test"), (5, vec![]), server_name(b"two.test")];
    assert_eq!(peek(&with(&twice)), Err(Malformed::Name), "two extensions");
    assert_eq!(of(b"\0\x0a\0\0\x02ab\0\0\x02cd"), Err(Malformed::Name), "two names in one");
    assert_eq!(of(b""), Err(Malformed::Name), "none");
    assert_eq!(of(b"\0\0"), Err(Malformed::Name), "an empty list");
    assert_eq!(of(b"\0\x03\0\0\0"), Err(Malformed::Name), "an empty name");
    assert_eq!(of(b"\0\x05\x01\0\x02ab"), Err(Malformed::Name), "another kind of name");
    assert_eq!(of(b"\0\x05\0\0\x02abc"), Err(Malformed::Name), "something behind the list");
    assert_eq!(of(b"\0\x06\0\0\x02abc"), Err(Malformed::Name), "something behind the name");
    assert_eq!(of(b"\0\x05\0\0\x09ab"), Err(Malformed::Name), "longer than its list");
    for bad in [&b"app.test\0.other.test"[..], b"app test", b"\xc3\xa4.test", b"app\n.test"] {
        assert_eq!(peek(&with(&[server_name(bad)])), Err(Malformed::Name), "{bad:?}");
    }
    assert_eq!(peek(&with(&[server_name(&[b'a'; 256])])), Err(Malformed::Name), "too long for a name");
}

//= test TLS-HELLO-PARTS-01
#[test]
fn parts_that_do_not_fit_into_each_other_are_refused() {
    let good = content(Some(&[server_name(b"app.test"), (5, vec![1, 2, 3])]));
    let changed = |at: usize, to: u8| {
        let mut bytes = good.clone();
        bytes[at] = to;
        peek(&records(&message(&bytes), &[16_384]))
    };
    assert_eq!(changed(34, 33), Err(Malformed::Parts), "a session's id is too long");
    assert_eq!(changed(68, 7), Err(Malformed::Parts), "half a suite");
    assert_eq!(changed(68, 0), Err(Malformed::Parts), "no suite");
    assert_eq!(changed(77, 0), Err(Malformed::Parts), "no compression, not even none");
    assert_eq!(changed(80, 0xff), Err(Malformed::Parts), "extensions that go on behind the end");
    assert_eq!(changed(80, 3), Err(Malformed::Parts), "something behind the extensions");
    for end in 0..good.len() {
        // At the end of the compressions a message without extensions is whole.
        if end != 79 {
            let cut = peek(&records(&message(&good[..end]), &[16_384]));
            assert!(matches!(cut, Err(Malformed::Parts | Malformed::Name)), "cut to {end}: {cut:?}");
        }
    }
}
