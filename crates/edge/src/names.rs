//! Addresses of the host names in `hosts`: looked up in the background, so that nobody who calls waits for a name server,
//! or makes anybody else wait.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Names are looked up again after this time,
const REFRESH: Duration = Duration::from_secs(60);
/// or after this time while one has never been found.
const REFRESH_UNKNOWN: Duration = Duration::from_secs(5);
/// How long the first look-up may hold up the start.
const START_WAIT: Duration = Duration::from_secs(3);
/// Look-ups at a time: each has a thread while it lasts.
const LOOKUPS_MAX: usize = 8;

/// A look-up under way.
pub(crate) type Answer = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// The addresses of names, as they were found last.
pub(crate) struct Names {
    names: Vec<String>,
    lookup: Box<dyn Fn(String) -> Answer + Send + Sync>,
    found: RwLock<HashMap<String, Vec<IpAddr>>>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Names {
    /// Names that the system looks up.
    pub(crate) fn of_system(names: Vec<String>) -> Self {
        Self::new(names, |name| {
            Box::pin(async move {
                let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        })
    }

    pub(crate) fn new(names: Vec<String>, lookup: impl Fn(String) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            names,
            lookup: Box::new(lookup),
            found: RwLock::default(),
        }
    }

    /// The addresses of a name, at once; none while it has never been found.
    pub(crate) fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let found = self.found.read().unwrap_or_else(PoisonError::into_inner);
        found.get(name).cloned().unwrap_or_default()
    }

    /// Looks all names up, for a short time; what takes longer goes on in the background.
    pub(crate) async fn begin(self: &Arc<Self>) {
        let names = Arc::clone(self);
        let looking = tokio::spawn(async move { names.refresh().await });
        if tokio::time::timeout(START_WAIT, looking).await.is_err() {
            tracing::warn!("names in hosts are not all looked up yet; their callers are rejected until they are");
        }
    }

    /// Keeps the addresses fresh until `stop`.
    pub(crate) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        if self.names.is_empty() {
            return;
        }
        loop {
            let wait = if self.names.iter().all(|name| !self.addresses(name).is_empty()) {
                REFRESH
            } else {
                REFRESH_UNKNOWN
            };
            tokio::select! {
                () = async { tokio::time::sleep(wait).await; self.refresh().await } => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn refresh(self: &Arc<Self>) {
        for some in self.names.chunks(LOOKUPS_MAX) {
            let mut lookups = JoinSet::new();
            for name in some {
                let (names, name) = (Arc::clone(self), name.clone());
                lookups.spawn(async move { names.look_up(name).await });
            }
            lookups.join_all().await;
        }
    }

    /// The last good answer stays when there is none now.
    async fn look_up(&self, name: String) {
        match (self.lookup)(name.clone()).await {
            Ok(addresses) if !addresses.is_empty() => {
                let mut found = self.found.write().unwrap_or_else(PoisonError::into_inner);
                found.insert(name, addresses);
            }
            Ok(_) => tracing::warn!(name, "a name in hosts has no address"),
            Err(error) => tracing::warn!(name, %error, "a name in hosts cannot be looked up now"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));

    #[tokio::test(start_paused = true)]
    async fn a_name_server_that_does_not_answer_holds_up_the_start_for_a_short_time_and_callers_not_at_all() {
        let names = Arc::new(Names::new(vec!["slow".to_owned(), "quick".to_owned()], |name| {
            Box::pin(async move {
                match name.as_str() {
                    "slow" => std::future::pending().await,
                    _ => Ok(vec![ADDRESS]),
                }
            })
        }));
        let begun = tokio::time::Instant::now();
        names.begin().await;
        assert_eq!(begun.elapsed(), START_WAIT);
        assert_eq!(names.addresses("quick"), [ADDRESS]);
        assert!(names.addresses("slow").is_empty());
        assert_eq!(begun.elapsed(), START_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_looked_up_again_and_the_last_good_answer_is_kept() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let names = Arc::new(Names::new(vec!["pacs".to_owned()], move |_| {
            let is_first = counted.fetch_add(1, Ordering::Relaxed) == 0;
            Box::pin(async move {
                if is_first {
                    Ok(vec![ADDRESS])
                } else {
                    Err(io::Error::other("no name server"))
                }
            })
        }));
        names.begin().await;
        let stop = CancellationToken::new();
        let keeping = tokio::spawn(Arc::clone(&names).keep(stop.clone()));
        tokio::time::sleep(REFRESH * 3 + Duration::from_secs(1)).await;
        assert_eq!(asked.load(Ordering::Relaxed), 4);
        assert_eq!(names.addresses("pacs"), [ADDRESS]);
        stop.cancel();
        keeping.await.unwrap();
    }
}
