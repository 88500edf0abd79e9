//! What is seen of senders, from facts to rows and back: refused classes, senders that stop, loops, and what is odd about a
//! study.

mod ask;

use packhorse_ids::WallTime;
use rusqlite::{OptionalExtension as _, Transaction, params};
use serde::{Deserialize, Serialize};

use crate::account::{is_for_destination, refused_classes};
use crate::fact::{
    AssociationEnded, AssociationOpened, Compared, Evidence, InstanceReceived, InstanceRefused, InstanceRepeated,
    ResendLoop, SenderStopped, StoppedAt,
};

type Done = Result<(), rusqlite::Error>;

/// Storage Commitment Push Model.
const COMMITMENT: &str = "1.2.840.10008.1.20.1";
/// Statuses by which a rule refuses an instance: 0122H and 0124H.
const REFUSED_BY_RULE: [u16; 2] = [0x0122, 0x0124];
/// Refused classes that are kept of one source: what it proposes is its to choose.
const CLASSES_MAX: i64 = 64;

/// Something that was noticed, for whoever tells people. It stays until [`Projection::told`](super::Projection::told).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Noticed {
    /// A class was refused to a source for the first time.
    ClassRefused {
        /// Name of the source.
        source: String,
        /// Calling AE title.
        calling: String,
        /// Called AE title.
        route: String,
        /// SOP class UID.
        class: String,
        /// The rule that refused it.
        rule: String,
    },
    /// A source asked for storage commitment for the first time.
    CommitmentAsked {
        /// Name of the source.
        source: String,
        /// Calling AE title.
        calling: String,
    },
    /// A sender stopped at a refusal.
    Stopped(SenderStopped),
    /// An association is over on which something was refused: it may be part of a loop.
    EndedRefused {
        /// Its id.
        association: String,
    },
    /// A study comes again and again.
    ResendLoop(ResendLoop),
    /// An instance came again with other pixels.
    PixelsChanged {
        /// Name of the source.
        source: String,
        /// Called AE title.
        route: String,
        /// Study Instance UID.
        study: Option<String>,
    },
    /// Two Patient IDs came under one Study Instance UID.
    TwoPatients {
        /// Study Instance UID.
        study: String,
        /// The source of the second.
        source: String,
    },
    /// One study came from two sources.
    TwoSources {
        /// Study Instance UID.
        study: String,
        /// The first and the second.
        sources: [String; 2],
    },
    /// Classes were refused to a source for the first time at the negotiation of one association: several, or such that the
    /// destination is known not to take.
    ClassesRefused {
        /// Name of the source.
        source: String,
        /// Calling AE title.
        calling: String,
        /// Called AE title.
        route: String,
        /// Which association.
        association: String,
        /// The classes, each with the rule that refused it.
        classes: Vec<StoppedAt>,
        /// Whether the destination is why.
        for_destination: bool,
    },
}

fn notice(transaction: &Transaction<'_>, noticed: &Noticed) -> Done {
    let Ok(text) = serde_json::to_string(noticed) else {
        return Ok(());
    };
    let sql = "INSERT INTO noticed (what) VALUES (?1)";
    transaction.prepare_cached(sql)?.execute([text]).map(drop)
}

/// Counts a class as refused to a source once more. Whether it is the first time.
fn count(
    transaction: &Transaction<'_>,
    (source, class, rule): (&str, &str, &str),
    at: WallTime,
    (associations, instances): (u32, u32),
) -> Result<bool, rusqlite::Error> {
    let sql = "UPDATE refused_class SET last_at = max(last_at, ?3), rule = ?4, associations = associations + ?5, \
               instances = instances + ?6 WHERE source = ?1 AND class = ?2";
    let values = params![source, class, at.unix_micros(), rule, associations, instances];
    if transaction.prepare_cached(sql)?.execute(values)? > 0 {
        return Ok(false);
    }
    let sql = "INSERT INTO refused_class (source, class, rule, first_at, last_at, associations, instances) \
               SELECT ?1, ?2, ?4, ?3, ?3, ?5, ?6 WHERE (SELECT count(*) FROM refused_class WHERE source = ?1) < ?7";
    let values = params![
        source,
        class,
        at.unix_micros(),
        rule,
        associations,
        instances,
        CLASSES_MAX
    ];
    Ok(transaction.prepare_cached(sql)?.execute(values)? > 0)
}

pub(super) fn opened(transaction: &Transaction<'_>, opened: &AssociationOpened) -> Done {
    let contexts = opened.contexts.iter();
    let contexts: Vec<_> = contexts
        .map(|context| (context.class.to_string(), context.result, context.rule.clone()))
        .collect();
    let mut new = Vec::new();
    for class in refused_classes(&contexts) {
        let (uid, rule) = (class.uid, class.rule);
        if count(transaction, (&opened.source, &uid, &rule), opened.at, (1, 0))? {
            new.push(StoppedAt { class: uid, rule });
        }
    }
    first_refused(transaction, opened, new)?;
    let commitment = contexts
        .iter()
        .find(|(class, result, _)| class == COMMITMENT && *result != 0);
    if let Some((class, _, rule)) = commitment
        && count(transaction, (&opened.source, class, rule), opened.at, (1, 0))?
    {
        let (source, calling) = (opened.source.clone(), opened.calling.to_string());
        notice(transaction, &Noticed::CommitmentAsked { source, calling })?;
    }
    Ok(())
}

