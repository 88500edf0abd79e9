//! Every row of every table in the cookbook, asked of an engine of its recipe.
#![expect(clippy::unwrap_used, reason = "helpers of tests: a failure is the test's")]

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::ContextAnswer;
use packhorse_dicom::sop_class;
use packhorse_dicom::transfer_syntax;
use packhorse_dicom::uid::{SopClassUid, TransferSyntaxUid};
use packhorse_ids::Priority;
use packhorse_policy::config::{RawRoute, RawRule, RawSource};
use packhorse_policy::{
    Attribute, DestinationKnowledge, Engine, HeaderValues, InstanceDecision, RuleName, Shadow, Trial, Tried,
};
use serde::Deserialize;

const COOKBOOK: &str = include_str!("../COOKBOOK.md");

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    source: Vec<RawSource>,
    route: Vec<RawRoute>,
    rule: Vec<RawRule>,
}

/// A section: its title, its configuration, its rows.
struct Recipe<'a> {
    title: &'a str,
    toml: &'a str,
    rows: Vec<Vec<&'a str>>,
}

fn recipes() -> Vec<Recipe<'static>> {
    let sections = COOKBOOK.split("\n## ").map(|section| Recipe {
        title: section.lines().next().unwrap(),
        toml: section
            .split_once("```toml\n")
            .and_then(|(_, rest)| rest.split_once("```"))
            .unwrap()
            .0,
        rows: section.lines().filter_map(row).collect(),
    });
    sections.collect()
}

/// The cells of a table's line, but of its head.
fn row(line: &str) -> Option<Vec<&str>> {
    let cells: Vec<_> = line
        .strip_prefix('|')?
        .strip_suffix('|')?
        .split('|')
        .map(str::trim)
        .collect();
    let is_head = cells[0] == "from" || cells[0].starts_with("---");
    (!is_head).then_some(cells)
}

fn engine(base: &str, recipe: &str) -> Engine {
    let (mut base, recipe): (File, File) = (toml::from_str(base).unwrap(), toml::from_str(recipe).unwrap());
    base.source.extend(recipe.source);
    base.route.extend(recipe.route);
    Engine::new(&base.source, &base.route, &recipe.rule).unwrap()
}

/// `900MiB`, or else an attribute's keyword and its value, several with commas between.
fn shown(cell: &str) -> (HeaderValues, u64) {
    let (mut header, mut length) = (HeaderValues::default(), 512 << 10);
    for part in cell.split(", ").filter(|part| !part.is_empty()) {
        match part.split_once(' ') {
            Some((keyword, value)) => header.insert(Attribute::by_keyword(keyword).unwrap(), value),
            None => length = size(part),
        }
    }
    (header, length)
}

fn size(text: &str) -> u64 {
    let (number, shift) = match (text.strip_suffix("MiB"), text.strip_suffix("KiB")) {
        (Some(number), _) => (number, 20),
        (_, Some(number)) => (number, 10),
        _ => panic!("{text:?} is no size"),
    };
    number.parse::<u64>().unwrap() << shift
}

fn outcome(tried: &Tried) -> String {
    let decided = match (&tried.context.answer, tried.instance.as_ref()) {
        (ContextAnswer::Rejected(result), _) => format!("refused ({})", result.0),
        (_, Some(InstanceDecision::Accept { priority, .. })) => match priority {
            Priority::Stat => "accepted, STAT".to_owned(),
            Priority::Routine => "accepted".to_owned(),
            Priority::Bulk => "accepted, bulk".to_owned(),
        },
        (_, Some(InstanceDecision::Refuse { status, .. })) => format!("answered {:04X}", status.0),
        (_, Some(InstanceDecision::Hold(hold))) => format!("held {}", hold.end),
        (_, None) => "undecided".to_owned(),
    };
    let shadow = |shadow: &Shadow| format!("; {}: {}", shadow.rule.name, shadow.outcome);
    decided + &tried.shadows.iter().map(shadow).collect::<String>()
}

fn asked(engine: &Engine, row: &[&str]) -> (String, String) {
    let [from, to, class, syntax, instance, ..] = row else {
        panic!("{row:?} has too few cells")
    };
    let (from, to) = (AeTitle::try_from(*from).unwrap(), AeTitle::try_from(*to).unwrap());
    assert!(
        engine.sources().iter().any(|source| source.has_ae_title(&from)),
        "{from}"
    );
    let class = sop_class::by_keyword(class).map_or(*class, |class| class.uid);
    let syntax = match *syntax {
        "" => "1.2.840.10008.1.2.1",
        keyword => transfer_syntax::by_keyword(keyword).unwrap().uid,
    };
    let (class, syntax): (SopClassUid, TransferSyntaxUid) = (class.parse().unwrap(), syntax.parse().unwrap());
    assert!(class.is_valid(), "{class}");
    let (header, length) = shown(instance);
    let trial = Trial {
        calling: &from,
        route: engine.route(&to, "").unwrap(),
        class: &class,
        dataset_class: Some(&class),
        transfer_syntax: &syntax,
        header: Some(&header),
        length: Some(length),
    };
    let tried = engine.try_out(&trial, &DestinationKnowledge::default());
    let rule = tried.rule().map(|RuleName { name, .. }| name.to_string());
    (outcome(&tried), rule.unwrap_or_default())
}

#[test]
fn every_row_of_the_cookbook_is_so() {
    let all = recipes();
    let (base, recipes) = all.split_first().unwrap();
    assert!(recipes.len() >= 10, "only {} recipes", recipes.len());
    let mut wrong = Vec::new();
    for recipe in recipes {
        let engine = engine(base.toml, recipe.toml);
        assert!(recipe.rows.len() >= 3, "{}", recipe.title);
        for row in &recipe.rows {
            let [outcome, rule] = [row[5].to_owned(), row[6].to_owned()];
            let found = asked(&engine, row);
            if found != (outcome, rule) {
                wrong.push(format!("{}: {row:?} is {found:?}", recipe.title));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_of_the_cookbook_decides_a_row_of_its_recipe() {
    for recipe in recipes().iter().skip(1) {
        let file: File = toml::from_str(recipe.toml).unwrap();
        for rule in &file.rule {
            let is_told = |row: &Vec<&str>| row[6] == rule.name || (rule.shadow && row[5].contains(&rule.name));
            assert!(recipe.rows.iter().any(is_told), "{}: {}", recipe.title, rule.name);
        }
    }
}
