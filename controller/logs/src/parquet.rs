//! Files of Parquet, as little of it as records need: flat columns that may be absent, plain values, a page for each column of a
//! row group, compressed by zstd. Everything that reads Parquet reads them.

use std::io::{self, Write};

/// What begins and ends a file.
const MAGIC: &[u8; 4] = b"PAR1";

/// How hard pages are compressed.
const LEVEL: i32 = 3;

// Numbers of the format.
const PLAIN: i64 = 0;
const RLE: i64 = 3;
const ZSTD: i64 = 6;
const OPTIONAL: i64 = 1;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Yes or no.
    Flag,
    /// A whole number.
    Number,
    /// Microseconds since 1970 in UTC.
    Moment,
    /// A number with a fraction.
    Real,
    /// Text in UTF-8.
    Text,
}

impl Holds {
    /// The type by which it is stored, and what it means beside.
    fn types(self) -> (i64, Option<i64>) {
        match self {
            Holds::Flag => (0, None),
            Holds::Number => (2, None),
            Holds::Moment => (2, Some(10)),
            Holds::Real => (5, None),
            Holds::Text => (6, Some(0)),
        }
    }
}

/// A column's values of one row group.
#[derive(Debug)]
pub struct Column {
    name: &'static str,
    holds: Holds,
    /// A bit a row: whether there is a value.
    present: Bits,
    flags: Bits,
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn push(&mut self, bit: bool) {
        if self.count.is_multiple_of(8) {
            self.bytes.push(0);
        }
        if let (true, Some(last)) = (bit, self.bytes.last_mut()) {
            *last |= 1 << (self.count % 8);
        }
        self.count += 1;
    }
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'v> {
    /// Of a column of flags.
    Flag(bool),
    /// Of a column of numbers or moments.
    Number(i64),
    /// Of a column of numbers with a fraction.
    Real(f64),
    /// Of a column of texts.
    Text(&'v str),
}

impl Column {
    /// Without a row.
    pub fn new(name: &'static str, holds: Holds) -> Self {
        Column { name, holds, present: Bits::default(), flags: Bits::default(), bytes: Vec::new() }
    }

    /// Adds a row. A value of another kind than the column's counts as none.
    pub fn push(&mut self, value: Option<Value<'_>>) {
        let is_there = match (self.holds, value) {
            (Holds::Flag, Some(Value::Flag(flag))) => {
                self.flags.push(flag);
                true
            }
            (Holds::Number | Holds::Moment, Some(Value::Number(number))) => {
                self.bytes.extend_from_slice(&number.to_le_bytes());
                true
            }
            (Holds::Real, Some(Value::Real(number))) => {
                self.bytes.extend_from_slice(&number.to_le_bytes());
                true
            }
            (Holds::Text, Some(Value::Text(text))) => match u32::try_from(text.len()) {
                Ok(length) => {
                    self.bytes.extend_from_slice(&length.to_le_bytes());
                    self.bytes.extend_from_slice(text.as_bytes());
                    true
                }
                Err(_) => false,
            },
            _ => false,
        };
        self.present.push(is_there);
    }

    fn rows(&self) -> usize {
        self.present.count
    }

    /// The page before it is compressed: which rows have a value, then the values.
    fn page(&self) -> Vec<u8> {
        let mut levels = Vec::new();
        // All in one run of groups of eight bits.
        varint(&mut levels, (self.present.bytes.len() as u64) << 1 | 1);
        levels.extend_from_slice(&self.present.bytes);
        let mut page = u32::try_from(levels.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
        page.extend_from_slice(&levels);
        page.extend_from_slice(if self.holds == Holds::Flag { &self.flags.bytes } else { &self.bytes });
        page
    }
}

/// A file under way.
pub struct Writer<W> {
    to: W,
    written: u64,
    groups: Vec<Group>,
}

struct Group {
    rows: u64,
    chunks: Vec<Chunk>,
}

struct Chunk {
    name: &'static str,
    holds: Holds,
    offset: u64,
    plain: u64,
    packed: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn new(mut to: W) -> io::Result<Self> {
        to.write_all(MAGIC)?;
        Ok(Writer { to, written: MAGIC.len() as u64, groups: Vec::new() })
    }

    /// Writes rows: all columns have the same number of them, and each group the same columns.
    ///
    /// # Errors
    ///
    /// Those of writing; a column has more than 2 GiB.
    pub fn group(&mut self, columns: &[Column]) -> io::Result<()> {
        let rows = columns.first().map_or(0, Column::rows);
        let mut group = Group { rows: rows as u64, chunks: Vec::new() };
        for column in columns {
            let page = column.page();
            let packed = zstd::bulk::compress(&page, LEVEL)?;
            let size = |bytes: usize| i32::try_from(bytes).map(i64::from).map_err(io::Error::other);
            let mut head = Thrift::default();
            head.int(1, 0).int(2, size(page.len())?).int(3, size(packed.len())?);
            head.open(5).int(1, size(rows)?).int(2, PLAIN).int(3, RLE).int(4, RLE).close();
            let head = head.end();
            let offset = self.written;
            self.to.write_all(&head)?;
            self.to.write_all(&packed)?;
            self.written += (head.len() + packed.len()) as u64;
            let (plain, packed) = ((head.len() + page.len()) as u64, (head.len() + packed.len()) as u64);
            group.chunks.push(Chunk { name: column.name, holds: column.holds, offset, plain, packed });
        }
        self.groups.push(group);
        Ok(())
    }