/// Notices classes that are refused for the first time: those of one association in one, for many senders propose
/// everything; and those that the destination does not take apart from those that a rule refuses.
fn first_refused(transaction: &Transaction<'_>, opened: &AssociationOpened, classes: Vec<StoppedAt>) -> Done {
    let (source, calling) = (opened.source.clone(), opened.calling.to_string());
    let (route, association) = (opened.called.to_string(), opened.association.to_string());
    let (for_destination, by_rule): (Vec<_>, Vec<_>) = classes.into_iter().partition(|at| is_for_destination(&at.rule));
    if let [at] = by_rule.as_slice() {
        let (class, rule) = (at.class.clone(), at.rule.clone());
        let (source, calling, route) = (source.clone(), calling.clone(), route.clone());
        let noticed = Noticed::ClassRefused {
            source,
            calling,
            route,
            class,
            rule,
        };
        notice(transaction, &noticed)?;
    }
    let is_several = by_rule.len() > 1;
    let gathered = [(by_rule, false, is_several), (for_destination, true, true)];
    for (classes, for_destination, is_told) in gathered {
        if classes.is_empty() || !is_told {
            continue;
        }
        let noticed = Noticed::ClassesRefused {
            source: source.clone(),
            calling: calling.clone(),
            route: route.clone(),
            association: association.clone(),
            classes,
            for_destination,
        };
        notice(transaction, &noticed)?;
    }
    Ok(())
}

pub(super) fn ended(transaction: &Transaction<'_>, ended: &AssociationEnded) -> Done {
    let association = ended.association.to_string();
    let sql = "SELECT EXISTS (SELECT 1 FROM context WHERE association = ?1 AND result <> 0) \
               OR EXISTS (SELECT 1 FROM refusal WHERE origin = ?1)";
    let refused: bool = transaction
        .prepare_cached(sql)?
        .query_row([&association], |row| row.get(0))?;
    if refused {
        notice(transaction, &Noticed::EndedRefused { association })?;
    }
    Ok(())
}

pub(super) fn refused(transaction: &Transaction<'_>, refused: &InstanceRefused) -> Done {
    if !REFUSED_BY_RULE.contains(&refused.status) {
        return Ok(());
    }
    let class = (
        refused.source.as_str(),
        refused.sop_class.as_str(),
        refused.rule.as_str(),
    );
    if count(transaction, class, refused.at, (0, 1))? {
        let calling = "SELECT calling FROM association WHERE id = ?1";
        let mut statement = transaction.prepare_cached(calling)?;
        let calling: Option<String> = statement
            .query_row([refused.origin.to_string()], |row| row.get(0))
            .optional()?;
        let noticed = Noticed::ClassRefused {
            source: refused.source.clone(),
            calling: calling.unwrap_or_default(),
            route: refused.route.to_string(),
            class: refused.sop_class.clone(),
            rule: refused.rule.clone(),
        };
        notice(transaction, &noticed)?;
    }
    Ok(())
}

pub(super) fn stopped(transaction: &Transaction<'_>, stopped: &SenderStopped) -> Done {
    let Ok(fact) = serde_json::to_string(stopped) else {
        return Ok(());
    };
    let doubtful = stopped.evidence == Evidence::EndedBehindRefusal && goes_on(transaction, stopped)?;
    let sql = "INSERT OR IGNORE INTO stop (association, source, route, study, at, fact, doubtful) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let study = stopped.study.as_deref().unwrap_or_default();
    let values = params![
        stopped.association.to_string(),
        stopped.source,
        stopped.route.as_str(),
        study,
        stopped.at.unix_micros(),
        fact,
        doubtful
    ];
    if transaction.prepare_cached(sql)?.execute(values)? > 0 && !doubtful {
        notice(transaction, &Noticed::Stopped(stopped.clone()))?;
    }
    Ok(())
}

/// Whether the sender has been seen to go on behind a refused instance: then one that came last proves nothing.
fn goes_on(transaction: &Transaction<'_>, stopped: &SenderStopped) -> Result<bool, rusqlite::Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM goes_on WHERE source = ?1 AND calling = ?2)";
    let values = params![stopped.source, stopped.calling.as_str()];
    transaction.prepare_cached(sql)?.query_row(values, |row| row.get(0))
}

/// An instance came: behind one that was refused on the same association, its sender goes on.
fn went_on(transaction: &Transaction<'_>, origin: &str) -> Done {
    let sql = "INSERT OR IGNORE INTO goes_on (source, calling) SELECT source, calling FROM association \
               WHERE id = ?1 AND EXISTS (SELECT 1 FROM refusal WHERE origin = ?1)";
    transaction.prepare_cached(sql)?.execute([origin]).map(drop)
}

