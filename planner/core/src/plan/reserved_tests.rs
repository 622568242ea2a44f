//! What a host keeps back (its agent's `reserved` settings) is not there for servers: the numbers in the refusal.

use super::tests::plan;
use super::{BlockedBy, PlanOptions};
use crate::model::{HostObservation, RecordedFleet, Reserved};
use crate::testing::{address, desired, host, observed, with_hosts, with_server};
use drover_types::ByteSize;

/// Plans one server of this size on a host of 4 processors, 4 GiB and 100 GiB that keeps so much back; none
/// where it fits, else the refusal in words.
fn refusal(kept: Reserved, (vcpus, ram_mib, disk_gib): (u32, u64, u64)) -> Option<String> {
    let mut fleet = with_server(with_hosts(desired(), &["n1"]), "server.one", None);
    let one = fleet.servers.get_mut(&address("server.one")).expect("declared");
    one.spec.size.vcpus = vcpus;
    one.spec.size.ram = ByteSize::from_mib(ram_mib);
    one.spec.size.disk = ByteSize::from_gib(disk_gib);
    let mut hosts = observed(&["n1"]);
    if let Some(HostObservation::Reported(inventory)) = hosts.get_mut(&host("n1")) {
        inventory.facts.reserved = kept;
    }
    let plan = plan(&fleet, &RecordedFleet::empty(1), &hosts, &PlanOptions::default());
    match plan.blocked.as_slice() {
        [] => None,
        [blocked] => match &blocked.by {
            BlockedBy::NoHost { rejections, .. } => {
                assert_eq!(rejections.len(), 1, "{rejections:?}");
                Some(format!("{}: {}", rejections[0].filter, rejections[0].why))
            }
            other => panic!("blocked by {other:?}"),
        },
        more => panic!("one server, blocked {more:?}"),
    }
}

#[test]
fn what_a_host_keeps_back_is_not_there_for_servers() {
    let nothing = Reserved::default();
    let kept = Reserved {
        vcpus: 1,
        ram_mib: 1024,
        disk_mib: 10 << 10,
    };
    for (size, refused) in [
        ((4, 512, 1), "CoreFilter: wants 4, the whole host has 3"),
        ((1, 4096, 1), "RamFilter: wants 4 GiB, the whole host has 3 GiB"),
        (
            (1, 512, 100),
            "DiskFilter: wants 100 GiB, the whole host has 90 GiB",
        ),
    ] {
        assert_eq!(
            refusal(nothing, size),
            None,
            "{size:?} on a host that keeps nothing"
        );
        assert_eq!(refusal(kept, size).as_deref(), Some(refused), "{size:?}");
    }
    assert_eq!(refusal(kept, (3, 3072, 90)), None, "all that is left");
    let all = Reserved {
        vcpus: 9,
        ram_mib: 1 << 20,
        disk_mib: 1 << 20,
    };
    assert_eq!(
        refusal(all, (1, 512, 1)).as_deref(),
        Some("RamFilter: wants 512 MiB, the whole host has 0 MiB"),
        "more than there is leaves nothing, not a debt"
    );
}
