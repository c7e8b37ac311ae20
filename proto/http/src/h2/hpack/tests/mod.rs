//! The examples of RFC 7541 appendix C, and what both tables promise.

#![allow(clippy::unwrap_used, reason = "a test that fails shall panic")]

use alloc::string::String;
use alloc::vec::Vec;
use alloc::{format, vec};

use super::*;
use crate::h2::error::Rule;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// The lines of a block as text; `!` in front of those that are never indexed.
fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, Rule> {
    let (mut cursor, mut buf, mut lines) = (Cursor::default(), Vec::new(), Vec::new());
    while let Some(line) = decoder.next(block, &mut cursor, false, &mut buf)? {
        let name = match line.kind {
            Kind::Method => ":method",
            Kind::Scheme => ":scheme",
            Kind::Authority => ":authority",
            Kind::Path => ":path",
            Kind::Status => ":status",
            _ => core::str::from_utf8(line.name.of(&buf)).unwrap(),
        };
        let value = core::str::from_utf8(line.value.of(&buf)).unwrap();
        assert_eq!(line.cost, name.len() + value.len() + 32, "{name}");
        lines.push(format!("{}{name}: {value}", if line.never_indexed { "!" } else { "" }));
    }
    Ok(lines)
}

/// Blocks with what they say and the size of the table behind each.
fn vectors(blocks: &[(&str, &[&str], usize)]) {
    let mut decoder = Decoder::new();
    for (hex, lines, size) in blocks {
        assert_eq!(read(&mut decoder, &bytes(hex)).unwrap(), *lines, "{hex}");
        assert_eq!(decoder.table().size(), *size, "{hex}");
    }
}

#[test]
fn single_fields_are_read_as_in_appendix_c_2() {
    let custom = "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572";
    vectors(&[(custom, &["custom-key: custom-header"], 55)]);
    vectors(&[("040c 2f73 616d 706c 652f 7061 7468", &[":path: /sample/path"], 0)]);
    vectors(&[("1008 7061 7373 776f 7264 0673 6563 7265 74", &["!password: secret"], 0)]);
    vectors(&[("82", &[":method: GET"], 0)]);
}

#[test]
fn requests_are_read_as_in_appendices_c_3_and_c_4() {
    let first: &[&str] = &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
    let second = &[first, &["cache-control: no-cache"]].concat();
    let third: &[&str] = &[
        ":method: GET",
        ":scheme: https",
        ":path: /index.html",
        ":authority: www.example.com",
        "custom-key: custom-value",
    ];
    vectors(&[
        ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", first, 57),
        ("8286 84be 5808 6e6f 2d63 6163 6865", second, 110),
        ("8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", third, 164),
    ]);
    vectors(&[
        ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", first, 57),
        ("8286 84be 5886 a8eb 1064 9cbf", second, 110),
        ("8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", third, 164),
    ]);
}

//= test H2-HPACK-03
#[test]
fn responses_are_read_as_in_appendices_c_5_and_c_6_with_a_table_that_overflows() {
    let first: &[&str] = &[
        ":status: 302",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:21 GMT",
        "location: https://www.example.com",
    ];
    let second = &[&[":status: 307"], &first[1..]].concat();
    let third: &[&str] = &[
        ":status: 200",
        "cache-control: private",
        "date: Mon, 21 Oct 2013 20:13:22 GMT",
        "location: https://www.example.com",
        "content-encoding: gzip",
        "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
    ];
    // In front: a table of 256 bytes.
    vectors(&[
        (
            "3fe101 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a
             3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            first,
            222,
        ),
        ("4803 3330 37c1 c0bf", second, 222),
        (
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a
             6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d
             6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
            third,
            215,
        ),
    ]);
    vectors(&[
        (
            "3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e
             919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            first,
            222,
        ),
        ("4883 640e ffc1 c0bf", second, 222),
        (
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d
             d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106
             3d50 07",
            third,
            215,
        ),
    ]);
}

