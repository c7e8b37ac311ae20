//! First messages as clients make them, and as none does.
#![allow(dead_code, reason = "each test program takes what it needs")]

/// A ClientHello's content: suites of a usual client, and these extensions; `None`: no extensions at all.
pub fn content(extensions: Option<&[(u16, Vec<u8>)]>) -> Vec<u8> {
    let mut out = vec![3, 3];
    out.extend([7; 32]);
    out.push(32);
    out.extend([9; 32]);
    // The first one is what clients make up so that servers stay tolerant (RFC 8701).
    out.extend([0, 8, 0x0a, 0x0a, 0x13, 1, 0x13, 2, 0xc0, 0x2f]);
    out.extend([1, 0]);
    if let Some(list) = extensions {
        let bytes: Vec<u8> = list
            .iter()
            .flat_map(|(kind, data)| {
                [&kind.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
            })
            .collect();
        out.extend((bytes.len() as u16).to_be_bytes());
        out.extend(bytes);
    }
    out
}

/// The extension with a name.
pub fn server_name(name: &[u8]) -> (u16, Vec<u8>) {
    let len = name.len() as u16;
    (0, [&(len + 3).to_be_bytes()[..], &[0], &len.to_be_bytes(), name].concat())
}

/// The message of a content.
pub fn message(content: &[u8]) -> Vec<u8> {
    let len = content.len() as u32;
    [&[1], &len.to_be_bytes()[1..], content].concat()
}

/// The message in records of at most so many bytes each, in turn.
pub fn records(message: &[u8], sizes: &[usize]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = message;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = sizes.next().copied().unwrap_or(16_384).clamp(1, 16_384).min(rest.len());
        let (one, more) = rest.split_at(size);
        out.extend([22, 3, 1]);
        out.extend((size as u16).to_be_bytes());
        out.extend(one);
        rest = more;
    }
    out
}

/// A usual message that asks for this name.
pub fn asks_for(name: &str) -> Vec<u8> {
    let extensions =
        [(0x1a1a, vec![]), server_name(name.as_bytes()), (16, b"\0\x0c\x02h2\x08http/1.1".to_vec())];
    records(&message(&content(Some(&extensions))), &[16_384])
}
