//! Every attribute that the agent renders into a domain, changed with virsh: the host reports exactly it, and
//! the next apply puts it right, restarting the guest where the plan says so and nowhere else.
//!
//! Two tables, the definition's and the running domain's; an attribute without a row in both fails the test.
//! What virsh cannot change stands there with the reason.

use crate::e2e::fleet::{Fleet, Server, WAIT_GUEST, wait_state};
use crate::e2e::numa::FILTERS;
use drover_agent_core::domain::{DomainSpec, GuestPlace, attributes};
use drover_tests::lab::{Host, poll_until};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const ADDRESS: &str = "server.one";

const FIXED: &str = "libvirt has no command that changes it in a running domain";

fn declared(power: &str) -> String {
    format!(
        r#"flavor "two" {{
  vcpus = 2
  ram   = "128MiB"
  disk  = "64MiB"
}}

server "one" {{
  flavor = flavor.two
  image  = image.guest
  power  = "{power}"
}}
"#
    )
}

/// How an attribute is changed behind Drover's back.
#[derive(Debug, Clone)]
enum Change {
    /// `virsh define` with texts of the definition replaced.
    Define(Vec<(String, String)>),
    /// The same with an element replaced, from its beginning to its end.
    Element {
        begin: &'static str,
        end: &'static str,
        by: &'static str,
    },
    /// A command of virsh; `ID` is the domain.
    Virsh(Vec<String>),
    /// Our mark in a running domain, with one element's text replaced.
    Mark { element: &'static str, to: &'static str },
    /// Nothing changes it.
    None,
}

/// What comes of it.
#[derive(Debug, Clone)]
enum Outcome {
    /// These attributes are reported, and no others.
    Found(Vec<String>),
    /// libvirt does not take it, and why.
    Refused(&'static str),
}

#[derive(Debug, Clone)]
struct Row {
    key: String,
    change: Change,
    outcome: Outcome,
}

fn row(key: &str, change: Change) -> Row {
    Row {
        key: key.to_owned(),
        change,
        outcome: Outcome::Found(vec![key.to_owned()]),
    }
}

impl Row {
    /// Others change with it.
    fn with(mut self, others: &[&str]) -> Self {
        if let Outcome::Found(names) = &mut self.outcome {
            names.extend(others.iter().map(|name| (*name).to_owned()));
        }
        self
    }

