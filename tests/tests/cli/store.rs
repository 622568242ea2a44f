//! Stores that cannot be used.

use crate::fake_hosts::{Fleet, reserved_port};

#[test]
fn nobody_listens_at_the_etcd_endpoint() {
    let fleet = Fleet::start(&[4096]);
    let (_port, address) = reserved_port();
    let state =
        format!("fleet = \"test\"\n  state \"etcd\" {{\n    endpoints = [\"http://{address}\"]\n  }}");
    fleet.write("drover.hcl", &fleet.base().replace("fleet = \"test\"", &state));
    for arguments in [
        &["plan"][..],
        &["apply", "--auto-approve"],
        &["state", "list"],
        &["server", "list"],
        &["output"],
    ] {
        let ran = fleet
            .drover(arguments)
            .exits(1)
            .says("no etcd endpoint can be used")
            .says(&address.to_string());
        assert_eq!(ran.stdout, "", "{arguments:?}");
    }
    // It needs no store.
    fleet.drover(&["validate"]).exits(0);
    let ran = fleet.drover(&["plan"]);
    let text = ran.text().replace(&address.to_string(), "<address>");
    insta::assert_snapshot!(text, @r#"
    exit 1
    --- stderr
    Error: Cannot connect to the store: no etcd endpoint can be used: http://<address>: tcp connect error: Connection refused (os error 111)
      hint: check that etcd runs, and the endpoints in the block state "etcd"
    "#);
}

#[test]
fn a_state_path_that_cannot_be_a_directory() {
    let fleet = Fleet::start(&[4096]);
    fleet.write("taken", "a file\n");
    let state = "fleet = \"test\"\n  state \"local\" {\n    path = \"taken\"\n  }";
    fleet.write("drover.hcl", &fleet.base().replace("fleet = \"test\"", state));
    insta::assert_snapshot!(fleet.drover(&["plan"]).text(), @r#"
    exit 1
    --- stderr
    Error: Cannot make the store in taken
      because: File exists (os error 17)
      hint: name a directory that can be written to as path in the block state "local"
    "#);
    let state = "fleet = \"test\"\n  state \"local\" {\n    path = \"/proc/drover\"\n  }";
    fleet.write("drover.hcl", &fleet.base().replace("fleet = \"test\"", state));
    insta::assert_snapshot!(fleet.drover(&["plan"]).text(), @r#"
    exit 1
    --- stderr
    Error: Cannot make the store in /proc/drover
      because: No such file or directory (os error 2)
      hint: name a directory that can be written to as path in the block state "local"
    "#);
}

#[test]
fn a_store_that_is_no_database() {
    let fleet = Fleet::start(&[4096]);
    fleet.drover(&["state", "list"]).exits(0);
    let directory = std::fs::read_dir(fleet.project().join(".drover")).expect("made");
    let mut spoilt = 0;
    for entry in directory {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            std::fs::write(
                &path,
                "not a database, and long enough to be taken for one".repeat(40),
            )
            .expect("written");
            spoilt += 1;
        }
    }
    assert!(spoilt > 0);
    let ran = fleet.drover(&["plan"]).exits(1);
    assert!(ran.stderr.contains(".drover"), "{}", ran.text());
}
