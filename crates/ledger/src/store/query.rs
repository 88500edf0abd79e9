//! Questions.

use std::collections::BTreeSet;

use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::uid::SopInstanceUid;
use packhorse_ids::{DeliveryId, SiteName};
use rusqlite::{OptionalExtension as _, Row, params};

use super::apply::RESENT;
use super::read::{self, DELIVERY_COLUMNS, IDENTITY_COLUMNS, Stored};
use super::{LIMIT_MAX, Projection, ProjectionError};
use crate::account::{Account, RefusedClass, refused_classes, some_names, words};
use crate::identity::Identity;
use crate::progress::State;
use crate::view::{AssociationView, DeliveryView, HandlingView, OpenDelivery, RefusalView, StudyDetail, StudyView};

/// Things done to one delivery that a study shows.
const HANDLED_MAX: i64 = 16;

/// Which studies; `None` means all. Texts of people are compared without case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StudyFilter {
    /// Part of Patient ID or Patient's Name.
    pub patient: Option<String>,
    /// Accession number, whole.
    pub accession: Option<String>,
    /// Beginning of the study date: `20261124`, `202611`.
    pub date: Option<String>,
    /// Name of the source or source site.
    pub source: Option<String>,
    /// Called AE title of the route, or `site/AE`, or the destination's AE title.
    pub to: Option<String>,
    /// With at least one delivery that stands so.
    pub state: Option<State>,
    /// SOP class UID of at least one instance.
    pub class: Option<String>,
    /// Study Instance UID; `Some("")`: `no study`.
    pub study: Option<String>,
}

/// An account's row.
struct AccountRow {
    id: i64,
    direction: i64,
    route: String,
    source: String,
    study: String,
    target: String,
    first_at: i64,
    last_at: i64,
    declared: Option<u32>,
    identity: Identity,
}

impl AccountRow {
    fn read(row: &Row<'_>) -> Result<Self, rusqlite::Error> {
        Ok(Self {
            id: row.get(0)?,
            direction: row.get(1)?,
            route: row.get(2)?,
            source: row.get(3)?,
            study: row.get(4)?,
            target: row.get(5)?,
            first_at: row.get(6)?,
            last_at: row.get(7)?,
            declared: row.get(8)?,
            identity: read::identity(row, 9)?,
        })
    }
}

impl Projection {
    /// Studies, the one that something last happened to first; at most `limit`, and [`LIMIT_MAX`].
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn studies(&self, filter: &StudyFilter, limit: usize) -> Result<Vec<StudyView>, ProjectionError> {
        self.accounts(filter, limit)?
            .into_iter()
            .map(|row| self.summary(row))
            .collect()
    }

