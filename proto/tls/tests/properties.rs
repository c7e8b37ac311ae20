//! What holds for any bytes, any records and any cuts.

mod kit;

use forebay_tls_hello::{Malformed, Peek, peek};
use kit::{content, message, records, server_name};
use proptest::prelude::*;

/// What is said first as more and more of the bytes are there.
fn first_word(bytes: &[u8]) -> Result<Peek, Malformed> {
    (0..=bytes.len())
        .map(|end| peek(&bytes[..end]))
        .find(|said| *said != Ok(Peek::NeedMore))
        .unwrap_or(Ok(Peek::NeedMore))
}

/// Extensions without a name.
fn extensions() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    prop::collection::vec((1_u16.., prop::collection::vec(any::<u8>(), 0..60)), 0..6)
}

proptest! {
    //= test TLS-HELLO-RECORD-01
    //= test TLS-HELLO-CUT-01
    #[test]
    fn a_name_is_read_wherever_records_and_arrivals_cut_it(
        name in "[A-Za-z0-9-]{1,30}(\\.[A-Za-z0-9_-]{1,30}){0,3}",
        mut before in extensions(),
        behind in extensions(),
        sizes in prop::collection::vec(1_usize..400, 1..8),
        rest in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        before.push(server_name(name.as_bytes()));
        before.extend(behind);
        let bytes = records(&message(&content(Some(&before))), &sizes);
        let Ok(Peek::Done(hello)) = first_word(&[&bytes[..], &rest].concat()) else { panic!("whole") };
        prop_assert_eq!(hello.name.as_ref().map(|name| name.as_str().to_owned()), Some(name.to_ascii_lowercase()));
        prop_assert_eq!(hello.len, bytes.len());
        prop_assert_eq!(peek(&[&bytes[..], &rest].concat()), Ok(Peek::Done(hello)));
    }

    //= test TLS-HELLO-CUT-01
    #[test]
    fn wherever_garbled_bytes_are_cut_the_outcome_is_the_same(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        list in extensions(),
        sizes in prop::collection::vec(1_usize..200, 1..4),
    ) {
        let list: Vec<_> = [server_name(b"app.test")].into_iter().chain(list).collect();
        let mut bytes = records(&message(&content(Some(&list))), &sizes);
        for (at, to) in changes {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        prop_assert_eq!(first_word(&bytes), peek(&bytes));
    }

    #[test]
    fn no_bytes_at_all_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let begun = [&[22, 3, 1, 2, 0, 1, 0, 1, 0xfc][..], &bytes].concat();
        prop_assert_eq!(first_word(&bytes), peek(&bytes));
        prop_assert_eq!(first_word(&begun), peek(&begun));
    }
}
