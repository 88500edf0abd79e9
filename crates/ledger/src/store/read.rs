//! From rows to views.

use packhorse_dicom::status::{Status, StatusCategory};
use packhorse_dicom::{sop_class, transfer_syntax};
use packhorse_ids::{Priority, WallTime};
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};

use super::apply::INCOMING;
use crate::identity::Identity;
use crate::progress::State;
use crate::receipt::is_delivered;
use crate::view::{ConvertedView, DeliveryView, Direction, HandlingView, RefusalView};

/// What a delivery's row is read from; [`delivery`] takes the columns in this order.
pub(super) const DELIVERY_COLUMNS: &str = "d.id, a.direction, a.route, a.source, a.target, d.origin, a.study, d.series, \
     d.modality, d.sop_class, d.sop_instance, d.transfer_syntax, d.length, d.sha256, d.state, d.repeat, d.received_at, \
     d.custody_at, d.custody_by, d.attempts, d.retry_at, d.status, d.outcome_at, d.outcome_sha256, d.reason, d.compared, \
     d.replaces, d.held_until, (SELECT count(*) FROM repetition r WHERE r.delivery = d.id), d.priority, d.again, \
     (SELECT count(*) FROM handling h WHERE h.delivery = d.id AND h.what = 'sent again'), d.converted";

/// A state as it stands on disk.
pub(super) struct Stored(pub(super) State);

impl FromSql for Stored {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let code = value.as_i64()?;
        State::from_code(code).map(Self).ok_or(FromSqlError::OutOfRange(code))
    }
}

pub(super) fn direction(code: i64) -> Direction {
    if code == INCOMING {
        Direction::Incoming
    } else {
        Direction::Outgoing
    }
}

/// An unknown number is routine.
pub(super) fn priority(code: u8) -> String {
    Priority::from_code(code).unwrap_or_default().to_string()
}

/// Microseconds as RFC 3339.
pub(super) fn time(micros: i64) -> String {
    WallTime::from_unix_micros(micros).to_string()
}

/// `''` is no study.
pub(super) fn study(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

pub(super) fn delivery(row: &Row<'_>) -> Result<DeliveryView, rusqlite::Error> {
    let sop_class: String = row.get(9)?;
    let sha256: String = row.get(13)?;
    let state: Stored = row.get(14)?;
    let status: Option<u16> = row.get(21)?;
    let sent: Option<String> = row.get(23)?;
    let converted: Option<String> = row.get(32)?;
    let is_warning = status.is_some_and(|status| Status(status).category() == StatusCategory::Warning);
    Ok(DeliveryView {
        delivery: row.get(0)?,
        direction: direction(row.get(1)?),
        route: row.get(2)?,
        source: row.get(3)?,
        to: row.get(4)?,
        origin: row.get(5)?,
        study: study(row.get(6)?),
        series: row.get(7)?,
        modality: row.get(8)?,
        class_name: sop_class::name_of(&sop_class).to_owned(),
        sop_class,
        sop_instance: row.get(10)?,
        transfer_syntax: row.get(11)?,
        length: row.get::<_, i64>(12)?.unsigned_abs(),
        converted: converted
            .zip(sent.clone())
            .map(|(transfer_syntax, sha256)| ConvertedView {
                syntax_name: transfer_syntax::name_of(&transfer_syntax).to_owned(),
                transfer_syntax,
                sha256,
            }),
        // Of what was not sent there is nothing to compare.
        identical: sent.filter(|_| is_delivered(status)).map(|sent| sent == sha256),
        sha256,
        state: state.0,
        repeat: row.get(15)?,
        received_at: time(row.get(16)?),
        custody_at: row.get::<_, Option<i64>>(17)?.map(time),
        custody_by: row.get(18)?,
        attempts: row.get(19)?,
        retry_at: row.get::<_, Option<i64>>(20)?.map(time),
        status: status.map(|status| Status(status).to_string()),
        outcome_at: row.get::<_, Option<i64>>(22)?.map(time),
        warning: is_warning,
        reason: row.get(24)?,
        compared: row.get(25)?,
        replaces: row.get(26)?,
        held_until: row.get::<_, Option<i64>>(27)?.map(time),
        joined: row.get::<_, i64>(28)?.unsigned_abs(),
        priority: priority(row.get(29)?),
        again: row.get::<_, Option<Stored>>(30)?.map(|again| again.0),
        resent: row.get(31)?,
        handled: Vec::new(),
    })
}

/// Columns: what, who, reason, at.
pub(super) fn handling(row: &Row<'_>) -> Result<HandlingView, rusqlite::Error> {
    Ok(HandlingView {
        what: row.get(0)?,
        by: row.get(1)?,
        reason: row.get(2)?,
        at: time(row.get(3)?),
    })
}

/// [`identity`] takes the columns in this order.
pub(super) const IDENTITY_COLUMNS: &str = "patient_id, issuer_of_patient_id, patient_name, accession_number, \
     study_date, study_time, study_description, institution_name";

/// The columns begin at `first`.
pub(super) fn identity(row: &Row<'_>, first: usize) -> Result<Identity, rusqlite::Error> {
    Ok(Identity {
        patient_id: row.get(first)?,
        issuer_of_patient_id: row.get(first + 1)?,
        patient_name: row.get(first + 2)?,
        accession_number: row.get(first + 3)?,
        study_date: row.get(first + 4)?,
        study_time: row.get(first + 5)?,
        study_description: row.get(first + 6)?,
        institution_name: row.get(first + 7)?,
    })
}

/// Columns: origin, route, source, sop_class, sop_instance, study, status, rule, at.
pub(super) fn refusal(row: &Row<'_>) -> Result<RefusalView, rusqlite::Error> {
    let sop_class: String = row.get(3)?;
    Ok(RefusalView {
        origin: row.get(0)?,
        route: row.get(1)?,
        source: row.get(2)?,
        class_name: sop_class::name_of(&sop_class).to_owned(),
        sop_class,
        sop_instance: row.get(4)?,
        study: study(row.get(5)?),
        status: Status(row.get(6)?).to_string(),
        rule: row.get(7)?,
        at: time(row.get(8)?),
    })
}