    fn refused(mut self, why: &'static str) -> Self {
        self.outcome = Outcome::Refused(why);
        self
    }
}

fn text(from: &str, to: &str) -> Change {
    Change::Define(vec![(from.to_owned(), to.to_owned())])
}

fn virsh(arguments: &[&str]) -> Change {
    Change::Virsh(arguments.iter().map(|word| (*word).to_owned()).collect())
}

/// The definition of a server that is off.
fn definition_rows(spec: &DomainSpec, disk: &str) -> Vec<Row> {
    let uuid = format!("<uuid>{}</uuid>", spec.id());
    let machine = format!("machine='{}'", spec.machine);
    let model = format!(">{}</model>", spec.cpu.model);
    let kvm = row(
        "hypervisor_type",
        text("<domain type='qemu'", "<domain type='kvm'"),
    );
    let kvm = if Path::new("/dev/kvm").exists() {
        kvm
    } else {
        kvm.refused("without /dev/kvm libvirt knows no such guests")
    };
    let mut rows = vec![
        kvm,
        row("name", virsh(&["domrename", "ID", "renamed"])),
        row(
            "uuid",
            text(&uuid, "<uuid>00000000-0000-4000-8000-000000000001</uuid>"),
        )
        .refused("a UUID is a domain's identity: another one is another domain, whose name is taken"),
        row("metadata.fleet", text("<drover:fleet>", "<drover:fleet>x")),
        row("metadata.project", text("<drover:project>", "<drover:project>x")),
        row("metadata.id", text("<drover:id>", "<drover:id>x")),
        row(
            "metadata.address",
            text("<drover:address>server.one", "<drover:address>server.two"),
        ),
        row("metadata.epoch", text("<drover:epoch>", "<drover:epoch>9")),
        row(
            "metadata.generation",
            text("<drover:generation>", "<drover:generation>9"),
        ),
        row("memory_kib", virsh(&["setmaxmem", "ID", "256MiB", "--config"])),
        row(
            "current_memory_kib",
            virsh(&["setmem", "ID", "96MiB", "--config"]),
        ),
        row("vcpus", text(">2</vcpu>", " current='2'>3</vcpu>")),
        row("current_vcpus", virsh(&["setvcpus", "ID", "1", "--config"])),
        row("os.type", text(">hvm<", ">xen<")).refused("QEMU runs no paravirtual guests"),
        row("os.architecture", text("arch='x86_64'", "arch='i686'")),
        row("os.machine", text(&machine, "machine='pc-q35-6.2'")),
        row("os.boot", text("<boot dev='hd'/>", "<boot dev='network'/>")),
        row("features.acpi", text("<acpi/>", "")),
        row("features.apic", text("<apic/>", "")),
        row(
            "cpu.mode",
            Change::Element {
                begin: "<cpu ",
                end: "</cpu>",
                by: "<cpu mode='maximum'/>",
            },
        )
        .with(&["cpu.match", "cpu.model", "cpu.fallback"]),
        row("cpu.match", text("match='exact'", "match='minimum'")),
        row("cpu.check", text("check='none'", "check='partial'")),
        row("cpu.model", text(&model, ">Nehalem</model>")),
        row("cpu.fallback", text("fallback='forbid'", "fallback='allow'")),
        row("clock", text("<clock offset='utc'", "<clock offset='localtime'")),
        row(
            "on_poweroff",
            text("<on_poweroff>destroy<", "<on_poweroff>restart<"),
        ),
        row("on_reboot", text("<on_reboot>restart<", "<on_reboot>destroy<")),
        row("on_crash", text("<on_crash>destroy<", "<on_crash>restart<")),
        row("emulator", text("<emulator>/usr/bin/", "<emulator>/run/")),
        row(
            "disk.vda.device",
            virsh(&["detach-disk", "ID", "vda", "--config"]),
        )
        .with(&[
            "disk.vda.bus",
            "disk.vda.discard",
            "disk.vda.file",
            "disk.vda.format",
        ]),
        row("disk.vda.file", text("disk.qcow2'", "other.qcow2'")),
        row("disk.vda.format", text("type='qcow2'", "type='raw'")),
        row("disk.vda.discard", text("discard='unmap'", "discard='ignore'")),
        row(
            "disk.vda.bus",
            Change::Element {
                begin: "<target dev='vda'",
                end: "</disk>",
                by: "<target dev='vda' bus='sata'/></disk>",
            },
        ),
        row(
            "disk.vdb.device",
            virsh(&["attach-disk", "ID", disk, "vdb", "--config"]),
        ),
        row("console.type", text("type='pty'", "type='null'")),
        row("console.log", text("/console.log'", "/other.log'")),
        row("console.append", text("append='on'", "append='off'")),
        row(
            "agent_channel",
            text("org.qemu.guest_agent.0", "com.example.agent.0"),
        ),
        row(
            "balloon",
            Change::Element {
                begin: "<memballoon ",
                end: "</memballoon>",
                by: "<memballoon model='none'/>",
            },
        ),
    ];
    for feature in &spec.cpu.features {
        let at = |policy: &str| format!("<feature policy='{policy}' name='{}'/>", feature.name);
        let (is, other) = match feature.policy.as_str() {
            "require" => ("require", "disable"),
            _ => ("disable", "require"),
        };
        rows.push(row(
            &format!("cpu.feature.{}", feature.name),
            text(&at(is), &at(other)),
        ));
    }
    rows
}

/// A server that runs.
fn running_rows(spec: &DomainSpec, disk: &str) -> Vec<Row> {
    let action = |event: &str, to: &str| {
        let key = format!("on_{event}");
        row(&key, virsh(&["set-lifecycle-action", "ID", event, to, "--live"]))
    };
    let mark = |element: &'static str, to: &'static str| {
        row(&format!("metadata.{element}"), Change::Mark { element, to })
    };
    let mut rows = vec![
        mark("fleet", "other"),
        mark("project", "other"),
        mark("id", "00000000-0000-4000-8000-000000000000"),
        mark("address", "server.two"),
        mark("epoch", "99"),
        mark("generation", "99"),
        row("current_memory_kib", virsh(&["setmem", "ID", "112MiB", "--live"])),
        row("current_vcpus", virsh(&["setvcpus", "ID", "1", "--live"]))
            .refused("QEMU unplugs only processors that were plugged in while it ran"),
        action("poweroff", "restart"),
        action("reboot", "destroy"),
        action("crash", "restart"),
        row(
            "disk.sdb.device",
            virsh(&["attach-disk", "ID", disk, "sdb", "--targetbus", "usb", "--live"]),
        ),
    ];
    let fixed = [
        "hypervisor_type",
        "name",
        "uuid",
        "memory_kib",
        "vcpus",
        "os.type",
        "os.architecture",
        "os.machine",
        "os.boot",
        "features.acpi",
        "features.apic",
        "cpu.mode",
        "cpu.match",
        "cpu.check",
        "cpu.model",
        "cpu.fallback",
        "clock",
        "emulator",
        "disk.vda.device",
        "disk.vda.file",
        "disk.vda.format",
        "disk.vda.discard",
        "disk.vda.bus",
        "console.type",
        "console.log",
        "console.append",
        "agent_channel",
        "balloon",
    ];
    let features = spec
        .cpu
        .features
        .iter()
        .map(|feature| format!("cpu.feature.{}", feature.name));
    let fixed = fixed.iter().map(|key| (*key).to_owned()).chain(features);
    rows.extend(fixed.map(|key| row(&key, Change::None).refused(FIXED)));
    rows
}

/// Where a pinned server of two processors is on a host of two, off or running.
fn place_rows(configuration: &str) -> Vec<Row> {
    let scope = format!("--{configuration}");
    let pin = |number: &str, cpus: &str| virsh(&["vcpupin", "ID", number, cpus, &scope]);
    let mut rows = vec![
        row("cputune.vcpu.0", pin("0", "0-1")),
        row("cputune.vcpu.1", pin("1", "0")),
        row("cputune.emulator", virsh(&["emulatorpin", "ID", "0", &scope])),
    ];
    let memory = "memory='131072' unit='KiB'";
    let fixed = [
        (
            "numatune.memory",
            text("<memory mode='strict'", "<memory mode='preferred'"),
        ),
        (
            "numatune.cell.0",
            text("cellid='0' mode='strict'", "cellid='0' mode='preferred'"),
        ),
        ("cpu.numa.0.cpus", text("cpus='0-1'", "cpus='0'")),
        ("cpu.numa.0.memory_kib", text(memory, "memory='98304' unit='KiB'")),
    ];
    rows.extend(fixed.map(|(key, change)| match configuration {
        "config" if key == "cpu.numa.0.memory_kib" => {
            row(key, change).with(&["memory_kib", "current_memory_kib"])
        }
        "config" if key == "cpu.numa.0.cpus" => {
            row(key, change).refused("libvirt puts processors that are in no cell into the first")
        }
        "config" => row(key, change),
        _ => row(key, Change::None).refused(FIXED),
    }));
    rows
}

/// One server, and what is done to it.
struct Altered<'a> {
    fleet: &'a Fleet<'a>,
    host: &'a Host,
    server: Server,
}

