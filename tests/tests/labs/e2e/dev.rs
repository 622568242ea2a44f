//! `drover dev` on a host that has a life of its own: a guest, a pool and a network that are none of Drover's.

use crate::e2e::chain;
use crate::e2e::fleet::WAIT_GUEST;
use drover_tests::lab::{Etcd, Host, Lab, WAIT_LONG, binary, poll_until, wait_for_line};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Output;

const PORT: u16 = 7555;
const FOREIGN_NETWORK: &str = "<network><name>foreign-network</name><bridge name='foreign0'/>\
                               <ip address='192.168.77.1' netmask='255.255.255.0'/></network>";

/// Drover on the host itself, as its own administrator runs it.
struct Machine<'lab> {
    host: &'lab Host,
    directory: PathBuf,
}

impl Machine<'_> {
    fn drover(&self, code: i32, arguments: &[&str]) -> (String, String) {
        let mut command = self.host.command(binary("drover").expect("drover is built"));
        command.arg("-C").arg(&self.directory).args(arguments);
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().expect("nsenter runs");
        let (stdout, stderr) = (
            String::from_utf8_lossy(&stdout).into_owned(),
            String::from_utf8_lossy(&stderr).into_owned(),
        );
        println!(
            "{}$ drover {} # {status}\n{stdout}{stderr}",
            self.host.name(),
            arguments.join(" ")
        );
        assert_eq!(
            status.code(),
            Some(code),
            "drover {}: {stdout}{stderr}",
            arguments.join(" ")
        );
        (stdout, stderr)
    }

    fn status(&self) -> Value {
        let (status, _) = self.drover(0, &["dev", "status", "--json"]);
        serde_json::from_str(&status).expect("--json prints JSON")
    }

    fn virsh(&self, arguments: &[&str]) -> String {
        self.host.virsh(arguments).expect("libvirtd answers")
    }

    /// What is on the host that `drover dev` did not make.
    fn foreign(&self) -> Foreign {
        let processes = |name: &str| {
            let mut found = self.host.processes();
            found.retain(|process| process.command.contains(name));
            found
                .into_iter()
                .map(|process| process.process.pid)
                .collect::<Vec<_>>()
        };
        Foreign {
            guests: processes("-name guest=plain"),
            libvirt: processes("libvirtd"),
            domain: self.virsh(&["dumpxml", "plain"]),
            pools: self.virsh(&["pool-list", "--all", "--details"]),
            networks: self.virsh(&["net-list", "--all"]),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Foreign {
    guests: Vec<i32>,
    libvirt: Vec<i32>,
    domain: String,
    pools: String,
    networks: String,
}

fn configuration(lab: &Lab) -> String {
    format!(
        r#"drover {{
  fleet = "yard"
}}

host "local" {{
  address = "127.0.0.1:{PORT}"
}}

{}
flavor "tiny" {{
  vcpus = 1
  ram   = "128MiB"
  disk  = "64MiB"
}}

server "hello" {{
  flavor = flavor.tiny
  image  = image.guest
}}
"#,
        lab.image_block("guest").expect("the guest image can be made")
    )
}

#[test]
fn drover_dev_leaves_alone_what_is_not_its_own() {
    let lab = Lab::builder().hosts(1).etcd(Etcd::None).start();
    let lab = lab.unwrap_or_else(|error| panic!("{}", chain(&error)));
    let n1 = lab.host("n1");
    let directory = lab.directory().join("dev");
    std::fs::create_dir(&directory).expect("the lab's directory can be written");
    std::fs::write(directory.join("main.hcl"), configuration(&lab)).expect("it can be written");
    let machine = Machine { host: n1, directory };

    let plain = lab
        .start_plain_guest(n1, "plain")
        .expect("a guest can be started");
    plain.wait_ready(n1, WAIT_GUEST).expect("it boots");
    machine.virsh(&[
        "pool-define-as",
        "foreign-pool",
        "dir",
        "--target",
        "/var/lib/libvirt/images",
    ]);
    let network = lab.directory().join("foreign-network.xml");
    std::fs::write(&network, FOREIGN_NETWORK).expect("the lab's directory can be written");
    machine.virsh(&["net-define", &network.display().to_string()]);
    let before = machine.foreign();
    assert_eq!(before.guests.len(), 1, "{before:?}");
    assert!(before.pools.contains("foreign-pool") && before.networks.contains("foreign-network"));

    assert_eq!(machine.status()["agent_pid"], Value::Null);
    let (told, _) = machine.drover(0, &["dev", "up", "--fleet", "yard", "--port", &PORT.to_string()]);
    assert!(told.contains(&format!("127.0.0.1:{PORT}")), "{told}");
    poll_until("the agent", WAIT_LONG, || {
        n1.listening_tcp_ports().ok()?.contains(&PORT).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}"));
    let up = machine.status();
    assert!(up["agent_pid"].is_i64() && up["libvirt"] == "machine", "{up}");
    assert_eq!(up["address"], format!("127.0.0.1:{PORT}"));
    // Again: everything is there, so nothing is started and nothing is lost.
    machine.drover(0, &["dev", "up", "--fleet", "yard", "--port", &PORT.to_string()]);
    assert_eq!(machine.status(), up);
    assert_eq!(machine.foreign(), before);

    machine.drover(0, &["apply", "--auto-approve"]);
    let (shown, _) = machine.drover(0, &["server", "show", "server.hello", "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("--json prints JSON");
    let id = shown["record"]["id"].as_str().expect("it has an id").to_owned();
    let data = PathBuf::from(up["data_dir"].as_str().expect("a path"));
    let ready = format!("drover-guest: ready uuid={id}");
    wait_for_line(
        &data.join("servers").join(&id).join("console.log"),
        &ready,
        WAIT_GUEST,
    )
    .unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(machine.virsh(&["list", "--uuid"]).split_whitespace().count(), 2);
    assert_eq!(machine.foreign(), before);

    // Its disk would go with the purge, so that waits until the server is destroyed.
    let (_, refused) = machine.drover(1, &["dev", "down", "--purge"]);
    let refused = refused.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        refused.contains(&id) && refused.contains("drover destroy"),
        "{refused}"
    );
    assert_eq!(machine.status(), up, "nothing was ended");

    // Without a purge the guest goes on, and the agent that comes back knows it.
    machine.drover(0, &["dev", "down"]);
    assert_eq!(machine.status()["agent_pid"], Value::Null);
    assert_eq!(
        n1.listening_tcp_ports().expect("its network is there"),
        Vec::<u16>::new()
    );
    assert_eq!(machine.virsh(&["domstate", &id]).trim(), "running");
    machine.drover(0, &["dev", "up", "--fleet", "yard", "--port", &PORT.to_string()]);
    poll_until("the agent", WAIT_LONG, || {
        n1.listening_tcp_ports().ok()?.contains(&PORT).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}"));
    machine.drover(0, &["plan", "--detailed-exitcode"]);

    machine.drover(0, &["destroy", "--auto-approve"]);
    machine.drover(0, &["dev", "down", "--purge"]);
    assert!(!data.exists() && !machine.directory.join(".drover").exists());
    assert!(
        Path::new(&machine.directory).join("main.hcl").exists(),
        "what was written by hand stays"
    );
    assert_eq!(
        n1.listening_tcp_ports().expect("its network is there"),
        Vec::<u16>::new()
    );
    assert_eq!(machine.virsh(&["list", "--all", "--name"]).trim(), "plain");
    assert_eq!(machine.foreign(), before);
    let (status, _) = machine.drover(0, &["dev", "status"]);
    assert!(status.contains("drover dev up"), "{status}");
}
