//! Reads a printed statement: its tables, by the heading they stand under.

use std::collections::HashMap;

use packhorse_testkit::raw_scu::Pair;

/// A statement as it is printed.
pub(super) struct Statement {
    tables: Vec<Table>,
}

/// A table and the heading that it stands under.
pub(super) struct Table {
    pub(super) heading: String,
    columns: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

impl Statement {
    pub(super) fn read(markdown: &str) -> Self {
        let (mut tables, mut heading) = (Vec::new(), String::new());
        for block in markdown.split("\n\n") {
            if block.starts_with('#') {
                heading = block.trim_start_matches('#').trim().to_owned();
            } else if block.starts_with('|') {
                let mut lines = block.lines().map(cells);
                let columns = lines.next().unwrap();
                assert!(lines.next().unwrap().iter().all(|cell| cell == "---"), "{block}");
                let rows: Vec<_> = lines.collect();
                assert!(rows.iter().all(|row| row.len() == columns.len()), "{block}");
                let heading = heading.clone();
                tables.push(Table { heading, columns, rows });
            }
        }
        Self { tables }
    }

    /// The table with this first column, under a heading with these words.
    pub(super) fn table(&self, heading: &str, first_column: &str) -> &Table {
        let mut found = self.tables_of(heading, first_column);
        let table = found
            .next()
            .unwrap_or_else(|| panic!("no table {first_column:?} under {heading:?}"));
        assert!(found.next().is_none(), "{heading:?} {first_column:?} is there twice");
        table
    }

    fn tables_of(&self, heading: &str, first_column: &str) -> impl Iterator<Item = &Table> {
        let is_it = move |table: &&Table| table.heading.contains(heading) && table.columns[0] == first_column;
        self.tables.iter().filter(is_it)
    }

    /// The value of a line of two cells.
    pub(super) fn value(&self, heading: &str, first_column: &str, name: &str) -> &str {
        let table = self.table(heading, first_column);
        let row = table.rows.iter().find(|row| row[0] == name);
        &row.unwrap_or_else(|| panic!("no line {name:?} under {heading:?}"))[1]
    }

    /// Transfer syntaxes by the name of their set.
    pub(super) fn sets(&self) -> HashMap<&str, Vec<&str>> {
        let mut sets: HashMap<&str, Vec<&str>> = HashMap::new();
        for row in &self.table("4.2.3", "Transfer syntax").rows {
            for set in row[2].split(", ").filter(|set| !set.is_empty()) {
                sets.entry(set).or_default().push(&row[1]);
            }
        }
        sets
    }

    /// What is said of each called AE title and group of callers.
    pub(super) fn groups(&self) -> Vec<Group<'_>> {
        let tables = self.tables_of("SOP classes of", "Called AE title");
        let group = |callers: &'_ Table| {
            let heading = &callers.heading;
            Group {
                called: callers.rows[0][0].clone(),
                callers: callers.rows.iter().map(|row| row[2].clone()).collect(),
                classes: self.table(heading, "SOP class"),
                order: self.tables_of(heading, "Order").next(),
            }
        };
        tables.map(group).collect()
    }
}

/// Callers with one answer.
pub(super) struct Group<'a> {
    pub(super) called: String,
    pub(super) callers: Vec<String>,
    pub(super) classes: &'a Table,
    pub(super) order: Option<&'a Table>,
}

impl Group<'_> {
    /// What is said of each pair of class and syntax; 4 of those that no line of the class names.
    pub(super) fn said(&self, sets: &HashMap<&str, Vec<&str>>) -> HashMap<Pair, String> {
        let all: Vec<&str> = sets.values().flatten().copied().collect();
        let mut said = HashMap::new();
        for row in &self.classes.rows {
            for syntax in &all {
                let pair = (row[1].clone(), (*syntax).to_owned());
                said.entry(pair)
                    .or_insert_with(|| "rejected: transfer syntaxes not supported (4)".to_owned());
            }
        }
        for row in &self.classes.rows {
            for syntax in &sets[row[4].as_str()] {
                said.insert((row[1].clone(), (*syntax).to_owned()), row[2].clone());
            }
        }
        said
    }

    /// What is said of an example of a kind of class.
    pub(super) fn said_of_kind(&self, kind: &str) -> &str {
        let mut rows = self.classes.rows.iter();
        let row = rows.find(|row| row[0].starts_with(kind));
        &row.unwrap_or_else(|| panic!("no line {kind:?}"))[2]
    }
}

/// The result in an A-ASSOCIATE-AC that an answer in words stands for.
pub(super) fn result_of(answer: &str) -> u8 {
    if answer.starts_with("accepted") {
        return 0;
    }
    let number = answer.rsplit_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_else(|| panic!("{answer:?}"))
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |"));
    let inner = inner.unwrap_or_else(|| panic!("{line:?} is no line of a table"));
    let cells = inner.replace("\\|", "\0");
    cells.split(" | ").map(|cell| cell.replace('\0', "|")).collect()
}
