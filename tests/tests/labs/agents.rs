//! Real agents on real hosts, seen through the planner's own eyes: what a host reports, and how each
//! way of not reporting is told from the others.

use std::collections::BTreeMap;

use drover::agents::Agents;
use drover_core::model::{
    CachedImage, CpuFacts, Endpoint, GuestKind, HostFacts, HostInventory, HostObservation, ObservedDomain,
    ObservedFleet, Reserved, UnobservedReason,
};
use drover_proto::transport::{CredentialFiles, Credentials, Timeouts};
use drover_tests::lab::{Etcd, Host, Lab, Store, TlsFiles, WAIT_LONG, poll_until};
use drover_types::{
    Architecture, CpuMetric, FencingToken, HostName, HypervisorType, MetricName, PowerState, RequestId,
    Sha256Digest,
};
use nix::sys::signal::Signal;

fn start(hosts: u8) -> Lab {
    let lab = Lab::builder().hosts(hosts).etcd(Etcd::None).start();
    let lab = lab.unwrap_or_else(|error| panic!("{}", chain(&error)));
    lab.start_agents()
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    lab
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn name(host: &str) -> HostName {
    host.parse().expect("the lab's names are host names")
}

/// Where every host's agent is.
fn endpoints(lab: &Lab) -> BTreeMap<HostName, Endpoint> {
    let hosts = lab.hosts().iter();
    hosts
        .map(|host| {
            (
                name(host.name()),
                host.agent_address()
                    .to_string()
                    .parse()
                    .expect("an address is an endpoint"),
            )
        })
        .collect()
}

/// Asks the agents as `drover` does, from the client's network.
fn observe(lab: &Lab, files: &TlsFiles, endpoints: BTreeMap<HostName, Endpoint>) -> ObservedFleet {
    let TlsFiles {
        ca_file,
        cert_file,
        key_file,
    } = files.clone();
    let files = CredentialFiles {
        ca_file,
        cert_file,
        key_file,
    };
    let credentials = Credentials::load(&files).expect("drover pki writes what drover reads");
    let request = RequestId::from_uuid(uuid::Uuid::nil());
    let fleet = credentials.identity().fleet.clone();
    let work = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(async {
            let agents = Agents::new(fleet, credentials.into(), Timeouts::default(), request, endpoints);
            agents.observe(&BTreeMap::new()).await
        })
    };
    lab.client()
        .inside_network(work)
        .expect("the client's network is there")
}

fn look(lab: &Lab) -> ObservedFleet {
    observe(
        lab,
        &lab.operator().expect("the lab has an operator"),
        endpoints(lab),
    )
}

fn reported<'a>(fleet: &'a ObservedFleet, host: &str) -> &'a HostInventory {
    match &fleet[&name(host)] {
        HostObservation::Reported(inventory) => inventory,
        HostObservation::Unobserved(reason) => panic!("{host} is not observed: {reason:?}"),
    }
}

fn unobserved<'a>(fleet: &'a ObservedFleet, host: &str) -> &'a UnobservedReason {
    match &fleet[&name(host)] {
        HostObservation::Reported(inventory) => panic!("{host} is observed: {inventory:?}"),
        HostObservation::Unobserved(reason) => reason,
    }
}

