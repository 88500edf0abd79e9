//! The conformance statement, line by line: each is negotiated with the gateway that printed it.

mod requestor;
mod security;
mod statement;

use std::collections::{HashMap, HashSet};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use packhorse_association::{RequestedAssociation, RequestorConfig};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{ContextAnswer, PresentationContextId, ProposedContext};
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use packhorse_testkit::instances::{DataSet, Writing, uid};
use packhorse_testkit::raw_scu::{Pair, RawScu, RawScuError, request_bytes};
use serde_json::Value;

use crate::support::{Edge, Hub, Target, eventually, receiver};
use statement::{Group, Statement, result_of};

/// A caller of its own, callers by pattern, rules of every outcome, by caller, route, class and syntax; a route with a list
/// of syntaxes and one on a listener of its own.
const SENDER: &str = r#"
[[listener]]
name = "lan"
address = "127.0.0.1:0"
[[listener]]
name = "new wing"
address = "127.0.0.1:0"
[[source]]
name = "PACS A | main"
ae_titles = ["PACS_A", "CT_*"]
hosts = ["127.0.0.1"]
[[source]]
ae_titles = ["MR_?"]
hosts = ["127.0.0.0/8", "10.0.0.5"]
[[source]]
ae_titles = ["FAR"]
hosts = ["192.0.2.1"]
[[route]]
called_ae_title = "ST_MARY"
to = "st-mary/PACS_B"
[[route]]
called_ae_title = "RESEARCH"
to = "st-mary/PACS_B"
listener = "new wing"
transfer_syntaxes = ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.1", "1.2.3.4"]
[[rule]]
name = "no CT to research"
route = ["RESEARCH"]
class = ["CTImageStorage"]
outcome = "refuse-context"
[[rule]]
name = "MR raw data waits"
source = ["MR_?"]
class = ["raw-data"]
outcome = "hold"
[[rule]]
source = ["CT_1"]
class = ["structured-reports"]
outcome = "refuse-instance"
[[rule]]
class = ["EncapsulatedPDFStorage", "1.2.3.4.5"]
outcome = "refuse-instance"
[[rule]]
name = "MR native only"
class = ["MRImageStorage"]
transfer_syntax = ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.3.5"]
outcome = "refuse-context"
[[rule]]
class = ["1.2.3.4.6"]
outcome = "accept"
[limits]
max_pdu_length = "32KiB"
"#;

/// One association after the other comes faster than places are free again.
const MANY: &str = "associations = 5000\nassociations_per_peer = 5000\n";

/// A gateway that has consent, and what it printed.
struct Printed {
    hub: Hub,
    edge: Edge,
    far: Edge,
    statement: Statement,
}

impl Printed {
    /// By [`SENDER`] with these limits.
    async fn with(limits: &str) -> Self {
        let (hub, target) = (Hub::start().await, Target::start().await);
        let (a_dir, b_dir) = (hub.join("clinic-a").await, hub.join("st-mary").await);
        let far = Edge::start(&b_dir, &receiver(&target, &["clinic-a"])).await;
        let edge = Edge::start(&a_dir, &format!("{SENDER}{limits}")).await;
        eventually("consent", async || edge.standing().await == "accepted").await;
        let statement = printed(&edge).await;
        Self {
            hub,
            edge,
            far,
            statement,
        }
    }

    async fn finish(self) {
        self.edge.finish().await;
        self.far.finish().await;
        self.hub.finish().await;
    }

    /// Where an AE title is called, by the statement's own tables.
    fn address(&self, called: &str) -> SocketAddr {
        let bound = self
            .statement
            .value(&format!("Called AE title {called}"), "Property", "Listener");
        let listeners = &self.statement.table("4.3", "Listener").rows;
        let is_it = |row: &&Vec<String>| bound == "every one" || row[0] == bound;
        listeners.iter().find(is_it).unwrap()[1].parse().unwrap()
    }
}

async fn printed(edge: &Edge) -> Statement {
    let answer = edge.ask("conformance", Value::Null).await;
    Statement::read(answer["statement"].as_str().unwrap())
}

