//! Headers with what must come of them, each naming its rule.

use forebay_proxy_protocol::{HEADER_BYTES_MAX, Malformed, Parse, Version, parse};

const MARK: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x34, 0x01, 0xbb];

/// What must come of the bytes.
enum Want {
    /// A header of so many bytes that names this client and what it connected to.
    Names(usize, &'static str, &'static str),
    /// A header of so many bytes that names nobody.
    Nobody(usize),
    More,
    Refused(Malformed),
}
use Want::{More, Names, Nobody, Refused};

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = (rest.len() as u16).to_be_bytes();
    [MARK, &[command, family], &len, rest].concat()
}

fn with_values(values: &[u8]) -> Vec<u8> {
    v2(0x21, 0x11, &[V4, values].concat())
}

fn cases() -> Vec<(&'static str, Vec<u8>, Want)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let v6 = [
        &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1][..],
        &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2],
        &[0x12, 0x34, 0x01, 0xbb],
    ]
    .concat();
    let full = "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535 ";
    let longest = format!("{full}{}\r\n", "x".repeat(105 - full.len()));
    let too_long = format!("{full}{}\r\n", "x".repeat(106 - full.len()));
    let endless = "PROXY TCP4 ".to_owned() + &"1".repeat(200);
    let unix = v2(0x21, 0x31, &[b'/'; 216]);
    // The sum was made by another program.
    let summed = |sum: [u8; 4]| with_values(&[&[3, 0, 4][..], &sum].concat());
    vec![
        (
            "PP-V1-01",
            text("PROXY TCP4 192.0.2.1 198.51.100.2 4660 443\r\nGET"),
            Names(44, "192.0.2.1:4660", "198.51.100.2:443"),
        ),
        (
            "PP-V1-01",
            text("PROXY TCP6 2001:db8::1 2001:db8::2 4660 443\r\n"),
            Names(45, "[2001:db8::1]:4660", "[2001:db8::2]:443"),
        ),
        (
            "PP-V1-01",
            text("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n"),
            Names(37, "[::ffff:192.0.2.1]:1", "[::1]:2"),
        ),
        (
            "PP-V1-01",
            text("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"),
            Names(44, "0.0.0.0:0", "255.255.255.255:65535"),
        ),
        ("PP-V1-01", text("PROXY UNKNOWN\r\n"), Nobody(15)),
        ("PP-V1-01", text("PROXY UNKNOWN what ever 1 2\r\n"), Nobody(29)),
        ("PP-V1-01", longest.into_bytes(), Nobody(107)),
        ("PP-V1-01", too_long.into_bytes(), Refused(Malformed::TooLong)),
        ("PP-V1-01", endless.into_bytes(), Refused(Malformed::TooLong)),
        ("PP-V1-01", text(""), More),
        ("PP-V1-01", text("P"), More),
        ("PP-V1-01", text("PROXY"), More),
        ("PP-V1-01", text("PROXY TCP4 192.0.2.1 198.51.100.2 4660 443\r"), More),
        ("PP-V1-01", text("PROXY TCP4 192.0.2.1 198.51.100.2 4660 443\n"), Refused(Malformed::Line)),
        ("PP-V1-01", text("PROXY TCP4 192.0.2.1 198.51.100.2 4660 443\rX"), Refused(Malformed::Line)),
        ("PP-V1-01", text("PROXY TCP4 192.0.2.1 198.51.100.2 4660\r\n"), Refused(Malformed::Line)),
        ("PP-V1-01", text("PROXY TCP4 192.0.2.1 198.51.100.2 4660 443 \r\n"), Refused(Malformed::Line)),
        ("PP-V1-01", text("PROXY TCP4 192.0.2.1 198.51.100.2 4660 443 1\r\n"), Refused(Malformed::Line)),
        ("PP-V1-01", text("PROXY TCP4  192.0.2.1 198.51.100.2 4660 443\r\n"), Refused(Malformed::Address)),
        ("PP-V1-01", text("PROXY TCP4\t192.0.2.1 198.51.100.2 4660 443\r\n"), Refused(Malformed::Line)),
        ("PP-V1-01", text("PROXY TCP4 192.0.2.1\0 198.51.100.2 4660 443\r\n"), Refused(Malformed::Line)),
        ("PP-V1-01", text("PROXY TCP4 192.0.2.256 198.51.100.2 4660 443\r\n"), Refused(Malformed::Address)),
        ("PP-V1-01", text("PROXY TCP4 192.0.2.01 198.51.100.2 4660 443\r\n"), Refused(Malformed::Address)),
        ("PP-V1-01", text("PROXY TCP4 192.0.2 198.51.100.2 4660 443\r\n"), Refused(Malformed::Address)),
        ("PP-V1-01", text("PROXY TCP4 2001:db8::1 2001:db8::2 4660 443\r\n"), Refused(Malformed::Address)),
        ("PP-V1-01", text("PROXY TCP6 192.0.2.1 198.51.100.2 4660 443\r\n"), Refused(Malformed::Address)),
        ("PP-V1-01", text("PROXY TCP6 fe80::1%eth0 2001:db8::2 4660 443\r\n"), Refused(Malformed::Address)),
        ("PP-V1-01", text("PROXY TCP6 [2001:db8::1] 2001:db8::2 4660 443\r\n"), Refused(Malformed::Address)),
        ("PP-V1-01", text("PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n"), Refused(Malformed::Port)),
        ("PP-V1-01", text("PROXY TCP4 192.0.2.1 198.51.100.2 +80 443\r\n"), Refused(Malformed::Port)),
        ("PP-V1-01", text("PROXY TCP4 192.0.2.1 198.51.100.2 080 443\r\n"), Refused(Malformed::Port)),
        ("PP-V1-01", text("PROXY TCP4 192.0.2.1 198.51.100.2  443\r\n"), Refused(Malformed::Port)),
        ("PP-V1-01", text("PROXY UDP4 192.0.2.1 198.51.100.2 4660 443\r\n"), Refused(Malformed::Family)),
        ("PP-V1-01", text("PROXY tcp4 192.0.2.1 198.51.100.2 4660 443\r\n"), Refused(Malformed::Family)),
        ("PP-V1-01", text("PROXY UNKNOWNX\r\n"), Refused(Malformed::Family)),
        ("PP-V1-01", text("PROXY \r\n"), Refused(Malformed::Family)),
        ("PP-V1-01", text("proxy TCP4 192.0.2.1 198.51.100.2 4660 443\r\n"), Refused(Malformed::Start)),
        ("PP-V1-01", text("GET / HTTP/1.1\r\n"), Refused(Malformed::Start)),
        ("PP-V1-01", text(" PROXY TCP4"), Refused(Malformed::Start)),
        ("PP-V2-01", with_values(b""), Names(28, "192.0.2.1:4660", "198.51.100.2:443")),
        (
            "PP-V2-01",
            [with_values(b""), b"GET / HTTP/1.1".to_vec()].concat(),
            Names(28, "192.0.2.1:4660", "198.51.100.2:443"),
        ),
        ("PP-V2-01", v2(0x21, 0x21, &v6), Names(52, "[2001:db8::1]:4660", "[2001:db8::2]:443")),
        ("PP-V2-01", v2(0x20, 0x00, b""), Nobody(16)),
        ("PP-V2-01", v2(0x20, 0x11, V4), Nobody(28)),
        ("PP-V2-01", v2(0x20, 0xff, b"what ever"), Nobody(25)),
        ("PP-V2-01", v2(0x21, 0x00, b"what ever"), Nobody(25)),
        ("PP-V2-01", v2(0x21, 0x12, V4), Nobody(28)),
        ("PP-V2-01", v2(0x21, 0x22, &v6), Nobody(52)),
        ("PP-V2-01", unix, Nobody(232)),
        ("PP-V2-01", v2(0x21, 0x31, &[b'/'; 215]), Refused(Malformed::Address)),
        ("PP-V2-01", MARK.to_vec(), More),
        ("PP-V2-01", MARK[..3].to_vec(), More),
        ("PP-V2-01", with_values(b"")[..27].to_vec(), More),
        ("PP-V2-01", v2(0x11, 0x11, V4), Refused(Malformed::Command)),
        ("PP-V2-01", v2(0x22, 0x11, V4), Refused(Malformed::Command)),
        ("PP-V2-01", v2(0x31, 0x11, V4), Refused(Malformed::Command)),
        ("PP-V2-01", [MARK, &[0x22]].concat(), Refused(Malformed::Command)),
        ("PP-V2-01", v2(0x21, 0x13, V4), Refused(Malformed::Family)),
        ("PP-V2-01", v2(0x21, 0x41, V4), Refused(Malformed::Family)),
        ("PP-V2-01", v2(0x21, 0x11, &V4[..11]), Refused(Malformed::Address)),
        ("PP-V2-01", v2(0x21, 0x21, &v6[..35]), Refused(Malformed::Address)),
        ("PP-V2-01", b"\r\n\r\n\0\r\nQUIT\r".to_vec(), Refused(Malformed::Start)),
        ("PP-LENGTH-01", v2(0x20, 0, &vec![0; HEADER_BYTES_MAX - 16]), Nobody(HEADER_BYTES_MAX)),
        ("PP-LENGTH-01", v2(0x20, 0, &vec![0; HEADER_BYTES_MAX - 15]), Refused(Malformed::TooLong)),
        ("PP-LENGTH-01", [MARK, &[0x21, 0x11, 0xff, 0xff]].concat(), Refused(Malformed::TooLong)),
        ("PP-VALUES-01", with_values(&[4, 0, 0]), Names(31, "192.0.2.1:4660", "198.51.100.2:443")),
        (
            "PP-VALUES-01",
            with_values(&[1, 0, 2, b'h', b'2', 4, 0, 1, 0]),
            Names(37, "192.0.2.1:4660", "198.51.100.2:443"),
        ),
        ("PP-VALUES-01", with_values(&[4]), Refused(Malformed::Values)),
        ("PP-VALUES-01", with_values(&[4, 0]), Refused(Malformed::Values)),
        ("PP-VALUES-01", with_values(&[4, 0, 1]), Refused(Malformed::Values)),
        ("PP-VALUES-01", with_values(&[1, 0xff, 0xff, 0]), Refused(Malformed::Values)),
        ("PP-VALUES-01", summed(SUM), Names(35, "192.0.2.1:4660", "198.51.100.2:443")),
        ("PP-VALUES-01", summed([0; 4]), Refused(Malformed::Checksum)),
        ("PP-VALUES-01", with_values(&[3, 0, 3, 0, 0, 0]), Refused(Malformed::Values)),
        ("PP-VALUES-01", with_values(&[3, 0, 5, 0, 0, 0, 0, 0]), Refused(Malformed::Values)),
    ]
}

