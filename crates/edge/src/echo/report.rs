//! What a check of a PACS finds, as it goes from edge to edge.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Legs of a check that are believed of another edge.
const LEGS_MAX: usize = 8;
/// Characters of a text of another edge that are shown.
const TEXT_MAX: usize = 300;

/// A part of the way from a gateway to its PACS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Leg {
    /// The TCP connection.
    Connect,
    /// The TLS handshake.
    Tls,
    /// From the A-ASSOCIATE-RQ to its answer.
    Associate,
    /// From the C-ECHO-RQ to its answer.
    Echo,
}

impl Leg {
    /// For people.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Tls => "TLS",
            Self::Associate => "associate",
            Self::Echo => "C-ECHO",
        }
    }
}

/// A leg that was walked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LegTime {
    /// Which.
    pub(crate) leg: Leg,
    /// How long it took, in microseconds.
    pub(crate) micros: u64,
    /// What there is to say of it.
    pub(crate) said: String,
}

/// Where a check stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stop {
    /// In which leg.
    pub(crate) leg: Leg,
    /// Why, in words.
    pub(crate) why: String,
    /// What to do about it.
    pub(crate) remedy: String,
}

/// What a check of a PACS found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PacsCheck {
    /// AE title of the PACS.
    pub(crate) called_ae_title: String,
    /// The title that it was called with, which is that of deliveries.
    pub(crate) calling_ae_title: String,
    /// What was walked, in order.
    #[serde(default)]
    pub(crate) legs: Vec<LegTime>,
    /// `None`: it answered the C-ECHO with Success.
    #[serde(default)]
    pub(crate) stopped: Option<Stop>,
    /// How long ago the check was, in milliseconds.
    #[serde(default)]
    pub(crate) age_ms: u64,
    /// Nothing was asked, for a delivery has the association: how long ago the PACS answered it, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delivering_ms: Option<u64>,
}

impl PacsCheck {
    /// How long ago it was.
    pub(crate) const fn age(&self) -> Duration {
        Duration::from_millis(self.age_ms)
    }

    /// What another edge says, cut to what is shown: no control characters, no long texts.
    pub(crate) fn of_peer(mut self) -> Self {
        self.legs.truncate(LEGS_MAX);
        let texts = self.legs.iter_mut().map(|leg| &mut leg.said);
        let texts = texts.chain(
            self.stopped
                .iter_mut()
                .flat_map(|stop| [&mut stop.why, &mut stop.remedy]),
        );
        for text in texts.chain([&mut self.called_ae_title, &mut self.calling_ae_title]) {
            *text = shown(text);
        }
        self
    }
}

/// A text of another edge as it is shown.
pub(crate) fn shown(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '?' } else { c };
    text.chars().take(TEXT_MAX).map(shown).collect()
}

/// A time as microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A time as milliseconds.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_edge_says_is_cut_to_what_is_shown() {
        let said = "\x1b[2J".repeat(1000);
        let leg = LegTime {
            leg: Leg::Connect,
            micros: 1,
            said: said.clone(),
        };
        let check = PacsCheck {
            called_ae_title: "P".to_owned(),
            calling_ae_title: "C".to_owned(),
            legs: vec![leg; 100],
            stopped: Some(Stop {
                leg: Leg::Echo,
                why: said.clone(),
                remedy: said,
            }),
            age_ms: 0,
            delivering_ms: None,
        }
        .of_peer();
        assert_eq!(check.legs.len(), LEGS_MAX);
        let stop = check.stopped.unwrap();
        for text in [&check.legs[0].said, &stop.why, &stop.remedy] {
            assert!(text.chars().count() <= TEXT_MAX && !text.contains('\x1b'), "{text:?}");
        }
    }
}
