//! From facts to rows.

use packhorse_ids::{DeliveryId, Priority, WallTime};
use rusqlite::types::Null;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{Applied, integer, watched};
use crate::fact::{
    Arrived, ArrivedUnread, AssociationEnded, AssociationOpened, Compared, DeliveryAttempted, Fact, InstanceReceived,
    InstanceRefused, OutcomeKnown,
};
use crate::identity::Identity;
use crate::progress::{Progress, State};

type Done = Result<(), rusqlite::Error>;

pub(super) const OUTGOING: i64 = 0;
pub(super) const INCOMING: i64 = 1;

pub(super) fn batch<B: AsRef<[u8]>>(
    transaction: &Transaction<'_>,
    mut last: u64,
    batch: impl IntoIterator<Item = (u64, B)>,
) -> Result<Applied, rusqlite::Error> {
    let mut applied = Applied::default();
    for (number, bytes) in batch {
        if number <= last {
            continue;
        }
        last = number;
        applied.new += 1;
        match Fact::from_bytes(bytes.as_ref()) {
            Ok(Fact::Unknown(_)) => applied.unknown += 1,
            Ok(fact) => apply(transaction, integer(number), &fact)?,
            Err(error) => {
                applied.malformed += 1;
                // The error's own words may quote values: only its place is told.
                tracing::error!(
                    number,
                    category = error_category(&error),
                    "bytes in the spool's facts are no fact"
                );
            }
        }
    }
    let mut statement = transaction.prepare_cached("UPDATE meta SET value = ?1 WHERE key = 'last'")?;
    statement.execute([integer(last)])?;
    Ok(applied)
}

const fn error_category(error: &crate::fact::FactError) -> &'static str {
    match error {
        crate::fact::FactError::Malformed(_) => "malformed",
        crate::fact::FactError::TooLong { .. } => "too long",
    }
}

fn apply(transaction: &Transaction<'_>, number: i64, fact: &Fact) -> Done {
    match fact {
        Fact::AssociationOpened(opened) => {
            association_opened(transaction, opened)?;
            watched::opened(transaction, opened)
        }
        Fact::AssociationEnded(ended) => {
            association_ended(transaction, ended)?;
            watched::ended(transaction, ended)
        }
        Fact::RefusedContextUsed(used) => {
            let sql = "UPDATE association SET refused_context_used = refused_context_used + 1 WHERE id = ?1";
            transaction
                .prepare_cached(sql)?
                .execute([used.association.to_string()])
                .map(drop)
        }
        Fact::InstanceReceived(received) => instance_received(transaction, number, received),
        Fact::Arrived(arrived) => instance_arrived(transaction, number, arrived),
        Fact::ArrivedUnread(arrived) => envelope_arrived(transaction, number, arrived),
        Fact::InstanceRefused(refused) => {
            instance_refused(transaction, number, refused)?;
            watched::refused(transaction, refused)
        }
        Fact::CustodyReceived(custody) => {
            let sql = "UPDATE delivery SET custody_at = ?2, custody_by = ?3 WHERE id = ?1 AND custody_at IS NULL";
            let values = params![
                custody.delivery.to_string(),
                custody.at.unix_micros(),
                custody.by.as_str()
            ];
            transaction.prepare_cached(sql)?.execute(values).map(drop)
        }
        Fact::DeliveryAttempted(attempted) => delivery_attempted(transaction, attempted),
        Fact::OutcomeKnown(outcome) => outcome_known(transaction, outcome, fact),
        Fact::Failed(failed) => moved(transaction, failed.delivery, fact, &failed.reason, failed.at),
        Fact::Held(_) | Fact::Released(_) | Fact::Reopened(_) | Fact::Discarded(_) | Fact::Resent(_) => {
            handled(transaction, number, fact)
        }
        Fact::SenderStopped(stopped) => watched::stopped(transaction, stopped),
        Fact::ResendLoop(found) => watched::resend_loop(transaction, found),
        Fact::InstanceRepeated(repeated) => watched::repeated(transaction, number, repeated),
        Fact::Noticed(noticed) => super::notices::noticed(transaction, number, noticed),
        Fact::NoticeTold(told) => super::notices::told(transaction, told),
        Fact::Unknown(_) => Ok(()),
    }
}

