//! What we are to the PACS that we deliver to: one application entity for each destination.

use packhorse_dicom::status::Status;
use packhorse_dicom::transfer_syntax::{self, IMPLICIT_VR_LE};
use packhorse_dicom::uid::TransferSyntaxUid;

use super::markdown::Document;
use crate::config::{DeliveryTimes, Destination, OnRefusedSyntax};
use crate::deliver::{Trouble, Verdict, requestor_config};
use crate::shared::Shared;

/// A destination's section.
pub(super) fn destination(document: &mut Document, shared: &Shared, destination: &Destination, number: u32) {
    let any_site = &shared.site;
    let config = requestor_config(shared, destination, destination.calling_ae_title_for(any_site, None));
    document.heading(4, &format!("4.2.4.{number} Destination {}", destination.ae_title));
    let accept_from: Vec<_> = destination.accept_from.iter().map(|site| site.as_str()).collect();
    let accept_from = if accept_from.is_empty() {
        "no site yet".to_owned()
    } else {
        accept_from.join(", ")
    };
    let user = &config.user;
    let own = |value: &Option<Box<str>>| value.as_deref().unwrap_or("not said").to_owned();
    let rows = [
        ("Called AE title", config.called.to_string()),
        ("Calling AE title", super::calling_titles(destination)),
        ("Address", destination.address.clone()),
        ("Sends what comes from", accept_from),
        (
            "Maximum length (51H)",
            packhorse_association::negotiate::own_max_pdu_length(config.max_pdu_length).to_string(),
        ),
        ("Implementation class UID (52H)", own(&user.implementation_class_uid)),
        (
            "Implementation version name (55H)",
            own(&user.implementation_version_name),
        ),
        (
            "Asynchronous operations window (53H)",
            proposed(user.async_operations.is_some()),
        ),
        ("Role selection (54H)", proposed(!user.roles.is_empty())),
        (
            "SOP class extended negotiation (56H)",
            proposed(!user.extended.is_empty()),
        ),
        ("User identity (58H)", proposed(user.user_identity.is_some())),
        ("Associations at a time", associations(destination)),
        (
            "Association kept for the next instance",
            format!("{:?}", shared.config.delivery.idle),
        ),
        (
            "Instance whose transfer syntax it refuses",
            on_refused_syntax(destination),
        ),
        ("To connect", format!("{:?}", config.connect)),
        (
            "For the answer to an A-ASSOCIATE-RQ or an A-RELEASE-RQ",
            format!("{:?}", config.artim),
        ),
        ("For the answer to a C-STORE", format!("{:?}", config.dimse)),
        ("For one write", format!("{:?}", config.send)),
    ];
    document.table(
        ["Property", "Value"],
        rows.map(|(name, value)| [name.to_owned(), value]),
    );
}

fn associations(destination: &Destination) -> String {
    match destination.associations.get() {
        1 => "1".to_owned(),
        several => format!("{several}, never two for one patient"),
    }
}

fn on_refused_syntax(destination: &Destination) -> String {
    match destination.on_refused_syntax {
        OnRefusedSyntax::Fail => "the failed list".to_owned(),
        OnRefusedSyntax::Convert => "converted, where that loses nothing (4.2.4)".to_owned(),
    }
}

fn proposed(is_proposed: bool) -> String {
    if is_proposed { "proposed" } else { "not proposed" }.to_owned()
}

/// What holds for every destination.
pub(super) fn common(document: &mut Document, shared: &Shared) {
    document.paragraph(format!(
        "An association proposes Verification with {} ({IMPLICIT_VR_LE}), and a presentation context for each pair of SOP class \
         and transfer syntax among the instances that wait, 128 contexts at most; what needs more gets another association. An \
         instance is proposed in its own transfer syntax only, since its bytes are not changed: a deviation from PS3.5 section \
         10.1. The C-STORE-RQ is that of the source but for Message ID and Move Originator; the data set arrives byte for byte. \
         An instance may come again when its answer was lost.",
        transfer_syntax::name_of(IMPLICIT_VR_LE)
    ));
    document.paragraph(others(shared));
    let destinations = &shared.config.destinations;
    if destinations
        .iter()
        .any(|destination| destination.on_refused_syntax == OnRefusedSyntax::Convert)
    {
        conversion(document, shared);
    }
    document.table(["C-STORE status", "What is done"], statuses(&shared.config.delivery));
    document.table(
        ["What comes of an association", "What is done"],
        endings(&shared.config.delivery),
    );
}

/// The associations that store nothing.
fn others(shared: &Shared) -> String {
    let (echo, mirror) = (&shared.config.echo, &shared.config.mirror);
    format!(
        "Two kinds of association store nothing; both use the calling AE title of deliveries and are opened only while no \
         delivery has one. To check the PACS: Verification and a C-ECHO, at most once in {:?} for callers elsewhere, at once \
         when a person asks. Unless the destination has `mirror = \"off\"`, to find out what it takes: Verification and up to \
         127 presentation contexts, first one for each storage class of the standard with Explicit and Implicit VR Little \
         Endian (two associations), then one for each pair of class and single transfer syntax that a source has proposed; \
         released at once. At least {:?} apart; a rejected context is asked again after {:?}, everything after {:?}.",
        echo.pace, mirror.pace, mirror.confirm, mirror.refresh
    )
}

