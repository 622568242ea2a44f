//! Servers that ask for PCI devices of their host, on hosts with three cards of one kind and a network card.

use crate::fake_hosts::{FakeHost, Fleet};

use drover_agent::hypervisor::Hypervisor as _;
use drover_agent_core::domain::found_devices;
use drover_agent_core::inventory::PciRule;
use drover_types::ServerId;

/// As libvirt describes a device.
fn device(bus: u32, product: &str) -> String {
    format!(
        "<device><name>pci_0000_0{bus}_00_0</name><capability type='pci'><class>0x030200</class><domain>0</domain>\
         <bus>{bus}</bus><slot>0</slot><function>0</function><product id='0x{product}'>a card</product>\
         <vendor id='0x10de'>a maker</vendor></capability></device>"
    )
}

const SETTINGS: &str = r#"
  scheduler {
    filters = ["RamFilter", "DiskFilter", "ComputeFilter", "PciPassthroughFilter"]
    pci_alias "gpu" {
      vendor_id  = "10de"
      product_id = "1eb8"
    }
    pci_alias "nic" {
      vendor_id  = "10de"
      product_id = "a2d6"
    }
  }
"#;

/// Hosts with these cards, by bus and product, of which servers may have those of the maker.
fn fleet(hosts: &[&[(u32, &str)]]) -> Fleet {
    let mut fleet = Fleet::start(&vec![4096; hosts.len()]);
    for (host, cards) in fleet.hosts.iter_mut().zip(hosts) {
        host.stop();
        let cards = cards.iter().map(|(bus, product)| device(*bus, product));
        host.hypervisor.set_pci_devices(cards.collect());
        host.config.pci_devices = vec![PciRule {
            vendor_id: Some("10de".parse().expect("an id")),
            ..PciRule::default()
        }];
        host.start();
    }
    let name = fleet.base();
    let at = name.find("}\n").expect("the drover block ends");
    fleet.write("drover.hcl", &format!("{}{SETTINGS}{}", &name[..at], &name[at..]));
    fleet
}

const FOUR: &[(u32, &str)] = &[(1, "1eb8"), (2, "1eb8"), (3, "1eb8"), (9, "a2d6")];

fn asking(count: usize, alias: &str) -> String {
    format!(
        r#"
flavor "card" {{
  vcpus       = 1
  ram         = "512MiB"
  disk        = "8MiB"
  extra_specs = {{ "pci_passthrough:alias" = "{alias}" }}
}}
server "job" {{
  count  = {count}
  flavor = flavor.card
  image  = image.guest
}}
"#
    )
}

/// The devices of each server on a host.
fn given(host: &FakeHost) -> Vec<Vec<String>> {
    let domains = host.hypervisor.all().into_iter();
    domains
        .filter(|domain| domain.name.starts_with("drover-"))
        .map(|domain| {
            let xml = domain.persistent_xml.expect("it is defined");
            let devices = found_devices(&xml).expect("a domain's XML");
            devices.iter().map(ToString::to_string).collect()
        })
        .collect()
}

