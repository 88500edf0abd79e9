//! What is known of our own PACS, in memory and in `mirror.json`. The file may be deleted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use packhorse_association::NegotiatedContext;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_dicom::negotiation::ProposedContext;
use packhorse_dicom::sop_class;
use packhorse_ids::{SiteName, WallTime};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::belief::{Beliefs, Fact, Heard, Patience, Source, Subject, Word};
use super::probe::{self, Pair};
use super::told::{Told, pairs, subject, written};
use crate::config::Destination;
use crate::directory::replace_file;
use crate::pacs::Pacs;

/// Pairs that one site has asked about, for one PACS.
const WANTED_MAX: usize = 256;
/// Sites whose pairs are remembered, for one PACS: those that may send there.
const ASKING_MAX: usize = 64;
/// Pairs that a PACS is asked about, shared by the sites alike: far fewer than facts are remembered of it, or they would be
/// forgotten and asked again without end.
const ASKED_MAX: usize = 2048;
/// Facts that are told to a site: classes first.
const TOLD_MAX: usize = 2048;
/// Classes that most PACS are sent, which are named first.
const COMMON: [&str; 12] = [
    "CTImageStorage",
    "MRImageStorage",
    "ComputedRadiographyImageStorage",
    "DigitalXRayImageStorageForPresentation",
    "UltrasoundImageStorage",
    "UltrasoundMultiFrameImageStorage",
    "SecondaryCaptureImageStorage",
    "BasicTextSRStorage",
    "EnhancedSRStorage",
    "DigitalMammographyXRayImageStorageForPresentation",
    "XRayAngiographicImageStorage",
    "NuclearMedicineImageStorage",
];
/// What is only confirmed is written down when what stands there is older than this.
const STALE: Duration = Duration::from_secs(3600);
/// Name of the file in the edge's folder.
const FILE_NAME: &str = "mirror.json";
/// Version of the file.
const VERSION: u32 = 1;

/// What is known of one of our PACS.
#[derive(Debug, Default)]
pub(crate) struct Ours(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    beliefs: Beliefs,
    /// Pairs that sources of other sites have proposed, by site.
    wanted: BTreeMap<SiteName, BTreeSet<Pair>>,
    /// The last probe that taught something.
    probed_at: Option<WallTime>,
    /// Counts what is believed otherwise.
    revision: u64,
    /// When what is in the file was so; `None`: something is not in it.
    saved: Option<WallTime>,
}

impl Ours {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears the answers of an A-ASSOCIATE-AC.
    pub(crate) fn hear(&self, contexts: &[NegotiatedContext], word: Word, patience: &Patience) -> Heard {
        let mut state = self.lock();
        let heard = state.beliefs.hear(contexts, word, patience);
        if heard == Heard::Nothing {
            return heard;
        }
        let is_stale = state
            .saved
            .is_some_and(|saved| word.at.saturating_since(saved) >= STALE);
        if heard == Heard::Changed {
            state.revision += 1;
        }
        if word.source == Source::Probe {
            state.probed_at = Some(word.at);
        }
        if heard == Heard::Changed || word.source == Source::Probe || is_stale {
            state.saved = None;
        }
        heard
    }

    /// Remembers pairs that a source of `site` has proposed, as far as that site's room goes.
    pub(crate) fn want(&self, site: &SiteName, asked: &[(String, String)]) {
        let mut state = self.lock();
        if state.wanted.len() >= ASKING_MAX && !state.wanted.contains_key(site) {
            return;
        }
        let wanted = state.wanted.entry(site.clone()).or_default();
        let before = wanted.len();
        for pair in pairs(asked) {
            if wanted.len() < WANTED_MAX {
                wanted.insert(pair);
            }
        }
        if wanted.len() != before {
            state.saved = None;
        }
    }

    /// What is to be asked now; empty: nothing.
    pub(super) fn due(&self, now: WallTime, patience: &Patience) -> Vec<ProposedContext> {
        let state = self.lock();
        let each = ASKED_MAX / state.wanted.len().max(1);
        let of_sites = state.wanted.values();
        let wanted: BTreeSet<&Pair> = of_sites.flat_map(|pairs| pairs.iter().take(each)).collect();
        probe::due(&state.beliefs, wanted.into_iter(), now, patience)
    }

