//! What is accepted under each called AE title: classes, transfer syntaxes, and which of them is chosen.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use packhorse_association::codec::UserInformation;
use packhorse_association::negotiate;
use packhorse_dicom::implementation::IMPLEMENTATION_CLASS_UID;
use packhorse_dicom::sop_class::{self, VERIFICATION};
use packhorse_dicom::transfer_syntax;
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use packhorse_policy::{Engine, Route};

use super::asked::{ACCEPTED, Asking, Caller, Line, Syntax, callers, syntaxes};
use super::markdown::Document;
use crate::ingest::consent;
use crate::shared::Shared;

/// Storage Commitment Push Model, named for those who look for it.
const STORAGE_COMMITMENT: &str = "1.2.840.10008.1.20.1";

/// Sets of transfer syntaxes that the tables of classes refer to.
#[derive(Debug, Default)]
struct Sets(Vec<Vec<usize>>);

impl Sets {
    fn name(&mut self, syntaxes: &[usize]) -> String {
        let known = self.0.iter().position(|set| set == syntaxes);
        let place = known.unwrap_or_else(|| {
            self.0.push(syntaxes.to_vec());
            self.0.len() - 1
        });
        format!("T{}", place + 1)
    }
}

/// A class that is asked about; `name` says of which kind it is an example where it is one.
struct AskedClass {
    name: String,
    uid: AbstractSyntaxUid,
}

/// Callers that get the same answers.
struct Group {
    callers: Vec<Caller>,
    /// By class, in the order of the classes.
    lines: Vec<Vec<Line>>,
}

/// The section of every called AE title, and the sets of transfer syntaxes that they refer to.
pub(super) fn called_titles(document: &mut Document, shared: &Shared) {
    let engine = &shared.config.engine;
    let (classes, syntaxes, mut sets) = (classes(engine), syntaxes(engine), Sets::default());
    for (route, number) in engine.routes().iter().zip(1..) {
        let called = &route.called_ae_title;
        document.heading(4, &format!("4.2.2.{number} Called AE title {called}"));
        about(document, shared, route);
        for (group, letter) in groups(shared, route, &classes, &syntaxes).iter().zip(1..) {
            document.heading(5, &format!("4.2.2.{number}.{letter} SOP classes of {called}"));
            group_section(document, shared, route, group, (&classes, &syntaxes), &mut sets);
        }
    }
    document.heading(3, "4.2.3 Sets of transfer syntaxes");
    document.paragraph(
        "A transfer syntax that no line of a class names is rejected in a context of its own: transfer syntaxes not \
         supported (4). What this version does not know is asked about by the UID that is shown.",
    );
    let rows = syntaxes.iter().enumerate().map(|(place, syntax)| {
        let sets = sets.0.iter().zip(1..).filter(|(set, _)| set.contains(&place));
        let sets: Vec<_> = sets.map(|(_, number)| format!("T{number}")).collect();
        [syntax.name.clone(), syntax.uid.to_string(), sets.join(", ")]
    });
    document.table(["Transfer syntax", "UID", "In sets"], rows);
}

fn about(document: &mut Document, shared: &Shared, route: &Route) {
    let called = &route.called_ae_title;
    let listener = listener(shared, route);
    let proposal = negotiate::proposal(
        &negotiate::request_pdu(called, called, Vec::new(), UserInformation::default()),
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        &listener,
    );
    let now = match proposal.map(|proposal| consent(shared, &proposal)) {
        Ok(Ok(())) => "answered".to_owned(),
        Ok(Err(refused)) => format!("{}: {}", refused.rejection, refused.why),
        Err(rejection) => rejection.to_string(),
    };
    let listeners = match &route.listener {
        Some(listener) => listener.to_string(),
        None => "every one".to_owned(),
    };
    let leads_to = format!("{} at {}", route.to_ae_title, route.to_site);
    let rows = [("Leads to", leads_to), ("Listener", listeners), ("Now", now)];
    document.table(
        ["Property", "Value"],
        rows.map(|(name, value)| [name.to_owned(), value]),
    );
}

fn group_section(
    document: &mut Document,
    shared: &Shared,
    route: &Route,
    group: &Group,
    (classes, syntaxes): (&[AskedClass], &[Syntax]),
    sets: &mut Sets,
) {
    let rows = group.callers.iter().map(|caller| {
        let title = caller.title.to_string();
        [route.called_ae_title.to_string(), caller.pattern.clone(), title]
    });
    document.table(["Called AE title", "Calling AE titles", "Asked as"], rows);
    let lines = classes.iter().zip(&group.lines);
    let rows = lines.flat_map(|(class, lines)| lines.iter().map(move |line| (class, line)));
    let rows: Vec<_> = rows
        .map(|(class, line)| {
            let (name, uid) = (class.name.clone(), class.uid.to_string());
            let set = sets.name(&line.syntaxes);
            [name, uid, line.answer.clone(), line.rule.clone(), set]
        })
        .collect();
    document.table(["SOP class", "UID", "Answer", "Rule", "Transfer syntaxes"], rows);
    order_of_choice(document, shared, route, group, (classes, syntaxes));
}

