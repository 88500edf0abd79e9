//! How a message is made from the table of its fields.

/// A message: its struct, its codec, and a `Debug` that shows no UIDs (a log line names a delivery by our own id).
///
/// `always`, `never`, `said`: whether a data set follows. With `said` the struct has a field for it.
macro_rules! message {
    ($(#[$doc:meta])* $name:ident = $code:literal, always { $($fields:tt)* }) => {
        message!(@data_set $name, true);
        message!(@message $(#[$doc])* $name = $code, data_set = true { $($fields)* });
    };
    ($(#[$doc:meta])* $name:ident = $code:literal, never { $($fields:tt)* }) => {
        message!(@data_set $name, false);
        message!(@message $(#[$doc])* $name = $code, data_set = false { $($fields)* });
    };
    ($(#[$doc:meta])* $name:ident = $code:literal, said { $($fields:tt)* }) => {
        impl $name {
            /// Whether a data set follows.
            #[must_use]
            pub const fn has_data_set(&self) -> bool {
                self.has_data_set
            }
        }
        message!(@message $(#[$doc])* $name = $code {
            $($fields)*
            /// Whether a data set follows (0000,0800).
            has_data_set: bool = COMMAND_DATA_SET_TYPE,
        });
    };
    (@data_set $name:ident, $has:literal) => {
        impl $name {
            /// Whether a data set follows.
            #[must_use]
            pub const fn has_data_set(&self) -> bool {
                $has
            }
        }
    };
    (@message $(#[$doc:meta])* $name:ident = $code:literal $(, data_set = $has:literal)? {
        $($(#[$field_doc:meta])* $field:ident: $kind:ty = $tag:ident,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $kind,)*
        }

        impl $name {
            /// Command Field (0000,0100) of this kind of message (PS3.7 Table E.1-1).
            pub const COMMAND_FIELD: u16 = $code;

            pub(super) fn read(elements: &Elements) -> Result<Self, Violation> {
                $(elements.check_data_set(Self::COMMAND_FIELD, $has)?;)?
                Ok(Self {
                    $($field: Value::read(elements, &element::$tag)?,)*
                })
            }

            /// The command set's bytes.
            #[must_use]
            pub fn to_bytes(&self) -> Bytes {
                let mut out = Writer::default();
                Self::COMMAND_FIELD.write(&element::COMMAND_FIELD, &mut out);
                $($has.write(&element::COMMAND_DATA_SET_TYPE, &mut out);)?
                $(self.$field.write(&element::$tag, &mut out);)*
                out.finish()
            }
        }

        /// Without UIDs.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut shown = f.debug_struct(stringify!($name));
                $(if element::$tag.vr != Vr::Ui {
                    shown.field(stringify!($field), &self.$field);
                })*
                shown.finish_non_exhaustive()
            }
        }
    };
}

/// A request: a message with a Message ID.
macro_rules! request {
    ($(#[$doc:meta])* $name:ident = $code:literal, $data_set:ident { $($fields:tt)* }) => {
        message! {
            $(#[$doc])*
            $name = $code, $data_set {
                /// Message ID (0000,0110).
                message_id: u16 = MESSAGE_ID,
                $($fields)*
            }
        }
    };
}

/// A response: a message with the Message ID of its request, a status, and words for it.
macro_rules! response {
    ($(#[$doc:meta])* $name:ident = $code:literal, $data_set:ident {
        $($(#[$field_doc:meta])* $field:ident: $kind:ty = $tag:ident,)*
    }) => {
        message! {
            $(#[$doc])*
            $name = $code, $data_set {
                /// Message ID Being Responded To (0000,0120).
                message_id_being_responded_to: u16 = MESSAGE_ID_BEING_RESPONDED_TO,
                /// Status (0000,0900).
                status: Status = STATUS,
                /// Error Comment (0000,0902): printable ASCII, at most 64 characters; written cut to that.
                error_comment: Option<String> = ERROR_COMMENT,
                $($(#[$field_doc])* $field: $kind = $tag,)*
            }
        }
    };
}

/// The Error Comment of an answer that we give: the given one, else on a failure the status's own meaning.
pub(super) fn comment_of(status: Status, comment: Option<&str>) -> Option<String> {
    let fallback = (status.category() == StatusCategory::Failure).then(|| status.meaning().to_owned());
    comment.and_then(comment_text).or(fallback)
}

pub(super) use {message, request, response};

use packhorse_dicom::status::{Status, StatusCategory};

use super::element::comment_text;
