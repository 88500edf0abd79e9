//! `policy test`: what would become of files, or of a class.

use std::path::PathBuf;

use packhorse_dicom::negotiation::ContextAnswer;
use packhorse_dicom::sop_class;
use packhorse_dicom::transfer_syntax;
use packhorse_policy::{DestinationKnowledge, Engine, InstanceDecision, Outcome, RuleName, Trial, Tried};
use serde_json::{Value, json};

use super::callers::{Way, ways};
use super::subjects::{Subject, files};
use super::words;
use crate::commands::CommandError;
use crate::commands::args::PolicyTest;
use crate::config::Config;

/// Files that are named where not all are asked for.
const FILES_NAMED: usize = 1;

/// What was tried.
#[derive(Debug)]
pub(super) struct Trials<'a> {
    engine: &'a Engine,
    ways: Vec<(Way<'a>, Vec<Row>)>,
    /// Files that are nothing to send, and why.
    nothing: Vec<(PathBuf, String)>,
    instances: usize,
}

/// Instances of one class and transfer syntax of which the same becomes.
#[derive(Debug, PartialEq)]
struct Row {
    class: String,
    transfer_syntax: String,
    tried: Tried,
    files: Vec<PathBuf>,
    count: usize,
}

pub(super) fn run<'a>(config: &'a Config, asked: &PolicyTest) -> Result<Trials<'a>, CommandError> {
    let ways = ways(config, asked.from.as_ref(), asked.to.as_ref());
    if ways.is_empty() {
        let why = "there is nobody to ask for: edge.toml has no [[source]] or no [[route]]";
        return Err(CommandError::No(why.to_owned()));
    }
    let mut trials = Trials {
        engine: &config.engine,
        ways: ways.into_iter().map(|way| (way, Vec::new())).collect(),
        nothing: Vec::new(),
        instances: 0,
    };
    for subject in Subject::of_words(asked)? {
        trials.add(&subject);
    }
    for file in files(&asked.paths)? {
        match Subject::of_file(&file, config.engine.attributes()) {
            Ok(subject) => trials.add(&subject),
            Err(why) => trials.nothing.push((file, why)),
        }
    }
    Ok(trials)
}

impl Trials<'_> {
    fn add(&mut self, subject: &Subject) {
        self.instances += 1;
        for (way, rows) in &mut self.ways {
            let Ok(route) = way.admitted else { continue };
            let trial = Trial {
                calling: &way.from.title,
                route,
                class: &subject.class,
                dataset_class: subject.dataset_class.as_ref(),
                transfer_syntax: &subject.transfer_syntax,
                header: subject.header.as_ref(),
                length: subject.length,
            };
            let tried = self.engine.try_out(&trial, &DestinationKnowledge::default());
            add_to(rows, subject, tried);
        }
    }

    /// Whether everything would be taken.
    pub(super) fn verdict(&self) -> Result<(), CommandError> {
        if self.instances == 0 {
            return Err(CommandError::No("none of them is a DICOM instance".to_owned()));
        }
        let is_rejected = self.ways.iter().any(|(way, _)| way.admitted.is_err());
        let refused = self
            .ways
            .iter()
            .flat_map(|(_, rows)| rows)
            .filter(|row| row.is_refused());
        let refused: usize = refused.map(|row| row.count).sum();
        if is_rejected {
            return Err(CommandError::No("an association would be rejected".to_owned()));
        }
        if refused > 0 {
            return Err(CommandError::No(format!("{refused} would be refused")));
        }
        Ok(())
    }

    pub(super) fn show(&self, verbose: bool, json: bool) -> String {
        if json {
            return self.as_json(verbose).to_string();
        }
        let mut lines = Vec::new();
        for (heads, way, rows) in self.alike() {
            lines.push(heads.join("; "));
            if let Err(refused) = &way.admitted {
                lines.push(format!("  the association is {}: {}", refused.rejection, refused.why));
            }
            for row in rows {
                lines.extend(self.lines(row, verbose));
            }
            lines.push(String::new());
        }
        if verbose {
            let nothing = self.nothing.iter();
            lines.extend(nothing.map(|(file, why)| format!("{}: {why}", file.display())));
        } else if let Some((file, why)) = self.nothing.first() {
            let more = match self.nothing.len() - 1 {
                0 => String::new(),
                more => format!(", and {more} more (--verbose names them)"),
            };
            lines.push(format!("{}: {why}{more}", file.display()));
        }
        lines.join("\n").trim_end().to_owned()
    }

    /// Callers and routes of which the same becomes, together.
    fn alike(&self) -> Vec<(Vec<String>, &Way<'_>, &[Row])> {
        let mut groups: Vec<(Vec<String>, &Way<'_>, &[Row])> = Vec::new();
        for (way, rows) in &self.ways {
            let head = head(way);
            let same = groups.iter_mut().find(|(_, other, others)| {
                way.admitted.is_ok() && other.admitted.is_ok() && *others == rows.as_slice()
            });
            match same {
                Some((heads, ..)) => heads.push(head),
                None => groups.push((vec![head], way, rows)),
            }
        }
        groups
    }

    fn lines(&self, row: &Row, verbose: bool) -> Vec<String> {
        let (_, said) = words::outcome(&row.tried);
        let class = sop_class::name_of(&row.class);
        let syntax = transfer_syntax::name_of(&row.transfer_syntax);
        let mut lines = vec![format!("{:>6}  {class}, {syntax}", row.count)];
        let mut more = |text: String| lines.push(format!("        {text}"));
        match row.tried.rule() {
            Some(_) if row.tried.context.refused_for_destination().is_some() => {
                more(format!("{said}, by {}", row.tried.context.decided_by()));
            }
            Some(rule) if self.is_the_routes_doing(row) => more(format!(
                "{said}: {} accepts the class, the route takes it in other transfer syntaxes only",
                self.called(rule)
            )),
            Some(rule) => more(format!("{said}, by {}", self.called(rule))),
            None => more(said),
        }
        for rule in self.rules(&row.tried.may_decide) {
            let only = match rule.conditions() {
                conditions if conditions.is_empty() => "else".to_owned(),
                conditions => format!("if {conditions}"),
            };
            more(format!(
                "  {only}: {}, by {}",
                words::does(rule),
                self.called(&rule.name)
            ));
        }
        for shadow in &row.tried.shadows {
            more(format!("shadow: {} by {}", shadow.outcome, self.called(&shadow.rule)));
        }
        let shown = if verbose { row.files.len() } else { 0 };
        row.files
            .iter()
            .take(shown)
            .for_each(|file| more(file.display().to_string()));
        lines
    }

    /// Whether the rule would take the instance, but the route's `transfer_syntaxes` do not.
    fn is_the_routes_doing(&self, row: &Row) -> bool {
        let is_rejected = matches!(row.tried.context.answer, ContextAnswer::Rejected(_));
        let rule = row.tried.rule().map(std::slice::from_ref).unwrap_or_default();
        is_rejected && self.rules(rule).any(|rule| rule.outcome != Outcome::RefuseContext)
    }

    fn rules<'b>(&'b self, names: &'b [RuleName]) -> impl Iterator<Item = &'b packhorse_policy::Rule> {
        names
            .iter()
            .filter_map(|name| self.engine.rules().iter().find(|rule| rule.name == *name))
    }

    fn called(&self, name: &RuleName) -> String {
        let rule = self.engine.rules().iter().find(|rule| rule.name == *name);
        let is_shipped = rule.is_some_and(|rule| self.engine.is_shipped(rule));
        format!("{name}{}", if is_shipped { ", shipped" } else { "" })
    }

    fn as_json(&self, verbose: bool) -> Value {
        let tested = self.ways.iter().map(|(way, rows)| {
            let rows: Vec<_> = rows.iter().map(|row| row.as_json(verbose)).collect();
            let rejected = way.admitted.as_ref().err();
            let rejected =
                rejected.map(|refused| json!({ "answer": refused.rejection.to_string(), "why": refused.why }));
            json!({ "from": way.from.title.as_str(), "to": way.to.as_str(), "rejected": rejected, "outcomes": rows })
        });
        let nothing = self.nothing.iter();
        let nothing: Vec<_> = nothing.map(|(file, why)| json!({ "file": file, "why": why })).collect();
        json!({ "instances": self.instances, "tested": tested.collect::<Vec<_>>(), "not_dicom": nothing })
    }
}

