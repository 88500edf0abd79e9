//! Questions about what is seen of senders.

use packhorse_dicom::sop_class;
use packhorse_ids::WallTime;
use rusqlite::{OptionalExtension as _, Row, params};

use super::{COMMITMENT, Noticed, PIXELS_CHANGED, TWO_PATIENTS, TWO_SOURCES};
use crate::account::{refused_classes, some_names};
use crate::fact::{Evidence, ResendLoop, SenderStopped, StoppedAt};
use crate::store::query::rows;
use crate::store::{LIMIT_MAX, Projection, ProjectionError, integer, read};
use crate::view::{LoopView, RefusedBySource, SourceView, StopView};

/// Stops and loops that are shown of one source.
const SHOWN_MAX: usize = 10;
/// Associations that are looked at for a loop.
const LOOP_MAX: usize = 64;

impl Projection {
    /// What was noticed and not told yet, the oldest first, each with its number.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn noticed(&self, limit: usize) -> Result<Vec<(u64, Noticed)>, ProjectionError> {
        let sql = "SELECT number, what FROM noticed ORDER BY number LIMIT ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut found = statement.query([rows(limit)])?;
        let mut all = Vec::new();
        while let Some(row) = found.next()? {
            let (number, what): (i64, String) = (row.get(0)?, row.get(1)?);
            if let Ok(noticed) = serde_json::from_str(&what) {
                all.push((number.unsigned_abs(), noticed));
            }
        }
        Ok(all)
    }

    /// Forgets what was noticed, up to and with this number.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn told(&self, through: u64) -> Result<(), ProjectionError> {
        let sql = "DELETE FROM noticed WHERE number <= ?1";
        self.connection.prepare_cached(sql)?.execute([integer(through)])?;
        Ok(())
    }

    /// Whether an association is one of at least `times` since `since` that began the same study, were refused the same
    /// class and ended the same way: a sender that tries again and again. `None`: it is not, or that is on record since
    /// `since`.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn find_loop(
        &self,
        association: &str,
        times: u32,
        since: WallTime,
    ) -> Result<Option<ResendLoop>, ProjectionError> {
        let Some(this) = self.attempt(association)? else {
            return Ok(None);
        };
        let (study, origins) = self.same_beginning(association, &this.source, since)?;
        let sql =
            "SELECT EXISTS (SELECT 1 FROM resend_loop WHERE source = ?1 AND route = ?2 AND study = ?3 AND at >= ?4)";
        let known = params![this.source, this.route, study, since.unix_micros()];
        if this.refused.is_empty()
            || self
                .connection
                .prepare_cached(sql)?
                .query_row(known, |row| row.get(0))?
        {
            return Ok(None);
        }
        let (mut classes, mut count, mut first) = (this.refused.clone(), 0, this.at);
        for origin in origins {
            let Some(other) = self.attempt(&origin)? else { continue };
            let is_common = |at: &StoppedAt| other.refused.iter().any(|refused| refused.class == at.class);
            if other.ended == this.ended && other.route == this.route && this.refused.iter().any(is_common) {
                classes.retain(is_common);
                count += 1;
                first = first.min(other.at);
            }
        }
        let (Ok(calling), Ok(route)) = (this.calling.parse(), this.route.parse()) else {
            return Ok(None);
        };
        Ok((count >= times && !classes.is_empty()).then(|| ResendLoop {
            source: this.source,
            calling,
            route,
            study: (!study.is_empty()).then_some(study),
            classes,
            times: count,
            since: WallTime::from_unix_micros(first),
            at: WallTime::from_unix_micros(this.ended_at),
        }))
    }

    /// One association, with all that was refused on it.
    fn attempt(&self, association: &str) -> Result<Option<Attempt>, ProjectionError> {
        let sql = "SELECT source, calling, called, opened_at, coalesce(ended, ''), coalesce(ended_at, opened_at) \
                   FROM association WHERE id = ?1";
        let attempt = |row: &Row<'_>| {
            Ok(Attempt {
                source: row.get(0)?,
                calling: row.get(1)?,
                route: row.get(2)?,
                at: row.get(3)?,
                ended: row.get(4)?,
                ended_at: row.get(5)?,
                refused: Vec::new(),
            })
        };
        let mut statement = self.connection.prepare_cached(sql)?;
        let Some(mut found) = statement.query_row([association], attempt).optional()? else {
            return Ok(None);
        };
        let classes = refused_classes(&self.contexts(association)?).into_iter();
        found.refused.extend(classes.map(|class| StoppedAt {
            class: class.uid,
            rule: class.rule,
        }));
        let sql = "SELECT DISTINCT sop_class, rule FROM refusal WHERE origin = ?1 LIMIT 16";
        let mut statement = self.connection.prepare_cached(sql)?;
        let refused = statement.query_map([association], |row| {
            Ok(StoppedAt {
                class: row.get(0)?,
                rule: row.get(1)?,
            })
        })?;
        found.refused.extend(refused.collect::<Result<Vec<_>, _>>()?);
        Ok(Some(found))
    }

    /// The study that an association began with, and the associations of the source since then that brought the same
    /// instance first, or were refused it.
    fn same_beginning(
        &self,
        association: &str,
        source: &str,
        since: WallTime,
    ) -> Result<(String, Vec<String>), ProjectionError> {
        let sql = "SELECT a.study, d.sop_instance FROM delivery d JOIN account a ON a.id = d.account WHERE d.id = \
                   coalesce((SELECT id FROM delivery WHERE origin = ?1 ORDER BY number LIMIT 1), \
                   (SELECT delivery FROM repetition WHERE origin = ?1 ORDER BY number LIMIT 1))";
        let mut statement = self.connection.prepare_cached(sql)?;
        let pair = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
        let brought = statement.query_row([association], pair).optional()?;
        let limit = rows(LOOP_MAX);
        let since = since.unix_micros();
        let Some((study, instance)) = brought else {
            return self.refused_first(association, source, since, limit);
        };
        let sql = "SELECT d.origin FROM delivery d JOIN account a ON a.id = d.account WHERE d.sop_instance = ?1 \
                   AND a.direction = 0 AND a.source = ?2 AND d.received_at >= ?3 AND d.origin IS NOT NULL UNION \
                   SELECT r.origin FROM delivery d JOIN account a ON a.id = d.account JOIN repetition r \
                   ON r.delivery = d.id WHERE d.sop_instance = ?1 AND a.direction = 0 AND a.source = ?2 AND r.at >= ?3 \
                   LIMIT ?4";
        let mut statement = self.connection.prepare_cached(sql)?;
        let origins = statement.query_map(params![instance, source, since, limit], |row| row.get(0))?;
        Ok((study, origins.collect::<Result<_, _>>()?))
    }

    /// The same where nothing but a refused instance came.
    fn refused_first(
        &self,
        association: &str,
        source: &str,
        since: i64,
        limit: i64,
    ) -> Result<(String, Vec<String>), ProjectionError> {
        let sql = "SELECT DISTINCT o.origin, f.study FROM refusal f JOIN refusal o ON o.sop_instance = f.sop_instance \
                   AND o.source = f.source WHERE f.number = (SELECT min(number) FROM refusal WHERE origin = ?1) \
                   AND f.source = ?2 AND o.at >= ?3 LIMIT ?4";
        let mut statement = self.connection.prepare_cached(sql)?;
        let pair = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
        let rows = statement.query_map(params![association, source, since, limit], pair)?;
        let rows: Vec<(String, String)> = rows.collect::<Result<_, _>>()?;
        let study = rows.first().map(|(_, study)| study.clone()).unwrap_or_default();
        Ok((study, rows.into_iter().map(|(origin, _)| origin).collect()))
    }

    /// What is seen of each source: refused classes, senders that stopped, loops.
    ///
    /// # Errors
    /// [`ProjectionError::Database`].
    pub fn sources(&self) -> Result<Vec<SourceView>, ProjectionError> {
        let sql = "SELECT source FROM refused_class UNION SELECT source FROM stop ORDER BY source LIMIT ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let names = statement.query_map([rows(LIMIT_MAX)], |row| row.get(0))?;
        let names: Vec<String> = names.collect::<Result<_, _>>()?;
        names.into_iter().map(|name| self.source(name)).collect()
    }

    fn source(&self, source: String) -> Result<SourceView, ProjectionError> {
        let sql = "SELECT class, rule, associations, instances, first_at, last_at FROM refused_class WHERE source = ?1 \
                   ORDER BY first_at, class";
        let mut statement = self.connection.prepare_cached(sql)?;
        let class = |row: &Row<'_>| {
            let uid: String = row.get(0)?;
            Ok(RefusedBySource {
                name: sop_class::name_of(&uid).to_owned(),
                uid,
                rule: row.get(1)?,
                associations: row.get::<_, i64>(2)?.unsigned_abs(),
                instances: row.get::<_, i64>(3)?.unsigned_abs(),
                first_at: read::time(row.get(4)?),
                last_at: read::time(row.get(5)?),
            })
        };
        let all: Vec<RefusedBySource> = statement.query_map([&source], class)?.collect::<Result<_, _>>()?;
        let (commitment, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(|class| class.uid == COMMITMENT);
        let stopped = "SELECT count(*) FROM stop WHERE source = ?1 AND doubtful = 0";
        let stopped: i64 = self
            .connection
            .prepare_cached(stopped)?
            .query_row([&source], |row| row.get(0))?;
        let condition = "source = ?1 AND doubtful = 0 ORDER BY at DESC LIMIT ?2";
        let last = self.stops(condition, params![source, rows(SHOWN_MAX)])?;
        let sql = "SELECT fact FROM resend_loop WHERE source = ?1 ORDER BY at DESC LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let facts = statement.query_map(params![source, rows(SHOWN_MAX)], |row| row.get::<_, String>(0))?;
        let facts: Vec<String> = facts.collect::<Result<_, _>>()?;
        let loops = facts.iter().filter_map(|fact| serde_json::from_str(fact).ok());
        Ok(SourceView {
            source,
            refused,
            commitment_asked: commitment.into_iter().next().map(|class| class.first_at),
            stopped: stopped.unsigned_abs(),
            last_stops: last,
            loops: loops.map(|found: ResendLoop| LoopView::of(&found)).collect(),
        })
    }

    /// How senders of a study stopped, the newest first.
    pub(in crate::store) fn stops_of(
        &self,
        study: &str,
        route: &str,
        source: &str,
    ) -> Result<Vec<StopView>, ProjectionError> {
        let condition = "study = ?1 AND route = ?2 AND source = ?3 AND study <> '' ORDER BY at DESC LIMIT ?4";
        self.stops(condition, params![study, route, source, rows(SHOWN_MAX)])
    }

    /// Loops of a study.
    pub(in crate::store) fn loop_of(
        &self,
        study: &str,
        route: &str,
        source: &str,
    ) -> Result<Option<LoopView>, ProjectionError> {
        let sql = "SELECT fact FROM resend_loop WHERE study = ?1 AND route = ?2 AND source = ?3 AND study <> ''";
        let mut statement = self.connection.prepare_cached(sql)?;
        let fact: Option<String> = statement
            .query_row([study, route, source], |row| row.get(0))
            .optional()?;
        let found = fact.and_then(|fact| serde_json::from_str(&fact).ok());
        Ok(found.map(|found: ResendLoop| LoopView::of(&found)))
    }

    fn stops(&self, condition: &'static str, values: impl rusqlite::Params) -> Result<Vec<StopView>, ProjectionError> {
        let sql = format!("SELECT fact, later, later_at, doubtful FROM stop WHERE {condition}");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let row = |row: &Row<'_>| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, i64>(1)?.unsigned_abs(),
                row.get::<_, Option<i64>>(2)?,
                row.get::<_, bool>(3)?,
            ))
        };
        let rows: Vec<_> = statement.query_map(values, row)?.collect::<Result<_, _>>()?;
        let view = |(fact, later, later_at, doubtful): &(String, u64, Option<i64>, bool)| {
            let stopped: SenderStopped = serde_json::from_str(fact).ok()?;
            Some(StopView::of(&stopped, *later, later_at.map(read::time), *doubtful))
        };
        Ok(rows.iter().filter_map(view).collect())
    }

    /// What is odd about a study, in words.
    pub(in crate::store) fn oddities(&self, study: &str) -> Result<Vec<String>, ProjectionError> {
        let sql = "SELECT kind FROM suspicion WHERE study = ?1 ORDER BY at, kind";
        let mut statement = self.connection.prepare_cached(sql)?;
        let kinds = statement.query_map([study], |row| row.get::<_, String>(0))?;
        let kinds: Vec<String> = kinds.collect::<Result<_, _>>()?;
        let words = kinds.iter().map(|kind| match kind.as_str() {
            PIXELS_CHANGED => "an instance came again with other pixels".to_owned(),
            TWO_PATIENTS => "two Patient IDs came under this Study Instance UID".to_owned(),
            TWO_SOURCES => "it came from two sources".to_owned(),
            other => other.to_owned(),
        });
        Ok(words.collect())
    }
}

