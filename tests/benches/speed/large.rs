//! Whole plans of large fleets, from text to printed plan, with what the hosts report taken from a file: everything to
//! be created, and nothing to do. The reports are those of a host of the lab, under other names and with more room.

use crate::Failed;
use crate::fleet::Fleet;
use crate::table::{Allowed, Row, Times};
use drover_core::model::{
    CachedImage, DomainMark, FrozenGuest, HostInventory, HostObservation, HostRecord, ObservedDomain,
    ObservedFleet, Ownership, OwnershipState, PlainRecord, SavedInventory, ServerRecord, VmState,
};
use drover_core::plan::{ActionKind, Plan, RecordChange, decode};
use drover_core::record::{DOCUMENT_FORMAT, FORMAT, Layout, StateDocument, Write};
use drover_tests::lab::{FLEET, Store, Workspace};
use drover_types::{FencingToken, Generation, HostName, IncarnationId, PowerState, Sha256Digest};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::process::Stdio;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A fleet and what a plan of it may cost.
struct Size {
    servers: usize,
    hosts: usize,
    rounds: usize,
    time: Duration,
    memory: u64,
    /// Time and memory of the plan that creates all, then of the one that does nothing.
    lines: [&'static str; 4],
    /// That of the one beside the other.
    no_slower: &'static str,
}

const SIZES: [Size; 2] = [
    Size {
        servers: 10_000,
        hosts: 1_000,
        rounds: 5,
        time: Duration::from_millis(1_500),
        memory: 400 << 20,
        lines: [
            "plan of 10,000 new servers on 1,000 hosts",
            "its memory (10,000 new servers)",
            "plan of the same 10,000 with nothing to do",
            "its memory (10,000, nothing to do)",
        ],
        no_slower: "10,000 with nothing to do, beside 10,000 new",
    },
    Size {
        servers: 100_000,
        hosts: 10_000,
        rounds: 1,
        time: Duration::from_secs(15),
        memory: 3 << 30,
        lines: [
            "plan of 100,000 new servers on 10,000 hosts",
            "its memory (100,000 new servers)",
            "plan of the same 100,000 with nothing to do",
            "its memory (100,000, nothing to do)",
        ],
        no_slower: "100,000 with nothing to do, beside 100,000 new",
    },
];

pub(crate) fn measure(fleet: &Fleet<'_>) -> Result<Vec<Row>, Failed> {
    let template = template(fleet)?;
    let mut rows = Vec::new();
    for size in &SIZES {
        rows.extend(measure_size(fleet, size, &template)?);
    }
    Ok(rows)
}

fn measure_size(fleet: &Fleet<'_>, size: &Size, template: &HostInventory) -> Result<Vec<Row>, Failed> {
    let workspace = fleet.lab.workspace(&format!("large-{}", size.servers))?;
    workspace.write("main.hcl", &configuration(fleet, size)?)?;
    let empty: ObservedFleet = (0..size.hosts).map(|number| report(template, number)).collect();
    save(&workspace, "empty.json", empty.clone())?;
    let from_nothing = Taken::of(
        &workspace,
        size,
        &["plan", "--inventory", "empty.json"],
        "to create",
    )?;

    let planned = ["plan", "--inventory", "empty.json", "--out", "plan.bin"];
    done(&workspace, &planned)?;
    let bytes = std::fs::read(workspace.directory().join("plan.bin"))?;
    let plan = decode(&bytes, &FLEET.parse()?, &"default".parse()?)?;
    let (document, settled) = settle(&plan, empty);
    workspace.write("state.json", &serde_json::to_string(&document)?)?;
    save(&workspace, "settled.json", settled)?;
    done(&workspace, &["state", "push", "state.json"])?;
    let again = ["plan", "--inventory", "settled.json", "--detailed-exitcode"];
    let nothing = Taken::of(&workspace, size, &again, "No changes")?;

    let [creates, creates_memory, nothing_line, nothing_memory] = size.lines;
    let no_slower = Row::Ratio {
        what: size.no_slower,
        drover: nothing.times.clone(),
        raw: from_nothing.times.clone(),
        // For what else the machine does.
        allowed: Allowed {
            factor: 1.05,
            plus: Duration::ZERO,
        },
    };
    let mut rows = from_nothing.rows(size, creates, creates_memory);
    rows.extend(nothing.rows(size, nothing_line, nothing_memory));
    rows.push(no_slower);
    Ok(rows)
}

/// A host as a real agent reports it, without what it runs.
fn template(fleet: &Fleet<'_>) -> Result<HostInventory, Failed> {
    let path = fleet.workspace.directory().join("hosts.json");
    let file = path.display().to_string();
    fleet.drover(&["host", "inventory", "--out", &file])?;
    let saved = SavedInventory::decode(&std::fs::read(&path)?, &FLEET.parse()?)?;
    let reported = saved.hosts.values().find_map(HostObservation::inventory);
    let mut template = reported.ok_or("no host of the lab answered")?.clone();
    template.domains.clear();
    template.held_without_domain.clear();
    template.images.clear();
    template.operations.clear();
    template.facts.vcpus = 32;
    template.facts.ram_mib = 64 << 10;
    template.facts.disk_mib = 2 << 20;
    template.facts.disk_free_mib = 2 << 20;
    Ok(template)
}

fn name(number: usize) -> String {
    format!("n{number:05}")
}

fn report(template: &HostInventory, number: usize) -> (HostName, HostObservation) {
    let host: HostName = name(number).parse().expect("a host's name");
    let mut inventory = template.clone();
    inventory.host = host.clone();
    inventory.facts.hostname = host.to_string();
    inventory.incarnation = IncarnationId::from_uuid(Uuid::from_u128(number as u128 + 1));
    (host, HostObservation::Reported(Box::new(inventory)))
}

/// Hosts in five zones; servers of four flavors in blocks of a thousand, every fifth block in a zone.
fn configuration(fleet: &Fleet<'_>, size: &Size) -> Result<String, Failed> {
    let mut text = fleet.lab.drover_block(Store::Local) + &fleet.lab.image_block("guest")?;
    for number in 0..size.hosts {
        let (name, zone) = (name(number), number % 5);
        write!(
            text,
            "host \"{name}\" {{\n  address           = \"{name}.example:7443\"\n  availability_zone = \"z{zone}\"\n}}\n"
        )?;
    }
    for (number, ram) in ["512MiB", "1GiB", "2GiB", "4GiB"].iter().enumerate() {
        let vcpus = number + 1;
        write!(
            text,
            "flavor \"f{number}\" {{\n  vcpus = {vcpus}\n  ram   = \"{ram}\"\n  disk  = \"20GiB\"\n}}\n"
        )?;
    }
    for block in 0..size.servers / 1_000 {
        let (flavor, zone) = (block % 4, block % 5);
        let zone = if block % 5 == 4 {
            format!("  availability_zone = \"z{zone}\"\n")
        } else {
            String::new()
        };
        write!(
            text,
            "server \"s{block}\" {{\n  count  = 1000\n  flavor = flavor.f{flavor}\n  image  = image.guest\n{zone}}}\n"
        )?;
    }
    Ok(text)
}

fn save(workspace: &Workspace<'_>, file: &str, hosts: ObservedFleet) -> Result<(), Failed> {
    let saved = SavedInventory {
        fleet: FLEET.parse()?,
        taken: "2026-01-01T00:00:00Z".to_owned(),
        drover_version: env!("CARGO_PKG_VERSION").to_owned(),
        hosts,
    };
    std::fs::write(workspace.directory().join(file), saved.encode())?;
    Ok(())
}

fn done(workspace: &Workspace<'_>, arguments: &[&str]) -> Result<(), Failed> {
    let mut command = workspace.command(arguments);
    command.current_dir(workspace.directory());
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "drover {} ended with {}: {said}",
        arguments.join(" "),
        output.status
    )
    .into())
}

