//! Plan files that may not be applied: stale, altered, of another fleet or version, or no plan at all.

use crate::apply_refused::hold;
use crate::fake_hosts::Fleet;

fn planned() -> Fleet {
    let fleet = Fleet::start(&[4096]);
    fleet.write(
        "web.hcl",
        "server \"web\" {\n  flavor = flavor.small\n  image  = image.guest\n}\n",
    );
    fleet.drover(&["plan", "--out", "plan.bin"]).exits(0);
    fleet
}

fn alter(fleet: &Fleet, change: impl Fn(&mut Vec<u8>)) {
    let path = fleet.project().join("plan.bin");
    let mut bytes = std::fs::read(&path).expect("a plan");
    change(&mut bytes);
    std::fs::write(&path, bytes).expect("written");
}

#[test]
fn a_stale_plan() {
    let fleet = planned();
    // Any apply moves the fleet on; taking its lock is enough.
    drop(hold(&fleet));
    insta::assert_snapshot!(fleet.drover(&["apply", "plan.bin"]).text(), @"
    exit 4
    --- stderr
    Error: The plan is stale: the store was empty when it was made, and is not any more; changed last by apply by alice@desk, begun <time>
      hint: plan again and apply the new plan
    ");
}

#[test]
fn an_altered_plan() {
    for change in [
        (|bytes: &mut Vec<u8>| *bytes.last_mut().expect("not empty") ^= 1) as fn(&mut Vec<u8>),
        |bytes| bytes.truncate(bytes.len() / 2),
        |bytes| bytes.push(b'\n'),
        |bytes| bytes.truncate(20),
    ] {
        let fleet = planned();
        alter(&fleet, change);
        let ran = fleet.drover(&["apply", "plan.bin"]).exits(4).says("altered");
        let shown = fleet.drover(&["show", "plan.bin"]).exits(4).says("altered");
        assert_eq!((ran.stdout, shown.stdout), (String::new(), String::new()));
    }
    let fleet = planned();
    alter(&fleet, |bytes| *bytes.last_mut().expect("not empty") ^= 1);
    insta::assert_snapshot!(fleet.drover(&["apply", "plan.bin"]).text(), @"
    exit 4
    --- stderr
    Error: The plan plan.bin cannot be applied
      because: the plan file was altered or is cut short; plan again
      hint: plan again with `drover plan --out FILE`
    ");
}

#[test]
fn a_plan_of_another_fleet_or_project() {
    let fleet = planned();
    let base = fleet.base();
    fleet.write(
        "drover.hcl",
        &base.replace("fleet = \"test\"", "fleet   = \"test\"\n  project = \"other\""),
    );
    insta::assert_snapshot!(fleet.drover(&["apply", "plan.bin"]).text(), @"
    exit 4
    --- stderr
    Error: The plan plan.bin cannot be applied
      because: the plan file is of fleet test, project default; this is fleet test, project other
      hint: plan again with `drover plan --out FILE`
    ");
    fleet.drover(&["show", "plan.bin"]).exits(4);
    fleet.write(
        "drover.hcl",
        &base.replace("fleet = \"test\"", "fleet = \"other\""),
    );
    fleet
        .drover(&["apply", "plan.bin"])
        .exits(4)
        .says("of fleet test");
}

#[test]
fn a_plan_of_another_version() {
    let fleet = planned();
    alter(&fleet, |bytes| {
        let text = String::from_utf8_lossy(bytes).replacen("drover plan ", "drover plan 9", 1);
        *bytes = text.into_bytes();
    });
    fleet.drover(&["apply", "plan.bin"]).exits(4).says("plan again");
}

#[test]
fn garbage_is_no_plan() {
    let fleet = planned();
    for garbage in [&b""[..], b"\0\xff\xfe", b"drover", b"{}"] {
        std::fs::write(fleet.project().join("plan.bin"), garbage).expect("written");
        fleet
            .drover(&["apply", "plan.bin"])
            .exits(1)
            .says("not a plan file");
        fleet
            .drover(&["show", "plan.bin"])
            .exits(1)
            .says("not a plan file");
    }
    insta::assert_snapshot!(fleet.drover(&["apply", "plan.bin"]).text(), @"
    exit 1
    --- stderr
    Error: The plan plan.bin cannot be applied
      because: this is not a plan file; make one with: drover plan --out FILE
      hint: plan again with `drover plan --out FILE`
    ");
    insta::assert_snapshot!(fleet.drover(&["apply", "none.bin"]).text(), @"
    exit 1
    --- stderr
    Error: Could not read the plan none.bin
      because: No such file or directory (os error 2)
    ");
}
