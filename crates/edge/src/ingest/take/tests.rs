use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use packhorse_ledger::Origin;
use packhorse_spool::{Disk, RealDisk};

use super::*;
use crate::testing::{Edge, proposal};

const TOML: &str = "[[route]]\ncalled_ae_title = \"ROUTE\"\nto = \"b/PACS\"\n";

fn offered(proposal: &Proposal) -> Offered<'_> {
    let context = &proposal.contexts[0];
    let uid = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    let command = CStoreRq {
        message_id: 1,
        affected_sop_class_uid: uid(context.abstract_syntax.as_str()),
        affected_sop_instance_uid: uid("1.2.34"),
        priority: 0,
        move_originator: None,
    };
    Offered {
        origin: Origin::Send,
        source: "PACS A".to_owned(),
        proposal,
        context_class: context.abstract_syntax.clone(),
        transfer_syntax: context.transfer_syntaxes[0].clone(),
        command_set: command.to_bytes(),
        command,
        told: Arc::default(),
    }
}

/// A data set of one fragment, whole or not.
struct Fragment {
    fragment: Option<Bytes>,
    is_whole: bool,
}

impl Data for Fragment {
    type Error = &'static str;

    async fn next(&mut self) -> Result<Option<Bytes>, Self::Error> {
        match self.fragment.take() {
            Some(fragment) => Ok(Some(fragment)),
            None if self.is_whole => Ok(None),
            None => Err("the association is lost"),
        }
    }
}

fn data(is_whole: bool) -> Fragment {
    let fragment = Some(Bytes::from_static(b"\x20\0\x10\0\x02\0\0\0 1"));
    Fragment { fragment, is_whole }
}

async fn facts(edge: &Edge) -> Vec<Bytes> {
    let facts = edge.shared.spool.facts_after(0, 100).await.unwrap();
    facts.into_iter().map(|(_, fact)| fact).collect()
}

#[tokio::test]
async fn pending_facts_stay_when_an_instance_does_not_come_whole_and_go_with_the_next() {
    let edge = Edge::new("a", TOML);
    let proposal = proposal("PACS_A", "ROUTE");
    let opening = Bytes::from_static(b"opening");
    let mut journal = Journal::of(vec![opening.clone()]);
    let lost = take(&edge.shared, offered(&proposal), &mut journal, &mut data(false)).await;
    assert_eq!(lost, Err("the association is lost"));
    assert_eq!(
        (journal.pending(), facts(&edge).await.len()),
        (std::slice::from_ref(&opening), 0)
    );
    let taken = take(&edge.shared, offered(&proposal), &mut journal, &mut data(true))
        .await
        .unwrap();
    assert_eq!(taken.status, Status::SUCCESS);
    assert!(journal.pending().is_empty());
    let facts = facts(&edge).await;
    assert_eq!((facts.len(), &facts[0]), (2, &opening));
}

/// A disk that says it is full when asked to.
#[derive(Debug, Default)]
struct Filling(AtomicBool);

impl Disk for Filling {
    fn write(&self, file: &File, pieces: &mut [io::IoSlice<'_>], offset: u64) -> io::Result<()> {
        RealDisk.write(file, pieces, offset)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        RealDisk.sync(file)
    }

    fn sync_folder(&self, folder: &File) -> io::Result<()> {
        RealDisk.sync_folder(folder)
    }

    fn free(&self, folder: &Path) -> io::Result<u64> {
        if self.0.load(Ordering::Relaxed) {
            Ok(0)
        } else {
            RealDisk.free(folder)
        }
    }
}

#[tokio::test]
async fn an_instance_for_which_the_disk_is_full_at_the_end_is_on_record_as_refused() {
    let disk = Arc::new(Filling::default());
    let edge = Edge::on_disk("a", TOML, Arc::<Filling>::clone(&disk));
    let proposal = proposal("PACS_A", "ROUTE");
    disk.0.store(true, Ordering::Relaxed);
    let mut journal = Journal::of(vec![Bytes::from_static(b"opening")]);
    let taken = take(&edge.shared, offered(&proposal), &mut journal, &mut data(true))
        .await
        .unwrap();
    assert_eq!(taken.status, Status::OUT_OF_RESOURCES);
    let facts = facts(&edge).await;
    assert_eq!(facts[0], "opening");
    let Ok(Fact::InstanceRefused(refused)) = Fact::from_bytes(&facts[1]) else {
        panic!("a refusal: {facts:?}")
    };
    assert_eq!(refused.status, Status::OUT_OF_RESOURCES.0);
    assert!(journal.pending().is_empty());
}

/// A data set that names its patient in Latin-1.
fn of_patient(name: &[u8]) -> Fragment {
    let mut bytes = b"\x08\0\x05\0\x0A\0\0\0ISO_IR 100\x10\0\x10\0".to_vec();
    bytes.extend(u32::try_from(name.len()).unwrap().to_le_bytes());
    bytes.extend(name);
    Fragment {
        fragment: Some(bytes.into()),
        is_whole: true,
    }
}

#[tokio::test]
async fn a_rule_about_the_header_reads_it_by_its_character_set_and_one_about_the_size_comes_at_the_end() {
    let rules = "[[rule]]\nheader = { PatientName = [\"müller^*\"] }\noutcome = \"refuse-instance\"\n\
                 [[rule]]\nlarger_than = \"36B\"\noutcome = \"hold\"\n";
    let edge = Edge::new("a", &format!("{TOML}{rules}"));
    let proposal = proposal("PACS_A", "ROUTE");
    let mut held_by = Vec::new();
    for (name, status, comment) in [
        (&b"M\xDCLLER^Eva"[..], 0x0122, Some("rule 1: CT Image Storage refused")),
        (b"Doe^J ", 0, None),
        (b"Doe^Johannes", 0, None),
    ] {
        let taken = take(
            &edge.shared,
            offered(&proposal),
            &mut Journal::default(),
            &mut of_patient(name),
        )
        .await
        .unwrap();
        assert_eq!((taken.status.0, taken.comment.as_deref()), (status, comment));
    }
    for fact in facts(&edge).await {
        if let Ok(Fact::InstanceReceived(received)) = Fact::from_bytes(&fact) {
            held_by.push(received.held_by);
        }
    }
    assert_eq!(held_by, [None, Some("rule 2".to_owned())]);
}

#[tokio::test]
async fn a_shadow_rule_is_told_of_once_for_each_class_and_changes_nothing() {
    let rule =
        "[[rule]]\nname = \"no CT\"\nclass = [\"CTImageStorage\"]\noutcome = \"refuse-context\"\nshadow = true\n";
    let edge = Edge::new("a", &format!("{TOML}{rule}"));
    let proposal = proposal("PACS_A", "ROUTE");
    let told = Arc::<Told>::default();
    for _ in 0..2 {
        let offered = Offered {
            told: Arc::clone(&told),
            ..offered(&proposal)
        };
        let taken = take(&edge.shared, offered, &mut Journal::default(), &mut of_patient(b"Doe "))
            .await
            .unwrap();
        assert_eq!(taken.status, Status::SUCCESS);
    }
    assert_eq!(
        format!("{told:?}"),
        "Told(Mutex { data: {(1, \"1.2.840.10008.5.1.4.1.1.2\")}, poisoned: false, .. })"
    );
}
