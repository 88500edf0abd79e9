//! Questions between edges, and their answers.

use serde::{Deserialize, Serialize};

use crate::echo::PacsCheck;

/// What one edge asks another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "about", rename_all = "kebab-case")]
pub(crate) enum Question {
    /// Whether a PACS there can be reached, associates, and answers a C-ECHO.
    Echo {
        /// AE title of the PACS.
        to_ae_title: String,
        /// A person asks: an older check will not do, unless it is a few seconds old.
        #[serde(default)]
        fresh: bool,
    },
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "says", rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// How the PACS was found.
    Echo {
        /// What the check found.
        check: PacsCheck,
        /// From the question's arrival to this answer, in microseconds.
        took: u64,
    },
    /// It is not done for the asker.
    No {
        /// Why.
        why: String,
        /// What to do about it.
        remedy: String,
    },
    /// The question came when nobody could wait for its answer any more.
    TooLate,
}
