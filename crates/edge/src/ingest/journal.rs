//! An association's facts on their way into the spool, and what they show of its sender.

use bytes::Bytes;
use packhorse_ledger::Fact;
use packhorse_ledger::fact::SenderStopped;
use packhorse_ledger::watch::Trace;

use crate::shared::fact_bytes;

/// Facts of one association that wait for a spool which takes none.
const PENDING_MAX: usize = 1024;

/// The facts of one association, or of what `edge-gateway send` sends.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Facts that go with the next commit; they stay here until one is done.
    pending: Vec<Bytes>,
    trace: Trace,
}

impl Journal {
    /// The next fact, which goes with the next commit. Gives how the sender stopped, when the fact is its end.
    pub(super) fn add(&mut self, fact: &Fact) -> Option<SenderStopped> {
        self.pending.extend(fact_bytes(fact));
        self.trace.see(fact)
    }

    /// What goes with a commit whose own facts are these.
    pub(super) fn with(&self, facts: &[Fact]) -> Vec<Bytes> {
        let mut all = self.pending.clone();
        all.extend(facts.iter().filter_map(fact_bytes));
        all
    }

    /// The commit was done, with these facts of its own.
    pub(super) fn written(&mut self, facts: &[Fact]) {
        self.pending.clear();
        for fact in facts {
            // Only the end of an association gives anything, and that is added.
            drop(self.trace.see(fact));
        }
    }

    /// The commit was not done: what waits goes with the next.
    pub(super) fn not_written(&mut self) {
        self.pending.truncate(PENDING_MAX);
    }

    /// Everything that waits.
    pub(super) fn take(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.pending)
    }

    #[cfg(test)]
    pub(super) fn of(pending: Vec<Bytes>) -> Self {
        Self {
            pending,
            ..Self::default()
        }
    }

    #[cfg(test)]
    pub(super) fn pending(&self) -> &[Bytes] {
        &self.pending
    }
}