/// What somebody did to a delivery: it is remembered with who did it, and moves the delivery.
fn handled(transaction: &Transaction<'_>, number: i64, fact: &Fact) -> Done {
    let Some(handling) = Handling::of(fact) else {
        return Ok(());
    };
    handling.remember(transaction, number)?;
    moved(transaction, handling.delivery, fact, &handling.in_words(), handling.at)
}

/// Whether somebody at another site did it: `operator root at st-mary`.
fn is_far(by: &str) -> bool {
    by.contains(" at ")
}

/// A row of `handling`.
struct Handling<'a> {
    delivery: DeliveryId,
    what: &'static str,
    who: &'a str,
    reason: Option<&'a str>,
    at: WallTime,
}

impl<'a> Handling<'a> {
    fn of(fact: &'a Fact) -> Option<Self> {
        let (delivery, what, who, reason, at) = match fact {
            Fact::Held(held) => (held.delivery, HELD, &held.by, None, held.at),
            Fact::Released(released) => (released.delivery, "released", &released.by, None, released.at),
            Fact::Reopened(reopened) => {
                let what = if is_far(&reopened.by) { LET_GO_ON } else { "tried again" };
                (reopened.delivery, what, &reopened.by, None, reopened.at)
            }
            Fact::Resent(resent) => (resent.delivery, RESENT, &resent.by, None, resent.at),
            Fact::Discarded(gone) => (gone.delivery, DISCARDED, &gone.by, gone.reason.as_deref(), gone.at),
            _ => return None,
        };
        Some(Self {
            delivery,
            what,
            who,
            reason,
            at,
        })
    }

    /// The same word that comes twice is one; a delivery that is not known has none.
    fn remember(&self, transaction: &Transaction<'_>, number: i64) -> Done {
        let sql = "INSERT OR IGNORE INTO handling (number, delivery, what, who, reason, at) \
                   SELECT ?1, ?2, ?3, ?4, ?5, ?6 WHERE EXISTS (SELECT 1 FROM delivery WHERE id = ?2)";
        let (id, at) = (self.delivery.to_string(), self.at.unix_micros());
        let values = params![number, id, self.what, self.who, self.reason, at];
        transaction.prepare_cached(sql)?.execute(values).map(drop)
    }

    fn in_words(&self) -> String {
        match self.reason {
            Some(reason) => format!("{} by {}: {reason}", self.what, self.who),
            // A rule's words are whole sentences: `replaced by 0001…`.
            None if self.what == DISCARDED => format!("{DISCARDED}: {}", self.who),
            None => format!("{} by {}", self.what, self.who),
        }
    }
}

/// The word for what is kept back.
const HELD: &str = "held";
/// The word for what another site works on again: released or tried again there, its receipt does not say which.
const LET_GO_ON: &str = "let go on";
/// The word for what will not be delivered.
const DISCARDED: &str = "discarded";
/// The word for what is sent again; [`super::read`] counts it.
pub(super) const RESENT: &str = "sent again";

fn association_opened(transaction: &Transaction<'_>, opened: &AssociationOpened) -> Done {
    let id = opened.association.to_string();
    let sql = "INSERT OR IGNORE INTO association (id, source, calling, called, peer, opened_at) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (calling, called) = (opened.calling.as_str(), opened.called.as_str());
    let values = params![id, opened.source, calling, called, opened.peer, opened.at.unix_micros()];
    transaction.prepare_cached(sql)?.execute(values)?;
    let sql = "INSERT OR IGNORE INTO context (association, place, class, syntaxes, result, rule) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut statement = transaction.prepare_cached(sql)?;
    for (context, place) in opened.contexts.iter().zip(0_i64..) {
        statement.execute(params![
            id,
            place,
            context.class.as_str(),
            context.syntaxes,
            context.result,
            context.rule
        ])?;
    }
    Ok(())
}