fn head(way: &Way<'_>) -> String {
    let title = way.from.title.as_str();
    let from = if way.from.pattern == title {
        title.to_owned()
    } else {
        format!("{title} (any of {})", way.from.pattern)
    };
    match way.admitted {
        Ok(route) => format!("from {from} to {}, {} at {}", way.to, route.to_ae_title, route.to_site),
        Err(_) => format!("from {from} to {}", way.to),
    }
}

fn add_to(rows: &mut Vec<Row>, subject: &Subject, tried: Tried) {
    let (class, syntax) = (subject.class.as_str(), subject.transfer_syntax.as_str());
    let same = |row: &&mut Row| row.class == class && row.transfer_syntax == syntax && row.tried == tried;
    let files = subject.file.iter().cloned();
    match rows.iter_mut().find(same) {
        Some(row) => {
            row.count += 1;
            row.files.extend(files);
        }
        None => rows.push(Row {
            class: class.to_owned(),
            transfer_syntax: syntax.to_owned(),
            tried,
            files: files.collect(),
            count: 1,
        }),
    }
}

impl Row {
    fn is_refused(&self) -> bool {
        !self.tried.is_taken() && self.tried.may_decide.is_empty()
    }

    fn as_json(&self, verbose: bool) -> Value {
        let (outcome, words) = words::outcome(&self.tried);
        let named = |rule: &RuleName| json!({ "number": rule.number, "name": rule.name });
        let shadows = self.tried.shadows.iter();
        let shadows: Vec<_> = shadows
            .map(|shadow| json!({ "rule": named(&shadow.rule), "outcome": shadow.outcome.to_string() }))
            .collect();
        let (status, priority) = match &self.tried.instance {
            Some(InstanceDecision::Refuse { status, .. }) => (Some(format!("{:04X}", status.0)), None),
            Some(InstanceDecision::Accept { priority, .. }) => (None, Some(*priority)),
            Some(InstanceDecision::Hold(hold)) => (None, Some(hold.priority)),
            None => (None, None),
        };
        let files = if verbose { self.files.len() } else { FILES_NAMED };
        json!({
            "count": self.count,
            "class": self.class,
            "class_name": sop_class::name_of(&self.class),
            "transfer_syntax": self.transfer_syntax,
            "outcome": outcome,
            "words": words,
            "rule": self.tried.rule().map(named),
            "may_decide": self.tried.may_decide.iter().map(named).collect::<Vec<_>>(),
            "status": status,
            "priority": priority.map(words::priority_word),
            "shadows": shadows,
            "files": self.files.iter().take(files).collect::<Vec<_>>(),
        })
    }
}
