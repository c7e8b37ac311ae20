//! What members keep in which tables: told when a connection stands and whenever it changes, so that people hear of it
//! where it differs.

use forebay_objsync::limits::FRAME_MAX;

/// The type of the frame; those of engines are below 128. Who does not know it skips it (SYNC-WIRE-02).
const KIND: u8 = 200;

/// Bytes of a table: its name, its settings and its servers.
const TABLE_BYTES: usize = 24;

/// Tables of one member that are looked at: 96 KiB. The engine has no more.
const TABLES_MAX: usize = 4_096;

const _: () = assert!(TABLES_MAX * TABLE_BYTES < FRAME_MAX, "they fit into one frame");

/// A table of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// What the group calls it.
    pub name: u64,
    /// What is made of the kind of its keys and of how long entries live.
    pub settings: u64,
    /// What is made of the servers that its entries may name.
    pub servers: u64,
}

/// How the tables of a member differ from those here, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Both have it, with other settings.
    pub otherwise: Vec<u64>,
    /// Both have it, with other servers.
    pub servers: Vec<u64>,
    /// It is here alone.
    pub here: Vec<u64>,
    /// The member has it alone.
    pub there: Vec<u64>,
}

impl Differences {
    /// Of what is kept here and there.
    pub(crate) fn between(here: &[Table], there: &[Table]) -> Self {
        let find = |name: u64, list: &[Table]| list.iter().find(|table| table.name == name).copied();
        let mut found = Self::default();
        for table in here {
            match find(table.name, there) {
                Some(theirs) if theirs.settings != table.settings => found.otherwise.push(table.name),
                Some(theirs) if theirs.servers != table.servers => found.servers.push(table.name),
                Some(_) => {}
                None => found.here.push(table.name),
            }
        }
        let alone = there.iter().filter(|table| find(table.name, here).is_none());
        found.there = alone.map(|table| table.name).collect();
        found
    }

    /// Each keeps the tables of the services that it was given: only those of both can differ.
    pub(crate) fn of_both_alone(&mut self) {
        self.here.clear();
        self.there.clear();
    }

    /// How many tables differ.
    pub fn count(&self) -> usize {
        self.otherwise.len() + self.servers.len() + self.here.len() + self.there.len()
    }
}

/// The frame that tells of them.
pub(crate) fn frame(tables: &[Table]) -> Vec<u8> {
    let tables = &tables[..tables.len().min(TABLES_MAX)];
    let length = (1 + tables.len() * TABLE_BYTES) as u32;
    let mut frame = Vec::with_capacity(4 + length as usize);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.push(KIND);
    for table in tables {
        frame.extend_from_slice(&table.name.to_le_bytes());
        frame.extend_from_slice(&table.settings.to_le_bytes());
        frame.extend_from_slice(&table.servers.to_le_bytes());
    }
    frame
}

/// Reads type and body of a frame; `None`: it tells of something else.
pub(crate) fn read(frame: &[u8]) -> Option<Vec<Table>> {
    let (kind, body) = frame.split_first()?;
    if *kind != KIND {
        return None;
    }
    let number = |bytes: &[u8]| bytes.first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight));
    let (tables, _) = body.as_chunks::<TABLE_BYTES>();
    let table = |bytes: &[u8; TABLE_BYTES]| Table {
        name: number(bytes),
        settings: number(&bytes[8..]),
        servers: number(&bytes[16..]),
    };
    Some(tables.iter().take(TABLES_MAX).map(table).collect())
}

#[cfg(test)]
mod tests {
    use forebay_objsync::wire;

    use super::*;

    //= test SYNC-TABLES-01
    #[test]
    fn what_is_told_is_read_and_differences_are_found_both_ways() {
        let table = |name, settings| Table { name, settings, servers: 7 };
        let here = [table(1, 10), table(2, 20), table(3, 30)];
        let bytes = frame(&here);
        let (whole, length) = wire::split(&bytes).expect("a frame").expect("whole");
        assert_eq!((length, read(whole).as_deref()), (bytes.len(), Some(&here[..])));
        assert!(wire::Frame::decode(whole).is_err(), "no engine takes it for something else");
        assert_eq!(read(&[KIND]), Some(Vec::new()));
        assert_eq!(read(&[KIND, 1, 2, 3]), Some(Vec::new()), "a piece of a table is none");
        assert_eq!((read(&[3, 1]), read(&[])), (None, None));
        let there = [table(2, 21), Table { servers: 8, ..table(3, 30) }, table(4, 40)];
        let found = Differences::between(&here, &there);
        let (otherwise, servers) = (vec![2], vec![3]);
        assert_eq!(found, Differences { otherwise, servers, here: vec![1], there: vec![4] });
        assert_eq!((found.count(), Differences::between(&here, &here).count()), (4, 0));
    }
}
