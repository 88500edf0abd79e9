//! Headings, paragraphs and tables of Markdown.

/// A document that grows block by block.
#[derive(Debug, Default)]
pub(super) struct Document {
    blocks: Vec<String>,
}

impl Document {
    /// A heading of this level, with the section's number before its words.
    pub(super) fn heading(&mut self, level: usize, words: &str) {
        self.blocks.push(format!("{} {words}", "#".repeat(level)));
    }

    pub(super) fn paragraph(&mut self, words: impl Into<String>) {
        self.blocks.push(words.into());
    }

    /// A table; without rows the words "none".
    pub(super) fn table<const N: usize>(&mut self, columns: [&str; N], rows: impl IntoIterator<Item = [String; N]>) {
        let rows: Vec<_> = rows.into_iter().map(|cells| line(&cells)).collect();
        if rows.is_empty() {
            return self.paragraph("None.");
        }
        let head = [
            line(&columns.map(str::to_owned)),
            line(&columns.map(|_| "---".to_owned())),
        ];
        self.blocks.push([head.as_slice(), &rows].concat().join("\n"));
    }

    pub(super) fn finish(self) -> String {
        self.blocks.join("\n\n")
    }
}

/// One line of a table. What an administrator or a peer wrote cannot break out of its cell.
fn line(cells: &[String]) -> String {
    let cells: Vec<_> = cells
        .iter()
        .map(|cell| cell.replace('|', "\\|").replace(['\n', '\r'], " "))
        .collect();
    format!("| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_cannot_be_broken_out_of() {
        let mut document = Document::default();
        document.table(["a"], [["x | y\nz".to_owned()]]);
        assert_eq!(document.finish(), "| a |\n| --- |\n| x \\| y z |");
    }

    #[test]
    fn a_table_without_rows_says_none() {
        let mut document = Document::default();
        document.heading(2, "4.2 AE specifications");
        document.table(["a", "b"], []);
        assert_eq!(document.finish(), "## 4.2 AE specifications\n\nNone.");
    }
}
