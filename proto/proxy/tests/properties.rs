//! What holds for any bytes and any addresses.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use forebay_proxy_protocol::{Parse, Version, WRITTEN_BYTES_MAX, parse, write, write_own};
use proptest::prelude::*;

fn address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn written(version: Version, source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let mut out = [0; WRITTEN_BYTES_MAX];
    let len = write(version, source, destination, &mut out);
    out[..len].to_vec()
}

fn same(a: SocketAddr, b: SocketAddr) -> bool {
    (a.ip().to_canonical(), a.port()) == (b.ip().to_canonical(), b.port())
}

/// Bytes that begin like a header, and more or less go on like one.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let tail = prop::collection::vec(any::<u8>(), 0..300);
    let v2 = (0..=0x22_u8, any::<u8>(), 0..400_u16, tail).prop_map(|(command, family, len, tail)| {
        let family = [0x00, 0x11, 0x12, 0x21, 0x22, 0x31, 0x32, family][usize::from(family % 8)];
        [b"\r\n\r\n\0\r\nQUIT\n", &[0x20 | command & 1, family][..], &len.to_be_bytes(), &tail].concat()
    });
    let text =
        "PROXY (TCP4|TCP6|UNKNOWN|UDP4) [0-9.:a-f]{1,20} [0-9.:a-f]{1,20} [0-9]{1,6} [0-9]{1,6}\r?\n?x{0,80}";
    let text = prop::string::string_regex(text).expect("a pattern").prop_map(String::into_bytes);
    prop_oneof![v2, text]
}

proptest! {
    //= test PP-WRITE-01
    #[test]
    fn what_is_written_reads_back_as_it_was(source in address(), destination in address(), behind in any::<Vec<u8>>()) {
        for version in [Version::V1, Version::V2] {
            let header = written(version, source, destination);
            let bytes = [&header[..], &behind].concat();
            let Ok(Parse::Done(read)) = parse(&bytes) else { panic!("{header:?}") };
            prop_assert_eq!((read.len, read.version), (header.len(), version));
            let named = read.named.expect("somebody");
            prop_assert!(same(named.source, source) && same(named.destination, destination));
            prop_assert_eq!(named.source.is_ipv4(), named.destination.is_ipv4());
        }
    }

    //= test PP-CUT-01
    #[test]
    fn wherever_the_bytes_are_cut_the_outcome_is_the_same(bytes in nearly()) {
        let whole = parse(&bytes);
        let mut first = Ok(Parse::NeedMore);
        for end in 0..=bytes.len() {
            first = parse(&bytes[..end]);
            if first != Ok(Parse::NeedMore) {
                break;
            }
        }
        match (whole, first) {
            (Ok(whole), Ok(first)) => prop_assert_eq!(whole, first),
            (Err(_), Err(_)) => {}
            other => panic!("{other:?}"),
        }
        // What is behind a header says nothing about it.
        if let Ok(Parse::Done(header)) = whole {
            prop_assert_eq!(parse(&bytes[..header.len]), whole);
            prop_assert_eq!(parse(&bytes[..header.len - 1]), Ok(Parse::NeedMore));
        }
    }

    #[test]
    fn no_bytes_at_all_make_it_panic(bytes in any::<Vec<u8>>()) {
        let _ = parse(&bytes);
    }
}

//= test PP-WRITE-01
#[test]
fn the_longest_line_fits() {
    let ip: Ipv6Addr = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().expect("an address");
    let far = SocketAddr::new(ip.into(), u16::MAX);
    let line = written(Version::V1, far, far);
    assert_eq!(line.len(), 104);
    assert!(line.ends_with(b" 65535 65535\r\n"));
}

//= test PP-WRITE-01
#[test]
fn a_header_of_our_own_names_nobody() {
    for version in [Version::V1, Version::V2] {
        let bytes = write_own(version);
        let Ok(Parse::Done(read)) = parse(bytes) else { panic!("{bytes:?}") };
        assert_eq!((read.version, read.len, read.named), (version, bytes.len(), None));
    }
}
