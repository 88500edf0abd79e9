//! What we are to those who call, whichever AE title they call.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use packhorse_association::codec::{Pdu, UserInformation};
use packhorse_association::{Decide as _, negotiate};
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::{
    AsyncOperationsWindow, ExtendedNegotiation, PresentationContextId, ProposedContext, Rejection, RoleSelection,
    UserIdentity, UserIdentityType,
};
use packhorse_dicom::status::Status;
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use packhorse_dicom::{sop_class, transfer_syntax};

use super::markdown::Document;
use crate::ingest::{EdgeDecide, Hall};
use crate::mirror::Known;
use crate::shared::Shared;

/// What holds for every called AE title.
pub(super) fn common(document: &mut Document, shared: &Arc<Shared>) {
    let engine = &shared.config.engine;
    document.heading(4, "4.2.1.1 Who may call");
    document.paragraph("Titles are compared case-sensitively; `*` stands for any characters, `?` for one.");
    let rows = engine.sources().iter().enumerate().map(|(index, source)| {
        let hosts: Vec<_> = source.hosts().iter().map(ToString::to_string).collect();
        let titles: Vec<_> = source.ae_titles().collect();
        let certificate = match shared.config.source_trust.get(index) {
            Some(Some(_)) => "its own, over TLS",
            _ => "any, or none",
        };
        let name = source.name().to_owned();
        [name, titles.join(", "), hosts.join(", "), certificate.to_owned()]
    });
    document.table(["Source", "Calling AE titles", "Hosts", "Certificate"], rows);
    document.heading(4, "4.2.1.2 Association policies");
    document.table(["Policy", "Value"], policies(shared));
    document.paragraph("User information of an A-ASSOCIATE-AC, whatever was proposed:");
    document.table(["Item", "Answer"], user_information(shared));
    document.paragraph("An A-ASSOCIATE-RQ is rejected:");
    document.table(["When", "Answer"], rejections());
    document.paragraph(
        "With every presentation context rejected the association is accepted all the same, so that the reasons are seen. \
         Contexts of one class are decided each for itself. A class that is refused to everybody, or unknown, has result 3; \
         one that is refused because of this caller or called AE title 1; one that is accepted, but in none of the context's \
         transfer syntaxes, 4. Implicit VR Little Endian is never refused for an accepted class. Two contexts with one id, \
         or an even id, abort the association (source 2, reason 6).",
    );
    document.heading(4, "4.2.1.3 Verification and Storage as SCP");
    document.paragraph(
        "C-ECHO is answered 0000 while instances are taken into custody, else 0110. On a called AE title with `echo = \"end-to-end\"` \
         it is answered 0000 if the PACS at the far end answers too, as found at most a minute ago (`[echo] pace`) by one check \
         for all who ask, within 5 s (`[echo] answer`); else 0110, and the Error Comment begins with the leg that failed. \
         Instances are taken there all the same. C-STORE is answered 0000 only when the \
         instance, byte for byte as it came, is on disk and synced; `accepted, held` in the tables means that it is kept here \
         until somebody releases it. An instance that comes again is taken and delivered again. Nothing is coerced: Patient \
         ID, issuer, accession number and study ID leave as they came. Every failure has an Error Comment (0000,0902).",
    );
    document.table(["C-STORE status", "Meaning", "When"], statuses());
    document.paragraph(
        "Storage Commitment is not given: switch it off at the sender, or keep copies there. Any other command than C-ECHO and \
         C-STORE is answered 0211.",
    );
}

fn policies(shared: &Arc<Shared>) -> Vec<[String; 2]> {
    let config = &shared.config;
    let rows = [
        ("Associations at a time", config.associations.to_string()),
        (
            "Associations at a time from one address",
            config.associations_per_peer.to_string(),
        ),
        ("Application context", "1.2.840.10008.3.1.1.1".to_owned()),
        ("ARTIM", format!("{:?}", config.acceptor.artim)),
        ("Without a request", format!("{:?}", config.acceptor.idle)),
        ("Between fragments of a message", format!("{:?}", config.acceptor.dimse)),
        (
            "Bytes a second of an instance that lasts longer",
            format!("{} at least", config.acceptor.slowest),
        ),
        ("For one write", format!("{:?}", config.acceptor.send)),
    ];
    rows.map(|(name, value)| [name.to_owned(), value]).into()
}