/// Times and the highest memory of one command.
struct Taken {
    times: Times,
    memory: u64,
}

impl Taken {
    /// Runs a command so many times; its output must say this.
    fn of(workspace: &Workspace<'_>, size: &Size, arguments: &[&str], says: &str) -> Result<Self, Failed> {
        let mut taken = Self {
            times: Times::default(),
            memory: 0,
        };
        for _ in 0..size.rounds {
            let path = workspace.directory().join("printed");
            let mut command = workspace.command(arguments);
            command
                .current_dir(workspace.directory())
                .stdin(Stdio::null())
                .stdout(File::create(&path)?)
                .stderr(Stdio::inherit());
            let begin = Instant::now();
            let mut child = command.spawn()?;
            let status = loop {
                // The mark only rises, and what is allocated in the last moments of a plan is little.
                if let Some(memory) = high_water(child.id()) {
                    taken.memory = taken.memory.max(memory);
                }
                if let Some(status) = child.try_wait()? {
                    break status;
                }
                std::thread::sleep(Duration::from_millis(2));
            };
            taken.times.push(begin.elapsed());
            let printed = std::fs::read_to_string(&path)?;
            if !status.success() || !printed.contains(says) {
                let shown = arguments.join(" ");
                return Err(format!("drover {shown} ended with {status} and did not say {says:?}").into());
            }
        }
        Ok(taken)
    }

    fn rows(self, size: &Size, time: &'static str, memory: &'static str) -> Vec<Row> {
        vec![
            Row::Time {
                what: time,
                times: self.times,
                limit: size.time,
            },
            Row::Size {
                what: memory,
                bytes: self.memory,
                limit: size.memory,
            },
        ]
    }
}

/// The most memory that a process has had, in bytes; none once it has ended.
fn high_water(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib << 10)
}

