//! Runs a relay in a network of its own, with an API and a receiver on this machine.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rcgen::SanType;

use crate::support::machine::network_namespace::NetworkNamespace;
use crate::support::relay::{Relay, Setup};
use crate::support::scene::Scene;
use crate::support::servers::certificates::{Authority, with_http2};
use crate::support::servers::receiver::Receiver;
use crate::support::servers::reverse_proxy::{Manner, ReverseProxy};
use crate::support::waiting::wait_within;

/// An API and a receiver, each behind a proxy, and the network in which the relay runs.
pub(crate) struct Network {
    pub(crate) scene: Scene,
    pub(crate) receiver: Receiver,
    pub(crate) api: ReverseProxy,
    pub(crate) hooks: ReverseProxy,
    pub(crate) namespace: NetworkNamespace,
    authority: Option<Authority>,
}

/// One of the two ends of the relay.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Api,
    Receiver,
}

impl Network {
    /// Makes a network in which both ends speak plain HTTP/1.1. `None` if there can be no namespace.
    pub(crate) fn new() -> Option<Self> {
        let namespace = NetworkNamespace::new()?;
        let (scene, receiver) = (Scene::new(), Receiver::in_background());
        let host = IpAddr::from(namespace.host());
        let api = ReverseProxy::start(host, simulator(&scene), Manner::Pass);
        let hooks = ReverseProxy::start(host, receiver.address(), Manner::Pass);
        Some(Self { scene, receiver, api, hooks, namespace, authority: None })
    }

    /// Makes a network in which both ends speak HTTP/2 over TLS. `None` if there can be no namespace.
    pub(crate) fn with_http2() -> Option<Self> {
        let network = Self::new()?;
        let authority = Authority::new(network.scene.dir(), "ca");
        let host = SanType::IpAddress(network.namespace.host().into());
        let identity = with_http2(&authority.sign(|params| params.subject_alt_names.push(host)));
        network.api.set(Manner::Http2(identity.clone()));
        network.hooks.set(Manner::Http2(identity));
        Some(Self { authority: Some(authority), ..network })
    }

    /// Returns a relay that polls and retries often, from the beginning of the account. The relay knows each end by the
    /// given host name, or without a name by its address.
    pub(crate) fn setup_named(&self, api: Option<&str>, hooks: Option<&str>) -> Setup {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        let setup = Setup::within(&self.namespace, self.scene.dir())
            .env("JOLTSMS_API_URL", &self.api.url(scheme, api))
            .env("JOLTSMS_API_KEY", &self.scene.simulator().key())
            .set("API__ALLOW_HTTP", "true")
            .set("API__REQUESTS_PER_MINUTE", "10000")
            .set("POLL__INTERVAL", "150ms")
            .set("POLL__START", "beginning")
            .sink(&format!("{}/hook", self.hooks.url(scheme, hooks)))
            .set("SINKS__CRM__ALLOW_HTTP", "true")
            .set("SINKS__CRM__RETRY__INITIAL", "200ms")
            .set("SINKS__CRM__RETRY__FACTOR", "1");
        match &self.authority {
            Some(authority) => setup.env("SSL_CERT_FILE", authority.file()),
            None => setup,
        }
    }

    /// Returns a relay that knows both ends by their addresses.
    pub(crate) fn setup(&self) -> Setup {
        self.setup_named(None, None)
    }

    /// Returns the port of an end.
    pub(crate) fn port(&self, end: End) -> u16 {
        match end {
            End::Api => self.api.port(),
            End::Receiver => self.hooks.port(),
        }
    }

    /// Waits until every message is settled. Checks that no message is missing, and that no message came more often
    /// than it was tried. Returns how many messages came again.
    pub(crate) fn is_complete(&self, relay: &Relay, limit: Duration) -> usize {
        let expected = self.scene.ids();
        let arrived = || self.receiver.count() >= expected.len();
        wait_within(limit, "everything at the receiver", arrived, || relay.log());
        let settled = || self.scene.count("SELECT count(*) FROM delivery WHERE state = 'delivered'");
        let all = || usize::try_from(settled()).unwrap() == expected.len();
        wait_within(limit, "everything to be delivered", all, || relay.log());
        let mut came: HashMap<String, i64> = HashMap::new();
        for id in self.receiver.webhook_ids() {
            *came.entry(id).or_default() += 1;
        }
        let state = self.scene.state();
        let mut tries = state.prepare("SELECT id, attempts FROM delivery JOIN message USING (seq)").unwrap();
        let tries = tries.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let tries: HashMap<String, i64> = tries.map(Result::unwrap).collect();
        for id in &expected {
            assert!((1..=tries[id]).contains(&came[id]), "{id} came {} times, tried {}", came[id], tries[id]);
        }
        assert_eq!(came.len(), expected.len(), "only what was in the account");
        self.receiver.count() - expected.len()
    }
}

fn simulator(scene: &Scene) -> SocketAddr {
    scene.simulator().url().trim_start_matches("http://").parse().unwrap()
}
