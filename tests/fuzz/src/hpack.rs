//! A second reader of header blocks, written for clearness: the code of each byte as text, tables as lists of pairs.

use std::collections::HashMap;

/// The fields of one block, or that it cannot be read.
pub type Read = Result<Vec<(Vec<u8>, Vec<u8>)>, ()>;

/// Reads blocks one after the other, as RFC 7541 says.
pub struct Reader {
    codes: HashMap<(u32, u8), u16>,
    table: Vec<(Vec<u8>, Vec<u8>)>,
    max: usize,
}

/// Lengths of the codes by RFC 7541 appendix B, as runs: a length, and the bytes that have it.
const LENGTHS: &[(u8, &[u16])] = &[
    (5, &[48, 49, 50, 97, 99, 101, 105, 111, 115, 116]),
    (
        6,
        &[
            32, 37, 45, 46, 47, 51, 52, 53, 54, 55, 56, 57, 61, 65, 95, 98, 100, 102, 103, 104, 108, 109,
            110, 112, 114, 117,
        ],
    ),
    (
        7,
        &[
            58, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 89,
            106, 107, 113, 118, 119, 120, 121, 122,
        ],
    ),
    (8, &[38, 42, 44, 59, 88, 90]),
    (10, &[33, 34, 40, 41, 63]),
    (11, &[39, 43, 124]),
    (12, &[35, 62]),
    (13, &[0, 36, 64, 91, 93, 126]),
    (14, &[94, 125]),
    (15, &[60, 96, 123]),
    (19, &[92, 195, 208]),
    (20, &[128, 130, 131, 162, 184, 194, 224, 226]),
    (21, &[153, 161, 167, 172, 176, 177, 179, 209, 216, 217, 227, 229, 230]),
    (
        22,
        &[
            129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173, 178, 181, 185, 186, 187,
            189, 190, 196, 198, 228, 232, 233,
        ],
    ),
    (
        23,
        &[
            1, 135, 137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174,
            175, 180, 182, 183, 188, 191, 197, 231, 239,
        ],
    ),
    (24, &[9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237]),
    (25, &[199, 207, 234, 235]),
    (26, &[192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255]),
    (27, &[203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254]),
    (
        28,
        &[
            2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29, 30, 31,
            127, 220, 249,
        ],
    ),
    (30, &[10, 13, 22, 256]),
];

/// Names and values of the static table, by index.
fn fixed(index: usize) -> Option<(&'static str, &'static str)> {
    const TABLE: &str = "\
:authority=|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|:status=200|:status=204|\
:status=206|:status=304|:status=400|:status=404|:status=500|accept-charset=|accept-encoding=gzip, deflate|\
accept-language=|accept-ranges=|accept=|access-control-allow-origin=|age=|allow=|authorization=|cache-control=|\
content-disposition=|content-encoding=|content-language=|content-length=|content-location=|content-range=|\
content-type=|cookie=|date=|etag=|expect=|expires=|from=|host=|if-match=|if-modified-since=|if-none-match=|if-range=|\
if-unmodified-since=|last-modified=|link=|location=|max-forwards=|proxy-authenticate=|proxy-authorization=|range=|\
referer=|refresh=|retry-after=|server=|set-cookie=|strict-transport-security=|transfer-encoding=|user-agent=|vary=|\
via=|www-authenticate=";
    TABLE.split('|').nth(index - 1)?.split_once('=')
}

impl Reader {
    pub fn new() -> Reader {
        let mut codes = HashMap::new();
        let (mut code, mut before) = (0u32, 0u8);
        for (bits, symbols) in LENGTHS {
            code <<= bits - before;
            before = *bits;
            for symbol in *symbols {
                codes.insert((code, *bits), *symbol);
                code += 1;
            }
        }
        Reader { codes, table: Vec::new(), max: 4096 }
    }

    pub fn read(&mut self, block: &[u8]) -> Read {
        let (mut at, mut fields) = (0, Vec::new());
        while at < block.len() {
            let first = block[at];
            if first >= 0x80 {
                let index = number(block, &mut at, 7)?;
                fields.push(self.entry(index)?);
            } else if first >= 0x40 {
                let field = self.literal(block, &mut at, 6)?;
                self.table.insert(0, field.clone());
                self.evict();
                fields.push(field);
            } else if first >= 0x20 {
                if !fields.is_empty() {
                    return Err(());
                }
                self.max = number(block, &mut at, 5)?;
                if self.max > 4096 {
                    return Err(());
                }
                self.evict();
            } else {
                fields.push(self.literal(block, &mut at, 4)?);
            }
        }
        Ok(fields)
    }

    fn evict(&mut self) {
        let size =
            |table: &[(Vec<u8>, Vec<u8>)]| table.iter().map(|(n, v)| n.len() + v.len() + 32).sum::<usize>();
        while size(&self.table) > self.max {
            self.table.pop();
        }
    }

    fn entry(&self, index: usize) -> Result<(Vec<u8>, Vec<u8>), ()> {
        match index {
            0 => Err(()),
            1..=61 => fixed(index).map(|(n, v)| (n.into(), v.into())).ok_or(()),
            _ => self.table.get(index - 62).cloned().ok_or(()),
        }
    }

    fn literal(&self, block: &[u8], at: &mut usize, prefix: u32) -> Result<(Vec<u8>, Vec<u8>), ()> {
        let index = number(block, at, prefix)?;
        let name = if index == 0 { self.string(block, at)? } else { self.entry(index)?.0 };
        Ok((name, self.string(block, at)?))
    }

    fn string(&self, block: &[u8], at: &mut usize) -> Result<Vec<u8>, ()> {
        let coded = *block.get(*at).ok_or(())? & 0x80 != 0;
        let len = number(block, at, 7)?;
        let text = block.get(*at..*at + len).ok_or(())?;
        *at += len;
        if coded { self.huffman(text) } else { Ok(text.to_vec()) }
    }

    /// Bit by bit.
    fn huffman(&self, text: &[u8]) -> Result<Vec<u8>, ()> {
        let (mut out, mut code, mut bits) = (Vec::new(), 0u32, 0u8);
        for bit in text.iter().flat_map(|b| (0..8).rev().map(move |n| u32::from(b >> n & 1))) {
            code = code << 1 | bit;
            bits += 1;
            match self.codes.get(&(code, bits)) {
                Some(256) => return Err(()),
                Some(symbol) => {
                    out.push(*symbol as u8);
                    (code, bits) = (0, 0);
                }
                None => {}
            }
        }
        if bits >= 8 || code + 1 != 1 << bits { Err(()) } else { Ok(out) }
    }
}

fn number(block: &[u8], at: &mut usize, prefix: u32) -> Result<usize, ()> {
    let mask = (1u64 << prefix) - 1;
    let mut value = u64::from(*block.get(*at).ok_or(())?) & mask;
    *at += 1;
    if value < mask {
        return Ok(value as usize);
    }
    for shift in [0, 7, 14, 21, 28] {
        let b = u64::from(*block.get(*at).ok_or(())?);
        *at += 1;
        value += (b & 0x7f) << shift;
        if value > 1 << 28 {
            return Err(());
        }
        if b < 0x80 {
            return Ok(value as usize);
        }
    }
    Err(())
}
