//! Statuses (PS3.7 Annex C), those of C-STORE (PS3.4 Table B.2-1) with their meanings, and what their ranges mean.

use std::fmt;

/// A DIMSE status (0000,0900), kept as it came so that unknown values survive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(pub u16);

impl Status {
    /// Success.
    pub const SUCCESS: Self = Self(0x0000);
    /// Refused: out of resources. To a sender it means lost, not later.
    pub const OUT_OF_RESOURCES: Self = Self(0xA700);
    /// Error: the data set does not match the SOP class.
    pub const DATA_SET_DOES_NOT_MATCH: Self = Self(0xA900);
    /// Error: cannot understand.
    pub const CANNOT_UNDERSTAND: Self = Self(0xC000);
    /// Failure: processing failure (PS3.7 §C.5.21).
    pub const PROCESSING_FAILURE: Self = Self(0x0110);
    /// Failure: duplicate SOP instance (PS3.7 §C.5.6).
    pub const DUPLICATE_SOP_INSTANCE: Self = Self(0x0111);
    /// Failure: invalid object instance, the UID is none (PS3.7 §C.5.11).
    pub const INVALID_OBJECT_INSTANCE: Self = Self(0x0117);
    /// Failure: SOP class not supported (PS3.7 §C.5.24).
    pub const SOP_CLASS_NOT_SUPPORTED: Self = Self(0x0122);
    /// Refused: not authorized (PS3.7 §C.5.20).
    pub const NOT_AUTHORIZED: Self = Self(0x0124);
    /// Failure: unrecognized operation (PS3.7 §C.5.25).
    pub const UNRECOGNIZED_OPERATION: Self = Self(0x0211);
    /// Cancelled (PS3.7 §C.4).
    pub const CANCEL: Self = Self(0xFE00);
    /// Pending: more answers come (PS3.7 §C.3).
    pub const PENDING: Self = Self(0xFF00);

    /// Which range the status is in.
    #[must_use]
    pub const fn category(self) -> StatusCategory {
        match self.0 {
            0x0000 => StatusCategory::Success,
            0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF => StatusCategory::Warning,
            0xFE00 => StatusCategory::Cancel,
            0xFF00 | 0xFF01 => StatusCategory::Pending,
            _ => StatusCategory::Failure,
        }
    }

    /// What a destination's answer to a C-STORE means for the delivery (the table in the delivery rules).
    #[must_use]
    pub const fn store_outcome(self) -> StoreOutcome {
        match self.0 {
            0x0000 => StoreOutcome::Delivered,
            0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF => StoreOutcome::DeliveredWithWarning,
            0xA700..=0xA7FF => StoreOutcome::RetryDestination,
            0x0111 => StoreOutcome::Duplicate,
            0xA900..=0xA9FF | 0x0117 | 0x0122 | 0x0124 | 0x0210..=0x0212 => StoreOutcome::Final,
            _ => StoreOutcome::RetryInstance,
        }
    }

    /// The standard's words for a status of C-STORE or of PS3.7 Annex C; `unknown status` for another. Other services give
    /// some values of their own a meaning of their own (A701 of C-MOVE): here those have the words of C-STORE's range.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self.0 {
            0x0000 => "success",
            0x0001 => "warning: requested optional attributes not supported",
            0x0107 => "warning: attribute list error",
            0x0116 => "warning: attribute value out of range",
            0xB000 => "warning: coercion of data elements",
            0xB006 => "warning: elements discarded",
            0xB007 => "warning: data set does not match SOP class",
            0xB001..=0xBFFF => "warning",
            0xA700..=0xA7FF => "refused: out of resources",
            0xA900..=0xA9FF => "error: data set does not match SOP class",
            0xC000..=0xCFFF => "error: cannot understand",
            0x0105 => "no such attribute",
            0x0106 => "invalid attribute value",
            0x0110 => "processing failure",
            0x0111 => "duplicate SOP instance",
            0x0112 => "no such SOP instance",
            0x0113 => "no such event type",
            0x0114 => "no such argument",
            0x0115 => "invalid argument value",
            0x0117 => "invalid SOP instance",
            0x0118 => "no such SOP class",
            0x0119 => "class-instance conflict",
            0x0120 => "missing attribute",
            0x0121 => "missing attribute value",
            0x0122 => "refused: SOP class not supported",
            0x0123 => "no such action",
            0x0124 => "refused: not authorized",
            0x0210 => "duplicate invocation",
            0x0211 => "unrecognized operation",
            0x0212 => "mistyped argument",
            0x0213 => "resource limitation",
            0xFE00 => "cancelled",
            0xFF00 => "pending",
            0xFF01 => "pending: optional keys not supported",
            _ => "unknown status",
        }
    }
}

/// Four upper-case hexadecimal digits: `A700`.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}", self.0)
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({self})")
    }
}

/// The range a status is in (PS3.7 Annex C).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusCategory {
    /// 0000.
    Success,
    /// 0001, 0107, 0116, Bxxx.
    Warning,
    /// Axxx, Cxxx, 01xx, 02xx and every unknown value.
    Failure,
    /// FE00.
    Cancel,
    /// FF00, FF01.
    Pending,
}

/// `success`, `warning`, `failure`, `cancel`, `pending`.
impl fmt::Display for StatusCategory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Failure => "failure",
            Self::Cancel => "cancel",
            Self::Pending => "pending",
        })
    }
}