#[test]
fn every_host_reports_itself_as_virsh_does() {
    let lab = start(2);
    let (n1, n2) = (lab.host("n1"), lab.host("n2"));
    assert_eq!(
        n1.listening_tcp_ports().unwrap(),
        [7443],
        "libvirtd listens on no network"
    );
    // A host that keeps something back.
    n2.stop_agent().unwrap();
    let config = std::fs::read_to_string(n2.agent_config()).unwrap();
    let kept = "reserved {\n  vcpus  = 1\n  memory = \"256MiB\"\n  disk   = \"1GiB\"\n}\n";
    std::fs::write(n2.agent_config(), format!("{config}\n{kept}")).unwrap();
    n2.start_agent().unwrap();

    let fleet = look(&lab);
    let nothing = Reserved::default();
    let kept = Reserved {
        vcpus: 1,
        ram_mib: 256,
        disk_mib: 1024,
    };
    let first = reported(&fleet, "n1");
    let second = reported(&fleet, "n2");
    assert_ne!(first.incarnation, second.incarnation);
    for (host, inventory, reserved) in [(n1, first, nothing), (n2, second, kept)] {
        // Taken apart field by field: a new one does not build until it is compared here.
        let HostInventory {
            host: name_,
            agent_version,
            capabilities,
            incarnation: _,
            token,
            facts,
            domains,
            held_without_domain,
            images,
            operations,
            metrics,
        } = inventory;
        assert_eq!(*name_, name(host.name()));
        assert_eq!(agent_version, env!("CARGO_PKG_VERSION"));
        let known = [
            "live-migration",
            "cold-migration",
            "adopt",
            "import",
            "console-follow",
        ];
        assert_eq!(*capabilities, known);
        assert_eq!(*token, FencingToken::new(0), "nobody has applied");
        assert_eq!((domains.len(), held_without_domain.len()), (0, 0));
        assert_eq!((images.len(), operations.len()), (0, 0));
        compare_facts(host, facts, reserved);
        // Taken after the inventory.
        let counters = host.virsh(&["nodecpustats"]).expect("virsh answers");
        for (metric, label) in [
            (CpuMetric::UserTime, "user:"),
            (CpuMetric::KernelTime, "system:"),
            (CpuMetric::IdleTime, "idle:"),
        ] {
            let (before, now) = (
                metrics[&MetricName::from(metric)].get(),
                number(&labelled(&counters, label)),
            );
            assert!(
                0.0 < before && before <= now as f64,
                "{metric}: {before}, then {now}"
            );
        }
    }
    // Shares are known once there was a second between two looks.
    for host in ["n1", "n2"] {
        let busy = poll_until("a share of the processors' time", WAIT_LONG, || {
            let fleet = look(&lab);
            let share = reported(&fleet, host)
                .metrics
                .get(&MetricName::from(CpuMetric::Percent));
            share.map(|share| share.get())
        });
        let busy = busy.unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert!((0.0..=100.0).contains(&busy), "{host} is busy to {busy} percent");
    }
}

/// The values that an XPath selects in what virsh prints, sorted.
fn select(host: &Host, document: &[&str], xpath: &str) -> Vec<String> {
    let arguments: Vec<&str> = document.iter().copied().chain(["--xpath", xpath]).collect();
    // Nothing selected is an error to virsh.
    let text = host.virsh(&arguments).unwrap_or_default();
    let value = |line: &str| {
        let line = line.trim();
        let quoted = line
            .split_once("=\"")
            .map(|(_, value)| value.trim_end_matches('"'));
        quoted.unwrap_or(line).to_owned()
    };
    let mut values: Vec<String> = text
        .lines()
        .map(value)
        .filter(|value| !value.is_empty())
        .collect();
    values.sort();
    values
}

/// What follows a label in what virsh prints, up to the first space.
fn labelled(text: &str, label: &str) -> String {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(label));
    let value = line.unwrap_or_else(|| panic!("no {label} in {text}")).trim();
    value.split(' ').next().unwrap_or_default().to_owned()
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// "11.3.0" as libvirt's number.
fn version_number(text: &str) -> u64 {
    let parts: Vec<u64> = text.split('.').map(number).collect();
    parts.iter().fold(0, |number, part| number * 1000 + part)
}