    /// Ends it: what stands where.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn end(mut self, schema: &[(&'static str, Holds)]) -> io::Result<W> {
        let long = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let mut foot = Thrift::default();
        foot.int(1, 1);
        foot.list(2, STRUCT, schema.len() + 1);
        foot.element().text(4, "record").int(5, long(schema.len() as u64)).close();
        for (name, holds) in schema {
            let (stored, means) = holds.types();
            foot.element().int(1, stored).int(3, OPTIONAL).text(4, name);
            if let Some(means) = means {
                foot.int(6, means);
            }
            foot.close();
        }
        foot.long(3, long(self.groups.iter().map(|group| group.rows).sum()));
        foot.list(4, STRUCT, self.groups.len());
        for group in &self.groups {
            foot.element().list(1, STRUCT, group.chunks.len());
            for chunk in &group.chunks {
                foot.element().long(2, long(chunk.offset)).open(3).int(1, chunk.holds.types().0);
                foot.list(2, INT, 2).item(PLAIN).item(RLE);
                foot.list(3, BINARY, 1).bytes(chunk.name.as_bytes());
                foot.int(4, ZSTD).long(5, long(group.rows)).long(6, long(chunk.plain));
                foot.long(7, long(chunk.packed)).long(9, long(chunk.offset)).close().close();
            }
            foot.long(2, long(group.chunks.iter().map(|chunk| chunk.plain).sum()));
            foot.long(3, long(group.rows)).close();
        }
        foot.text(6, concat!("forebay ", env!("CARGO_PKG_VERSION")));
        let foot = foot.end();
        self.to.write_all(&foot)?;
        let length = u32::try_from(foot.len()).map_err(io::Error::other)?;
        self.to.write_all(&length.to_le_bytes())?;
        self.to.write_all(MAGIC)?;
        self.to.flush()?;
        Ok(self.to)
    }
}

// Types of Thrift's compact protocol.
const INT: u8 = 5;
const LONG: u8 = 6;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// A message of Thrift's compact protocol, by which Parquet says what stands where.
#[derive(Default)]
struct Thrift {
    out: Vec<u8>,
    /// The number of the last field, of the message and of those around it.
    last: u8,
    around: Vec<u8>,
}

impl Thrift {
    /// Numbers of fields rise by less than 16.
    fn field(&mut self, number: u8, holds: u8) -> &mut Self {
        self.out.push(number.saturating_sub(self.last) << 4 | holds);
        self.last = number;
        self
    }

    fn int(&mut self, number: u8, value: i64) -> &mut Self {
        self.field(number, INT).item(value)
    }

    fn long(&mut self, number: u8, value: i64) -> &mut Self {
        self.field(number, LONG).item(value)
    }

    fn text(&mut self, number: u8, value: &str) -> &mut Self {
        self.field(number, BINARY).bytes(value.as_bytes())
    }

    /// An entry of a list of numbers.
    fn item(&mut self, value: i64) -> &mut Self {
        varint(&mut self.out, ((value << 1) ^ (value >> 63)).cast_unsigned());
        self
    }

    fn bytes(&mut self, value: &[u8]) -> &mut Self {
        varint(&mut self.out, value.len() as u64);
        self.out.extend_from_slice(value);
        self
    }

    fn list(&mut self, number: u8, holds: u8, count: usize) -> &mut Self {
        self.field(number, LIST);
        match u8::try_from(count) {
            Ok(few @ 0..15) => self.out.push(few << 4 | holds),
            _ => {
                self.out.push(0xf0 | holds);
                varint(&mut self.out, count as u64);
            }
        }
        self
    }

    /// A message within a field.
    fn open(&mut self, number: u8) -> &mut Self {
        self.field(number, STRUCT).element()
    }

    /// A message within a list.
    fn element(&mut self) -> &mut Self {
        self.around.push(self.last);
        self.last = 0;
        self
    }

    fn close(&mut self) -> &mut Self {
        self.out.push(0);
        self.last = self.around.pop().unwrap_or(0);
        self
    }

    fn end(mut self) -> Vec<u8> {
        self.out.push(0);
        self.out
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_begins_and_ends_as_it_must_and_its_end_says_how_long_it_is() {
        let schema = [("a", Holds::Number), ("b", Holds::Text), ("c", Holds::Flag)];
        let mut columns: Vec<Column> = schema.iter().map(|(name, holds)| Column::new(name, *holds)).collect();
        for row in 0..20 {
            columns[0].push((row % 3 > 0).then_some(Value::Number(row)));
            columns[1].push(Some(Value::Text("x")));
            columns[2].push(Some(Value::Real(1.0)));
        }
        assert_eq!(columns[0].present.bytes, [0b1011_0110, 0b0110_1101, 0b1011]);
        assert_eq!(columns[2].present.bytes, [0, 0, 0], "a value of another kind is none");
        let mut writer = Writer::new(Vec::new()).expect("memory");
        writer.group(&columns).expect("memory");
        let file = writer.end(&schema).expect("memory");
        let (front, end) = file.split_at(file.len() - 8);
        assert!(front.starts_with(MAGIC) && end.ends_with(MAGIC));
        let length = u32::from_le_bytes(end[..4].try_into().expect("four")) as usize;
        let foot = &front[front.len() - length..];
        assert_eq!((foot[0], foot.last()), (0x15, Some(&0)), "version first, and an end");
    }

    #[test]
    fn numbers_are_written_as_thrift_has_them() {
        let mut thrift = Thrift::default();
        thrift.int(1, -1).long(3, 300).list(4, INT, 20).text(5, "ab");
        assert_eq!(thrift.end(), [0x15, 1, 0x26, 0xd8, 4, 0x19, 0xf5, 20, 0x18, 2, b'a', b'b', 0]);
    }
}