/// What a destination's answer to a C-STORE means for the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreOutcome {
    /// Answered 0000: "answered", never "stored".
    Delivered,
    /// Delivered, and the warning is shown.
    DeliveredWithWarning,
    /// A7xx: later, for the whole destination.
    RetryDestination,
    /// 0110, 0213, Cxxx and unknown failures: this instance again, three times over an hour, then the failed list.
    RetryInstance,
    /// 0111: "already there" only if a query confirms it, else the failed list.
    Duplicate,
    /// A9xx, 0117, 0122, 0124, 0210 to 0212: the failed list at once.
    Final,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_delivery_table() {
        let outcome = |code| Status(code).store_outcome();
        assert_eq!(outcome(0x0000), StoreOutcome::Delivered);
        for code in [0xB000, 0xB006, 0xB007, 0xB123, 0x0001, 0x0107, 0x0116] {
            assert_eq!(outcome(code), StoreOutcome::DeliveredWithWarning, "{code:04X}");
        }
        for code in [0xA700, 0xA7FF] {
            assert_eq!(outcome(code), StoreOutcome::RetryDestination, "{code:04X}");
        }
        for code in [0x0110, 0x0213, 0xC000, 0xCFFF, 0x9999, 0xA800] {
            assert_eq!(outcome(code), StoreOutcome::RetryInstance, "{code:04X}");
        }
        for code in [0xA900, 0xA9FF, 0x0117, 0x0122, 0x0124, 0x0210, 0x0211, 0x0212] {
            assert_eq!(outcome(code), StoreOutcome::Final, "{code:04X}");
        }
        assert_eq!(outcome(0x0111), StoreOutcome::Duplicate);
    }

    #[test]
    fn unknown_statuses_are_failures_and_keep_their_value() {
        assert_eq!(Status(0x4242).category(), Failure);
        assert_eq!(Status(0x4242).to_string(), "4242");
    }

    use StatusCategory::{Cancel, Failure, Pending, Success, Warning};

    /// Every status and range that has words, from first to last: PS3.4 Table B.2-1, PS3.7 Annex C.
    const TABLE: [(u16, u16, StatusCategory, &str); 38] = [
        (0x0000, 0x0000, Success, "success"),
        (
            0x0001,
            0x0001,
            Warning,
            "warning: requested optional attributes not supported",
        ),
        (0x0105, 0x0105, Failure, "no such attribute"),
        (0x0106, 0x0106, Failure, "invalid attribute value"),
        (0x0107, 0x0107, Warning, "warning: attribute list error"),
        (0x0110, 0x0110, Failure, "processing failure"),
        (0x0111, 0x0111, Failure, "duplicate SOP instance"),
        (0x0112, 0x0112, Failure, "no such SOP instance"),
        (0x0113, 0x0113, Failure, "no such event type"),
        (0x0114, 0x0114, Failure, "no such argument"),
        (0x0115, 0x0115, Failure, "invalid argument value"),
        (0x0116, 0x0116, Warning, "warning: attribute value out of range"),
        (0x0117, 0x0117, Failure, "invalid SOP instance"),
        (0x0118, 0x0118, Failure, "no such SOP class"),
        (0x0119, 0x0119, Failure, "class-instance conflict"),
        (0x0120, 0x0120, Failure, "missing attribute"),
        (0x0121, 0x0121, Failure, "missing attribute value"),
        (0x0122, 0x0122, Failure, "refused: SOP class not supported"),
        (0x0123, 0x0123, Failure, "no such action"),
        (0x0124, 0x0124, Failure, "refused: not authorized"),
        (0x0210, 0x0210, Failure, "duplicate invocation"),
        (0x0211, 0x0211, Failure, "unrecognized operation"),
        (0x0212, 0x0212, Failure, "mistyped argument"),
        (0x0213, 0x0213, Failure, "resource limitation"),
        (0xA700, 0xA7FF, Failure, "refused: out of resources"),
        (0xA900, 0xA9FF, Failure, "error: data set does not match SOP class"),
        (0xB000, 0xB000, Warning, "warning: coercion of data elements"),
        (0xB001, 0xB005, Warning, "warning"),
        (0xB006, 0xB006, Warning, "warning: elements discarded"),
        (0xB007, 0xB007, Warning, "warning: data set does not match SOP class"),
        (0xB008, 0xBFFF, Warning, "warning"),
        (0xC000, 0xCFFF, Failure, "error: cannot understand"),
        (0xFE00, 0xFE00, Cancel, "cancelled"),
        (0xFF00, 0xFF00, Pending, "pending"),
        (0xFF01, 0xFF01, Pending, "pending: optional keys not supported"),
        // Between and behind them.
        (0x0002, 0x0104, Failure, "unknown status"),
        (0xA800, 0xA8FF, Failure, "unknown status"),
        (0xD000, 0xFDFF, Failure, "unknown status"),
    ];

    #[test]
    fn every_status_has_its_category_and_words_and_so_have_both_ends_of_every_range() {
        for (first, last, category, words) in TABLE {
            for code in first..=last {
                assert_eq!(Status(code).category(), category, "{code:04X}");
                assert_eq!(Status(code).meaning(), words, "{code:04X}");
            }
        }
        let has_words = |code| TABLE.iter().any(|(first, last, ..)| (*first..=*last).contains(&code));
        for code in (0..=u16::MAX).filter(|code| !has_words(*code)) {
            assert_eq!(Status(code).category(), Failure, "{code:04X}");
            assert_eq!(Status(code).meaning(), "unknown status", "{code:04X}");
        }
    }

    #[test]
    fn an_error_comment_can_hold_every_meaning() {
        let longest = (0..=u16::MAX).map(|code| Status(code).meaning().len()).max();
        assert!(longest <= Some(64), "{longest:?}");
    }
}