/// What is done where a destination's `on_refused_syntax` is `convert`.
fn conversion(document: &mut Document, shared: &Shared) {
    let targets =
        |uid| TransferSyntaxUid::try_from(uid).map_or_else(|_| Vec::new(), |uid| packhorse_convert::targets(&uid));
    let names = |uids: &[TransferSyntaxUid]| {
        let names: Vec<_> = uids
            .iter()
            .map(|uid| transfer_syntax::name_of(uid.as_str()).to_owned())
            .collect();
        names.join(", ")
    };
    let sources = transfer_syntax::all()
        .iter()
        .filter(|syntax| !targets(syntax.uid).is_empty());
    let sources: Vec<_> = sources
        .map(|syntax| format!("{} ({})", syntax.name, syntax.uid))
        .collect();
    let to = targets(RLE_LOSSLESS);
    document.paragraph(format!(
        "Where a destination's `on_refused_syntax` is `convert`, the uncompressed transfer syntaxes are proposed besides, each in \
         a presentation context of its own. An instance whose own syntax is rejected with result 4 is then sent in the first of \
         these that is accepted: {}. It is converted only from these: {}; never from or to a lossy one. Elements, their values \
         and pixels stay the same, and so does the SOP Instance UID; a private element's VR is UN behind Implicit VR. What \
         cannot be the same in the other syntax, is signed, is not understood to its end or takes more than {} bytes goes to the \
         failed list. The outcome names the syntax and both SHA-256.",
        names(&to),
        sources.join(", "),
        shared.config.delivery.convert_max
    ));
}

/// Of what is compressed, everything uncompressed can be made.
const RLE_LOSSLESS: &str = "1.2.840.10008.1.2.5";

/// Every status there is, asked what it means.
fn statuses(times: &DeliveryTimes) -> Vec<[String; 2]> {
    let mut rows: Vec<(String, Vec<(u16, u16)>)> = Vec::new();
    for code in 0..=u16::MAX {
        let done = words(&Verdict::of_status(Status(code), None), code, times);
        let row = match rows.iter().position(|(known, _)| *known == done) {
            Some(row) => row,
            None => {
                rows.push((done, Vec::new()));
                rows.len() - 1
            }
        };
        let Some((_, ranges)) = rows.get_mut(row) else { continue };
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(code) => *last = code,
            _ => ranges.push((code, code)),
        }
    }
    let range = |(first, last): &(u16, u16)| {
        let (first, last) = (Status(*first), Status(*last));
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    let row =
        |(done, ranges): (String, Vec<(u16, u16)>)| [ranges.iter().map(range).collect::<Vec<_>>().join(", "), done];
    rows.into_iter().map(row).collect()
}

fn words(verdict: &Verdict, code: u16, times: &DeliveryTimes) -> String {
    match verdict {
        Verdict::Delivered(_) if code == 0 => "delivered".to_owned(),
        Verdict::Delivered(_) => "delivered with warning".to_owned(),
        Verdict::Failed(_) => "the failed list at once".to_owned(),
        Verdict::Again(_) => again(times),
        Verdict::Destination(Trouble::Passing(_) | Trouble::Unanswered(_)) => passing(times),
        Verdict::Destination(Trouble::Lasting(_)) => lasting(times),
    }
}

fn again(times: &DeliveryTimes) -> String {
    format!(
        "tried {} times, {:?} apart, then the failed list",
        times.tries, times.try_again
    )
}

fn passing(times: &DeliveryTimes) -> String {
    format!(
        "the destination is left alone for {:?}, doubling up to {:?}; instances wait, uncounted",
        times.retry_min, times.retry_max
    )
}

fn lasting(times: &DeliveryTimes) -> String {
    format!(
        "the destination is paused and tried every {:?}; instances wait, uncounted",
        times.paused_again
    )
}

fn endings(times: &DeliveryTimes) -> [[String; 2]; 6] {
    [
        (
            "rejected for now, A-ASSOCIATE-RQ not answered in time, no connection",
            passing(times),
        ),
        ("rejected permanently", lasting(times)),
        ("every presentation context rejected, Verification too", lasting(times)),
        (
            "the instance's presentation context rejected, another accepted",
            "the failed list at once".to_owned(),
        ),
        (
            "lost, or no answer, during one instance three times, while others are answered or with no others",
            "the failed list".to_owned(),
        ),
        (
            "lost, or no answer, during one instance after the other",
            passing(times),
        ),
    ]
    .map(|(what, done)| [what.to_owned(), done])
}
