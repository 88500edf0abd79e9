//! C-STORE statuses (PS3.4 Table B.2-1, PS3.7 Annex C) and what their ranges mean.

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

    /// The standard's words for a status this crate knows.
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
            0x0110 => "processing failure",
            0x0111 => "duplicate SOP instance",
            0x0112 => "no such SOP instance",
            0x0117 => "invalid SOP instance",
            0x0118 => "no such SOP class",
            0x0122 => "SOP class not supported",
            0x0124 => "refused: not authorized",
            0x0210 => "duplicate invocation",
            0x0211 => "unrecognized operation",
            0x0212 => "mistyped argument",
            0x0213 => "resource limitation",
            0xFE00 => "cancelled",
            0xFF00 | 0xFF01 => "pending",
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
        assert_eq!(Status(0x4242).category(), StatusCategory::Failure);
        assert_eq!(Status(0x4242).to_string(), "4242");
    }
}