/// Found out by proposing every item there is.
fn user_information(shared: &Arc<Shared>) -> Vec<[String; 2]> {
    let answered = answered_to_everything(shared).unwrap_or_default();
    let text = |value: Option<Box<str>>| value.map_or_else(|| NOT_ANSWERED.to_owned(), String::from);
    let window = answered.async_operations.map(|window| {
        let AsyncOperationsWindow { invoked, performed } = window;
        format!("invoked {invoked}, performed {performed} at most")
    });
    let role = answered.roles.first().map(|role| {
        let word = |taken| if taken { "accepted" } else { "not accepted" };
        format!("SCU {}, SCP {}", word(role.scu), word(role.scp))
    });
    let extended = (!answered.extended.is_empty()).then(|| "answered".to_owned());
    let identity = answered.user_identity_response.map(|_| "answered".to_owned());
    let or_not = |answer: Option<String>| answer.unwrap_or_else(|| NOT_ANSWERED.to_owned());
    let rows = [
        (
            "Maximum length (51H)",
            or_not(answered.max_pdu_length.map(|length| length.to_string())),
        ),
        (
            "Implementation class UID (52H)",
            text(answered.implementation_class_uid),
        ),
        (
            "Implementation version name (55H)",
            text(answered.implementation_version_name),
        ),
        ("Asynchronous operations window (53H)", or_not(window)),
        ("Role selection (54H)", or_not(role)),
        ("SOP class extended negotiation (56H)", or_not(extended)),
        ("User identity (58H)", or_not(identity)),
    ];
    rows.map(|(name, value)| [name.to_owned(), value]).into()
}

const NOT_ANSWERED: &str = "not answered";

fn answered_to_everything(shared: &Arc<Shared>) -> Option<UserInformation> {
    let title = AeTitle::try_from("ANY").ok()?;
    let class = AbstractSyntaxUid::try_from(sop_class::storage().first()?.uid).ok()?;
    let syntax = TransferSyntaxUid::try_from(transfer_syntax::IMPLICIT_VR_LE).ok()?;
    let everything = UserInformation {
        async_operations: Some(AsyncOperationsWindow {
            invoked: 0,
            performed: 0,
        }),
        roles: vec![RoleSelection {
            abstract_syntax: class.clone(),
            scu: true,
            scp: true,
        }],
        extended: vec![ExtendedNegotiation {
            abstract_syntax: class.clone(),
            application_information: [2, 0, 0, 0].into(),
        }],
        user_identity: Some(UserIdentity {
            kind: UserIdentityType::USERNAME,
            positive_response_requested: true,
            primary_field: (*b"ANY").into(),
            secondary_field: Box::default(),
        }),
        ..UserInformation::default()
    };
    let context = ProposedContext {
        id: PresentationContextId::nth(0)?,
        abstract_syntax: class,
        transfer_syntaxes: vec![syntax],
    };
    let rq = negotiate::request_pdu(&title, &title, vec![context], everything);
    let proposal = negotiate::proposal(&rq, IpAddr::V4(Ipv4Addr::UNSPECIFIED), "").ok()?;
    let (guest, _) = Arc::<Hall>::default().enter(proposal.peer);
    let decide = EdgeDecide {
        shared,
        guest: &guest,
        tls: None,
        asked: AtomicBool::new(false),
        admitted: OnceLock::new(),
    };
    let ours = UserInformation::ours(negotiate::own_max_pdu_length(shared.config.acceptor.max_pdu_length));
    let user = decide.user_information(&proposal, ours);
    let accepted = crate::ingest::decide(shared, &proposal, &Known::default()).0;
    match negotiate::answer_pdu(&rq, &accepted, user) {
        Pdu::AssociateAc(ac) => Some(ac.user),
        Pdu::AssociateRq(_)
        | Pdu::AssociateRj(_)
        | Pdu::PDataTf(_)
        | Pdu::ReleaseRq
        | Pdu::ReleaseRp
        | Pdu::Abort(_) => None,
    }
}

fn rejections() -> [[String; 2]; 6] {
    [
        (
            "its calling AE title, its address or its certificate is of no source",
            Rejection::CALLING_AE_TITLE_NOT_RECOGNIZED,
        ),
        (
            "nothing answers as its called AE title, or the far site does not accept from here (yet)",
            Rejection::CALLED_AE_TITLE_NOT_RECOGNIZED,
        ),
        (
            "its application context is another",
            Rejection::APPLICATION_CONTEXT_NOT_SUPPORTED,
        ),
        (
            "bit 0 of its protocol version is not set",
            Rejection::PROTOCOL_VERSION_NOT_SUPPORTED,
        ),
        (
            "there are as many associations as may be",
            Rejection::LOCAL_LIMIT_EXCEEDED,
        ),
        ("the gateway is shutting down", Rejection::TEMPORARY_CONGESTION),
    ]
    .map(|(when, rejection)| [when.to_owned(), rejection.to_string()])
}

fn statuses() -> [[String; 3]; 6] {
    [
        (Status::SUCCESS, "in custody: the sender may forget it"),
        (
            Status::OUT_OF_RESOURCES,
            "the disk is full, or open files are short; it is not taken",
        ),
        (Status::PROCESSING_FAILURE, "the spool is out of order; it is not taken"),
        (
            Status::INVALID_OBJECT_INSTANCE,
            "the SOP Instance UID is empty or longer than 64 characters",
        ),
        (
            Status::SOP_CLASS_NOT_SUPPORTED,
            "the class of the command or of the data set is not the context's, or a rule refuses it to everybody",
        ),
        (
            Status::NOT_AUTHORIZED,
            "a rule refuses the class because of the caller or the called AE title",
        ),
    ]
    .map(|(status, when)| [status.to_string(), status.meaning().to_owned(), when.to_owned()])
}
