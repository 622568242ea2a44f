//! The main job on real parts: configuration, plan, apply; servers booted, kept apart, moved with all that
//! they are, found where somebody put them, and gone again. Every case runs on both stores.

mod apart;
mod asked;
mod attributes;
mod calls;
mod change;
mod dev;
mod drain;
mod drift;
mod fleet;
mod handover;
mod imports;
mod killed;
mod numa;
mod pci;
mod reboot;
mod strangers;

use drover_tests::lab::{Etcd, Lab, Store};
use fleet::Fleet;

/// The etcd that a fleet of this store has.
const fn etcd(store: Store) -> Etcd {
    match store {
        Store::Etcd => Etcd::Single,
        Store::Local => Etcd::None,
    }
}

fn start(hosts: u8, etcd: Etcd) -> Lab {
    let lab = Lab::builder().hosts(hosts).etcd(etcd).start();
    let lab = lab.unwrap_or_else(|error| panic!("{}", chain(&error)));
    lab.start_agents()
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    lab
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// These cases on the fleet of one lab, which is destroyed afterwards and leaves nothing.
fn on(hosts: u8, etcd: Etcd, cases: impl FnOnce(&Fleet<'_>)) {
    let store = match etcd {
        Etcd::None => Store::Local,
        Etcd::Single | Etcd::Three => Store::Etcd,
    };
    let lab = start(hosts, etcd);
    let fleet = Fleet::new(&lab, store);
    cases(&fleet);
    fleet.drover(0, &["destroy", "--auto-approve"]);
    fleet.expect_nothing_left();
}

/// One lab's life: bringing up hosts and booting guests takes most of the time, so the cases follow each
/// other on one fleet, each beginning where the one before left it.
fn a_fleet_from_nothing_to_nothing(store: Store) {
    let lab = start(3, etcd(store));
    let fleet = Fleet::new(&lab, store);
    apart::three_servers_land_on_three_hosts(&fleet);
    drain::a_drain_without_room_is_blocked(&fleet);
    drain::a_drain_moves_a_running_server(&fleet);
    asked::a_server_migrates_where_it_was_asked_to(&fleet);
    drift::a_domain_destroyed_outside_is_healed(&fleet);
    drift::a_server_migrated_outside_is_adopted(&fleet);
    drain::a_server_that_is_off_moves_cold(&fleet);
    apart::nothing_is_left_of_a_destroyed_fleet(&fleet);
}

#[test]
fn a_fleet_from_nothing_to_nothing_in_etcd() {
    a_fleet_from_nothing_to_nothing(Store::Etcd);
}

#[test]
fn a_fleet_from_nothing_to_nothing_in_the_embedded_store() {
    a_fleet_from_nothing_to_nothing(Store::Local);
}

fn hand_overs_that_break(store: Store) {
    on(3, etcd(store), |fleet| {
        handover::one_server_runs(fleet);
        handover::the_sources_libvirtd_dies_after_the_transfer(fleet);
        handover::the_agents_are_cut_after_the_release(fleet);
        handover::the_destinations_word_is_lost_after_the_release(fleet);
        handover::the_agents_are_cut_with_the_release_logged(fleet);
        killed::drover_is_killed_before_the_release(fleet);
        killed::drover_is_killed_during_the_copy(fleet);
    });
}

#[test]
fn hand_overs_that_break_in_etcd() {
    hand_overs_that_break(Store::Etcd);
}

#[test]
fn hand_overs_that_break_in_the_embedded_store() {
    hand_overs_that_break(Store::Local);
}

fn a_server_changes(fleet: &Fleet<'_>) {
    change::a_server_is_rebooted(fleet);
    change::a_server_is_resized(fleet);
    change::a_disk_grows_and_never_shrinks(fleet);
    change::a_server_is_rebuilt_only_where_that_is_allowed(fleet);
}

#[test]
fn a_server_changes_while_an_etcd_member_is_down() {
    on(1, Etcd::Three, |fleet| {
        let etcd = fleet.lab.etcd();
        etcd.stop_member(1).expect("a member can be killed");
        a_server_changes(fleet);
    });
}

#[test]
fn a_server_changes_in_the_embedded_store() {
    on(1, Etcd::None, a_server_changes);
}

#[test]
fn a_pinned_server_runs_on_its_processors_wherever_it_is() {
    let lab = start(2, Etcd::None);
    let fleet = Fleet::new(&lab, Store::Local);
    numa::a_pinned_server_boots_on_its_processor(&fleet);
    numa::a_drain_pins_it_on_the_other_host(&fleet);
    fleet.drover(0, &["destroy", "--auto-approve"]);
}

#[test]
fn a_pci_device_belongs_to_one_server_of_its_host() {
    let Some(device) = pci::some_device() else {
        eprintln!(
            "this machine has no PCI device; what fleets do with them is tested on described hosts alone"
        );
        return;
    };
    on(2, Etcd::None, |fleet| {
        pci::a_device_is_defined_counted_healed_and_taken_on_the_other_host(fleet, &device);
    });
}

#[test]
fn a_place_changed_by_virsh_is_found_and_healed() {
    on(
        1,
        Etcd::None,
        attributes::every_attribute_of_a_place_is_found_and_healed,
    );
}

#[test]
fn a_domain_changed_by_virsh_is_found_and_healed() {
    on(1, Etcd::None, attributes::every_attribute_is_found_and_healed);
}

#[test]
fn a_guest_of_virsh_becomes_a_server_and_notices_nothing() {
    let lab = start(1, Etcd::None);
    let fleet = Fleet::new(&lab, Store::Local);
    imports::a_running_guest_is_imported(&fleet);
    imports::it_is_stopped_and_started(&fleet);
    imports::it_is_destroyed_without_its_disk(&fleet);
}

/// The lab goes while a reboot is under way.
#[test]
fn a_guest_that_hears_nothing_is_rebooted_after_its_grace() {
    let lab = start(1, Etcd::None);
    let fleet = Fleet::new(&lab, Store::Local);
    reboot::a_deaf_guest_is_ended_after_the_grace(&fleet);
    reboot::one_request_id_goes_all_the_way(&fleet);
}
