//! Figures as Markdown.

use std::fmt;

/// The spread of some figures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    /// Of one figure for each round; `None` when there are none.
    pub(crate) fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = figures.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let (low, high) = (sorted.get((sorted.len() - 1) / 2)?, sorted.get(sorted.len() / 2)?);
        let median = f64::midpoint(*low, *high);
        Some(Self { min, median, max })
    }
}

impl fmt::Display for Spread {
    /// `**median** (min to max)`, with as many digits as mean something.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = usize::from(self.median < 100.0) + usize::from(self.median < 10.0);
        let Self { min, median, max } = self;
        write!(f, "**{median:.digits$}** ({min:.digits$} to {max:.digits$})")
    }
}

/// A table that grows by rows.
#[derive(Debug)]
pub(crate) struct Table(String);

impl Table {
    /// The first column is text, the others are figures.
    pub(crate) fn new(columns: &[&str]) -> Self {
        let mut text = format!("| {} |\n|---|", columns.join(" | "));
        text.push_str(&"---:|".repeat(columns.len().saturating_sub(1)));
        text.push('\n');
        Self(text)
    }

    pub(crate) fn row(&mut self, cells: &[String]) {
        self.0.push_str("| ");
        self.0.push_str(&cells.join(" | "));
        self.0.push_str(" |\n");
    }

    pub(crate) fn finish(self, title: &str) -> String {
        format!("### {title}\n\n{}", self.0)
    }
}

/// The spread, or a dash.
pub(crate) fn cell(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "-".to_owned(), |spread| spread.to_string())
}