pub(super) fn resend_loop(transaction: &Transaction<'_>, found: &ResendLoop) -> Done {
    let Ok(fact) = serde_json::to_string(found) else {
        return Ok(());
    };
    let sql = "INSERT OR REPLACE INTO resend_loop (source, route, study, at, fact) VALUES (?1, ?2, ?3, ?4, ?5)";
    let study = found.study.as_deref().unwrap_or_default();
    let values = params![found.source, found.route.as_str(), study, found.at.unix_micros(), fact];
    transaction.prepare_cached(sql)?.execute(values)?;
    notice(transaction, &Noticed::ResendLoop(found.clone()))
}

pub(super) fn repeated(transaction: &Transaction<'_>, number: i64, repeated: &InstanceRepeated) -> Done {
    let sql = "INSERT OR IGNORE INTO repetition (number, delivery, origin, at) VALUES (?1, ?2, ?3, ?4)";
    let values = params![
        number,
        repeated.delivery.to_string(),
        repeated.origin.to_string(),
        repeated.at.unix_micros()
    ];
    transaction.prepare_cached(sql)?.execute(values)?;
    went_on(transaction, &repeated.origin.to_string())
}

/// What an instance says about senders, before its own row is there.
pub(super) fn received(transaction: &Transaction<'_>, received: &InstanceReceived) -> Done {
    went_on(transaction, &received.origin.to_string())?;
    if received.details.compared == Some(Compared::PixelsChanged) {
        let noticed = Noticed::PixelsChanged {
            source: received.source.clone(),
            route: received.route.to_string(),
            study: received.study.clone(),
        };
        notice(transaction, &noticed)?;
        if let Some(study) = &received.study {
            suspect(transaction, study, PIXELS_CHANGED, received.at)?;
        }
    }
    let Some(study) = received.study.as_deref() else {
        return Ok(());
    };
    more_came_later(transaction, study, received)?;
    two_patients(transaction, study, received)?;
    two_sources(transaction, study, received)
}

/// The rest of a study whose sender had stopped.
fn more_came_later(transaction: &Transaction<'_>, study: &str, received: &InstanceReceived) -> Done {
    let sql = "UPDATE stop SET later = later + 1, later_at = ?5 WHERE study = ?1 AND route = ?2 AND source = ?3 \
               AND association <> ?4 AND NOT EXISTS (SELECT 1 FROM delivery d JOIN account a ON a.id = d.account \
               WHERE d.sop_instance = ?6 AND a.direction = 0 AND a.route = ?2 AND a.source = ?3)";
    let values = params![
        study,
        received.route.as_str(),
        received.source,
        received.origin.to_string(),
        received.at.unix_micros(),
        received.sop_instance.as_str()
    ];
    transaction.prepare_cached(sql)?.execute(values).map(drop)
}

const PIXELS_CHANGED: &str = "pixels-changed";
const TWO_PATIENTS: &str = "two-patients";
const TWO_SOURCES: &str = "two-sources";

/// Notes what is odd about a study. Whether it is new.
fn suspect(transaction: &Transaction<'_>, study: &str, kind: &str, at: WallTime) -> Result<bool, rusqlite::Error> {
    let sql = "INSERT OR IGNORE INTO suspicion (study, kind, at) VALUES (?1, ?2, ?3)";
    let values = params![study, kind, at.unix_micros()];
    Ok(transaction.prepare_cached(sql)?.execute(values)? > 0)
}

fn two_patients(transaction: &Transaction<'_>, study: &str, received: &InstanceReceived) -> Done {
    let patient = &received.identity.patient_id;
    if patient.is_empty() {
        return Ok(());
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM account WHERE study = ?1 AND direction = 0 AND patient_id <> '' \
               AND patient_id <> ?2)";
    let mut statement = transaction.prepare_cached(sql)?;
    let others: bool = statement.query_row(params![study, patient], |row| row.get(0))?;
    if others && suspect(transaction, study, TWO_PATIENTS, received.at)? {
        let (study, source) = (study.to_owned(), received.source.clone());
        notice(transaction, &Noticed::TwoPatients { study, source })?;
    }
    Ok(())
}

/// `edge-gateway send` is no source: it sends what a source would have.
fn two_sources(transaction: &Transaction<'_>, study: &str, received: &InstanceReceived) -> Done {
    if received.origin == crate::origin::Origin::Send {
        return Ok(());
    }
    let sql = "SELECT source FROM account WHERE study = ?1 AND direction = 0 AND source NOT IN (?2, 'send') LIMIT 1";
    let mut statement = transaction.prepare_cached(sql)?;
    let other: Option<String> = statement
        .query_row(params![study, received.source], |row| row.get(0))
        .optional()?;
    if let Some(other) = other
        && suspect(transaction, study, TWO_SOURCES, received.at)?
    {
        let (study, sources) = (study.to_owned(), [other, received.source.clone()]);
        notice(transaction, &Noticed::TwoSources { study, sources })?;
    }
    Ok(())
}