/// Which of several syntaxes in one context is chosen: found out for the class that is accepted in most.
fn order_of_choice(
    document: &mut Document,
    shared: &Shared,
    route: &Route,
    group: &Group,
    (classes, syntaxes): (&[AskedClass], &[Syntax]),
) {
    let storage = classes
        .iter()
        .zip(&group.lines)
        .filter(|(class, _)| class.uid.as_str() != VERIFICATION);
    let accepted = storage.filter_map(|(class, lines)| Some((class, lines.iter().find(|line| line.is_accepted())?)));
    let Some((class, line)) = accepted.max_by_key(|(_, line)| line.syntaxes.len()) else {
        return document.paragraph("No storage class is accepted.");
    };
    let Some(caller) = group.callers.first() else { return };
    let listener = listener(shared, route);
    let asking = Asking {
        engine: &shared.config.engine,
        route,
        listener: &listener,
        calling: &caller.title,
    };
    let taken = line.syntaxes.iter().filter_map(|place| syntaxes.get(*place));
    let taken: Vec<_> = taken.map(|syntax| syntax.uid.clone()).collect();
    document.paragraph(
        "Of several accepted transfer syntaxes in one presentation context the first of these is chosen, and without one \
         of these the first that the requestor proposes:",
    );
    let rows = asking.preferred(&class.uid, &taken).into_iter().zip(1..);
    let rows = rows.map(|(syntax, order): (TransferSyntaxUid, u32)| {
        let name = transfer_syntax::name_of(syntax.as_str()).to_owned();
        [order.to_string(), name, syntax.to_string()]
    });
    document.table(["Order", "Transfer syntax", "UID"], rows);
}

/// Callers in groups of the same answers.
fn groups(shared: &Shared, route: &Route, classes: &[AskedClass], syntaxes: &[Syntax]) -> Vec<Group> {
    let engine = &shared.config.engine;
    let listener = listener(shared, route);
    let mut groups: Vec<Group> = Vec::new();
    for caller in callers(engine) {
        let asking = Asking {
            engine,
            route,
            listener: &listener,
            calling: &caller.title,
        };
        let lines: Vec<_> = classes.iter().map(|class| asking.lines(&class.uid, syntaxes)).collect();
        match groups.iter_mut().find(|group| group.lines == lines) {
            Some(group) => group.callers.push(caller),
            None => groups.push(Group {
                callers: vec![caller],
                lines,
            }),
        }
    }
    groups
}

/// A listener that the route is on.
fn listener(shared: &Shared, route: &Route) -> String {
    let first = || shared.config.listeners.first().map(|listener| listener.name.clone());
    let bound = route.listener.as_deref().map(str::to_owned);
    bound.or_else(first).unwrap_or_default()
}

/// Verification, every storage class that this version knows, those that rules name besides, and one of each other kind.
fn classes(engine: &Engine) -> Vec<AskedClass> {
    let known = sop_class::storage().iter().map(|class| class.uid);
    let known: Vec<_> = [VERIFICATION].into_iter().chain(known).collect();
    let named: BTreeSet<_> = engine.rules().iter().flat_map(|rule| rule.class_uids()).collect();
    let others = named
        .into_iter()
        .filter(|uid| !known.contains(uid) && *uid != STORAGE_COMMITMENT);
    let of_standard = known.iter().copied().chain(others).chain([STORAGE_COMMITMENT]);
    let of_standard = of_standard.map(|uid| (sop_class::name_of(uid).to_owned(), uid.to_owned()));
    let examples = [
        (
            "any newer storage class of the standard, such as",
            "1.2.840.10008.5.1.4.1.1.9999.1".to_owned(),
        ),
        (
            "any other service of the standard, such as",
            "1.2.840.10008.9999.1".to_owned(),
        ),
        ("any private class, such as", format!("{IMPLEMENTATION_CLASS_UID}.2")),
    ];
    let examples = examples.map(|(name, uid)| (name.to_owned(), uid));
    let asked = |(name, uid): (String, String)| {
        let uid = AbstractSyntaxUid::try_from(uid.as_str()).ok()?;
        Some(AskedClass { name, uid })
    };
    of_standard.chain(examples).filter_map(asked).collect()
}

impl Line {
    fn is_accepted(&self) -> bool {
        self.answer.starts_with(ACCEPTED)
    }
}