    /// What is told to other sites now, with its revision and the time of the last probe. `None`: nothing is known yet.
    pub(super) fn told(&self, now: WallTime, patience: &Patience) -> Option<(u64, Option<WallTime>, Vec<Told>)> {
        let state = self.lock();
        let believed = |(subject, fact): (&Subject, &Fact)| {
            fact.takes(now, patience)?;
            let (takes, word) = fact.believed?;
            Some((subject.syntax.is_some(), Told::new(subject, takes, word)))
        };
        let mut facts: Vec<_> = state.beliefs.iter().filter_map(believed).collect();
        facts.sort_by_key(|(is_pair, _)| *is_pair);
        let facts: Vec<_> = facts.into_iter().map(|(_, told)| told).take(TOLD_MAX).collect();
        let is_known = !facts.is_empty() || state.probed_at.is_some();
        is_known.then_some((state.revision, state.probed_at, facts))
    }

    pub(super) fn revision(&self) -> u64 {
        self.lock().revision
    }

    fn save(&self, of: String, now: WallTime) -> SavedPacs {
        let mut state = self.lock();
        state.saved = Some(now);
        SavedPacs {
            of,
            probed_at: state.probed_at.map(WallTime::unix_micros),
            wanted: state
                .wanted
                .iter()
                .map(|(site, pairs)| (site.to_string(), written(pairs.iter())))
                .collect(),
            facts: state.beliefs.iter().map(SavedFact::new).collect(),
        }
    }

    fn read(saved: &SavedPacs) -> Self {
        let of_site = |(site, wanted): (&String, &Vec<(String, String)>)| {
            let site = SiteName::try_from(site.as_str()).ok()?;
            Some((site, pairs(wanted).take(WANTED_MAX).collect()))
        };
        let mut beliefs = Beliefs::default();
        for (subject, fact) in saved.facts.iter().filter_map(SavedFact::read) {
            beliefs.insert(subject, fact);
        }
        Self(Mutex::new(State {
            beliefs,
            wanted: saved.wanted.iter().filter_map(of_site).take(ASKING_MAX).collect(),
            probed_at: saved.probed_at.map(WallTime::from_unix_micros),
            revision: 0,
            saved: Some(WallTime::from_unix_micros(saved.probed_at.unwrap_or(0))),
        }))
    }

    /// For `routes`: what is known, each with its age and source when `all` is asked for.
    pub(crate) fn shown(&self, now: WallTime, patience: &Patience, all: bool) -> Value {
        match self.told(now, patience) {
            None => json!({ "facts_known": 0 }),
            Some((_, probed_at, facts)) => shown(probed_at, facts.iter(), now, all),
        }
    }
}

/// Where a class stands in a list of which only the first are read.
fn place_of(class: &str) -> usize {
    let keyword = sop_class::by_uid(class).map(|class| class.keyword);
    let place = COMMON.iter().position(|common| keyword == Some(*common));
    place.unwrap_or(COMMON.len())
}