/// The CRC-32C of the header with its own place zero.
const SUM: [u8; 4] = [0xf6, 0x03, 0xd2, 0x3a];

//= test PP-V1-01
//= test PP-V2-01
//= test PP-LENGTH-01
//= test PP-VALUES-01
#[test]
fn every_golden_header_comes_out_as_written() {
    let cases = cases();
    assert!(cases.len() >= 70, "a case is gone");
    for (rule, bytes, want) in cases {
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let got = parse(&bytes);
        match (want, got) {
            (Names(len, source, destination), Ok(Parse::Done(header))) => {
                let named = header.named.unwrap_or_else(|| panic!("{rule}: nobody is named in {shown:?}"));
                assert_eq!(header.len, len, "{rule}: {shown:?}");
                let ends = (named.source.to_string(), named.destination.to_string());
                assert_eq!(ends, (source.to_owned(), destination.to_owned()), "{rule}: {shown:?}");
                let is_text = bytes.starts_with(b"PROXY");
                assert_eq!(header.version, if is_text { Version::V1 } else { Version::V2 });
            }
            (Nobody(len), Ok(Parse::Done(header))) => {
                assert_eq!((header.len, header.named), (len, None), "{rule}: {shown:?}");
            }
            (More, Ok(Parse::NeedMore)) => {}
            (Refused(why), Err(got)) => assert_eq!(got, why, "{rule}: {shown:?}"),
            (_, got) => panic!("{rule}: {got:?} came of {shown:?}"),
        }
    }
}