/// Proposes each pair in a context of its own, 128 at a time.
fn negotiate(address: SocketAddr, called: &str, calling: &str, pairs: &[Pair]) -> Vec<u8> {
    let negotiated = pairs.chunks(128).flat_map(|pairs| {
        let scu = RawScu::associate(address, called, calling, pairs).unwrap();
        let results = scu.results().to_vec();
        scu.release().unwrap();
        results
    });
    negotiated.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_class_in_every_syntax_is_negotiated_as_the_statement_says() {
    let printed = Printed::with(MANY).await;
    let (sets, groups) = (printed.statement.sets(), printed.statement.groups());
    let callers: usize = groups.iter().map(|group| group.callers.len()).sum();
    assert_eq!(callers, 2 * 5, "PACS_A, CT_*, MR_?, FAR, CT_1 under two titles");
    assert_eq!(groups.len(), 2 * 3, "the reports of CT_1 and raw data of MR_? apart");
    for group in &groups {
        let address = printed.address(&group.called);
        let said: Vec<_> = group.said(&sets).into_iter().collect();
        assert!(said.len() > 190 * 60, "{}", said.len());
        // FAR may not call from here.
        for calling in group.callers.iter().filter(|calling| *calling != "FAR") {
            let pairs: Vec<_> = said.iter().map(|(pair, _)| pair.clone()).collect();
            let results = tokio::task::block_in_place(|| negotiate(address, &group.called, calling, &pairs));
            for ((pair, answer), result) in said.iter().zip(results) {
                assert_eq!(
                    result,
                    result_of(answer),
                    "{calling} to {}: {pair:?}: {answer}",
                    group.called
                );
            }
        }
    }
    printed.finish().await;
}

/// Classes that the statement names only by their kind.
const UNLISTED: [(&str, &str); 9] = [
    ("any newer storage class", "1.2.840.10008.5.1.4.1.1.7777"),
    ("any newer storage class", "1.2.840.10008.5.1.4.1.1.88.9999"),
    ("any private class", "1.2.840.113619.4.26"),
    ("any private class", "1.3.12.2.1107.5.9.1"),
    ("any other service", "1.2.840.10008.3.1.2.3.3"),
    ("any other service", "1.2.840.10008.5.1.4.31"),
    ("any other service", "1.2.840.10008.5.1.4.1.2.2.1"),
    ("any other service", "1.2.840.10008.5.1.1.9"),
    ("any other service", "1.2.840.10008.1.3.10"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn classes_that_are_not_listed_are_answered_as_their_kind_and_choice_is_in_the_order_that_is_said() {
    let printed = Printed::with(MANY).await;
    let sets = printed.statement.sets();
    for group in &printed.statement.groups() {
        let calling = &group.callers[0];
        let address = printed.address(&group.called);
        let pairs = UNLISTED.map(|(_, class)| (class.to_owned(), "1.2.840.10008.1.2".to_owned()));
        let results = tokio::task::block_in_place(|| negotiate(address, &group.called, calling, &pairs));
        for ((kind, class), result) in UNLISTED.iter().zip(results) {
            assert_eq!(result, result_of(group.said_of_kind(kind)), "{class}");
        }
        choice(address, group, &sets).await;
    }
    printed.finish().await;
}

/// Of all accepted syntaxes the first of the order is chosen; without it the next; without all of them the first proposed.
async fn choice(address: SocketAddr, group: &Group<'_>, sets: &HashMap<&str, Vec<&str>>) {
    let accepted = group
        .classes
        .rows
        .iter()
        .filter(|row| row[2] == "accepted" && row[0] != "Verification");
    let row = accepted.max_by_key(|row| sets[row[4].as_str()].len()).unwrap();
    let order: Vec<&str> = group.order.unwrap().rows.iter().map(|row| row[2].as_str()).collect();
    assert!(order.len() > 1, "{order:?}");
    let mut proposed: Vec<&str> = sets[row[4].as_str()].iter().rev().copied().collect();
    for preferred in &order {
        let chosen = chosen(address, group, &row[1], &proposed).await;
        assert_eq!(chosen.as_deref(), Some(*preferred), "{}", group.called);
        proposed.retain(|syntax| syntax != preferred);
    }
    if let Some(first) = proposed.first() {
        let first = (*first).to_owned();
        assert_eq!(chosen(address, group, &row[1], &proposed).await, Some(first));
        proposed.reverse();
        let first = proposed[0].to_owned();
        assert_eq!(chosen(address, group, &row[1], &proposed).await, Some(first));
    }
}

async fn chosen(address: SocketAddr, group: &Group<'_>, class: &str, syntaxes: &[&str]) -> Option<String> {
    let title = |text: &str| AeTitle::try_from(text).unwrap();
    let config = RequestorConfig::new(title(&group.callers[0]), title(&group.called));
    let context = ProposedContext {
        id: PresentationContextId::nth(0).unwrap(),
        abstract_syntax: AbstractSyntaxUid::try_from(class).unwrap(),
        transfer_syntaxes: syntaxes
            .iter()
            .map(|uid| TransferSyntaxUid::try_from(*uid).unwrap())
            .collect(),
    };
    let association = RequestedAssociation::request(&address.to_string(), &config, vec![context])
        .await
        .unwrap();
    let answer = association.contexts()[0].answer.clone();
    association.release().await.unwrap();
    match answer {
        ContextAnswer::Accepted(syntax) => Some(syntax.to_string()),
        ContextAnswer::Rejected(_) => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_of_every_class_is_answered_as_the_statement_says() {
    let printed = Printed::with(MANY).await;
    let sets = printed.statement.sets();
    let (mut answers, mut held) = (HashSet::new(), 0);
    for group in printed.statement.groups() {
        let address = printed.address(&group.called);
        let lines = group
            .classes
            .rows
            .iter()
            .filter(|row| row[2].starts_with("accepted") && row[0] != "Verification");
        let lines: Vec<_> = lines
            .map(|row| ((row[1].clone(), syntax_of(&sets[row[4].as_str()])), row[2].clone()))
            .collect();
        for lines in lines.chunks(128) {
            let statuses = tokio::task::block_in_place(|| store(address, &group, lines));
            for ((pair, answer), status) in lines.iter().zip(statuses) {
                let said = answer.strip_prefix("accepted, C-STORE answered ").unwrap_or("0000");
                assert_eq!(format!("{status:04X}"), said, "{pair:?}: {answer}");
                held += usize::from(answer == "accepted, held");
                answers.insert(answer.clone());
            }
        }
    }
    let known = &printed.statement.table("4.2.1.3", "C-STORE status").rows;
    for answer in answers
        .iter()
        .filter_map(|answer| answer.strip_prefix("accepted, C-STORE answered "))
    {
        assert!(
            known.iter().any(|row| row[0] == answer),
            "{answer} is not in the table of statuses"
        );
    }
    assert_eq!(answers.len(), 4, "accepted, held, 0122 and 0124: {answers:?}");
    let status = printed.edge.status().await;
    assert_eq!(status["held"], held, "{status}");
    printed.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_of_another_class_or_without_a_uid_is_answered_as_the_statement_says() {
    let printed = Printed::with(MANY).await;
    let address = printed.address("ST_MARY");
    let mr = "1.2.840.10008.5.1.4.1.1.4";
    let answers = tokio::task::block_in_place(|| {
        let mut scu = RawScu::associate(address, "ST_MARY", "PACS_A", &[ct()]).unwrap();
        let context = scu.accepted(&ct()).unwrap();
        let of_mr = DataSet::default()
            .text(0x0008_0016, b"UI", "1.2.840.10008.5.1.4.1.1.66")
            .encode(Writing::Explicit);
        let mut store = |class: &str, instance: &str, data: &[u8]| {
            scu.store(context, class.as_bytes(), instance.as_bytes(), data).unwrap()
        };
        let answers = [
            store(mr, "1.2.3.9", b""),
            store(&ct().0, "1.2.3.9", &of_mr),
            store(&ct().0, "", b""),
            store(&ct().0, &"1".repeat(65), b""),
        ];
        scu.release().unwrap();
        answers
    });
    let rows = &printed.statement.table("4.2.1.3", "C-STORE status").rows;
    let said = |when: &str| rows.iter().find(|row| row[2].contains(when)).unwrap()[0].clone();
    let class = said("the class of the command or of the data set is not the context's");
    let no_uid = said("the SOP Instance UID is empty or longer than 64");
    for (answer, said) in answers.iter().zip([&class, &class, &no_uid, &no_uid]) {
        assert_eq!(format!("{:04X}", answer.status), *said);
        assert!(!answer.comment.is_empty(), "every failure has an Error Comment");
    }
    printed.finish().await;
}

/// Explicit VR Little Endian where it is taken.
fn syntax_of(set: &[&str]) -> String {
    let explicit = set.iter().find(|syntax| **syntax == "1.2.840.10008.1.2.1");
    (*explicit.unwrap_or(&set[0])).to_owned()
}

fn store(address: SocketAddr, group: &Group<'_>, lines: &[(Pair, String)]) -> Vec<u16> {
    let pairs: Vec<_> = lines.iter().map(|(pair, _)| pair.clone()).collect();
    let mut scu = RawScu::associate(address, &group.called, &group.callers[0], &pairs).unwrap();
    let mut one = |pair: &Pair| {
        let instance = uid(&format!("{}/{}/{}", group.called, group.callers[0], pair.0));
        let data_set = DataSet::default()
            .text(0x0008_0016, b"UI", &pair.0)
            .text(0x0008_0018, b"UI", &instance);
        let data = data_set.encode(Writing::Explicit);
        let context = scu
            .accepted(pair)
            .unwrap_or_else(|| panic!("{pair:?} was not accepted"));
        scu.store(context, pair.0.as_bytes(), instance.as_bytes(), &data)
            .unwrap()
            .status
    };
    let statuses = pairs.iter().map(&mut one).collect();
    scu.release().unwrap();
    statuses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_information_and_rejections_are_as_the_statement_says() {
    let printed = Printed::with(MANY).await;
    let address = printed.address("ST_MARY");
    tokio::task::block_in_place(|| {
        user_information(&printed.statement, address);
        rejections(&printed.statement, address);
    });
    let now = |statement: &Statement| statement.value("Called AE title ST_MARY", "Property", "Now").to_owned();
    assert_eq!(now(&printed.statement), "answered");
    printed.finish().await;
}

fn ct() -> Pair {
    ("1.2.840.10008.5.1.4.1.1.2".to_owned(), "1.2.840.10008.1.2.1".to_owned())
}

/// The same with a length before it.
fn counted(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap().to_be_bytes();
    [&length[..], text.as_bytes()].concat()
}

fn user_information(statement: &Statement, address: SocketAddr) {
    let (class, _) = ct();
    let more = [
        (0x53, vec![0, 0, 0, 0]),
        (0x54, [counted(&class), vec![1, 1]].concat()),
        (0x56, [counted(&class), vec![2, 0, 0, 0, 1, 0]].concat()),
        (0x58, [vec![1, 1], counted("somebody"), counted("")].concat()),
    ];
    let scu = RawScu::associate_with(address, "ST_MARY", "PACS_A", &[ct()], &more).unwrap();
    let text = |kind| {
        scu.user_item(kind)
            .map(|value| String::from_utf8(value.to_vec()).unwrap())
    };
    let unless = |kind: u8, words: &str| match scu.user_item(kind) {
        None => "not answered".to_owned(),
        Some(value) => format!("{words} {value:?}"),
    };
    let length = scu
        .user_item(0x51)
        .map(|value| u32::from_be_bytes(value.try_into().unwrap()));
    let role = scu
        .user_item(0x54)
        .map(|value| (value[value.len() - 2], value[value.len() - 1]));
    assert_eq!(role, Some((1, 0)));
    let answered = [
        ("Maximum length (51H)", length.unwrap().to_string()),
        ("Implementation class UID (52H)", text(0x52).unwrap()),
        ("Implementation version name (55H)", text(0x55).unwrap()),
        ("Asynchronous operations window (53H)", unless(0x53, "a window")),
        ("Role selection (54H)", "SCU accepted, SCP not accepted".to_owned()),
        ("SOP class extended negotiation (56H)", unless(0x56, "an item")),
        ("User identity (58H)", unless(0x59, "a response")),
    ];
    let table = statement.table("4.2.1.2", "Item");
    assert_eq!(table.rows.len(), answered.len());
    for (item, value) in answered {
        assert_eq!(statement.value("4.2.1.2", "Item", item), value, "{item}");
    }
    assert_eq!(length, Some(32 * 1024), "as configured");
    scu.release().unwrap();
}

/// The answer to an A-ASSOCIATE-RQ with this change.
fn answer_to(address: SocketAddr, change: impl FnOnce(&mut Vec<u8>)) -> [u8; 10] {
    let mut request = request_bytes("ST_MARY", "PACS_A", &[ct()]);
    change(&mut request);
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&request).unwrap();
    let mut answer = [0; 10];
    stream.read_exact(&mut answer).unwrap();
    answer
}

/// Where the first presentation context's id is.
fn context_id_at(request: &[u8]) -> usize {
    let items = 74 + 4 + usize::from(request[77]);
    assert_eq!(request[items], 0x20);
    items + 4
}

fn rejections(statement: &Statement, address: SocketAddr) {
    let codes = |called: &str, calling: &str| match RawScu::associate(address, called, calling, &[ct()]) {
        Err(RawScuError::Rejected {
            result,
            source_code,
            reason,
        }) => format!("({result}/{source_code}/{reason})"),
        other => panic!("{called} {calling}: {other:?}"),
    };
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let answer = answer_to(address, change);
        assert_eq!(answer[0], 3, "{answer:?}");
        format!("({}/{}/{})", answer[7], answer[8], answer[9])
    };
    let rows = &statement.table("4.2.1.2", "When").rows;
    let said = |when: &str| rows.iter().find(|row| row[0].contains(when)).unwrap()[1].clone();
    let even = answer_to(address, |request| {
        let id = context_id_at(request);
        request[id] = 2;
    });
    assert_eq!((even[0], even[8], even[9]), (7, 2, 6), "an even context id");
    for (when, answer) in [
        ("its calling AE title", codes("ST_MARY", "STRANGER")),
        ("its address", codes("ST_MARY", "FAR")),
        ("called AE title", codes("NOBODY", "PACS_A")),
        // On the other listener.
        ("called AE title", codes("RESEARCH", "PACS_A")),
        ("protocol version", changed(&|request| request[7] = 2)),
        ("application context", changed(&|request| request[78] = b'9')),
    ] {
        assert!(said(when).ends_with(&answer), "{when}: {answer}, said: {}", said(when));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_associations_are_taken_as_the_statement_says() {
    let printed = Printed::with("associations = 6\nassociations_per_peer = 5\n").await;
    let address = printed.address("ST_MARY");
    tokio::task::block_in_place(|| limits(&printed.statement, address));
    printed.finish().await;
}

/// As many associations from here as may be, and one more.
fn limits(statement: &Statement, address: SocketAddr) {
    let policy = |name| statement.value("4.2.1.2", "Policy", name).parse::<usize>().unwrap();
    assert_eq!(policy("Associations at a time"), 6);
    let here = policy("Associations at a time from one address");
    let request = || RawScu::associate(address, "ST_MARY", "PACS_A", &[ct()]);
    let mut open = Vec::new();
    for _ in 0..here {
        open.push(request().unwrap());
    }
    let rows = &statement.table("4.2.1.2", "When").rows;
    let said = &rows.iter().find(|row| row[0].contains("as many associations")).unwrap()[1];
    match request() {
        Err(RawScuError::Rejected {
            result,
            source_code,
            reason,
        }) => assert!(said.ends_with(&format!("({result}/{source_code}/{reason})")), "{said}"),
        other => panic!("{other:?}"),
    }
    open.into_iter().for_each(|scu| scu.release().unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_title_without_consent_is_said_to_be_rejected_and_is() {
    let hub = Hub::start().await;
    let dir = hub.join("clinic-a").await;
    let edge = Edge::start(&dir, SENDER).await;
    let statement = printed(&edge).await;
    let now = statement.value("Called AE title ST_MARY", "Property", "Now").to_owned();
    assert!(
        now.contains("(1/1/7)") && now.contains("has not announced itself yet"),
        "{now}"
    );
    let address = edge.dicom();
    let answer = tokio::task::block_in_place(|| answer_to(address, |_| {}));
    assert_eq!((answer[0], answer[7], answer[8], answer[9]), (3, 1, 1, 7));
    edge.finish().await;
    hub.finish().await;
}
