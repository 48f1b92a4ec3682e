//! Host names to addresses, by the system's resolver, for as long as that takes.
//!
//! A name server that does not answer costs the system's resolver many seconds before it asks the next one, more than an
//! attempt to connect may take. So a lookup goes on when nobody waits for it any more, and what it finds late is kept
//! for whoever asks next: a machine whose first name server is dead is slow, and not cut off for ever.
//!
//! Invariants: for each name one lookup at a time, however many ask; a failure is never kept; an answer is used once, or
//! by those who waited for it together.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// A lookup that takes longer will never end; another may be begun.
const LONGEST: Duration = Duration::from_secs(120);

/// An answer that nobody waited for is kept so long: longer than the longest wait between two attempts to connect that
/// matter, shorter than most addresses live.
const KEPT: Duration = Duration::from_secs(90);

type Found = Result<Vec<SocketAddr>, String>;

/// Under way while there is nothing in it.
type Lookup = watch::Sender<Option<Found>>;

/// See the module. Clones share their lookups.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    lookups: Arc<Mutex<HashMap<String, Arc<Lookup>>>>,
    /// So long a request waits: a little less than for the connection, so that it is said what was waited for.
    patience: Duration,
}

/// Why there is no address.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct Unresolved(String);

impl Resolver {
    /// For connections that must be made within this time.
    pub(super) fn new(connect_timeout: Duration) -> Self {
        Self { lookups: Arc::default(), patience: connect_timeout.mul_f64(0.95) }
    }

    /// Joins the lookup of that name under way, takes what one found late, or begins one.
    fn look_up(&self, name: &str) -> watch::Receiver<Option<Found>> {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lookup) = lookups.get(name) {
            let receiver = lookup.subscribe();
            if lookup.borrow().is_some() {
                lookups.remove(name);
            }
            return receiver;
        }
        let (sender, receiver) = watch::channel(None);
        let lookup = Arc::new(sender);
        lookups.insert(name.to_owned(), Arc::clone(&lookup));
        tokio::spawn(self.clone().run(name.to_owned(), lookup));
        receiver
    }

    async fn run(self, name: String, lookup: Arc<Lookup>) {
        let found = match timeout(LONGEST, tokio::net::lookup_host((name.as_str(), 0))).await {
            Ok(Ok(addresses)) => Ok(addresses.collect()),
            Ok(Err(error)) => Err(words(&error)),
            Err(_) => Err("the system's resolver does not come back".to_owned()),
        };
        let is_kept = {
            let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
            let is_late = found.is_ok() && lookup.receiver_count() == 0;
            lookup.send_replace(Some(found));
            if !is_late {
                lookups.remove(&name);
            }
            is_late
        };
        if is_kept {
            sleep(KEPT).await;
            let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
            if lookups.get(&name).is_some_and(|kept| Arc::ptr_eq(kept, &lookup)) {
                lookups.remove(&name);
            }
        }
    }
}

/// "failed to lookup address information: Name or service not known" without what our own words say already.
fn words(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let mut lookup = self.look_up(name.as_str());
        let patience = self.patience;
        Box::pin(async move {
            let found = match timeout(patience, lookup.wait_for(Option::is_some)).await {
                Ok(Ok(found)) => found.clone().unwrap_or_else(|| Err("no answer".to_owned())),
                Ok(Err(_)) => Err("the lookup was given up".to_owned()),
                Err(_) => Err("no name server answers".to_owned()),
            };
            match found {
                Ok(addresses) => Ok(Box::new(addresses.into_iter()) as Addrs),
                Err(words) => Err(Unresolved(words).into()),
            }
        })
    }
}