fn association_ended(transaction: &Transaction<'_>, ended: &AssociationEnded) -> Done {
    let sql = "UPDATE association SET ended_at = ?2, ended = ?3 WHERE id = ?1 AND ended_at IS NULL";
    let values = params![
        ended.association.to_string(),
        ended.at.unix_micros(),
        ended.how.as_str()
    ];
    transaction.prepare_cached(sql)?.execute(values).map(drop)
}

/// Which account something belongs to, and what it tells about it.
struct Entry<'a> {
    direction: i64,
    route: &'a str,
    source: &'a str,
    study: &'a str,
    target: String,
    at: WallTime,
    declared: Option<u32>,
    identity: &'a Identity,
}

fn instance_received(transaction: &Transaction<'_>, number: i64, received: &InstanceReceived) -> Done {
    // While what was known before stands as it did.
    watched::received(transaction, received)?;
    let account = account(
        transaction,
        &Entry {
            direction: OUTGOING,
            route: received.route.as_str(),
            source: &received.source,
            study: received.study.as_deref().unwrap_or_default(),
            target: format!("{}/{}", received.to_site, received.to_ae_title),
            at: received.at,
            declared: received.declared,
            identity: &received.identity,
        },
    )?;
    let begun = Progress::begun(received.held_by.is_some());
    let reason = received.held_by.as_ref().map(|rule| format!("held by {rule}"));
    let values = params![
        received.delivery.to_string(),
        number,
        account,
        received.origin.to_string(),
        received.sop_class.as_str(),
        received.sop_instance.as_str(),
        received.series,
        received.modality,
        received.transfer_syntax.as_str(),
        integer(received.length),
        received.sha256.to_string(),
        received.repeat,
        received.at.unix_micros(),
        begun.state.code(),
        reason,
        received.details.pixels.map(|digest| digest.to_string()),
        received.details.compared.map(Compared::as_str),
        received.replaces.map(|delivery| delivery.to_string()),
        received.details.held_until.map(WallTime::unix_micros),
        received.priority.unwrap_or_default().code(),
        received.held_by,
    ];
    transaction.prepare_cached(INSERT_DELIVERY)?.execute(values)?;
    let Some(rule) = &received.held_by else {
        return Ok(());
    };
    let held = Handling {
        delivery: received.delivery,
        what: HELD,
        who: rule,
        reason: None,
        at: received.at,
    };
    held.remember(transaction, number)
}

fn instance_arrived(transaction: &Transaction<'_>, number: i64, arrived: &Arrived) -> Done {
    let account = account(
        transaction,
        &Entry {
            direction: INCOMING,
            route: arrived.to_ae_title.as_str(),
            source: arrived.from_site.as_str(),
            study: arrived.study.as_deref().unwrap_or_default(),
            target: arrived.to_ae_title.to_string(),
            at: arrived.at,
            declared: arrived.declared,
            identity: &arrived.identity,
        },
    )?;
    let values = params![
        arrived.delivery.to_string(),
        number,
        account,
        None::<String>,
        arrived.sop_class.as_str(),
        arrived.sop_instance.as_str(),
        arrived.series,
        arrived.modality,
        arrived.transfer_syntax.as_str(),
        integer(arrived.length),
        arrived.sha256.to_string(),
        false,
        arrived.at.unix_micros(),
        State::InFlight.code(),
        None::<String>,
        Null,
        Null,
        Null,
        Null,
        arrived.priority.unwrap_or_default().code(),
        Null,
    ];
    transaction.prepare_cached(INSERT_DELIVERY)?.execute(values).map(drop)
}