impl Altered<'_> {
    /// Does it; false where virsh refused, or libvirt took it and changed nothing.
    fn make(&self, change: &Change) -> bool {
        let id = self.server.id.as_str();
        match change {
            Change::Define(texts) => self.define(|xml| {
                for (from, to) in texts {
                    assert!(xml.contains(from.as_str()), "no {from} in {xml}");
                    *xml = xml.replace(from.as_str(), to);
                }
            }),
            Change::Element { begin, end, by } => self.define(|xml| {
                let from = xml.find(begin).unwrap_or_else(|| panic!("no {begin} in {xml}"));
                let length = xml[from..].find(end).expect("elements end") + end.len();
                xml.replace_range(from..from + length, by);
            }),
            Change::Virsh(arguments) => {
                let arguments: Vec<&str> = arguments
                    .iter()
                    .map(|word| if word == "ID" { id } else { word.as_str() })
                    .collect();
                self.host
                    .virsh(&arguments)
                    .inspect_err(|error| println!("{error}"))
                    .is_ok()
            }
            Change::Mark { element, to } => {
                let uri = "urn:drover:domain:1";
                let mark = self
                    .host
                    .virsh(&["metadata", id, uri, "--live"])
                    .expect("it has a mark");
                let (before, rest) = mark.split_once(&format!("<{element}>")).expect("the mark has it");
                let (_, after) = rest.split_once('<').expect("it ends");
                let mark = format!("{before}<{element}>{to}<{after}");
                let set = ["metadata", id, uri, "--live", "--key", "drover", "--set", &mark];
                self.host.virsh(&set).is_ok()
            }
            Change::None => false,
        }
    }

    fn definition(&self) -> String {
        self.host
            .virsh(&["dumpxml", "--inactive", "--security-info", &self.server.id])
            .expect("virsh shows a definition")
    }

    fn define(&self, edit: impl FnOnce(&mut String)) -> bool {
        let before = self.definition();
        let mut xml = before.clone();
        edit(&mut xml);
        let file = self.fleet.lab.directory().join("altered.xml");
        std::fs::write(&file, xml).expect("the lab's directory can be written");
        let path = file.display().to_string();
        let taken = self
            .host
            .virsh(&["define", &path])
            .inspect_err(|error| println!("{error}"));
        taken.is_ok() && self.definition() != before
    }

    /// What the host reports, by attribute: in which of the two descriptions.
    fn drift(&self) -> BTreeMap<String, BTreeSet<String>> {
        let shown = self
            .fleet
            .workspace
            .expect(0, &["server", "show", ADDRESS, "--json"]);
        let shown: serde_json::Value = serde_json::from_str(&shown.stdout).expect("--json prints JSON");
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for one in shown["domain"]["drift"]
            .as_array()
            .expect("a domain has drift, or none of it")
        {
            let word = |key: &str| one[key].as_str().expect("a text").to_owned();
            found
                .entry(word("attribute"))
                .or_default()
                .insert(word("configuration"));
        }
        found
    }

    fn pid(&self) -> Option<String> {
        let spec = self.spec();
        let file = format!("/run/libvirt/qemu/{}.pid", spec.name);
        std::fs::read_to_string(self.host.outside(Path::new(&file))).ok()
    }

    fn spec(&self) -> DomainSpec {
        let file = self
            .fleet
            .directory(&self.server.host, &self.server)
            .join("server.json");
        let text = std::fs::read_to_string(file).expect("the agent keeps a server's record");
        let file: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
        serde_json::from_value(file["spec"].clone()).expect("it holds the domain")
    }

    /// Every key of the attributes has a row, but those that have one in another table.
    fn check_complete(&self, rows: &[Row], but: &[String]) {
        let rows: BTreeSet<&str> = rows.iter().map(|row| row.key.as_str()).collect();
        for key in attributes(&self.spec()).keys() {
            let key = key.to_string();
            assert!(
                rows.contains(key.as_str()) || but.contains(&key),
                "{key} is rendered and in no row of the table"
            );
        }
    }

    fn walk(&self, rows: &[Row], configuration: &str, but: &[String]) {
        self.check_complete(rows, but);
        let mut wrong = Vec::new();
        for row in rows {
            let taken = self.make(&row.change);
            let found = self.drift();
            let expected: BTreeMap<String, BTreeSet<String>> = match &row.outcome {
                Outcome::Found(names) => names
                    .iter()
                    .map(|name| (name.clone(), BTreeSet::from([configuration.to_owned()])))
                    .collect(),
                Outcome::Refused(why) => {
                    println!("{}: not by virsh: {why}", row.key);
                    BTreeMap::new()
                }
            };
            if taken == expected.is_empty() || found != expected {
                wrong.push(format!(
                    "{}: taken: {taken}, found {found:?}, expected {expected:?}",
                    row.key
                ));
            }
            if !found.is_empty() {
                self.heal(&row.key, configuration, &mut wrong);
            }
        }
        assert!(wrong.is_empty(), "{configuration}:\n{}", wrong.join("\n"));
    }

    fn heal(&self, key: &str, configuration: &str, wrong: &mut Vec<String>) {
        let before = self.pid();
        let plan = self.fleet.drover(0, &["plan"]);
        let announced = plan.stdout.contains("reboots the guest");
        let applied = self
            .fleet
            .workspace
            .drover(&["apply", "--auto-approve"])
            .expect("drover runs");
        let left = self.drift();
        if applied.code != Some(0) || !left.is_empty() {
            wrong.push(format!(
                "{key} is not healed: {left:?}\n{}\n{}",
                plan.stdout, applied.stderr
            ));
        }
        let restarts = configuration == "live" && !key.starts_with("metadata.");
        let restarted = before.is_some() && self.pid() != before;
        if (announced, restarted) != (restarts, restarts) {
            wrong.push(format!(
                "{key}: a restart is announced: {announced}, done: {restarted}, needed: {restarts}\n{}",
                plan.stdout
            ));
        }
        if restarted {
            self.wait_boot();
        }
    }

    /// Waits until the guest is up again, so that it hears the next request to shut down.
    fn wait_boot(&self) {
        let console = self.fleet.console(&self.server.host, &self.server);
        poll_until("the guest's next boot", WAIT_GUEST, || {
            let written = std::fs::read(&console).ok()?;
            let written = String::from_utf8_lossy(&written).into_owned();
            let up = written.rfind("drover-guest: ready")?;
            let down = written.rfind("drover-guest: powering off").unwrap_or(0);
            (up > down).then_some(())
        })
        .unwrap_or_else(|error| {
            let written = std::fs::read(&console).unwrap_or_default();
            let shown = written.len().saturating_sub(4000);
            panic!(
                "{error}; its console: {}\n{}",
                String::from_utf8_lossy(&written[shown..]),
                self.fleet.processors(&self.server)
            )
        });
    }
}