/// An association that may be part of a loop.
struct Attempt {
    source: String,
    calling: String,
    route: String,
    at: i64,
    ended: String,
    ended_at: i64,
    refused: Vec<StoppedAt>,
}

impl StopView {
    fn of(stopped: &SenderStopped, later: u64, later_at: Option<String>, doubtful: bool) -> Self {
        let evidence = Evidence::as_str(stopped.evidence);
        let classes = class_names(&stopped.classes);
        let after = match stopped.instances {
            1 => "1 instance".to_owned(),
            count => format!("{count} instances"),
        };
        let came = match later {
            0 => String::new(),
            later => format!("; {later} more came later"),
        };
        let status = stopped
            .status
            .map(|status| format!(" ({})", packhorse_dicom::status::Status(status)))
            .unwrap_or_default();
        Self {
            association: stopped.association.to_string(),
            source: stopped.source.clone(),
            calling: stopped.calling.to_string(),
            route: stopped.route.to_string(),
            words: if doubtful {
                format!(
                    "{classes} was refused{status} after {after} and nothing came behind it; this sender goes on behind a \
                     refusal, so that may have been all{came}"
                )
            } else {
                format!(
                    "sender stopped at refused {classes}{status} after {after}: {}{came}",
                    Evidence::in_words(evidence)
                )
            },
            doubtful,
            classes: stopped.classes.clone(),
            study: stopped.study.clone(),
            instances: stopped.instances,
            evidence: evidence.to_owned(),
            at: stopped.at.to_string(),
            later,
            later_at,
        }
    }
}

impl LoopView {
    fn of(found: &ResendLoop) -> Self {
        Self {
            route: found.route.to_string(),
            calling: found.calling.to_string(),
            study: found.study.clone(),
            words: format!(
                "sent {} times since {}, {} refused each time: a resend loop",
                found.times,
                found.since,
                class_names(&found.classes)
            ),
            classes: found.classes.clone(),
            times: found.times,
            since: found.since.to_string(),
            at: found.at.to_string(),
        }
    }
}

/// Names of classes, one of which it was; of many the first.
fn class_names(classes: &[StoppedAt]) -> String {
    let names: Vec<&str> = classes.iter().map(|at| sop_class::name_of(&at.class)).collect();
    some_names(&names, " or ")
}