/// Facts as JSON: counts, classes that are not taken (common ones first), and all of them where they are asked for.
pub(super) fn shown<'a>(
    probed_at: Option<WallTime>,
    facts: impl Iterator<Item = &'a Told> + Clone,
    now: WallTime,
    all: bool,
) -> Value {
    let classes = facts.clone().filter(|told| told.syntax.is_none());
    let mut refused: Vec<_> = classes.clone().filter(|told| !told.takes).collect();
    refused.sort_by_key(|told| place_of(&told.class));
    let fact = |told: &Told| {
        let at = WallTime::from_unix_micros(told.at);
        json!({
            "class": told.class,
            "class_name": sop_class::name_of(&told.class),
            "syntax": told.syntax,
            "syntax_name": told.syntax.as_deref().map(packhorse_dicom::transfer_syntax::name_of),
            "takes": told.takes,
            "at": at.to_string(),
            "age_s": now.saturating_since(at).as_secs(),
            "source": told.source,
        })
    };
    json!({
        "probed_at": probed_at.map(|at| at.to_string()),
        "facts_known": facts.clone().count(),
        "classes_taken": classes.filter(|told| told.takes).count(),
        "classes_not_taken": refused.iter().map(|told| sop_class::name_of(&told.class)).collect::<Vec<_>>(),
        "pairs_taken": facts.clone().filter(|told| told.syntax.is_some() && told.takes).count(),
        "pairs_not_taken": facts.clone().filter(|told| told.syntax.is_some() && !told.takes).count(),
        "facts": all.then(|| facts.map(fact).collect::<Vec<_>>()),
    })
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    v: u32,
    destinations: BTreeMap<String, SavedPacs>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedPacs {
    /// Where it is and how it is called: another address is another PACS.
    of: String,
    probed_at: Option<i64>,
    /// By site.
    wanted: BTreeMap<String, Vec<(String, String)>>,
    facts: Vec<SavedFact>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedFact {
    class: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    syntax: Option<String>,
    asked: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    believed: Option<(bool, i64, Source)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    doubt: Option<(i64, Source)>,
}

impl SavedFact {
    fn new((subject, fact): (&Subject, &Fact)) -> Self {
        let word = |word: Word| (word.at.unix_micros(), word.source);
        Self {
            class: subject.class.to_string(),
            syntax: subject.syntax.as_ref().map(ToString::to_string),
            asked: fact.asked.unix_micros(),
            believed: fact
                .believed
                .map(|(takes, heard)| (takes, word(heard).0, word(heard).1)),
            doubt: fact.doubt.map(word),
        }
    }

    fn read(&self) -> Option<(Subject, Fact)> {
        let word = |at: i64, source| Word {
            at: WallTime::from_unix_micros(at),
            source,
        };
        let fact = Fact {
            asked: WallTime::from_unix_micros(self.asked),
            believed: self.believed.map(|(takes, at, source)| (takes, word(at, source))),
            doubt: self.doubt.map(|(at, source)| word(at, source)),
        };
        Some((subject(&self.class, self.syntax.as_deref())?, fact))
    }
}

fn identity(destination: &Destination) -> String {
    format!("{} -> {}", destination.calling_ae_title, destination.address)
}

/// Our PACS, with what the file in `folder` knows of them. A file that cannot be read is no loss.
pub(crate) fn load(folder: &Path, destinations: &[Destination]) -> HashMap<AeTitle, Arc<Pacs>> {
    let saved = match std::fs::read(folder.join(FILE_NAME)) {
        Ok(bytes) => serde_json::from_slice::<Saved>(&bytes)
            .ok()
            .filter(|saved| saved.v == VERSION),
        Err(_) => None,
    };
    let saved = saved.unwrap_or_default();
    let one = |destination: &Destination| {
        let known = saved.destinations.get(destination.ae_title.as_str());
        let known = known.filter(|known| known.of == identity(destination));
        let pacs = Pacs::new(known.map(Ours::read).unwrap_or_default());
        (destination.ae_title.clone(), Arc::new(pacs))
    };
    destinations.iter().map(one).collect()
}

/// Writes down what is known, if something of it is not in the file.
pub(super) fn save(folder: &Path, destinations: &[Destination], all: &HashMap<AeTitle, Arc<Pacs>>, now: WallTime) {
    if all.values().all(|pacs| pacs.mirror.is_saved()) {
        return;
    }
    let one = |destination: &Destination| {
        let pacs = all.get(&destination.ae_title)?;
        Some((
            destination.ae_title.to_string(),
            pacs.mirror.save(identity(destination), now),
        ))
    };
    let saved = Saved {
        v: VERSION,
        destinations: destinations.iter().filter_map(one).collect(),
    };
    let written = serde_json::to_vec(&saved).map_err(std::io::Error::other);
    if let Err(error) = written.and_then(|bytes| replace_file(&folder.join(FILE_NAME), &bytes)) {
        tracing::warn!(%error, "{FILE_NAME} is not written; what PACS take is found out again after a restart");
    }
}

impl Ours {
    fn is_saved(&self) -> bool {
        let state = self.lock();
        state.saved.is_some()
            || (state.probed_at.is_none() && state.wanted.is_empty() && state.beliefs.iter().next().is_none())
    }
}

#[cfg(test)]
mod tests;
