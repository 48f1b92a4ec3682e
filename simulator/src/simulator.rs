//! Starts and stops a simulator.
//!
//! Invariants: when `start` returns, connections are accepted; when `shutdown` returns, the port is free. A simulator
//! that is dropped stops soon after.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::account::shared::Shared;
use crate::account::state::State;
use crate::clock::{Clock, Timer};
use crate::control::handle::Handle;
use crate::feed::number::NewNumber;
use crate::feed::traffic::{Traffic, service_name};
use crate::server;
use crate::switches::Switches;

/// The options with which a simulator starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// The port on 127.0.0.1; 0 takes a free port.
    pub port: u16,
    /// The seed of keys, ids and messages: the same seed gives the same keys, ids and messages.
    pub seed: u64,
    /// The simulator's clock.
    pub clock: Clock,
    /// The behaviour of the API.
    pub switches: Switches,
    /// How many numbers are rented.
    pub numbers: usize,
    /// How many believable messages of the past the account has at the start.
    pub messages: usize,
    /// How far back the messages of the past go.
    pub history: Duration,
    /// The messages that come by themselves.
    pub traffic: Traffic,
    /// How many requests the log keeps.
    pub log_capacity: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            seed: 0,
            clock: Clock::Real,
            switches: Switches::default(),
            numbers: 1,
            messages: 0,
            history: Duration::from_secs(30 * 86_400),
            traffic: Traffic::default(),
            log_capacity: 1_000_000,
        }
    }
}

/// A simulated JoltSMS API on loopback. It stops when it is dropped.
#[derive(Debug)]
pub struct Simulator {
    url: String,
    key: String,
    session: String,
    handle: Handle,
    task: JoinHandle<()>,
    runtime: Option<Runtime>,
}

impl Simulator {
    /// Starts a simulator on the present tokio runtime.
    ///
    /// # Errors
    /// An error if the port is not available.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = server::bind(options.port).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let timer = Timer::start(options.clock);
        let now = timer.now();
        let mut state = State::new(options.seed, options.switches, options.log_capacity);
        let session = state.session.clone();
        let State { keys, switches, random, .. } = &mut state;
        let key = keys.create("start", None, now, switches, random).map_err(io::Error::other)?;
        for _ in 0..options.numbers {
            let service_name = Some(service_name(&mut state.random));
            let number = state.rent(NewNumber { service_name, ..NewNumber::default() }, now);
            state.billing.subscribe(number, None, now);
        }
        state.add_history(options.messages, options.history, now);
        state.stream.set(options.traffic, now);

        let shared = Arc::new(Shared::new(state, timer, key.id));
        let task = tokio::spawn(server::serve(listener, Arc::clone(&shared)));
        Ok(Self { url, key: key.secret, session, handle: Handle::new(shared), task, runtime: None })
    }

    /// Starts a simulator on a thread of its own, for programs and tests that are not asynchronous.
    ///
    /// # Errors
    /// An error if the port or the thread is not available.
    pub fn start_in_background(options: Options) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut simulator = runtime.block_on(Self::start(options))?;
        simulator.runtime = Some(runtime);
        Ok(simulator)
    }

    /// Returns the URL of the API: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Returns the secret of the key that was made at the start.
    pub fn key(&self) -> String {
        self.key.clone()
    }

    /// Returns the token of a browser session. It is sent as a bearer token, or as the cookie `session`.
    pub fn session(&self) -> String {
        self.session.clone()
    }

    /// Returns a handle that changes and observes the simulator.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Closes all connections and frees the port. Returns when both are done.
    pub async fn shutdown(mut self) {
        self.task.abort();
        // The only possible error is that the task was aborted, and it was aborted on purpose.
        drop((&mut self.task).await);
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
