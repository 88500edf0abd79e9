//! Connections that are no association yet, or have been rejected and not yet closed.
//!
//! A connection costs its peer nothing, so these are bounded apart from associations: whoever opens thousands and says
//! nothing takes no place from a PACS that does. When the hall is full the newest is let in, and the address that has most
//! of them loses its oldest.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Connections in the hall. A peer that means it leaves within milliseconds; each of the others costs a socket, and
/// until it has a word in its A-ASSOCIATE-RQ, at most 256 KiB of it.
pub(crate) const HALL_MAX: usize = 256;

/// Where connections wait.
#[derive(Debug, Default)]
pub(crate) struct Hall(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// In the order in which they came.
    guests: VecDeque<(u64, IpAddr, CancellationToken)>,
}

impl Hall {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection comes in; whether another had to go for it is told too.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr) -> (Guest, bool) {
        let mut waiting = self.waiting();
        let is_full = waiting.guests.len() >= HALL_MAX;
        if is_full {
            waiting.oust_one();
        }
        let (number, ousted) = (waiting.next, CancellationToken::new());
        waiting.next += 1;
        waiting.guests.push_back((number, peer, ousted.clone()));
        let hall = Arc::clone(self);
        (Guest { hall, number, ousted }, is_full)
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.waiting().guests.len()
    }
}

impl Waiting {
    /// The oldest of the address that has most.
    fn oust_one(&mut self) {
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        for (_, peer, _) in &self.guests {
            *counts.entry(*peer).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or(0);
        let place = self
            .guests
            .iter()
            .position(|(_, peer, _)| counts.get(peer) == Some(&most));
        if let Some((_, _, ousted)) = place.and_then(|place| self.guests.remove(place)) {
            ousted.cancel();
        }
    }
}

/// A connection in the hall; it leaves when this is dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    hall: Arc<Hall>,
    number: u64,
    ousted: CancellationToken,
}

impl Guest {
    /// It has become an association: nobody ousts it any more. `false`: somebody just has.
    pub(crate) fn leave(&self) -> bool {
        self.hall
            .waiting()
            .guests
            .retain(|(number, _, _)| *number != self.number);
        !self.ousted.is_cancelled()
    }

    /// Returns when it has to go for another.
    pub(crate) async fn ousted(&self) {
        self.ousted.cancelled().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn the_address_with_most_loses_its_oldest() {
        let hall = Arc::new(Hall::default());
        let (first, _) = hall.enter(address(1));
        let many: Vec<_> = (1..HALL_MAX).map(|_| hall.enter(address(2)).0).collect();
        let (newest, ousted_another) = hall.enter(address(3));
        assert!(ousted_another && many[0].ousted.is_cancelled());
        assert!(!first.ousted.is_cancelled() && !many[1].ousted.is_cancelled() && !newest.ousted.is_cancelled());
        assert_eq!(hall.len(), HALL_MAX);
        // Too late for the one that has just been ousted.
        assert!(!many[0].leave() && many[1].leave());
    }

    #[test]
    fn an_association_is_not_ousted_and_a_dropped_connection_makes_room() {
        let hall = Arc::new(Hall::default());
        let (association, _) = hall.enter(address(1));
        assert!(association.leave());
        let (dropped, _) = hall.enter(address(1));
        drop(dropped);
        assert_eq!(hall.len(), 0);
        let _full: Vec<_> = (0..=HALL_MAX).map(|_| hall.enter(address(1)).0).collect();
        assert!(!association.ousted.is_cancelled());
    }
}
