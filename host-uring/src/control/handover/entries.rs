//! Entries of the persistence tables as they travel from one process to the next.

use forebay_core::table::{Class, EngineSlot, KeyBytes, Version};

use crate::persist::moving::Told;

/// Bytes of one entry.
pub(super) const BYTES: usize = 66;

/// Appends entries.
pub(super) fn write(told: &[Told], out: &mut Vec<u8>) {
    for one in told {
        out.extend_from_slice(&one.table.to_le_bytes());
        out.extend_from_slice(&one.key.0);
        out.extend_from_slice(&one.server.to_le_bytes());
        out.extend_from_slice(&[one.class.get(), one.version.origin.get(), u8::from(one.gone), 0]);
        out.extend_from_slice(&one.version.birth.to_le_bytes());
        out.extend_from_slice(&one.version.switches.to_le_bytes());
        out.extend_from_slice(&one.version.stamp.to_le_bytes());
        out.extend_from_slice(&one.open.to_le_bytes());
        out.extend_from_slice(&one.age_ms.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
    }
}

/// Reads entries; `None` if these bytes are none.
pub(super) fn read(bytes: &[u8]) -> Option<Vec<Told>> {
    let (list, rest) = bytes.as_chunks::<BYTES>();
    if !rest.is_empty() {
        return None;
    }
    list.iter().map(one).collect()
}

fn one(bytes: &[u8; BYTES]) -> Option<Told> {
    fn at<const N: usize>(bytes: &[u8; BYTES], from: usize) -> [u8; N] {
        bytes[from..].first_chunk().copied().expect("within an entry")
    }
    let [class, origin, gone, zero] = at(bytes, 26);
    if zero != 0 || gone > 1 || at::<4>(bytes, 62) != [0; 4] {
        return None;
    }
    let number = |from| u64::from_le_bytes(at(bytes, from));
    let version = Version {
        birth: u32::from_le_bytes(at(bytes, 30)),
        switches: u32::from_le_bytes(at(bytes, 34)),
        stamp: number(38),
        origin: EngineSlot::new(origin)?,
    };
    Some(Told {
        table: u16::from_le_bytes(at(bytes, 0)),
        key: KeyBytes(at(bytes, 2)),
        server: number(18),
        class: Class::new(class)?,
        version,
        open: number(46),
        age_ms: number(54),
        gone: gone == 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_as_it_went_and_other_bytes_are_none() {
        let told = Told {
            table: 3,
            key: KeyBytes([7; 16]),
            server: 0x0102_0304_0506_0708,
            class: Class::default(),
            version: Version {
                birth: 9,
                switches: 2,
                stamp: 77,
                origin: EngineSlot::new(5).expect("below 64"),
            },
            open: 1 << 63 | 1,
            age_ms: 123_456,
            gone: false,
        };
        let list = [told, Told { gone: true, ..told }];
        let mut bytes = Vec::new();
        write(&list, &mut bytes);
        assert_eq!(bytes.len(), 2 * BYTES);
        assert_eq!(read(&bytes).as_deref(), Some(&list[..]));
        assert_eq!(read(&bytes[1..]), None);
        for (at, wrong) in [(26, 16), (27, 64), (28, 2), (29, 1), (65, 1)] {
            let mut other = bytes.clone();
            other[at] = wrong;
            assert_eq!(read(&other), None, "byte {at}");
        }
    }
}
