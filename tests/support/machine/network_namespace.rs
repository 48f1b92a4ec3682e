//! A network that belongs to the relay alone: a namespace with one virtual cable to this machine. The cable can be cut,
//! slowed and made to lose packets. This needs root, and `ip`, `ss`, `tc` (iproute2) and `nft` (nftables).

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::prerequisites::skip;

/// A network namespace. It is removed when this value is dropped.
#[derive(Debug)]
pub(crate) struct NetworkNamespace {
    /// The name of the namespace, and of this machine's end of the cable.
    name: String,
    host: Ipv4Addr,
}

/// The direction of packets, as the relay sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Direction {
    /// Packets that the relay sends.
    Out,
    /// Packets that the relay should get.
    In,
    /// All packets.
    Both,
}

impl NetworkNamespace {
    /// Makes a namespace. If that is not allowed, the test reports that and gets `None`; in CI it fails.
    pub(crate) fn new() -> Option<Self> {
        match Self::make() {
            Ok(namespace) => Some(namespace),
            Err(why) => {
                skip(&format!("no network namespace: {why}"));
                None
            }
        }
    }

    fn make() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        run("nft", &["--version"])?;
        for _ in 0..50 {
            // Each namespace takes eight addresses of 10.192.0.0/10, because other test runs on this machine make
            // namespaces at the same time.
            let place = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id().wrapping_mul(61);
            let place = place % (1 << 19);
            let name = format!("jr{place:x}");
            if let Err(why) = run("ip", &["netns", "add", &name]) {
                if why.contains("File exists") {
                    continue;
                }
                return Err(why);
            }
            let base = u32::from(Ipv4Addr::new(10, 192, 0, 0)) + 8 * place;
            let namespace = Self { name, host: Ipv4Addr::from(base + 1) };
            namespace.connect(Ipv4Addr::from(base + 3))?;
            return Ok(namespace);
        }
        Err("no name is free".to_owned())
    }

    fn connect(&self, inside: Ipv4Addr) -> Result<(), String> {
        let name = &self.name;
        run("ip", &["link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name])?;
        run("ip", &["addr", "add", &format!("{}/29", self.host), "dev", name])?;
        run("ip", &["addr", "add", &format!("{}/29", self.other_host()), "dev", name])?;
        run("ip", &["link", "set", name, "up"])?;
        run("ip", &["-n", name, "addr", "add", &format!("{inside}/29"), "dev", "eth0"])?;
        run("ip", &["-n", name, "link", "set", "lo", "up"])?;
        run("ip", &["-n", name, "link", "set", "eth0", "up"])?;
        Ok(())
    }

    /// Returns the name of the namespace, for `ip netns exec`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the address of this machine, as seen from within the namespace.
    pub(crate) fn host(&self) -> Ipv4Addr {
        self.host
    }

    /// Returns another address of this machine, as seen from within the namespace.
    pub(crate) fn other_host(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.host) + 1)
    }

    /// Makes these servers resolve names, with further lines of `resolv.conf`. Call this before a relay is started.
    pub(crate) fn resolve_at(&self, servers: &[Ipv4Addr], options: &str) {
        let mut text = format!("{options}\n");
        for server in servers {
            writeln!(text, "nameserver {server}").unwrap();
        }
        std::fs::create_dir_all(self.files()).unwrap();
        std::fs::write(self.files().join("resolv.conf"), text).unwrap();
    }

    /// Returns the folder that `ip netns exec` lays over `/etc`.
    fn files(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.name)
    }

    /// Loses this percentage of the TCP packets in each direction.
    pub(crate) fn lose(&self, percent: u32) {
        self.filter(&format!("meta l4proto tcp numgen random mod 100 < {percent} drop"), Direction::Both);
    }

    /// Swallows the packets of connections to this port.
    pub(crate) fn swallow(&self, port: u16, way: Direction) {
        match way {
            Direction::Out => self.filter(&format!("tcp dport {port} drop"), Direction::Out),
            Direction::In => self.filter(&format!("tcp sport {port} drop"), Direction::In),
            Direction::Both => self.filter(&format!("tcp dport {port} drop; tcp sport {port} drop"), Direction::Both),
        }
    }

    /// Swallows the packets of the connections to this port that are open now. New connections work. Returns how many
    /// connections are open.
    pub(crate) fn swallow_open(&self, port: u16) -> usize {
        let filter = format!("dport = :{port}");
        let listed = run("ip", &["netns", "exec", &self.name, "ss", "-Htn", "state", "established", &filter]).unwrap();
        let local = |line: &str| Some(line.split_whitespace().nth(2)?.rsplit_once(':')?.1.to_owned());
        let ports: Vec<String> = listed.lines().filter_map(local).collect();
        if !ports.is_empty() {
            let ports = ports.join(", ");
            self.filter(&format!("tcp sport {{ {ports} }} drop; tcp dport {{ {ports} }} drop"), Direction::Both);
        }
        ports.len()
    }

    /// Answers every packet to this port with a reset.
    pub(crate) fn reset(&self, port: u16) {
        self.filter(&format!("tcp dport {port} reject with tcp reset"), Direction::Out);
    }

    /// Plugs the cable in or out.
    pub(crate) fn plug(&self, is_in: bool) {
        run("ip", &["-n", &self.name, "link", "set", "eth0", if is_in { "up" } else { "down" }]).unwrap();
    }

    /// Limits the rate in each direction, such as `64kbit` a second.
    pub(crate) fn slow(&self, rate: &str) {
        let shape = ["root", "tbf", "rate", rate, "burst", "3kb", "latency", "2s"];
        let (host, inside) =
            (["qdisc", "replace", "dev", &self.name], ["-n", &self.name, "qdisc", "replace", "dev", "eth0"]);
        run("tc", &[&host[..], &shape[..]].concat()).unwrap();
        run("tc", &[&inside[..], &shape[..]].concat()).unwrap();
    }

    /// Returns how many TCP segments were sent again from within the namespace.
    pub(crate) fn sent_again(&self) -> u64 {
        let counters = run("ip", &["netns", "exec", &self.name, "cat", "/proc/net/snmp"]).unwrap();
        let mut tcp = counters.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let names: Vec<&str> = tcp.next().unwrap().split(' ').collect();
        let place = names.iter().position(|name| *name == "RetransSegs").unwrap();
        tcp.next().unwrap().split(' ').nth(place).unwrap().parse().unwrap()
    }

    /// Undoes all faults of the network.
    pub(crate) fn free(&self) {
        self.rules("");
        self.plug(true);
        // There may be no such queue, so an error is ignored.
        drop(run("tc", &["qdisc", "del", "dev", &self.name, "root"]));
        drop(run("tc", &["-n", &self.name, "qdisc", "del", "dev", "eth0", "root"]));
    }

    fn filter(&self, rules: &str, way: Direction) {
        let mut chains = String::new();
        let hooks: &[&str] = match way {
            Direction::Out => &["output"],
            Direction::In => &["input"],
            Direction::Both => &["output", "input"],
        };
        for hook in hooks {
            let rules = rules.replace("; ", "\n");
            write!(chains, "chain {hook} {{ type filter hook {hook} priority 0; policy accept;\n{rules}\n}}\n")
                .unwrap();
        }
        self.rules(&chains);
    }

    /// Replaces all chains of the firewall at once.
    fn rules(&self, chains: &str) {
        let text = format!("table inet faults {{ }}\ndelete table inet faults\ntable inet faults {{\n{chains}}}\n");
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &self.name, "nft", "-f", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut nft = nft.spawn().unwrap();
        nft.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let Output { status, stderr, .. } = nft.wait_with_output().unwrap();
        assert!(status.success(), "{text}: {}", String::from_utf8_lossy(&stderr));
    }
}

impl Drop for NetworkNamespace {
    fn drop(&mut self) {
        drop(run("ip", &["link", "del", &self.name]));
        drop(run("ip", &["netns", "del", &self.name]));
        drop(std::fs::remove_dir_all(self.files()));
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
