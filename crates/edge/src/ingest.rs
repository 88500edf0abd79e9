//! From the source PACS into custody: association, policy, header scan, envelope, one commit; only then Success.

mod acceptor;
mod hall;
mod intake;
mod journal;
mod judge;
mod pixels;
mod record;
mod rejections;
mod repeats;
mod send;
mod take;

pub(crate) use acceptor::serve;
pub(crate) use hall::Hall;
pub(crate) use record::{EdgeDecide, consent, decide};
pub(crate) use rejections::{Rejected, Rejections};
pub(crate) use repeats::{Reader, open_reader};
pub(crate) use send::{FileBytes, FileResult, Sender};

#[cfg(test)]
mod testing;
#[cfg(test)]
pub(crate) use testing::{Sent, send_one};