    /// One study with its instances: one for each route and source it came by. `limit` is for each of its lists. An empty
    /// `study_instance_uid` means the instances without one.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn study(&self, study_instance_uid: &str, limit: usize) -> Result<Vec<StudyDetail>, ProjectionError> {
        let filter = StudyFilter {
            study: Some(study_instance_uid.to_owned()),
            ..StudyFilter::default()
        };
        let rows = self.accounts(&filter, limit)?;
        rows.into_iter().map(|row| self.detail(row, limit)).collect()
    }

    /// One delivery; `None` when nothing is known of it.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn delivery(&self, id: DeliveryId) -> Result<Option<DeliveryView>, ProjectionError> {
        let condition = "d.id = ?1 LIMIT ?2";
        let mut found = self.deliveries(condition, params![id.to_string(), 1])?.pop();
        if let Some(delivery) = &mut found {
            delivery.handled = self.handled(&delivery.delivery)?;
        }
        Ok(found)
    }

    /// Whether a delivery went from here to `site`; `None` when nothing is known of it.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn went_to(&self, id: DeliveryId, site: &SiteName) -> Result<Option<bool>, ProjectionError> {
        let sql = "SELECT a.direction = 0 AND substr(a.target, 1, length(?2)) = ?2 FROM delivery d \
                   JOIN account a ON a.id = d.account WHERE d.id = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let values = params![id.to_string(), format!("{site}/")];
        Ok(statement.query_row(values, |row| row.get(0)).optional()?)
    }

    /// The newest delivery of an instance on a route that is in flight or held; a repeat joins or replaces it. `None`: a
    /// repeat is a new delivery. Knows what was applied, no more.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn find_open(
        &self,
        route: &AeTitle,
        sop_instance: &SopInstanceUid,
    ) -> Result<Option<OpenDelivery>, ProjectionError> {
        let sql = "SELECT d.id, d.state, d.sha256, d.transfer_syntax, d.custody_at IS NOT NULL FROM delivery d \
                   JOIN account a ON a.id = d.account WHERE d.sop_instance = ?1 AND a.route = ?2 AND a.direction = 0 \
                   AND d.state IN (1, 2) ORDER BY d.number DESC LIMIT 1";
        let open = |row: &Row<'_>| {
            Ok(OpenDelivery {
                delivery: row.get(0)?,
                state: row.get::<_, Stored>(1)?.0,
                sha256: row.get(2)?,
                transfer_syntax: row.get(3)?,
                in_far_custody: row.get(4)?,
            })
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement
            .query_row([sop_instance.as_str(), route.as_str()], open)
            .optional()?)
    }

    /// Whether the instance has been received on the route before, whatever became of it.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn was_received(&self, route: &AeTitle, sop_instance: &SopInstanceUid) -> Result<bool, ProjectionError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM delivery d JOIN account a ON a.id = d.account \
                   WHERE d.sop_instance = ?1 AND a.route = ?2 AND a.direction = 0)";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row([sop_instance.as_str(), route.as_str()], |row| row.get(0))?)
    }

    /// The failed list, the newest first; at most `limit`, and [`LIMIT_MAX`].
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn failed(&self, limit: usize) -> Result<Vec<DeliveryView>, ProjectionError> {
        self.standing(State::Failed, limit)
    }

    /// What is kept back, here or at the far edge, the newest first; at most `limit`, and [`LIMIT_MAX`].
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn held(&self, limit: usize) -> Result<Vec<DeliveryView>, ProjectionError> {
        self.standing(State::Held, limit)
    }

    /// What stands so, also when it had been delivered before and was sent again.
    fn standing(&self, state: State, limit: usize) -> Result<Vec<DeliveryView>, ProjectionError> {
        let condition = "(d.state = ?1 OR d.again = ?1) ORDER BY d.number DESC LIMIT ?2";
        self.deliveries(condition, params![state.code(), rows(limit)])
    }

    /// Associations, the newest first; at most `limit`, and [`LIMIT_MAX`].
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn associations(&self, limit: usize) -> Result<Vec<AssociationView>, ProjectionError> {
        let sql = "SELECT id FROM association ORDER BY opened_at DESC, id LIMIT ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let ids: Vec<String> = statement
            .query_map([rows(limit)], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        ids.iter().filter_map(|id| self.association(id).transpose()).collect()
    }

    /// Instances that were answered with a failure, the newest first; at most `limit`, and [`LIMIT_MAX`].
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn refusals(&self, limit: usize) -> Result<Vec<RefusalView>, ProjectionError> {
        let sql = "SELECT origin, route, source, sop_class, sop_instance, study, status, rule, at FROM refusal \
                   ORDER BY number DESC LIMIT ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement
            .query_map([rows(limit)], read::refusal)?
            .collect::<Result<_, _>>()?)
    }

    fn accounts(&self, filter: &StudyFilter, limit: usize) -> Result<Vec<AccountRow>, ProjectionError> {
        let sql = format!(
            "SELECT a.id, direction, route, source, study, target, first_at, last_at, declared, {IDENTITY_COLUMNS} \
             FROM account a WHERE (?1 IS NULL OR patient_id LIKE ?1 ESCAPE '\\' OR patient_name LIKE ?1 ESCAPE '\\') \
             AND (?2 IS NULL OR accession_number = ?2 COLLATE NOCASE) AND (?3 IS NULL OR study_date LIKE ?3 ESCAPE '\\') \
             AND (?4 IS NULL OR source = ?4) AND (?5 IS NULL OR route = ?5 OR target = ?5 OR target LIKE ?6 ESCAPE '\\') \
             AND (?7 IS NULL OR EXISTS (SELECT 1 FROM delivery d WHERE d.account = a.id AND d.state = ?7)) \
             AND (?8 IS NULL OR EXISTS (SELECT 1 FROM delivery d WHERE d.account = a.id AND d.sop_class = ?8)) \
             AND (?9 IS NULL OR study = ?9) ORDER BY last_at DESC, a.id DESC LIMIT ?10"
        );
        let like = |before: &str, text: &Option<String>, after: &str| {
            text.as_ref().map(|text| format!("{before}{}{after}", literal(text)))
        };
        let values = params![
            like("%", &filter.patient, "%"),
            filter.accession,
            like("", &filter.date, "%"),
            filter.source,
            filter.to,
            like("%/", &filter.to, ""),
            filter.state.map(State::code),
            filter.class,
            filter.study,
            rows(limit),
        ];
        let mut statement = self.connection.prepare_cached(&sql)?;
        Ok(statement
            .query_map(values, AccountRow::read)?
            .collect::<Result<_, _>>()?)
    }

    fn summary(&self, row: AccountRow) -> Result<StudyView, ProjectionError> {
        let account = self.sum(row.id)?;
        let (repeats, bytes) = self
            .connection
            .prepare_cached(
                "SELECT coalesce(sum(repeat), 0) + (SELECT count(*) FROM repetition r JOIN delivery d \
                 ON d.id = r.delivery WHERE d.account = ?1), coalesce(sum(length), 0) FROM delivery WHERE account = ?1",
            )?
            .query_row([row.id], |sums| Ok((sums.get::<_, i64>(0)?, sums.get::<_, i64>(1)?)))?;
        let carried_on = self.carried_on(row.id, LIMIT_MAX)?;
        let refused = self.refused_on(&carried_on)?;
        let watched = self.watched(&row, &refused)?;
        let resent = self.resent(row.id)?;
        let words = words(&account, row.declared, &refused, carried_on.len());
        let words = match resent {
            0 => words,
            resent => format!("{words}; sent again {resent}"),
        };
        Ok(StudyView {
            direction: read::direction(row.direction),
            route: row.route,
            source: row.source,
            to: row.target,
            study: read::study(row.study),
            identity: row.identity,
            modalities: self.modalities(row.id)?,
            first_at: read::time(row.first_at),
            last_at: read::time(row.last_at),
            account,
            repeats: repeats.unsigned_abs(),
            bytes: bytes.unsigned_abs(),
            declared: row.declared,
            words,
            refused,
            watched,
            resent,
        })
    }

    /// What is seen of an account's sender. Of one that was refused a class and did not stop for all to see, nothing is
    /// known: it may have gone on, or not.
    fn watched(&self, row: &AccountRow, refused: &[RefusedClass]) -> Result<Vec<String>, ProjectionError> {
        let mut all = self.oddities(&row.study)?;
        if row.direction != super::apply::OUTGOING {
            return Ok(Vec::new());
        }
        let stops = self.stops_of(&row.study, &row.route, &row.source)?;
        if stops.is_empty() && !refused.is_empty() {
            let names: Vec<&str> = refused.iter().map(|class| class.name.as_str()).collect();
            all.push(format!(
                "whether the sender stopped at {} is not known",
                some_names(&names, " or ")
            ));
        }
        all.extend(self.refused_instances(row)?);
        all.extend(stops.into_iter().map(|stop| stop.words));
        all.extend(
            self.loop_of(&row.study, &row.route, &row.source)?
                .map(|found| found.words),
        );
        Ok(all)
    }

    /// Instances of an account that were offered, answered with a failure and not taken since, by class and status.
    fn refused_instances(&self, row: &AccountRow) -> Result<Vec<String>, ProjectionError> {
        let sql = "SELECT f.sop_class, f.status, count(DISTINCT f.sop_instance) FROM refusal f WHERE f.study = ?1 \
                   AND f.route = ?2 AND f.source = ?3 AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.account = ?4 \
                   AND d.sop_instance = f.sop_instance) GROUP BY f.sop_class, f.status ORDER BY 1, 2 LIMIT 16";
        let mut statement = self.connection.prepare_cached(sql)?;
        let line = |row: &Row<'_>| {
            let (class, status, count): (String, u16, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let name = packhorse_dicom::sop_class::name_of(&class);
            Ok(format!(
                "refused {count} {name} ({})",
                packhorse_dicom::status::Status(status)
            ))
        };
        let values = params![row.study, row.route, row.source, row.id];
        Ok(statement.query_map(values, line)?.collect::<Result<_, _>>()?)
    }

    fn detail(&self, row: AccountRow, limit: usize) -> Result<StudyDetail, ProjectionError> {
        let condition = "d.account = ?1 ORDER BY d.number LIMIT ?2";
        let mut instances = self.deliveries(condition, params![row.id, rows(limit)])?;
        for instance in &mut instances {
            instance.handled = self.handled(&instance.delivery)?;
        }
        let sql = "SELECT origin, route, source, sop_class, sop_instance, study, status, rule, at FROM refusal \
                   WHERE study = ?1 AND route = ?2 AND source = ?3 ORDER BY number LIMIT ?4";
        let mut statement = self.connection.prepare_cached(sql)?;
        let values = params![row.study, row.route, row.source, rows(limit)];
        let refused_instances = statement.query_map(values, read::refusal)?.collect::<Result<_, _>>()?;
        let carried_on = self.carried_on(row.id, limit)?;
        let associations = carried_on.iter().filter_map(|id| self.association(id).transpose());
        let associations = associations.collect::<Result<_, _>>()?;
        Ok(StudyDetail {
            summary: self.summary(row)?,
            instances,
            refused_instances,
            associations,
        })
    }

    /// Each distinct instance once; of several deliveries the one that stands best speaks for it.
    fn sum(&self, account: i64) -> Result<Account, ProjectionError> {
        let sql = "SELECT best, count(*) FROM (SELECT min(state) AS best FROM delivery WHERE account = ?1 \
                   GROUP BY sop_instance) GROUP BY best";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut counts = statement.query([account])?;
        let mut sum = Account::default();
        while let Some(row) = counts.next()? {
            sum.add(row.get::<_, Stored>(0)?.0, row.get::<_, i64>(1)?.unsigned_abs());
        }
        Ok(sum)
    }

    fn resent(&self, account: i64) -> Result<u64, ProjectionError> {
        let sql = "SELECT count(*) FROM delivery d JOIN handling h ON h.delivery = d.id \
                   WHERE d.account = ?1 AND h.what = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let resent: i64 = statement.query_row(params![account, RESENT], |row| row.get(0))?;
        Ok(resent.unsigned_abs())
    }

    /// What was done to a delivery, the latest last.
    fn handled(&self, delivery: &str) -> Result<Vec<HandlingView>, ProjectionError> {
        let sql = "SELECT what, who, reason, at FROM handling WHERE delivery = ?1 ORDER BY number DESC LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(params![delivery, HANDLED_MAX], read::handling)?;
        let mut handled: Vec<_> = rows.collect::<Result<_, _>>()?;
        handled.reverse();
        Ok(handled)
    }

    fn modalities(&self, account: i64) -> Result<Vec<String>, ProjectionError> {
        let sql = "SELECT DISTINCT modality FROM delivery WHERE account = ?1 AND modality IS NOT NULL \
                   ORDER BY modality LIMIT 64";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement
            .query_map([account], |row| row.get(0))?
            .collect::<Result<_, _>>()?)
    }

    /// The associations that instances of the account came on.
    fn carried_on(&self, account: i64, limit: usize) -> Result<Vec<String>, ProjectionError> {
        let sql = "SELECT origin FROM delivery WHERE account = ?1 AND origin IS NOT NULL AND origin <> 'send' \
                   GROUP BY origin ORDER BY min(number) LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement
            .query_map(params![account, rows(limit)], |row| row.get(0))?
            .collect::<Result<_, _>>()?)
    }

    /// Classes refused on any of the associations, each once.
    fn refused_on(&self, associations: &[String]) -> Result<Vec<RefusedClass>, ProjectionError> {
        let mut seen = BTreeSet::new();
        let mut refused = Vec::new();
        for association in associations {
            for class in refused_classes(&self.contexts(association)?) {
                if seen.insert(class.uid.clone()) {
                    refused.push(class);
                }
            }
        }
        Ok(refused)
    }

    pub(super) fn contexts(&self, association: &str) -> Result<Vec<(String, u8, String)>, ProjectionError> {
        let sql = "SELECT class, result, rule FROM context WHERE association = ?1 ORDER BY place";
        let mut statement = self.connection.prepare_cached(sql)?;
        let context = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        Ok(statement.query_map([association], context)?.collect::<Result<_, _>>()?)
    }

    fn association(&self, id: &str) -> Result<Option<AssociationView>, ProjectionError> {
        let contexts = self.contexts(id)?;
        let sql = "SELECT id, source, calling, called, peer, opened_at, ended_at, ended, refused_context_used, \
                   (SELECT count(*) FROM delivery WHERE origin = association.id) FROM association WHERE id = ?1";
        let view = |row: &Row<'_>| {
            let accepted = contexts.iter().filter(|(_, result, _)| *result == 0).count();
            Ok(AssociationView {
                association: row.get(0)?,
                source: row.get(1)?,
                calling: row.get(2)?,
                called: row.get(3)?,
                peer: row.get(4)?,
                opened_at: read::time(row.get(5)?),
                ended_at: row.get::<_, Option<i64>>(6)?.map(read::time),
                ended: row.get(7)?,
                refused_context_used: row.get(8)?,
                instances: row.get::<_, i64>(9)?.unsigned_abs(),
                contexts: u32::try_from(contexts.len()).unwrap_or(u32::MAX),
                accepted: u32::try_from(accepted).unwrap_or(u32::MAX),
                refused: refused_classes(&contexts),
            })
        };
        Ok(self.connection.prepare_cached(sql)?.query_row([id], view).optional()?)
    }

    fn deliveries(
        &self,
        condition: &'static str,
        values: impl rusqlite::Params,
    ) -> Result<Vec<DeliveryView>, ProjectionError> {
        let sql =
            format!("SELECT {DELIVERY_COLUMNS} FROM delivery d JOIN account a ON a.id = d.account WHERE {condition}");
        let mut statement = self.connection.prepare_cached(&sql)?;
        Ok(statement.query_map(values, read::delivery)?.collect::<Result<_, _>>()?)
    }
}

/// A limit as SQLite takes it.
pub(super) fn rows(limit: usize) -> i64 {
    i64::try_from(limit.min(LIMIT_MAX)).unwrap_or(i64::MAX)
}

/// Text in which `LIKE` sees no pattern.
fn literal(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_")
}