/// Nothing is known of it but where it came from and that it could not be opened.
fn envelope_arrived(transaction: &Transaction<'_>, number: i64, arrived: &ArrivedUnread) -> Done {
    let account = account(
        transaction,
        &Entry {
            direction: INCOMING,
            route: UNREAD,
            source: arrived.from_site.as_str(),
            study: "",
            target: UNREAD.to_owned(),
            at: arrived.at,
            declared: None,
            identity: &Identity::default(),
        },
    )?;
    let values = params![
        arrived.delivery.to_string(),
        number,
        account,
        None::<String>,
        "",
        // Each stands for itself: instances are counted by their UID.
        format!("{UNREAD} {}", arrived.delivery),
        None::<String>,
        None::<String>,
        "",
        integer(arrived.length),
        "",
        false,
        arrived.at.unix_micros(),
        State::Failed.code(),
        arrived.reason,
        Null,
        Null,
        Null,
        Null,
        Priority::default().code(),
        Null,
    ];
    transaction.prepare_cached(INSERT_DELIVERY)?.execute(values).map(drop)
}

/// Stands for what an envelope that cannot be opened does not tell.
const UNREAD: &str = "(unread)";

/// A delivery that is here already stays as it is: facts may be repeated.
const INSERT_DELIVERY: &str = "INSERT OR IGNORE INTO delivery (id, number, account, origin, sop_class, sop_instance, \
     series, modality, transfer_syntax, length, sha256, repeat, received_at, state, reason, pixels, \
     compared, replaces, held_until, priority, held_by, state_at) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?13)";

/// The account's row, made when it is not there. A value that is said replaces the one before; one that is not, does not.
fn account(transaction: &Transaction<'_>, entry: &Entry<'_>) -> Result<i64, rusqlite::Error> {
    let sql = "INSERT INTO account (direction, route, source, study, target, first_at, last_at, declared, patient_id, \
               issuer_of_patient_id, patient_name, accession_number, study_date, study_time, study_description, \
               institution_name) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) \
               ON CONFLICT (direction, route, source, study) DO UPDATE SET target = excluded.target, \
               first_at = min(first_at, excluded.first_at), last_at = max(last_at, excluded.last_at), \
               declared = max(coalesce(declared, excluded.declared), coalesce(excluded.declared, declared)), \
               patient_id = coalesce(nullif(excluded.patient_id, ''), patient_id), \
               issuer_of_patient_id = coalesce(nullif(excluded.issuer_of_patient_id, ''), issuer_of_patient_id), \
               patient_name = coalesce(nullif(excluded.patient_name, ''), patient_name), \
               accession_number = coalesce(nullif(excluded.accession_number, ''), accession_number), \
               study_date = coalesce(nullif(excluded.study_date, ''), study_date), \
               study_time = coalesce(nullif(excluded.study_time, ''), study_time), \
               study_description = coalesce(nullif(excluded.study_description, ''), study_description), \
               institution_name = coalesce(nullif(excluded.institution_name, ''), institution_name) RETURNING id";
    let identity = entry.identity;
    let values = params![
        entry.direction,
        entry.route,
        entry.source,
        entry.study,
        entry.target,
        entry.at.unix_micros(),
        entry.declared,
        identity.patient_id,
        identity.issuer_of_patient_id,
        identity.patient_name,
        identity.accession_number,
        identity.study_date,
        identity.study_time,
        identity.study_description,
        identity.institution_name,
    ];
    transaction.prepare_cached(sql)?.query_row(values, |row| row.get(0))
}

fn instance_refused(transaction: &Transaction<'_>, number: i64, refused: &InstanceRefused) -> Done {
    let sql = "INSERT OR IGNORE INTO refusal (number, origin, route, source, sop_class, sop_instance, study, status, \
               rule, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    let values = params![
        number,
        refused.origin.to_string(),
        refused.route.as_str(),
        refused.source,
        refused.sop_class,
        refused.sop_instance,
        refused.study.as_deref().unwrap_or_default(),
        refused.status,
        refused.rule,
        refused.at.unix_micros(),
    ];
    transaction.prepare_cached(sql)?.execute(values).map(drop)
}

