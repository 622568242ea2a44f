//! A server from a cached image: from `drover apply` to a running domain, against `qemu-img create`,
//! `virsh define` and `virsh start` of the very same domain.

use crate::Failed;
use crate::fleet::Fleet;
use crate::table::{Allowed, Row, Times};
use drover_tests::lab::Host;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 9;
const RAW_ID: &str = "00000000-0000-4000-8000-00000000b007";
const RAW_DISK: &str = "/var/lib/libvirt/images/raw.qcow2";
const WITHIN: Duration = Duration::from_secs(120);

pub(crate) fn measure(fleet: &Fleet<'_>) -> Result<Vec<Row>, Failed> {
    // Once without measuring; the raw tools then get what was rendered.
    let up = ["apply", "--auto-approve", "--var", "booted=1"];
    let down = ["apply", "--auto-approve", "--var", "booted=0"];
    fleet.drover(&up)?;
    let raw = RawServer::like(fleet)?;
    fleet.drover(&down)?;

    let (mut running, mut whole, mut by_hand) = (Times::default(), Times::default(), Times::default());
    for _ in 0..ROUNDS {
        by_hand.push(raw.boot()?);
        raw.remove()?;

        let begin = Instant::now();
        let mut child = fleet
            .workspace
            .command(&up)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()?;
        while !fleet.lab.hosts().iter().any(runs_something) {
            if begin.elapsed() > WITHIN {
                return Err("no domain runs on any host after the apply".into());
            }
            // Short against what is measured, long enough not to take part in it.
            std::thread::sleep(Duration::from_millis(2));
        }
        running.push(begin.elapsed());
        let status = child.wait()?;
        whole.push(begin.elapsed());
        if !status.success() {
            return Err(format!("drover apply ended with {status}").into());
        }
        fleet.drover(&down)?;
    }
    Ok(vec![
        Row::Ratio {
            what: "boot from a cached image, to domain running",
            drover: running,
            raw: by_hand,
            allowed: Allowed {
                factor: 1.3,
                plus: Duration::from_millis(150),
            },
        },
        Row::Note {
            what: "the same, to the end of `drover apply`",
            times: whole,
        },
    ])
}

/// Whether libvirt's own record of a domain says "running": read without asking libvirt.
fn runs_something(host: &Host) -> bool {
    let Ok(entries) = std::fs::read_dir(host.outside(Path::new("/run/libvirt/qemu"))) else {
        return false;
    };
    entries
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|end| end == "xml"))
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
        .any(|text| text.contains("<domstatus state='running'"))
}

/// The server that Drover made, made again by hand on the same host.
struct RawServer<'lab> {
    host: &'lab Host,
    base: String,
    xml: String,
}

impl<'lab> RawServer<'lab> {
    fn like(fleet: &Fleet<'lab>) -> Result<Self, Failed> {
        let (id, host) = fleet.server("server.booted[0]")?;
        let folder = fleet.server_folder(host, &id);
        let xml = host.virsh(&["dumpxml", "--inactive", &id])?;
        let disk = between(&xml, "<source file='", "'").ok_or("the domain has no disk")?;
        let folder_inside = Path::new(&disk)
            .parent()
            .ok_or("the disk is in no folder")?
            .display()
            .to_string();
        let info = host.run("qemu-img", ["info", "-U", "--output=json", &disk])?;
        let info: serde_json::Value = serde_json::from_str(&info)?;
        let base = info["full-backing-filename"]
            .as_str()
            .ok_or("the disk has no backing file")?
            .to_owned();
        // No mark of Drover: the agent leaves it alone.
        let metadata = between(&xml, "<metadata>", "</metadata>").unwrap_or_default();
        let xml = xml
            .replace(&format!("<metadata>{metadata}</metadata>"), "")
            .replace(&disk, RAW_DISK)
            .replace(&folder_inside, "/var/lib/libvirt/images")
            .replace(&id, RAW_ID);
        let name = between(&xml, "<name>", "</name>").ok_or("the domain has no name")?;
        let xml = xml.replace(&format!("<name>{name}</name>"), "<name>raw</name>");
        std::fs::write(host.outside(Path::new("/var/lib/libvirt/images/raw.xml")), &xml)?;
        assert!(folder.exists(), "{} is where the agent says", folder.display());
        Ok(Self { host, base, xml })
    }

    /// The three commands, and how long they took together.
    fn boot(&self) -> Result<Duration, Failed> {
        let size = "64M";
        let create = [
            "create", "-q", "-f", "qcow2", "-F", "raw", "-b", &self.base, RAW_DISK, size,
        ];
        let commands = [
            self.command("qemu-img", &create),
            self.command("virsh", &["-q", "define", "/var/lib/libvirt/images/raw.xml"]),
            self.command("virsh", &["-q", "start", RAW_ID]),
        ];
        let begin = Instant::now();
        for mut command in commands {
            let output = command.output()?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                return Err(format!("{command:?}: {said}\n{}", self.xml).into());
            }
        }
        Ok(begin.elapsed())
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.host.command(program);
        command.args(arguments);
        command
    }

    fn remove(&self) -> Result<(), Failed> {
        self.host.virsh(&["destroy", RAW_ID])?;
        self.host.virsh(&["undefine", RAW_ID])?;
        Ok(())
    }
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0.to_owned())
}