//= test H2-HPACK-03
#[test]
fn an_entry_larger_than_the_table_empties_it_and_memory_stays_bounded() {
    let mut decoder = Decoder::new();
    for round in 0..2000usize {
        let value = "v".repeat(round % 700);
        let mut block = vec![0x40];
        super::integer::encode(3, 7, 0, &mut block);
        block.extend_from_slice(b"x-a");
        super::integer::encode(value.len(), 7, 0, &mut block);
        block.extend_from_slice(value.as_bytes());
        assert_eq!(read(&mut decoder, &block).unwrap(), [format!("x-a: {value}")]);
        assert!(decoder.table().size() <= 4096);
        // The newest entry is the one just read.
        assert_eq!(read(&mut decoder, &[0xbe]).unwrap(), [format!("x-a: {value}")]);
    }
    // 4,096 bytes hold 128 entries of 24 bytes each at most, and bytes that a growing buffer doubles.
    assert!(decoder.memory() <= 2 * 4096 + 2 * 128 * 24, "{} bytes", decoder.memory());
    let mut large = vec![0x40, 1, b'a'];
    super::integer::encode(4096, 7, 0, &mut large);
    large.extend([b'v'; 4096]);
    read(&mut decoder, &large).unwrap();
    assert_eq!((decoder.table().len(), decoder.table().size()), (0, 0));
    assert_eq!(read(&mut decoder, &[0xbe]), Err(Rule::TableIndex));
}

const FIELDS: &[(&str, &str)] = &[
    (":status", "200"),
    ("Server", "forebay"),
    ("content-type", "text/html; charset=utf-8"),
    ("X-Request-Id", "4f1c"),
    ("Set-Cookie", "s=1; Secure"),
    ("date", "Sat, 21 Nov 2026 21:00:00 GMT"),
];

fn write(encoder: &mut Encoder, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.begin(&mut out);
    for (name, value) in fields {
        let secret = name.eq_ignore_ascii_case("set-cookie");
        let secrecy = if secret { Secrecy::Never } else { Secrecy::Open };
        encoder.field(name.as_bytes(), value.as_bytes(), secrecy, &mut out);
    }
    out
}

fn shown(fields: &[(&str, &str)]) -> Vec<String> {
    let line = |(name, value): &(&str, &str)| {
        let name = name.to_ascii_lowercase();
        format!("{}{name}: {value}", if name == "set-cookie" { "!" } else { "" })
    };
    fields.iter().map(line).collect()
}

//= test H2-HPACK-06
#[test]
fn what_is_written_is_read_again_whatever_the_sizes_of_the_table() {
    let (mut encoder, mut decoder) = (Encoder::new(4096), Decoder::new());
    let first = write(&mut encoder, FIELDS).len();
    let (mut encoder, mut sizes) = (Encoder::new(4096), [4096, 300, 0, 4096, 600].into_iter().cycle());
    for round in 0..200 {
        if round % 7 == 0 {
            let size = sizes.next().unwrap_or(0);
            encoder.allowed(size);
        }
        let date = format!("date {}", round / 3);
        let mut fields = FIELDS.to_vec();
        fields.push(("date", &date));
        let block = write(&mut encoder, &fields);
        assert_eq!(read(&mut decoder, &block).unwrap(), shown(&fields), "round {round}");
    }
    let mut again = Encoder::new(4096);
    write(&mut again, FIELDS);
    let second = write(&mut again, FIELDS).len();
    assert!(second * 2 < first, "{second} bytes the second time, {first} the first");
}

//= test H2-HPACK-06
#[test]
fn a_size_in_between_that_was_smaller_is_said_too() {
    let mut encoder = Encoder::new(4096);
    let mut decoder = Decoder::new();
    read(&mut decoder, &write(&mut encoder, FIELDS)).unwrap();
    encoder.allowed(0);
    encoder.allowed(2000);
    let block = write(&mut encoder, &FIELDS[..1]);
    assert_eq!(block[..4], [0x20, 0x3f, 0xb1, 0x0f], "first 0, then 2,000");
    read(&mut decoder, &block).unwrap();
    assert_eq!(decoder.table().len(), 0);
    // A smaller bound of our own is said before anybody asks.
    assert_eq!(write(&mut Encoder::new(0), &FIELDS[..1]), [0x20, 0x88]);
}

#[test]
fn a_smaller_table_that_was_announced_must_be_taken_up_at_once() {
    let mut decoder = Decoder::new();
    decoder.announced(100);
    assert_eq!(read(&mut decoder, &[0x82]), Err(Rule::TableUpdateMissing));
    let mut decoder = Decoder::new();
    decoder.announced(100);
    assert_eq!(read(&mut decoder, &[0x3f, 0x45, 0x82]).unwrap(), [":method: GET"]);
    assert_eq!(read(&mut decoder, &[0x3f, 0x46, 0x82]), Err(Rule::TableUpdateLarge));
}