fn compare_facts(host: &Host, facts: &HostFacts, reserved: Reserved) {
    let HostFacts {
        hostname,
        vcpus,
        ram_mib,
        disk_mib,
        disk_free_mib,
        image_cache_mib,
        reserved: found_reserved,
        cpu,
        hypervisor_type,
        hypervisor_version,
        libvirt_version,
        virt_type,
        supported_guests,
        machine_types,
        cells,
        pci_devices,
    } = facts;
    assert_eq!(pci_devices, &[], "the agent's settings give none away");
    let virsh = |arguments: &[&str]| host.virsh(arguments).expect("virsh answers");
    assert_eq!(hostname, virsh(&["hostname"]).trim());
    let node = virsh(&["nodeinfo"]);
    assert_eq!(vcpus.to_string(), labelled(&node, "CPU(s):"));
    let kib = number(&labelled(&node, "Memory size:"));
    assert_eq!(*ram_mib, kib / 1024);
    let data = "/var/lib/libvirt/drover";
    let disk = host
        .run("stat", ["--file-system", "--format", "%b %a %S", data])
        .expect("stat looks");
    let [blocks, free, size]: [u64; 3] = disk
        .split_whitespace()
        .map(number)
        .collect::<Vec<_>>()
        .try_into()
        .expect("three numbers were asked for");
    assert_eq!(*disk_mib, (blocks * size) >> 20);
    // Others write on it too.
    assert!(
        disk_free_mib.abs_diff((free * size) >> 20) < 4096,
        "{disk_free_mib} {disk}"
    );
    assert_eq!((*image_cache_mib, *found_reserved), (0, reserved));

    let CpuFacts {
        arch,
        model,
        vendor,
        features,
        topology,
        usable_models,
    } = cpu;
    let of_host = |part: &str| select(host, &["capabilities"], &format!("/capabilities/host/cpu/{part}"));
    let texts = |text: &str| {
        if text.is_empty() {
            Vec::new()
        } else {
            vec![text.to_owned()]
        }
    };
    assert_eq!(texts(arch), of_host("arch/text()"));
    assert_eq!(texts(model), of_host("model/text()"));
    assert_eq!(texts(vendor), of_host("vendor/text()"));
    assert_eq!(*features, of_host("feature/@name"));
    let [sockets, cores, threads] = topology.map(|number| number.to_string());
    let nodes = number(&labelled(&node, "NUMA cell(s):"));
    let per_node = number(&labelled(&node, "CPU socket(s):"));
    assert_eq!(sockets, (nodes * per_node).to_string());
    assert_eq!(cores, labelled(&node, "Core(s) per socket:"));
    assert_eq!(threads, labelled(&node, "Thread(s) per core:"));
    assert_eq!(
        *virt_type,
        HypervisorType::Qemu,
        "the lab pins software emulation"
    );
    let emulated = ["domcapabilities", "--virttype", "qemu", "--arch", arch];
    let usable = "/domainCapabilities/cpu/mode[@name='custom']/model[@usable='yes']/text()";
    assert_eq!(*usable_models, select(host, &emulated, usable));

    let version = virsh(&["version", "--daemon"]);
    assert_eq!(hypervisor_type, "QEMU");
    assert_eq!(
        *hypervisor_version,
        version_number(&labelled(&version, "Running hypervisor: QEMU"))
    );
    assert_eq!(
        *libvirt_version,
        version_number(&labelled(&version, "Running against daemon:"))
    );

    let mut expected = Vec::new();
    for architecture in Architecture::ALL {
        let guest = format!("/capabilities/guest[os_type='hvm']/arch[@name='{architecture}']");
        for kind in select(host, &["capabilities"], &format!("{guest}/domain/@type")) {
            expected.push(GuestKind {
                arch: architecture.to_string(),
                hypervisor_type: kind,
                vm_mode: "hvm".to_owned(),
            });
        }
    }
    expected.sort();
    let mut found = supported_guests.clone();
    found.sort();
    assert_eq!(found, expected);
    let machines = format!("/capabilities/guest[os_type='hvm']/arch[@name='{arch}']/machine/text()");
    let mut found = machine_types.clone();
    found.sort();
    assert_eq!(found, select(host, &["capabilities"], &machines));

    let of_cells = |part: &str| {
        select(
            host,
            &["capabilities"],
            &format!("/capabilities/host/topology/cells/cell/{part}"),
        )
    };
    let numbers = |numbers: &mut dyn Iterator<Item = u64>| -> Vec<String> {
        let mut numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
        numbers.sort();
        numbers
    };
    assert_eq!(
        numbers(&mut cells.iter().map(|cell| u64::from(cell.id))),
        of_cells("@id")
    );
    let cpus = cells.iter().flat_map(|cell| &cell.cpus);
    assert_eq!(
        numbers(&mut cpus.map(|cpu| u64::from(*cpu))),
        of_cells("cpus/cpu/@id")
    );
    let sizes = cells.iter().flat_map(|cell| &cell.pages);
    assert_eq!(
        numbers(&mut sizes.map(|pages| pages.size_kib)),
        of_cells("pages/@size")
    );
}

/// What virsh says of a domain: its state and the reason.
fn domstate(host: &Host, uuid: &str) -> (String, String) {
    let text = host
        .virsh(&["domstate", "--reason", uuid])
        .expect("virsh answers");
    let (state, reason) = text.trim().split_once(" (").expect("a state and its reason");
    (state.to_owned(), reason.trim_end_matches(')').to_owned())
}

