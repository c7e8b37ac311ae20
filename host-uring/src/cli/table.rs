//! Plain columns: as wide as their widest cell, numbers to the right.

use std::fmt::Write as _;

/// Rows under a heading.
pub struct Table {
    heads: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(heads: &[&'static str]) -> Self {
        Self { heads: heads.to_vec(), rows: Vec::new() }
    }

    /// Adds a row with a cell for each heading.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.heads.len());
        self.rows.push(cells);
    }

    /// Renders it; the last column is as long as it is.
    pub fn render(&self) -> String {
        let mut out = String::new();
        let heads: Vec<String> = self.heads.iter().map(|h| (*h).to_owned()).collect();
        let width = |column: usize| {
            let cells = std::iter::once(&heads).chain(&self.rows).map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let numbers = |column: usize| {
            self.rows.iter().all(|row| row[column].starts_with(|c: char| c.is_ascii_digit() || c == '-'))
        };
        for row in std::iter::once(&heads).chain(&self.rows) {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                // A cell comes from names and servers' answers: nothing in it may move the cursor.
                let cell: String = cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                let wide = width(column);
                // Writing to a text cannot fail.
                let _ = match (column + 1 == row.len(), numbers(column)) {
                    (true, _) => write!(line, "{cell}"),
                    (false, true) => write!(line, "{cell:>wide$}  "),
                    (false, false) => write!(line, "{cell:<wide$}  "),
                };
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_are_blanks() {
        let mut table = Table::new(&["NAME", "N", "WHY"]);
        table.row(vec!["a\u{1b}[31m".to_owned(), "5".to_owned(), "x".to_owned()]);
        table.row(vec!["bb".to_owned(), "12".to_owned(), String::new()]);
        assert_eq!(table.render(), "NAME     N  WHY\na [31m   5  x\nbb      12\n");
    }
}