fn delivery_attempted(transaction: &Transaction<'_>, attempted: &DeliveryAttempted) -> Done {
    let sql = "UPDATE delivery SET attempts = attempts + 1, status = ?2, reason = ?3, retry_at = ?4 \
               WHERE id = ?1 AND (state NOT IN (0, 4) OR again IS NOT NULL)";
    let retry_at = attempted.retry_at.map(WallTime::unix_micros);
    let values = params![
        attempted.delivery.to_string(),
        attempted.status,
        attempted.reason,
        retry_at
    ];
    transaction.prepare_cached(sql)?.execute(values)?;
    touch(transaction, attempted.delivery, attempted.at)
}

fn outcome_known(transaction: &Transaction<'_>, outcome: &OutcomeKnown, fact: &Fact) -> Done {
    let Some((before, after)) = advance(transaction, outcome.delivery, fact, outcome.at)? else {
        return Ok(());
    };
    // An outcome that says nothing new leaves the words of the one that did.
    if before == after {
        return Ok(());
    }
    let sql = "UPDATE delivery SET status = ?2, reason = ?3, outcome_sha256 = ?4, outcome_at = ?5, retry_at = NULL, \
               converted = ?6 WHERE id = ?1";
    let at = after.outcome_at.map(WallTime::unix_micros);
    let values = params![
        outcome.delivery.to_string(),
        outcome.status,
        outcome.reason,
        outcome
            .converted
            .as_ref()
            .map_or(outcome.sha256, |converted| converted.sha256)
            .to_string(),
        at,
        outcome
            .converted
            .as_ref()
            .map(|converted| converted.transfer_syntax.as_str()),
    ];
    transaction.prepare_cached(sql)?.execute(values)?;
    touch(transaction, outcome.delivery, outcome.at)
}

/// A fact that moves a delivery, with its reason.
fn moved(transaction: &Transaction<'_>, delivery: DeliveryId, fact: &Fact, reason: &str, at: WallTime) -> Done {
    let Some((before, after)) = advance(transaction, delivery, fact, at)? else {
        return Ok(());
    };
    if before == after {
        return Ok(());
    }
    let sql = "UPDATE delivery SET reason = ?2, retry_at = NULL WHERE id = ?1";
    transaction
        .prepare_cached(sql)?
        .execute(params![delivery.to_string(), reason])?;
    touch(transaction, delivery, at)
}

/// Progress before and after the fact; `None` when nothing is known of the delivery.
fn advance(
    transaction: &Transaction<'_>,
    delivery: DeliveryId,
    fact: &Fact,
    at: WallTime,
) -> Result<Option<(Progress, Progress)>, rusqlite::Error> {
    let id = delivery.to_string();
    let mut statement = transaction.prepare_cached("SELECT state, outcome_at, again FROM delivery WHERE id = ?1")?;
    let row = statement
        .query_row([&id], |row| {
            Ok((
                row.get(0)?,
                row.get::<_, Option<i64>>(1)?,
                row.get::<_, Option<i64>>(2)?,
            ))
        })
        .optional()?;
    let Some((state, outcome_at, again)) = row else {
        return Ok(None);
    };
    let Some(state) = State::from_code(state) else {
        return Ok(None);
    };
    let before = Progress {
        state,
        outcome_at: outcome_at.map(WallTime::from_unix_micros),
        again: again.and_then(State::from_code),
    };
    let after = before.after(fact);
    let sql = "UPDATE delivery SET state_at = CASE state WHEN ?2 THEN state_at ELSE ?4 END, state = ?2, outcome_at = ?3, \
               again = ?5 WHERE id = ?1";
    transaction.prepare_cached(sql)?.execute(params![
        id,
        after.state.code(),
        after.outcome_at.map(WallTime::unix_micros),
        at.unix_micros(),
        after.again.map(State::code)
    ])?;
    Ok(Some((before, after)))
}

/// Something happened to the delivery's study.
fn touch(transaction: &Transaction<'_>, delivery: DeliveryId, at: WallTime) -> Done {
    let sql = "UPDATE account SET last_at = max(last_at, ?2) WHERE id = (SELECT account FROM delivery WHERE id = ?1)";
    transaction
        .prepare_cached(sql)?
        .execute(params![delivery.to_string(), at.unix_micros()])
        .map(drop)
}