/// The records and reports after this plan was applied.
fn settle(plan: &Plan, mut observed: ObservedFleet) -> (StateDocument, ObservedFleet) {
    let layout = Layout::new(&plan.fleet, &plan.project);
    let generation = Generation::new(1);
    let mut writes = Vec::new();
    for action in &plan.actions {
        match &action.kind {
            ActionKind::Record(change) => {
                let address = &action.address;
                match change {
                    RecordChange::Host(Some((spec, incarnation))) => {
                        let text = address.to_string();
                        let host = text.trim_start_matches("host.").parse().expect("a host's name");
                        writes.push(layout.put_host(
                            &host,
                            &HostRecord {
                                format: FORMAT,
                                generation,
                                spec: spec.clone(),
                                incarnation: *incarnation,
                            },
                        ));
                    }
                    RecordChange::Flavor(Some(spec)) => {
                        writes.push(layout.put_plain(address, &plain(spec, generation)));
                    }
                    RecordChange::Image(Some(spec)) => {
                        writes.push(layout.put_plain(address, &plain(spec, generation)));
                    }
                    RecordChange::Host(None)
                    | RecordChange::Flavor(None)
                    | RecordChange::Image(None)
                    | RecordChange::Group(_)
                    | RecordChange::Aggregate(_) => unreachable!("this configuration has none"),
                }
            }
            ActionKind::CreateServer {
                order,
                spec,
                candidates,
                ..
            } => {
                let chosen = candidates.first().expect("a create has a host");
                let base = Sha256Digest::of(b"base");
                writes.push(layout.put_server(
                    &action.address,
                    &ServerRecord {
                        format: FORMAT,
                        id: order.id,
                        incarnation: 1,
                        generation: order.generation,
                        spec: (**spec).clone(),
                        host: Some(chosen.host.clone()),
                        imported_from: None,
                        frozen: Some(FrozenGuest {
                            machine: "pc-q35-10.0".to_owned(),
                            cpu_xml: "<cpu/>".to_owned(),
                            hypervisor_type: "qemu".to_owned(),
                            arch: "x86_64".to_owned(),
                            base_digest: base,
                        }),
                        vm_state: VmState::Active,
                        task: None,
                        tried: Vec::new(),
                    },
                ));
                let ownership = Ownership {
                    format: FORMAT,
                    host: chosen.host.clone(),
                    epoch: chosen.epoch,
                    burnt: chosen.epoch,
                    state: OwnershipState::Held,
                };
                writes.push(layout.put_ownership(order.id, &ownership));
                writes.push(layout.put_incarnation(&action.address, 1));
                let Some(HostObservation::Reported(inventory)) = observed.get_mut(&chosen.host) else {
                    unreachable!("{} reports", chosen.host);
                };
                inventory.images = vec![CachedImage {
                    checksum: spec.image_checksum().expect("it has an image"),
                    virtual_size: 64 << 20,
                    disk_size: 64 << 20,
                    used_by: 1,
                }];
                let domain = ObservedDomain {
                    uuid: order.id.uuid(),
                    name: spec.name.clone(),
                    power_state: PowerState::Running,
                    reason: "booted".to_owned(),
                    vcpus: spec.size.vcpus,
                    ram_mib: spec.size.ram.mib_ceil(),
                    disk_mib: spec.size.disk.mib_ceil(),
                    persistent: true,
                    mark: Some(DomainMark {
                        fleet: plan.fleet.clone(),
                        project: plan.project.clone(),
                        id: order.id,
                        address: action.address.clone(),
                        epoch: chosen.epoch,
                        generation: order.generation,
                    }),
                    held_epoch: Some(chosen.epoch),
                    drift: Vec::new(),
                    migration: None,
                    disks: Vec::new(),
                    arch: "x86_64".to_owned(),
                    highest_epoch: Some(chosen.epoch),
                    cells: Vec::new(),
                    pci_devices: BTreeSet::new(),
                };
                inventory.domains.insert(domain.uuid, domain);
            }
            ActionKind::EnsureImage { .. } => {}
            other => unreachable!("a plan from nothing does not {}", other.verb()),
        }
    }
    let document = StateDocument {
        format_version: DOCUMENT_FORMAT,
        drover_version: plan.drover_version.clone(),
        fleet: plan.fleet.clone(),
        project: plan.project.clone(),
        lineage: plan.parent.lineage,
        serial: 1,
        token: FencingToken::new(1),
        records: writes
            .into_iter()
            .map(|write| match write {
                Write::Put { key, value } => {
                    let key = key.as_str();
                    let key = key.strip_prefix(layout.root()).unwrap_or(key).to_owned();
                    (key, serde_json::from_slice(&value).expect("records are JSON"))
                }
                Write::Delete { key } => unreachable!("nothing is deleted at {key}"),
            })
            .collect::<BTreeMap<_, _>>(),
    };
    (document, observed)
}

fn plain<S: Clone>(spec: &S, generation: Generation) -> PlainRecord<S> {
    PlainRecord {
        format: FORMAT,
        generation,
        spec: spec.clone(),
    }
}
