use packhorse_dicom::negotiation::{ContextAnswer, ContextResult, PresentationContextId};

use super::*;
use crate::testing::{Edge, site, title};

const PATIENCE: Patience = Patience {
    confirm: Duration::from_secs(600),
    refresh: Duration::from_secs(86_400),
    expire: Duration::from_secs(7 * 86_400),
};
const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const RAW: &str = "1.2.840.10008.5.1.4.1.1.66";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";

fn answered() -> Vec<NegotiatedContext> {
    let context = |index, class: &str| ProposedContext {
        id: PresentationContextId::nth(index).unwrap(),
        abstract_syntax: class.parse().unwrap(),
        transfer_syntaxes: vec![EXPLICIT.parse().unwrap()],
    };
    let (yes, no) = (context(0, CT), context(1, RAW));
    vec![
        NegotiatedContext {
            answer: yes.accept_first(),
            proposed: yes,
        },
        NegotiatedContext {
            answer: ContextAnswer::Rejected(ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED),
            proposed: no,
        },
    ]
}

fn probed(at: WallTime) -> Word {
    let source = Source::Probe;
    Word { at, source }
}

fn toml(port: u16) -> String {
    format!("[[destination]]\nae_title = \"P\"\naddress = \"127.0.0.1:{port}\"\ncalling_ae_title = \"US\"\n")
}

#[test]
fn what_is_known_survives_a_restart_and_not_a_change_of_address() {
    let edge = Edge::new("b", &toml(104));
    let (shared, begun) = (&edge.shared, WallTime::from_unix_micros(1_000_000));
    let later = begun.saturating_add(PATIENCE.confirm);
    let mirror = &shared.pacs[&title("P")].mirror;
    assert_eq!(mirror.told(begun, &PATIENCE), None);
    mirror.hear(&answered(), probed(begun), &PATIENCE);
    let asked = [
        (CT.to_owned(), "1.2.840.10008.1.2.4.50".to_owned()),
        ("no uid \n".to_owned(), EXPLICIT.to_owned()),
    ];
    mirror.want(&site("a"), &asked);
    save(&shared.folder, &shared.config.destinations, &shared.pacs, begun);
    let again = load(&shared.folder, &shared.config.destinations);
    let read = &again[&title("P")].mirror;
    assert_eq!(read.lock().beliefs, mirror.lock().beliefs);
    assert_eq!(read.lock().wanted, mirror.lock().wanted);
    assert_eq!(read.lock().wanted[&site("a")].len(), 1);
    // The first no is not forgotten.
    assert_eq!(read.hear(&answered(), probed(later), &PATIENCE), Heard::Changed);
    let moved = Edge::new("b", &toml(105));
    assert_eq!(
        load(&shared.folder, &moved.shared.config.destinations)[&title("P")]
            .mirror
            .told(later, &PATIENCE),
        None
    );
    std::fs::write(shared.folder.join(FILE_NAME), "{").unwrap();
    let lost = load(&shared.folder, &shared.config.destinations);
    assert_eq!(lost[&title("P")].mirror.told(later, &PATIENCE), None);
}

#[test]
fn it_is_written_down_when_something_is_new_and_else_once_an_hour() {
    let edge = Edge::new("b", &toml(104));
    let (mirror, mut now) = (
        &edge.shared.pacs[&title("P")].mirror,
        WallTime::from_unix_micros(1_000_000),
    );
    let hear = |now| {
        let source = Source::Delivery;
        mirror.hear(&answered()[..1], Word { at: now, source }, &PATIENCE);
        let is_written = !mirror.is_saved();
        drop(mirror.save(String::new(), now));
        is_written
    };
    assert!(hear(now));
    assert!(!hear(now));
    now = now.saturating_add(STALE);
    assert!(hear(now));
}

#[test]
fn what_other_sites_ask_for_is_bounded_for_each_of_them() {
    let mirror = Ours::default();
    let pairs: Vec<_> = (0..2 * WANTED_MAX)
        .map(|number| (format!("1.2.{number}"), EXPLICIT.to_owned()))
        .collect();
    mirror.want(&site("a"), &pairs);
    assert_eq!(mirror.lock().wanted[&site("a")].len(), WANTED_MAX);
    mirror.want(&site("b"), &pairs[WANTED_MAX..=WANTED_MAX]);
    assert_eq!(
        mirror.lock().wanted[&site("b")].len(),
        1,
        "one site leaves the others their room"
    );
    for number in 0..2 * ASKING_MAX {
        mirror.want(&site(&format!("site-{number}")), &pairs[..1]);
    }
    assert_eq!(mirror.lock().wanted.len(), ASKING_MAX);
}

#[test]
fn of_what_is_not_taken_common_classes_are_named_first() {
    let told = |class: &str| Told {
        class: class.to_owned(),
        syntax: None,
        takes: false,
        at: 0,
        source: Source::Probe,
    };
    // Sorted as they come: CT and Secondary Capture behind classes that are rarely sent.
    let classes = ["1.2.3", RAW, "1.2.840.10008.5.1.4.1.1.7", CT];
    let facts: Vec<_> = classes.iter().map(|class| told(class)).collect();
    let shown = shown(None, facts.iter(), WallTime::default(), false);
    let names = [
        "CT Image Storage",
        "Secondary Capture Image Storage",
        "1.2.3",
        "Raw Data Storage",
    ];
    assert_eq!(shown["classes_not_taken"], json!(names));
}
