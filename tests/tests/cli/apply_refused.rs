//! Applies that do not begin: the lock is held by another, nobody can approve, nothing can be planned.

use crate::fake_hosts::{AGENTS, FLEET, Fleet};
use drover::store::{ExpectMeta, Lock, LockHolder, LockRequest, Store, StoreSettings};
use drover_core::record::Layout;
use drover_types::{Lineage, RequestId};
use std::time::Duration;
use uuid::Uuid;

/// Takes the fleet's lock as somebody else does; it is free again when the answer is dropped.
pub(crate) fn hold(fleet: &Fleet) -> Held {
    let settings = StoreSettings::Local {
        path: fleet.project().join(".drover"),
    };
    let layout = Layout::new(
        &FLEET.parse().expect("a name"),
        &"default".parse().expect("a name"),
    );
    let lock = AGENTS.block_on(async {
        let (store, _) = Store::open(&settings, layout).await.expect("the store opens");
        let found = store.get(&[store.layout().meta()]).await.expect("an answer");
        let meta = found.entries.first().map(|entry| entry.mod_revision);
        let request = LockRequest {
            holder: LockHolder {
                who: "alice@desk".to_owned(),
                pid: 4711,
                operation: "apply".to_owned(),
                since: "2026-01-02T03:04:05Z".to_owned(),
                drover_version: "0.1.0".to_owned(),
                request_id: RequestId::from_uuid(Uuid::nil()),
            },
            expect_meta: meta.map_or(ExpectMeta::Absent, ExpectMeta::At),
            new_lineage: Lineage::from_uuid(Uuid::from_u128(1)),
            apply: None,
            wait: Duration::ZERO,
        };
        store.acquire_lock(&request).await.expect("the lock")
    });
    Held(Some(lock))
}

/// A lock that somebody else holds.
pub(crate) struct Held(Option<Lock>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(lock) = self.0.take() {
            AGENTS.block_on(lock.release()).expect("released");
        }
    }
}

fn fleet() -> Fleet {
    let fleet = Fleet::start(&[4096]);
    fleet.write(
        "web.hcl",
        "server \"web\" {\n  flavor = flavor.small\n  image  = image.guest\n}\n",
    );
    fleet
}

#[test]
fn the_holder_of_the_lock_is_named() {
    let fleet = fleet();
    let held = hold(&fleet);
    let ran = fleet.drover(&["apply", "--auto-approve"]);
    insta::assert_snapshot!(ran.stderr, @"
    Error: The fleet is locked: alice@desk (process 4711) has held the lock for apply since <time>
      hint: wait for it to end, or give --lock-timeout 5m to wait here
      hint: if that command is gone for good: drover force-unlock <id>
    ");
    assert_eq!(ran.status, 3);
    let told = fleet.drover(&["apply", "--auto-approve", "--json"]).exits(3);
    let said = &told.event("diagnostic")["diagnostic"];
    assert_eq!(said["severity"], "error");
    assert!(
        said["summary"]
            .as_str()
            .is_some_and(|text| text.contains("locked: alice@desk")),
        "{said}"
    );
    assert!(
        said["detail"]
            .as_str()
            .is_some_and(|text| text.contains("--lock-timeout")),
        "{said}"
    );
    assert_eq!(told.stderr, "");
    // Planning takes no lock.
    fleet.drover(&["plan"]).exits(0);
    drop(held);
}

#[test]
fn without_a_terminal_nobody_can_approve() {
    let fleet = fleet();
    let ran = fleet.drover(&["apply"]).exits(1);
    insta::assert_snapshot!(ran.stderr, @"
    Error: There is no terminal to ask for approval
      hint: give --auto-approve, or write a plan with `drover plan --out FILE` and apply that
    ");
    assert!(
        ran.stdout.contains("server.web will be created"),
        "the plan is shown: {}",
        ran.text()
    );
    assert!(fleet.hosts[0].hypervisor.all().is_empty(), "nothing was begun");
    assert_eq!(fleet.drover(&["state", "list"]).exits(0).stdout, "");
}

#[test]
fn a_mistake_in_the_files_stops_every_command_that_reads_them() {
    let fleet = fleet();
    fleet.write("bad.hcl", "servr \"x\" {}\n");
    for arguments in [
        &["plan"][..],
        &["apply", "--auto-approve"],
        &["destroy", "--auto-approve"],
        &["validate"],
    ] {
        fleet.drover(arguments).exits(1).says("bad.hcl:1:1");
    }
    let ran = fleet.drover(&["apply", "--auto-approve", "--json"]).exits(1);
    assert_eq!(ran.stderr, "");
    assert_eq!(
        ran.event("diagnostic")["diagnostic"]["range"]["filename"],
        "bad.hcl"
    );
}
