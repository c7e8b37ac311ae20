//! What members and those that only read say to one another beside the engines' frames: by which tables and servers entries
//! are kept, and entries that no member has any more.

use forebay_objsync::limits::FRAME_MAX;

/// Types of frames; those of engines are below 128. Who does not know one skips it (SYNC-WIRE-02).
const CATALOGUE: u8 = 201;
/// See [`CATALOGUE`].
const ASK: u8 = 202;
/// See [`CATALOGUE`].
const ENTRIES: u8 = 203;
/// See [`CATALOGUE`].
const DONE: u8 = 204;

/// Bytes of a table: its name, and how long entries live.
const TABLE_BYTES: usize = 12;
/// Tables of one member: the engine has no more.
pub(crate) const TABLES_MAX: usize = 4_096;
/// Servers of one member: what a frame has room for. Entries of others are not mirrored.
pub(crate) const SERVERS_MAX: usize = 120_000;

const _: () = assert!(5 + TABLES_MAX * TABLE_BYTES + SERVERS_MAX * 8 < FRAME_MAX, "they fit into one frame");

/// By which tables and servers entries are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// What the group calls each table, and for how many seconds entries live.
    pub tables: Vec<(u64, u32)>,
    /// What the group calls each server.
    pub servers: Vec<u64>,
}

/// What such a frame says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    /// By these entries are kept.
    Catalogue(Catalogue),
    /// What is known of these tables is wanted.
    Ask(Vec<u64>),
    /// Entries, as a frame of the engines (with its length).
    Entries(&'a [u8]),
    /// That was all of these tables.
    Done(Vec<u64>),
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(1 + body.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes()[..], &[kind], body].concat()
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// The frame that tells of tables and servers.
pub(crate) fn catalogue(of: &Catalogue) -> Vec<u8> {
    let tables = &of.tables[..of.tables.len().min(TABLES_MAX)];
    let servers = &of.servers[..of.servers.len().min(SERVERS_MAX)];
    let mut body = u32::try_from(tables.len()).unwrap_or(0).to_le_bytes().to_vec();
    for (name, life) in tables {
        body.extend_from_slice(&name.to_le_bytes());
        body.extend_from_slice(&life.to_le_bytes());
    }
    body.extend(numbers(servers));
    frame(CATALOGUE, &body)
}

/// The frame that asks for tables.
pub(crate) fn ask(tables: &[u64]) -> Vec<u8> {
    frame(ASK, &numbers(&tables[..tables.len().min(TABLES_MAX)]))
}

/// The frame that gives entries.
pub(crate) fn entries(of: &[u8]) -> Vec<u8> {
    frame(ENTRIES, of)
}

/// The frame that says that all of these tables was given.
pub(crate) fn done(tables: &[u64]) -> Vec<u8> {
    frame(DONE, &numbers(tables))
}

fn read_numbers(body: &[u8], most: usize) -> Vec<u64> {
    let (all, _) = body.as_chunks::<8>();
    all.iter().take(most).map(|number| u64::from_le_bytes(*number)).collect()
}

/// Reads type and body of a frame; `None`: it tells of something else.
pub(crate) fn read(frame: &[u8]) -> Option<Said<'_>> {
    let (kind, body) = frame.split_first()?;
    match *kind {
        CATALOGUE => {
            let (count, rest) = body.split_first_chunk::<4>()?;
            let count = (u32::from_le_bytes(*count) as usize).min(TABLES_MAX);
            let (tables, servers) = rest.split_at_checked(count * TABLE_BYTES)?;
            let (tables, _) = tables.as_chunks::<TABLE_BYTES>();
            let table = |bytes: &[u8; TABLE_BYTES]| {
                let (name, life) = bytes.split_first_chunk::<8>()?;
                Some((u64::from_le_bytes(*name), u32::from_le_bytes(life.try_into().ok()?)))
            };
            let tables = tables.iter().filter_map(table).collect();
            Some(Said::Catalogue(Catalogue { tables, servers: read_numbers(servers, SERVERS_MAX) }))
        }
        ASK => Some(Said::Ask(read_numbers(body, TABLES_MAX))),
        ENTRIES => Some(Said::Entries(body)),
        DONE => Some(Said::Done(read_numbers(body, TABLES_MAX))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use forebay_objsync::wire;

    use super::*;

    //= test SYNC-MIRROR-02
    #[test]
    fn what_is_said_beside_the_engines_frames_is_read_and_no_engine_takes_it_for_something_else() {
        let both = Catalogue { tables: vec![(1, 300), (u64::MAX, 60)], servers: vec![7, 8, 9] };
        let all = [catalogue(&both), ask(&[1, 2]), entries(b"x"), done(&[3])];
        let said = [Said::Catalogue(both), Said::Ask(vec![1, 2]), Said::Entries(b"x"), Said::Done(vec![3])];
        for (bytes, said) in all.iter().zip(said) {
            let (whole, length) = wire::split(bytes).expect("a frame").expect("whole");
            assert_eq!((length, read(whole)), (bytes.len(), Some(said)));
            assert!(
                matches!(wire::Frame::decode(whole), Err(wire::Bad::Unknown(_))),
                "who does not know it skips it"
            );
        }
        assert_eq!(read(&[CATALOGUE, 9, 0, 0, 0, 1]), None, "a piece of a table is none");
        assert_eq!((read(&[CATALOGUE]), read(&[200]), read(&[])), (None, None, None));
    }
}
