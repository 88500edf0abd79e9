//! What a destination is known to take, as whoever asked it has found out, and what is done with that.
//!
//! Policy keeps no times: what has expired, or is not believed yet, is left out by whoever fills this.

use std::collections::BTreeMap;

use packhorse_dicom::transfer_syntax::IMPLICIT_VR_LE;
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};

/// What is done with knowledge of the destination. Not to use it at all is to have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MirrorMode {
    /// Transfer syntaxes are ordered by it and contexts marked; nothing is refused.
    #[default]
    Advise,
    /// What is known not to be taken is refused too, where a rule says `accept`: 3 for a class, 4 when no syntax is left.
    /// Implicit VR Little Endian is refused with its class only (PS3.5 §10.1).
    Strict,
}

/// What the destination of a route is known to take and not to take. Empty (the default): nothing is known, and nothing is
/// changed by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DestinationKnowledge {
    mode: MirrorMode,
    classes: BTreeMap<AbstractSyntaxUid, ClassKnowledge>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct ClassKnowledge {
    is_refused: bool,
    /// Whether each syntax is taken.
    syntaxes: BTreeMap<TransferSyntaxUid, bool>,
}

/// The destination is known not to take what a context is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// Not its class, in whichever syntax.
    Class,
    /// Its class, but not in this transfer syntax; for a rejected context, in none that was proposed.
    Syntax,
}

impl DestinationKnowledge {
    /// Nothing known yet, to be used so.
    #[must_use]
    pub const fn new(mode: MirrorMode) -> Self {
        Self {
            mode,
            classes: BTreeMap::new(),
        }
    }

    /// Puts down that the class is taken in this syntax. A yes outweighs every no about the same.
    pub fn takes(&mut self, class: AbstractSyntaxUid, syntax: TransferSyntaxUid) {
        self.classes.entry(class).or_default().syntaxes.insert(syntax, true);
    }

    /// Puts down that the class is taken in no syntax.
    pub fn refuses_class(&mut self, class: AbstractSyntaxUid) {
        self.classes.entry(class).or_default().is_refused = true;
    }

    /// Puts down that the class is not taken in this syntax.
    pub fn refuses(&mut self, class: AbstractSyntaxUid, syntax: TransferSyntaxUid) {
        self.classes
            .entry(class)
            .or_default()
            .syntaxes
            .entry(syntax)
            .or_insert(false);
    }

    /// What is done with it.
    #[must_use]
    pub const fn mode(&self) -> MirrorMode {
        self.mode
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Whether the class is known to be taken in this syntax.
    #[must_use]
    pub fn is_taken(&self, class: &AbstractSyntaxUid, syntax: &TransferSyntaxUid) -> bool {
        self.said(class, syntax) == Some(true)
    }

    /// What is known to speak against the class in this syntax; `None`: nothing.
    #[must_use]
    pub fn not_taken(&self, class: &AbstractSyntaxUid, syntax: &TransferSyntaxUid) -> Option<NotTaken> {
        if self.is_class_refused(class) {
            return Some(NotTaken::Class);
        }
        (self.said(class, syntax) == Some(false)).then_some(NotTaken::Syntax)
    }

    /// Why an accepting rule's context is not to be opened in this syntax; `None`: it may.
    pub(crate) fn forbids(&self, class: &AbstractSyntaxUid, syntax: &TransferSyntaxUid) -> Option<NotTaken> {
        if self.mode == MirrorMode::Advise {
            return None;
        }
        let not_taken = self.not_taken(class, syntax)?;
        let stays = not_taken == NotTaken::Syntax && syntax.as_str() == IMPLICIT_VR_LE;
        (!stays).then_some(not_taken)
    }

    fn is_class_refused(&self, class: &AbstractSyntaxUid) -> bool {
        let known = self.classes.get(class);
        known.is_some_and(|known| known.is_refused && !known.syntaxes.values().any(|taken| *taken))
    }

    fn said(&self, class: &AbstractSyntaxUid, syntax: &TransferSyntaxUid) -> Option<bool> {
        self.classes.get(class)?.syntaxes.get(syntax).copied()
    }
}

#[cfg(test)]
mod tests {
    use packhorse_dicom::transfer_syntax::EXPLICIT_VR_LE;

    use super::*;

    fn ct() -> AbstractSyntaxUid {
        "1.2.840.10008.5.1.4.1.1.2".parse().unwrap()
    }

    #[test]
    fn a_yes_outweighs_a_no_in_whichever_order_they_come() {
        let (explicit, implicit): (TransferSyntaxUid, TransferSyntaxUid) =
            (EXPLICIT_VR_LE.parse().unwrap(), IMPLICIT_VR_LE.parse().unwrap());
        let mut known = DestinationKnowledge::new(MirrorMode::Strict);
        known.takes(ct(), explicit.clone());
        known.refuses(ct(), explicit.clone());
        known.refuses_class(ct());
        assert!(known.is_taken(&ct(), &explicit));
        assert_eq!(
            (known.not_taken(&ct(), &explicit), known.not_taken(&ct(), &implicit)),
            (None, None)
        );
        let mut other = DestinationKnowledge::new(MirrorMode::Strict);
        other.refuses_class(ct());
        other.refuses(ct(), implicit.clone());
        assert_eq!(other.forbids(&ct(), &implicit), Some(NotTaken::Class));
    }
}
