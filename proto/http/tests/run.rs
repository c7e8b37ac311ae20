//! Content that a driver passes on without looking at it.

use forebay_http::Limits;
use forebay_http::h1::Framing;
use forebay_http::h1::body::Decoder;

/// Reads `input`, but skips up to `step` bytes of content at a time wherever some come next; gives the bytes that were
/// skipped, and those behind the message.
fn skip_all(framing: Framing, input: &[u8], step: u64) -> (Vec<u8>, Vec<u8>) {
    let mut decoder = Decoder::new(framing, &Limits::default());
    let (mut at, mut skipped) = (0, Vec::new());
    while !decoder.is_done() && at < input.len() {
        let run = decoder.run().min(step).min((input.len() - at) as u64);
        if run > 0 {
            skipped.extend_from_slice(&input[at..at + run as usize]);
            decoder.skip(run);
            at += run as usize;
        } else {
            let one = decoder.decode(&input[at..=at]).expect("no rule is broken");
            assert!(one.data.is_empty(), "content is never offered where there is none to skip");
            at += one.consumed;
        }
    }
    assert!(framing == Framing::UntilClose || decoder.is_done());
    (skipped, input[at..].to_vec())
}

//= test SE-MOVE-04
#[test]
fn what_is_skipped_is_the_content_and_nothing_else_in_any_framing() {
    for step in [1, 7, 100, u64::MAX] {
        let chunks = b"3;x=y\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nT: v\r\n\r\nnext";
        let got = skip_all(Framing::Chunked, chunks, step);
        assert_eq!(got, (b"abc0123456789abcdef".to_vec(), b"next".to_vec()), "steps of {step}");
        let got = skip_all(Framing::Length(5), b"12345next", step);
        assert_eq!(got, (b"12345".to_vec(), b"next".to_vec()), "steps of {step}");
        let got = skip_all(Framing::UntilClose, b"12345", step);
        assert_eq!(got, (b"12345".to_vec(), Vec::new()), "steps of {step}");
    }
    assert_eq!(Decoder::new(Framing::Chunked, &Limits::default()).run(), 0, "a size comes first");
    assert_eq!(Decoder::new(Framing::None, &Limits::default()).run(), 0);
    let bounded = Limits { body_bytes: 9, ..Limits::default() };
    assert_eq!(Decoder::new(Framing::UntilClose, &bounded).run(), 9, "no more than the limit allows");
}