#[test]
fn every_domain_is_reported_as_virsh_shows_it_foreign_ones_too() {
    let lab = start(1);
    let n1 = lab.host("n1");
    let workspace = lab.workspace("fleet").unwrap();
    let server = "flavor \"tiny\" {\n  vcpus = 1\n  ram   = \"128MiB\"\n  disk  = \"64MiB\"\n}\n\n\
                  server \"one\" {\n  flavor = flavor.tiny\n  image  = image.guest\n}\n";
    let text = [
        lab.drover_block(Store::Local),
        lab.host_block("n1", ""),
        lab.image_block("guest").unwrap(),
        server.to_owned(),
    ];
    workspace.write("main.hcl", &text.join("\n")).unwrap();
    workspace.expect(0, &["apply", "--auto-approve"]);
    let running = lab.start_plain_guest(n1, "foreign").unwrap();
    let paused = lab.start_plain_guest(n1, "standing").unwrap();
    n1.virsh(&["suspend", &paused.uuid]).unwrap();
    let ended = lab.start_plain_guest(n1, "ended").unwrap();
    let xml = n1.virsh(&["dumpxml", &ended.uuid]).unwrap();
    let file = lab.directory().join("ended.xml");
    std::fs::write(&file, xml).unwrap();
    n1.virsh(&["define", &file.display().to_string()]).unwrap();
    n1.virsh(&["destroy", &ended.uuid]).unwrap();

    // One that libvirt is busy with at that moment is reported without the size of its disk.
    let fleet = poll_until("the disk of every domain", WAIT_LONG, || {
        let fleet = look(&lab);
        let domains = &reported(&fleet, "n1").domains;
        domains
            .values()
            .all(|domain| domain.disk_mib > 0)
            .then_some(fleet)
    });
    let fleet = fleet.unwrap_or_else(|error| panic!("{}", chain(&error)));
    let inventory = reported(&fleet, "n1");
    assert_eq!(inventory.domains.len(), 4);
    for (uuid, domain) in &inventory.domains {
        let id = uuid.to_string();
        // Taken apart field by field: a new one does not build until it is compared here.
        let ObservedDomain {
            uuid: own,
            name: name_,
            power_state,
            reason,
            vcpus,
            ram_mib,
            disk_mib,
            persistent,
            mark,
            held_epoch,
            drift,
            migration,
            disks,
            arch,
            highest_epoch,
            cells,
            pci_devices,
        } = domain;
        assert!(pci_devices.is_empty(), "{name_} has none of the host's devices");
        assert_eq!(own, uuid);
        assert_eq!(name_, n1.virsh(&["domname", &id]).unwrap().trim());
        let (state, why) = domstate(n1, &id);
        let word = match power_state {
            PowerState::Shutdown => "shut off",
            other => other.as_str(),
        };
        assert_eq!((word, reason.as_str()), (state.as_str(), why.as_str()), "{name_}");
        let info = n1.virsh(&["dominfo", &id]).unwrap();
        assert_eq!(vcpus.to_string(), labelled(&info, "CPU(s):"));
        let kib: u64 = labelled(&info, "Max memory:").parse().unwrap();
        assert_eq!(*ram_mib, kib / 1024);
        assert_eq!(*persistent, labelled(&info, "Persistent:") == "yes", "{name_}");
        let block = n1.virsh(&["domblkinfo", &id, "vda"]).unwrap();
        let bytes: u64 = labelled(&block, "Capacity:").parse().unwrap();
        assert_eq!(*disk_mib, bytes >> 20, "{name_}");
        assert_eq!((drift.as_slice(), migration), (&[][..], &None));
        assert_eq!(cells, &[], "{name_} is bound to no cell");
        assert_eq!((arch.as_str(), highest_epoch), ("x86_64", held_epoch), "{name_}");
        let seen: Vec<(&str, &str, u64)> = disks
            .iter()
            .map(|disk| (disk.target.as_str(), disk.device.as_str(), disk.capacity_bytes))
            .collect();
        assert_eq!(seen, [("vda", "disk", bytes)], "{name_}");
        let ours = name_.starts_with("drover-one-");
        assert_eq!((mark.is_some(), held_epoch.is_some()), (ours, ours), "{name_}");
        if let Some(mark) = mark {
            assert_eq!(
                (mark.id.to_string(), mark.address.to_string()),
                (id, "server.one".to_owned())
            );
            assert_eq!(Some(mark.epoch), *held_epoch);
        }
    }
    let state = |guest: &str| inventory.domains[&guest.parse().unwrap()].power_state;
    assert_eq!(state(&running.uuid), PowerState::Running);
    assert_eq!(state(&paused.uuid), PowerState::Paused);
    assert_eq!(state(&ended.uuid), PowerState::Shutdown);

    let [image] = inventory.images.as_slice() else {
        panic!("one image is in the cache: {:?}", inventory.images);
    };
    let CachedImage {
        checksum,
        virtual_size,
        disk_size,
        used_by,
    } = image;
    let source = std::fs::read(lab.guest_image().unwrap()).unwrap();
    assert_eq!(*checksum, Sha256Digest::of(&source));
    let base = n1.agent_data().join("images/base").join(checksum.hex());
    let meta = std::fs::metadata(&base).unwrap();
    assert_eq!(*virtual_size, meta.len());
    assert_eq!(*disk_size, std::os::unix::fs::MetadataExt::blocks(&meta) * 512);
    assert_eq!(
        (*used_by, inventory.facts.image_cache_mib),
        (1, disk_size.div_ceil(1 << 20))
    );
}