fn is_settled(fleet: &Fleet) {
    fleet
        .drover(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("No changes.");
}

#[test]
fn each_server_has_devices_of_its_own_and_what_does_not_fit_is_explained() {
    let fleet = fleet(&[FOUR, &FOUR[..2]]);
    fleet.write("job.hcl", &asking(2, "gpu:2"));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let devices: Vec<Vec<String>> = fleet.hosts.iter().flat_map(given).collect();
    let two = ["0000:01:00.0", "0000:02:00.0"].map(str::to_owned).to_vec();
    assert_eq!(devices, [two.clone(), two], "the lowest of each host");
    is_settled(&fleet);

    fleet.write("job.hcl", &asking(3, "gpu:2"));
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("server.job[2] cannot be created")
        .says("n1 PciPassthroughFilter: wants 2 of gpu, 1 free")
        .says("n2 PciPassthroughFilter: wants 2 of gpu, 0 free");
    // As a scenario: what is free, what the names mean, and the same answer.
    let exported = fleet.drover(&["scheduler", "export"]).exits(0).json();
    let free = |host: usize| &exported["hosts"][host]["pci_devices"][0]["count"];
    assert_eq!(
        (free(0).as_u64(), free(1).as_u64()),
        (Some(1), Some(0)),
        "{exported}"
    );
    assert_eq!(exported["config"]["pci_aliases"][0]["name"], "gpu");
    fleet.write("scenario.json", &exported.to_string());
    let decided = fleet
        .drover(&["scheduler", "simulate", "scenario.json", "--json"])
        .exits(0)
        .json();
    assert!(decided.to_string().contains("PciPassthroughFilter"), "{decided}");
    fleet
        .drover(&["capacity", "--flavor", "flavor.card"])
        .exits(0)
        .says("PciPassthroughFilter");
    // One that leaves makes room for one that comes, in one plan.
    let other = asking(1, "gpu:2").replace("\"job\"", "\"other\"");
    let other = &other[other.find("server").expect("a server")..];
    fleet.write("job.hcl", &format!("{}{other}", asking(1, "gpu:2")));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    is_settled(&fleet);
}

#[test]
fn a_server_keeps_its_devices_until_it_asks_for_others() {
    let fleet = fleet(&[FOUR]);
    let asks = |alias: &str| fleet.write("job.hcl", &asking(1, alias));
    let has = || given(&fleet.hosts[0]).remove(0);
    asks("gpu");
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    assert_eq!(has(), ["0000:01:00.0"]);
    asks("gpu:2,nic");
    fleet
        .drover(&["plan"])
        .exits(0)
        .says("its PCI devices changed")
        .says("reboots the guest");
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    assert_eq!(has(), ["0000:01:00.0", "0000:02:00.0", "0000:09:00.0"]);
    is_settled(&fleet);
    asks("nic");
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    assert_eq!(has(), ["0000:09:00.0"]);
    is_settled(&fleet);
}

#[test]
fn a_card_that_somebody_took_meanwhile_sends_the_server_to_the_next_host() {
    let fleet = fleet(&[&FOUR[..1], &FOUR[..1]]);
    fleet.write("job.hcl", &asking(1, "gpu"));
    fleet
        .drover(&["plan", "--out", "plan.bin"])
        .exits(0)
        .says("created on n1");
    let taken = "<domain><devices><hostdev mode='subsystem' type='pci'><source>\
                 <address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source></hostdev></devices></domain>";
    fleet.hosts[0].hypervisor.put(crate::numa::foreign(taken));
    fleet.drover(&["apply", "plan.bin"]).exits(0);
    assert_eq!(given(&fleet.hosts[0]), Vec::<Vec<String>>::new());
    assert_eq!(given(&fleet.hosts[1]), [["0000:01:00.0"]]);
    fleet.write("job.hcl", &asking(2, "gpu"));
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("n1 PciPassthroughFilter: wants 1 of gpu, 0 free");
}

#[test]
fn a_running_server_with_devices_stays_and_one_that_is_off_moves_with_its_disk() {
    let fleet = fleet(&[FOUR, &FOUR[1..2]]);
    let on = asking(1, "gpu");
    let off = on.replacen(
        "  image  = image.guest\n",
        "  image  = image.guest\n  power  = \"off\"\n",
        1,
    );
    fleet.write("job.hcl", &on);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let drained = std::fs::read_to_string(fleet.path("project/drover.hcl")).expect("written");
    let first = drained.find("host \"n1\" {\n").expect("n1 is declared") + "host \"n1\" {\n".len();
    fleet.write(
        "drover.hcl",
        &format!("{}  state = \"drain\"\n{}", &drained[..first], &drained[first..]),
    );
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("it has PCI devices of n1, and such a guest cannot be moved while it runs")
        .says("switch it off (power = \"off\")");
    fleet
        .drover(&["server", "migrate", "server.job[0]"])
        .exits(1)
        .says("PCI devices of n1");
    // Neither is it moved for the sake of others.
    fleet
        .drover(&["rebalance"])
        .exits(0)
        .says_nothing_of("server.job");
    fleet.write("job.hcl", &off);
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("switch it off (power = \"off\")");
    fleet.drover(&["apply", "--auto-approve"]).exits(5);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    assert_eq!(given(&fleet.hosts[0]), Vec::<Vec<String>>::new());
    assert_eq!(given(&fleet.hosts[1]), [["0000:02:00.0"]]);
    is_settled(&fleet);
}

#[test]
fn a_device_that_virsh_added_or_took_away_is_drift() {
    let fleet = fleet(&[FOUR]);
    fleet.write("job.hcl", &asking(1, "gpu"));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let mut domain = fleet.hosts[0].hypervisor.all().remove(0);
    let defined = domain.persistent_xml.expect("it is defined");
    domain.persistent_xml = Some(defined.replace("bus=\"0x01\"", "bus=\"0x03\""));
    fleet.hosts[0].hypervisor.put(domain);
    fleet
        .drover(&["plan"])
        .exits(0)
        .says("hostdev.0000:01:00.0")
        .says("hostdev.0000:03:00.0");
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    assert_eq!(given(&fleet.hosts[0]), [["0000:01:00.0"]]);
    is_settled(&fleet);
}

#[test]
fn what_cannot_be_had_is_an_error_and_never_placed_as_if_it_were_not_asked() {
    let fleet = fleet(&[FOUR]);
    fleet.write("job.hcl", &asking(1, "fpga"));
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("flavor.card asks for the PCI device \"fpga\", and no alias has that name")
        .says("add a pci_alias block of that name to the scheduler block");
    fleet.write("job.hcl", &asking(1, "gpu"));
    fleet.write("drover.hcl", &fleet.base());
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("asks for PCI devices (pci_passthrough:alias), which PciPassthroughFilter alone looks at")
        .says("add \"PciPassthroughFilter\" to filters in the scheduler block");
    // Hosts whose settings give nothing away have nothing.
    let closed = Fleet::start(&[4096]);
    let settings = self::fleet(&[FOUR]);
    let text = std::fs::read_to_string(settings.path("project/drover.hcl")).expect("written");
    let scheduler = &text[text.find("  scheduler").expect("set")..text.find("}\n\nhost").expect("hosts")];
    let base = closed.base();
    let at = base.find("}\n").expect("the drover block ends");
    closed.write(
        "drover.hcl",
        &format!("{}{scheduler}{}", &base[..at], &base[at..]),
    );
    closed.write("job.hcl", &asking(1, "gpu"));
    closed
        .drover(&["plan"])
        .exits(1)
        .says("n1 PciPassthroughFilter: wants 1 of gpu, 0 free");
}

#[test]
fn a_device_stays_with_its_server_whatever_else_is_asked_for_and_whoever_restarts() {
    let mut fleet = fleet(&[FOUR]);
    let one = |name: &str, alias: &str| {
        let text = asking(1, alias).replace("\"job\"", &format!("\"{name}\""));
        text.replace("flavor \"card\"", &format!("flavor \"{name}\""))
            .replace("flavor.card", &format!("flavor.{name}"))
    };
    fleet.write("job.hcl", &one("a", "gpu"));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet.write("job.hcl", &format!("{}{}", one("a", "gpu"), one("b", "gpu")));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet.write("job.hcl", &one("b", "gpu"));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    assert_eq!(given(&fleet.hosts[0]), [["0000:02:00.0"]]);
    // The name means another kind by now: nobody loses what it has by it.
    let settings = std::fs::read_to_string(fleet.path("project/drover.hcl")).expect("written");
    fleet.write("drover.hcl", &settings.replacen("1eb8", "ffff", 1));
    is_settled(&fleet);
    fleet.write("job.hcl", &one("b", "gpu").replace("512MiB", "600MiB"));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    assert_eq!(given(&fleet.hosts[0]), [["0000:02:00.0"]]);
    fleet.write("drover.hcl", &settings);
    is_settled(&fleet);
    // More of them, and others beside: its own is among them, with an agent that has just begun, too.
    fleet.hosts[0].stop();
    fleet.hosts[0].start();
    is_settled(&fleet);
    fleet.write("job.hcl", &one("b", "nic,gpu:2"));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    assert_eq!(
        given(&fleet.hosts[0]),
        [["0000:01:00.0", "0000:02:00.0", "0000:09:00.0"]]
    );
    is_settled(&fleet);
}

#[test]
fn a_server_found_on_another_host_keeps_the_device_that_it_has_there() {
    let fleet = fleet(&[FOUR, FOUR]);
    fleet.write("job.hcl", &asking(1, "gpu"));
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let from = usize::from(fleet.hosts[0].hypervisor.all().is_empty());
    let mut domain = fleet.hosts[from].hypervisor.all().remove(0);
    let server = ServerId::from_uuid(domain.uuid);
    fleet.hosts[from].hypervisor.end(server).expect("it ends");
    fleet.hosts[from].hypervisor.undefine(server).expect("it goes");
    for xml in [&mut domain.live_xml, &mut domain.persistent_xml] {
        let text = xml.as_ref().expect("it runs and is defined");
        *xml = Some(text.replace("bus=\"0x01\"", "bus=\"0x03\""));
    }
    fleet.hosts[1 - from].hypervisor.put(domain);
    fleet
        .drover(&["apply", "--auto-approve"])
        .exits(0)
        .says("server.job[0]");
    assert_eq!(given(&fleet.hosts[1 - from]), [["0000:03:00.0"]]);
    is_settled(&fleet);
}

/// It is the host's to keep it for the server, whose flavor does not ask for it.
#[test]
fn the_device_of_an_imported_server_is_nobody_elses_while_its_domain_is_lost() {
    let fleet = fleet(&[&FOUR[..1]]);
    let mut domain = crate::imports::domain("legacy", crate::imports::ID);
    let device = "<hostdev mode='subsystem' type='pci' managed='yes'><source>\
                  <address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source></hostdev></devices>";
    for xml in [&mut domain.live_xml, &mut domain.persistent_xml] {
        *xml = xml.as_ref().map(|xml| xml.replace("</devices>", device));
    }
    let host = &fleet.hosts[0].hypervisor;
    host.put(domain);
    let old = [crate::imports::SERVER, crate::imports::IMPORT].concat();
    fleet.write("old.hcl", &old);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    is_settled(&fleet);
    let server = ServerId::from_uuid(crate::imports::ID);
    host.end(server).expect("it ends");
    host.undefine(server).expect("it goes");
    fleet.write("job.hcl", &asking(1, "gpu"));
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("n1 PciPassthroughFilter: wants 1 of gpu, 0 free");
    fleet.write("job.hcl", "");
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let defined = host
        .definition(server)
        .expect("an answer")
        .expect("it is defined");
    assert!(defined.contains("bus='0x01'"), "{defined}");
    is_settled(&fleet);
}

#[test]
fn a_name_that_is_secret_stays_so_where_a_host_refuses() {
    let fleet = fleet(&[&FOUR[..1]]);
    let secret = "variable \"what\" {\n  default   = \"gpu\"\n  sensitive = true\n}\n";
    let job = asking(1, "gpu").replace("= \"gpu\"", "= var.what");
    fleet.write("job.hcl", &format!("{secret}{job}"));
    fleet
        .drover(&["plan", "--out", "plan.bin"])
        .exits(0)
        .says_nothing_of("gpu");
    let taken = "<domain><devices><hostdev mode='subsystem' type='pci'><source>\
                 <address domain='0x0000' bus='0x01' slot='0x00' function='0x0'/></source></hostdev></devices></domain>";
    fleet.hosts[0].hypervisor.put(crate::numa::foreign(taken));
    fleet
        .drover(&["apply", "plan.bin"])
        .exits(5)
        .says("1 of (sensitive value)")
        .says_nothing_of("gpu");
}
