//! Servers that go where hosts are least busy: what agents measure, through plans, inventory files and scenarios.

use crate::fake_hosts::{FakeHost, Fleet};
use drover_agent_core::inventory::{CpuSample, CpuTimes};
use serde_json::json;

const SECOND: u64 = 1_000_000_000;

const WEB: &str = r#"
server "web" {
  flavor = flavor.small
  image  = image.guest
}
"#;

/// What a host's four processors did in an hour and a minute, of which in user space so many seconds; in the hour alone
/// where nothing is said of the minute.
fn did(host: &FakeHost, busy_seconds: Option<u64>) {
    let mut times = CpuTimes {
        user_ns: 400 * SECOND,
        kernel_ns: 200 * SECOND,
        idle_ns: 13_700 * SECOND,
        iowait_ns: 100 * SECOND,
    };
    if let Some(busy_seconds) = busy_seconds {
        times.user_ns += busy_seconds * SECOND;
        times.idle_ns += (4 * 60 - busy_seconds) * SECOND;
    }
    host.hypervisor.set_cpu(CpuSample {
        frequency_mhz: 2400,
        processors: 4,
        times,
    });
}

/// Two alike hosts, of which the first was busy for 60 % and the second for 10 % of the last minute.
fn fleet() -> Fleet {
    let fleet = Fleet::start(&[4096, 4096]);
    fleet.write("web.hcl", WEB);
    for host in &fleet.hosts {
        did(host, None);
    }
    // What later samples are compared with.
    fleet.drover(&["host", "inventory"]).exits(0);
    did(&fleet.hosts[0], Some(144));
    did(&fleet.hosts[1], Some(24));
    fleet
}

fn scheduler(fleet: &Fleet, settings: &str) {
    let name = "  fleet = \"test\"\n";
    let block = format!("{name}  scheduler {{\n{settings}\n  }}\n");
    fleet.write("drover.hcl", &fleet.base().replacen(name, &block, 1));
}

const LEAST_BUSY: &str = "    weights = { metrics = 1.0 }\n    metrics {\n      weight_setting = { \"cpu.percent\" = -1.0 }\n    }";

#[test]
fn the_least_busy_host_is_chosen_and_the_weights_are_explained() {
    let fleet = fleet();
    fleet.drover(&["plan"]).exits(0).says("created on n1");
    scheduler(&fleet, LEAST_BUSY);
    fleet
        .drover(&["plan", "--explain"])
        .exits(0)
        .says("created on n2")
        .says("n1  passes, weight 0 (metrics -60: 0)")
        .says("n2  passes, weight 1 (metrics -10: 1) <- chosen");

    // The same from what was saved, whatever is measured by then.
    fleet
        .drover(&["host", "inventory", "--out", "fleet.json"])
        .exits(0);
    did(&fleet.hosts[0], Some(0));
    did(&fleet.hosts[1], Some(240));
    fleet.drover(&["plan"]).exits(0).says("created on n1");
    fleet
        .drover(&["plan", "--inventory", "fleet.json"])
        .exits(0)
        .says("created on n2");

    // Where it is, it stays, however busy that host becomes.
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    did(&fleet.hosts[0], Some(240));
    did(&fleet.hosts[1], Some(0));
    fleet
        .drover(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("No changes.");
    fleet.drover(&["drift"]).exits(0);
}

#[test]
fn a_host_that_measures_nothing_gets_no_server_where_metrics_are_required() {
    let fleet = Fleet::start(&[4096]);
    fleet.write("web.hcl", WEB);
    scheduler(&fleet, LEAST_BUSY);
    fleet
        .drover(&["plan"])
        .exits(1)
        .says("n1 MetricsFilter: does not measure cpu.percent");
    let lax = LEAST_BUSY.replacen("    metrics {\n", "    metrics {\n      required = false\n", 1);
    scheduler(&fleet, &lax);
    fleet.drover(&["plan"]).exits(0).says("created on n1");
    scheduler(&fleet, &LEAST_BUSY.replacen("cpu.percent", "cpu.percents", 1));
    fleet
        .drover(&["validate"])
        .exits(1)
        .says("there is no metric \"cpu.percents\"; hosts measure cpu.frequency,")
        .says("did you mean \"cpu.percent\"?");
}

#[test]
fn an_exported_fleet_has_what_hosts_measure() {
    let fleet = fleet();
    scheduler(&fleet, LEAST_BUSY);
    fleet
        .drover(&["scheduler", "export", "--out", "scenario.json"])
        .exits(0);
    let exported = fleet.drover(&["scheduler", "export"]).exits(0).json();
    assert_eq!(exported["hosts"][0]["metrics"]["cpu.percent"], json!(60.0));
    assert_eq!(exported["hosts"][1]["metrics"]["cpu.percent"], json!(10.0));
    assert_eq!(exported["hosts"][1]["metrics"]["cpu.frequency"], json!(2400.0));
    assert_eq!(
        exported["config"]["metrics"],
        json!({"weight_setting": {"cpu.percent": -1.0}, "weight_of_unavailable": -10000.0})
    );
    let placed = fleet
        .drover(&["scheduler", "simulate", "scenario.json", "--batch", "--json"])
        .exits(0)
        .json();
    assert_eq!(placed[0]["chosen"], "n2", "{placed}");
}

/// Hosts of tests are idle, so that what needs metrics can be tested.
#[test]
fn imagined_hosts_measure_as_idle_ones_do() {
    let fleet = Fleet::start(&[4096]);
    fleet.write("web.hcl", WEB);
    scheduler(&fleet, LEAST_BUSY);
    fleet.write(
        "web.drovertest.hcl",
        "host \"n1\" {\n  vcpus = 4\n  ram   = \"4GiB\"\n  disk  = \"20GiB\"\n}\nrun \"fits\" {\n  assert {\n    \
         condition     = server.web.host == \"n1\"\n    error_message = \"elsewhere\"\n  }\n}\n",
    );
    fleet.drover(&["test"]).exits(0);
}