#[test]
fn each_way_of_not_answering_has_its_own_reason() {
    let lab = start(2);
    let n1 = lab.host("n1");
    let incarnation = reported(&look(&lab), "n1").incarnation;

    // Killed, and started again on the same log.
    n1.kill_agent().unwrap();
    let fleet = look(&lab);
    assert!(
        matches!(unobserved(&fleet, "n1"), UnobservedReason::Unreachable(_)),
        "{fleet:?}"
    );
    reported(&fleet, "n2");
    n1.start_agent().unwrap();
    assert_eq!(reported(&look(&lab), "n1").incarnation, incarnation);

    // Cut off.
    lab.cut("client", "n1").unwrap();
    let fleet = look(&lab);
    assert!(
        matches!(unobserved(&fleet, "n1"), UnobservedReason::Unreachable(_)),
        "{fleet:?}"
    );
    lab.heal().unwrap();

    // Alive, but without its libvirt; it finds the next one by itself.
    n1.kill_libvirtd().unwrap();
    let fleet = look(&lab);
    assert!(
        matches!(unobserved(&fleet, "n1"), UnobservedReason::Unwell(_)),
        "{fleet:?}"
    );
    n1.start_libvirtd().unwrap();
    poll_until("an inventory with the new libvirtd", WAIT_LONG, || {
        look(&lab)[&name("n1")].inventory().map(drop)
    })
    .unwrap();

    // Somebody else's certificate, and another host at the address.
    let stranger = lab
        .another_pki("other-pki", "lab")
        .unwrap()
        .issue("operator", "eve")
        .unwrap();
    let fleet = observe(&lab, &stranger, endpoints(&lab));
    assert!(
        matches!(unobserved(&fleet, "n1"), UnobservedReason::Untrusted(_)),
        "{fleet:?}"
    );
    let mut swapped = endpoints(&lab);
    let n2_address = swapped[&name("n2")].clone();
    swapped.insert(name("n1"), n2_address);
    let fleet = observe(&lab, &lab.operator().unwrap(), swapped);
    assert!(
        matches!(unobserved(&fleet, "n1"), UnobservedReason::Untrusted(_)),
        "{fleet:?}"
    );
    reported(&fleet, "n2");
}

#[test]
fn an_agent_asked_to_end_leaves_guests_running() {
    let lab = start(1);
    let n1 = lab.host("n1");
    let guest = lab.start_plain_guest(n1, "left").unwrap();
    n1.stop_agent().unwrap();
    assert_eq!(n1.domain_state(&guest.uuid).unwrap().as_deref(), Some("running"));
    assert_eq!(n1.listening_tcp_ports().unwrap(), Vec::<u16>::new());

    // Frozen is neither dead nor answering.
    n1.start_agent().unwrap();
    n1.kill("agent", Signal::SIGSTOP).unwrap();
    let fleet = look(&lab);
    assert!(
        matches!(unobserved(&fleet, "n1"), UnobservedReason::Unreachable(_)),
        "{fleet:?}"
    );
    n1.kill("agent", Signal::SIGCONT).unwrap();
    reported(&look(&lab), "n1");
}
