//! How do rows of words and numbers line up?

use crate::screen::{Ink, Screen};

/// Rows under a header: the first column to the left, the others to the right.
#[derive(Clone, Debug, Default)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headers and no rows.
    pub fn new(header: &[&str]) -> Self {
        Self { header: header.iter().map(|&text| text.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row with as many cells as there are headers.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines, indented. Zeros stand back.
    pub fn lines(&self, screen: &Screen) -> Vec<String> {
        let all = || self.rows.iter().chain([&self.header]);
        let columns = self.header.len();
        let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let full = widths.iter().sum::<usize>() + 4 + 2 * columns;
        let gap = if full <= screen.width() { "  " } else { " " };
        let line = |row: &[String], ink: Option<Ink>| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
                let room = " ".repeat(width - cell.chars().count());
                let text = match ink.or((cell == "0").then_some(Ink::Dim)) {
                    Some(ink) => screen.ink(ink, cell),
                    None => cell.clone(),
                };
                if column == 0 { format!("{text}{room}") } else { format!("{room}{text}") }
            });
            format!("    {}", cells.collect::<Vec<_>>().join(gap))
        };
        let mut lines = vec![line(&self.header, Some(Ink::Dim))];
        lines.extend(self.rows.iter().map(|row| line(row, None)));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let mut table = Table::new(&["target", "failed"]);
        table.row(vec!["monocloud".to_owned(), "7".to_owned()]);
        table.row(vec!["looker".to_owned(), "12".to_owned()]);
        let screen = Screen::new();
        assert_eq!(table.lines(&screen)[1..], ["    monocloud       7", "    looker         12"]);
    }
}
