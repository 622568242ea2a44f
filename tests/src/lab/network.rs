//! The lab's wire: one bridge in the switch's namespace, a cable to each node, and cuts in it.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;

use super::node::{Node, feed, output};
use super::{Lab, LabError};

pub(crate) const BRIDGE: &str = "lab0";
const PREFIX: u8 = 24;

/// Addresses are the same in every lab: labs share no network.
pub(crate) const SWITCH_IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(crate) const CLIENT_IP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// The address of the host `n<number>`, counted from 1.
pub(crate) fn host_ip(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 10 + number)
}

/// The address of the member `etcd<number>`, counted from 1.
pub(crate) fn etcd_ip(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, 200 + number)
}

/// `/etc/hosts` naming every node.
pub(crate) fn hosts_file(names: &[(String, Ipv4Addr)]) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    for (name, ip) in names {
        writeln!(text, "{ip} {name}").expect("writing to a string does not fail");
    }
    text
}

/// Makes the bridge and plugs every node into it.
pub(crate) fn connect<'a>(switch: &Node, nodes: impl IntoIterator<Item = &'a Node>) -> Result<(), LabError> {
    let mut batch = format!(
        "link add {BRIDGE} type bridge stp_state 0 forward_delay 0\n\
         address add {SWITCH_IP}/{PREFIX} dev {BRIDGE}\n\
         link set {BRIDGE} up\n"
    );
    let nodes: Vec<&Node> = nodes.into_iter().collect();
    for node in &nodes {
        let (name, pid) = (node.name(), node.init().pid);
        write!(
            batch,
            "link add to-{name} type veth peer name eth0 netns {pid}\n\
             link set to-{name} master {BRIDGE} up\n"
        )
        .expect("writing to a string does not fail");
    }
    ip_batch(switch, &batch)?;
    for node in nodes {
        ip_batch(
            node,
            &format!("address add {}/{PREFIX} dev eth0\nlink set eth0 up\n", node.ip()),
        )?;
    }
    Ok(())
}

fn ip_batch(node: &Node, lines: &str) -> Result<(), LabError> {
    let mut command = node.network_command("ip");
    command.args(["-batch", "-"]);
    feed(command, lines)
}

pub(crate) fn listening_tcp_ports(pid: i32) -> Result<Vec<u16>, LabError> {
    const LISTEN: &str = "0A";
    let mut ports = Vec::new();
    for table in ["tcp", "tcp6"] {
        let path = format!("/proc/{pid}/net/{table}");
        let text = fs::read_to_string(&path).map_err(LabError::io("read", path))?;
        ports.extend(text.lines().skip(1).filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, state) = (fields.next()?, fields.nth(1)?);
            (state == LISTEN).then(|| u16::from_str_radix(local.rsplit(':').next()?, 16).ok())?
        }));
    }
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

impl Lab {
    /// Loses every packet between two nodes, both ways; the ends notice nothing but silence.
    pub fn cut(&self, one: &str, other: &str) -> Result<(), LabError> {
        self.cut_one_way(one, other)?;
        self.cut_one_way(other, one)
    }

    /// Loses every packet that `from` sends to `to`; what `to` sends arrives.
    pub fn cut_one_way(&self, from: &str, to: &str) -> Result<(), LabError> {
        let source = self.node(from)?.ip().to_string();
        eprintln!("lab: cut {from} -> {to}");
        // At the receiver: a packet dropped where it is sent would show there as an error.
        iptables(
            self.node(to)?,
            &["--insert", "INPUT", "--source", &source, "--jump", "DROP"],
        )
    }

    /// Cuts a node off from every other, both ways.
    pub fn cut_off(&self, name: &str) -> Result<(), LabError> {
        self.node(name)?;
        let others = self.state.nodes().map(Node::name).filter(|other| *other != name);
        for other in others {
            self.cut(name, other)?;
        }
        Ok(())
    }

    /// Undoes every cut between two nodes, both ways; doing it again changes nothing.
    pub fn heal_between(&self, one: &str, other: &str) -> Result<(), LabError> {
        eprintln!("lab: heal {one} - {other}");
        for (from, to) in [(one, other), (other, one)] {
            let (from, to) = (self.node(from)?.ip().to_string(), self.node(to)?);
            let rule = ["INPUT", "--source", &from, "--jump", "DROP"];
            let with = |action| [&[action], rule.as_slice()].concat();
            // There is one rule for each time it was cut.
            while iptables(to, &with("--check")).is_ok() {
                iptables(to, &with("--delete"))?;
            }
        }
        Ok(())
    }

    /// Undoes every cut; doing it again changes nothing.
    pub fn heal(&self) -> Result<(), LabError> {
        eprintln!("lab: heal");
        self.state
            .nodes()
            .try_for_each(|node| iptables(node, &["--flush", "INPUT"]))
    }

    /// Limits what a node can send, in megabits per second; again replaces the limit.
    pub fn limit_rate(&self, name: &str, megabits: u32) -> Result<(), LabError> {
        let mut command = self.node(name)?.network_command("tc");
        command.args([
            "qdisc", "replace", "dev", "eth0", "root", "tbf", "burst", "256kb", "latency", "100ms",
        ]);
        command.args(["rate", &format!("{megabits}mbit")]);
        eprintln!("lab: {name} sends at most {megabits} Mbit/s");
        output(command).map(drop)
    }
}

fn iptables(node: &Node, arguments: &[&str]) -> Result<(), LabError> {
    let mut command = node.network_command("iptables");
    command.arg("--wait").args(arguments);
    output(command).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn an_open_listener_is_listed_and_a_closed_one_is_not() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let pid = std::process::id() as i32;
        assert!(listening_tcp_ports(pid).unwrap().contains(&port));
        drop(listener);
        assert!(!listening_tcp_ports(pid).unwrap().contains(&port));
    }
}
