//! A notice as it goes out, and as it waits: versioned JSON.
//!
//! ```json
//! {"v":1,"id":"0f3c…","kind":"late","site":"clinic-a","at":"2026-11-25T10:00:00.000Z",
//!  "what":"…","remedy":"…","fields":{"study":"1.2.3","count":3}}
//! ```
//! `patient` is added for a channel with `include_patient`, and waits nowhere.

use std::collections::BTreeMap;

use packhorse_ids::{DeliveryId, WallTime};
use packhorse_ledger::Identity;
use packhorse_ledger::view::{Direction, StudyView};
use packhorse_ledger::{StudyFilter, store::ProjectionError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Notice, NoticeKind, id_of};
use crate::shared::Shared;

/// The version that is written.
const VERSION: u32 = 1;
/// What stands for the kind of several notices in one.
pub(super) const SEVERAL: &str = "several";
/// Ids of notices that are named in one that sums them up.
const IDS_MAX: usize = 100;
/// Urgent notices whose words stand in one that sums them up.
const NAMED_MAX: usize = 20;
/// Accounts of one study that are looked at for its patient.
const ACCOUNTS_MAX: usize = 16;

/// A notice as it goes out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Telling {
    pub(crate) v: u32,
    /// The same whenever it is told again.
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) site: String,
    /// RFC 3339, UTC.
    pub(crate) at: String,
    pub(crate) what: String,
    pub(crate) remedy: String,
    pub(crate) fields: Map<String, Value>,
    /// Only for who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) patient: Option<Identity>,
}

impl Telling {
    pub(super) fn of(shared: &Shared, id: DeliveryId, notice: &Notice, at: WallTime) -> Self {
        Self {
            v: VERSION,
            id: id.to_string(),
            kind: notice.kind.as_str().to_owned(),
            site: shared.site.to_string(),
            at: at.to_string(),
            what: notice.what.clone(),
            remedy: notice.remedy.clone(),
            fields: notice.fields.clone(),
            patient: None,
        }
    }

    /// One that says that the channel works.
    pub(crate) fn test(shared: &Shared) -> Self {
        Self {
            v: VERSION,
            id: crate::shared::draw::delivery().to_string(),
            kind: "test".to_owned(),
            site: shared.site.to_string(),
            at: shared.clock.now().to_string(),
            what: "a test: notices of this gateway come here".to_owned(),
            remedy: String::new(),
            fields: Map::new(),
            patient: None,
        }
    }

    /// Several in one: `37 more: 30 failed, 7 late`, and what is urgent of them in full.
    pub(super) fn several(shared: &Shared, notices: &[Self]) -> Self {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for notice in notices {
            *counts.entry(&notice.kind).or_default() += 1;
        }
        let mut most: Vec<_> = counts.iter().collect();
        most.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let parts: Vec<_> = most.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let mut ids: Vec<&str> = notices.iter().map(|notice| &*notice.id).collect();
        ids.sort_unstable();
        let id = id_of(SEVERAL, &ids.join(" "), "");
        ids.truncate(IDS_MAX);
        let fields = json!({ "counts": counts, "ids": ids });
        let urgent = notices.iter().filter(|notice| NoticeKind::is_urgent(&notice.kind));
        let named = urgent
            .take(NAMED_MAX)
            .map(|notice| format!("; {}: {}", notice.kind, notice.what));
        let named: String = named.collect();
        Self {
            v: VERSION,
            id: id.to_string(),
            kind: SEVERAL.to_owned(),
            site: shared.site.to_string(),
            at: shared.clock.now().to_string(),
            what: format!("{} more: {}{named}", notices.len(), parts.join(", ")),
            remedy: format!("at {}, `edge-gateway notices` lists them", shared.site),
            fields: fields.as_object().cloned().unwrap_or_default(),
            patient: None,
        }
    }

    /// As it is written down and sent.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Texts, numbers and maps with text keys: nothing of it can fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes)
            .ok()
            .filter(|told: &Self| told.v == VERSION)
    }

    /// The same with the patient of its study, if it has one and the ledger knows it.
    pub(super) async fn with_patient(mut self, shared: &Shared) -> Self {
        let text = |key: &str| self.fields.get(key).and_then(Value::as_str).map(str::to_owned);
        let Some(study) = text("study") else { return self };
        let (direction, route) = (text("direction"), text("route"));
        let filter = StudyFilter {
            study: Some(study),
            ..StudyFilter::default()
        };
        let asked = shared.ledger(move |projection| {
            let studies = projection.studies(&filter, ACCOUNTS_MAX)?;
            let is_its = |study: &&StudyView| {
                let word = word(study.direction);
                direction.as_deref().is_none_or(|known| known == word)
                    && route.as_ref().is_none_or(|route| study.route == *route)
            };
            Ok::<_, ProjectionError>(studies.iter().find(is_its).map(|study| study.identity.clone()))
        });
        self.patient = asked.await.and_then(Result::ok).flatten();
        self
    }
}

/// The word for a direction in the fields of a notice.
pub(super) const fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Outgoing => "outgoing",
        Direction::Incoming => "incoming",
    }
}
