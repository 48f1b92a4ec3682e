//! Resolves host names with the system's resolver, also if a lookup takes longer than a request can wait.
//!
//! If a name server does not answer, the system's resolver asks the next one only after many seconds. A request does
//! not wait for so long. So a lookup goes on after its request has given up, and a late result is kept for the next
//! request. A machine whose first name server is dead is therefore slow, but not cut off.
//!
//! Invariants: there is one lookup for a name at a time. A failure is never kept. A result is used once, or by all
//! requests that waited for it together.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// The longest lookup. A lookup that takes longer is assumed to be stuck, and another lookup of the same name may
/// begin.
const LONGEST: Duration = Duration::from_secs(120);

/// How long a late result is kept. This is longer than the usual wait between two attempts to connect, and shorter than
/// the time for which most addresses are valid.
const KEPT: Duration = Duration::from_secs(90);

type Found = Result<Vec<SocketAddr>, String>;

/// A lookup. The lookup is under way while the value is `None`.
type Lookup = watch::Sender<Option<Found>>;

/// Resolves host names. Clones share their lookups.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    lookups: Arc<Mutex<HashMap<String, Arc<Lookup>>>>,
    /// How long a request waits for a lookup. This is a little less than it waits for the connection, so that the error
    /// names the lookup as the cause.
    patience: Duration,
}

/// Why a name has no address.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
struct Unresolved(String);

impl Resolver {
    /// Makes a resolver for connections that must be made within `connect_timeout`.
    pub(super) fn new(connect_timeout: Duration) -> Self {
        Self { lookups: Arc::default(), patience: connect_timeout.mul_f64(0.95) }
    }

    /// Joins the lookup of `name` that is under way, or takes a late result. If there is neither, begins a lookup.
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

/// Returns the resolver's error without "failed to lookup address information", because the relay's own words say this
/// already.
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