pub(crate) fn every_attribute_is_found_and_healed(fleet: &Fleet<'_>) {
    fleet.configure(&[], &declared("off"));
    fleet.apply();
    let server = fleet.server(ADDRESS);
    let host = fleet.host(&server.host);
    let altered = Altered { fleet, host, server };
    // Another path of the emulator, and a disk to be attached.
    host.run(
        "ln",
        ["-s", "/usr/bin/qemu-system-x86_64", "/run/qemu-system-x86_64"],
    )
    .expect("a link can be made");
    let disk = "/var/lib/libvirt/images/second.raw";
    host.run("truncate", ["-s", "1M", disk])
        .expect("a file can be made");
    altered.walk(&definition_rows(&altered.spec(), disk), "persistent", &[]);
    fleet.expect_no_changes();

    fleet.configure(&[], &declared("on"));
    fleet.apply();
    wait_state(host, &altered.server, Some("running"));
    fleet.wait_ready(ADDRESS, &altered.server);
    altered.walk(&running_rows(&altered.spec(), disk), "live", &[]);
    fleet.expect_no_changes();
}

/// The same of what a server with a place in NUMA cells has beside.
pub(crate) fn every_attribute_of_a_place_is_found_and_healed(fleet: &Fleet<'_>) {
    let pinned = |power: &str| {
        let ram = "  ram   = \"128MiB\"\n";
        let specs = format!("{ram}  extra_specs = {{ \"hw:cpu_policy\" = \"dedicated\" }}\n");
        declared(power).replacen(ram, &specs, 1)
    };
    fleet.configure_with(FILTERS, &[], &pinned("off"));
    fleet.apply();
    let server = fleet.server(ADDRESS);
    let host = fleet.host(&server.host);
    let altered = Altered { fleet, host, server };
    let plain = DomainSpec {
        place: GuestPlace::default(),
        ..altered.spec()
    };
    let others: Vec<String> = attributes(&plain).keys().map(ToString::to_string).collect();
    altered.walk(&place_rows("config"), "persistent", &others);
    fleet.expect_no_changes();

    fleet.configure_with(FILTERS, &[], &pinned("on"));
    fleet.apply();
    wait_state(host, &altered.server, Some("running"));
    altered.wait_boot();
    fleet.wait_ready(ADDRESS, &altered.server);
    altered.walk(&place_rows("live"), "live", &others);
    fleet.expect_no_changes();
}
