//! Tests of the network between the relay and its two ends: names, connections, TLS, proxies.

mod dns;
mod exhaustion;
mod network;
mod peers;
mod proxies;
mod tls;
