//! Certificates that do not fit: each is told from the others, and nothing is planned on a host that is not
//! trusted.

use crate::fake_hosts::{FLEET, Fleet, authority, issue};
use crate::run::{PATIENCE, Ran};
use drover_tests::lab::poll_until;
use drover_types::Role;
use std::path::Path;

const WEB: &str = "server \"web\" {\n  flavor = flavor.small\n  image  = image.guest\n}\n";

fn fleet() -> Fleet {
    let fleet = Fleet::start(&[4096]);
    fleet.write("web.hcl", WEB);
    fleet
}

pub(crate) fn with(fleet: &Fleet, tls: &Path, arguments: &[&str]) -> Ran {
    let mut command = fleet.command(arguments);
    for (variable, file) in [
        ("DROVER_CA_FILE", "ca.pem"),
        ("DROVER_CERT_FILE", "cert.pem"),
        ("DROVER_KEY_FILE", "key.pem"),
    ] {
        command.env(variable, tls.join(file));
    }
    fleet.clean(&crate::run::finish(command))
}

#[test]
fn none() {
    let fleet = fleet();
    std::fs::remove_dir_all(fleet.project().join(".drover/tls")).expect("removed");
    insta::assert_snapshot!(fleet.drover(&["plan"]).text(), @"
    exit 1
    --- stderr
    Error: Could not read the authority's certificate from .drover/tls/ca.pem
      because: I/O error: No such file or directory (os error 2)
      hint: name your certificate in the configuration's drover block (tls { ca_file, cert_file, key_file }), or in DROVER_CA_FILE, DROVER_CERT_FILE and DROVER_KEY_FILE; `drover pki issue operator NAME` makes one
    ");
}

#[test]
fn of_another_authority_of_the_same_name() {
    let fleet = fleet();
    authority(&fleet.path("other-pki"), FLEET);
    let tls = fleet.path("other-tls");
    issue(&fleet.path("other-pki"), Role::Operator, "tester", 1, &tls);
    insta::assert_snapshot!(with(&fleet, &tls, &["plan"]).text(), @"
    exit 1
    --- stdout
    Error: host n1 is not trusted: <n1> is not trusted as
    spiffe://test/agent/n1, or does not trust us: invalid peer certificate:
    BadSignature
      No server is recorded there; nothing is planned on it or away from it.
      hint: compare its address and the two certificates (drover pki show FILE), or
            accept it with --allow-unreachable n1

    Drover will perform the following actions. They are marked so:
      + create

      # written down, no host is touched:
      + host.n1
      + flavor.small
      + image.guest

    Blocked, and left as it is:

      ! server.web cannot be created (declared and not there yet)
          no host can take it:
            n1 ComputeFilter: down
          no host passes ComputeFilter
          hint: it would fit with one more host with 512 MiB free, 8 MiB of disk, 1
                vCPU

    Plan: 0 to create, 0 to update, 0 to destroy. 3 records to write.

    The plan was not saved, so `drover apply` makes a new one. To apply exactly this
    one, save it with --out FILE.
    ");
    // The right root, so that the host is trusted, and a certificate that the host does not trust.
    std::fs::copy(fleet.project().join(".drover/tls/ca.pem"), tls.join("ca.pem")).expect("copied");
    let ran = with(&fleet, &tls, &["plan"]).exits(1);
    ran.says("Error: host n1 is not trusted: it does not accept our certificate: received fatal alert");
}

#[test]
fn of_another_fleet() {
    let fleet = fleet();
    authority(&fleet.path("other-pki"), "prod");
    let tls = fleet.path("other-tls");
    issue(&fleet.path("other-pki"), Role::Operator, "tester", 1, &tls);
    insta::assert_snapshot!(with(&fleet, &tls, &["plan"]).text(), @"
    exit 1
    --- stderr
    Error: The certificate in <fleet>/other-tls/cert.pem is of fleet prod, not test
      hint: name a certificate of this fleet; `drover pki issue operator NAME` makes one with its authority
    ");
}

#[test]
fn a_reader_may_plan() {
    let fleet = fleet();
    let tls = fleet.path("reader");
    fleet.issue(Role::Reader, "nosy", 1, &tls);
    with(&fleet, &tls, &["plan"])
        .exits(0)
        .says("server.web will be created");
}

#[test]
fn an_agent_may_not_plan() {
    let fleet = fleet();
    let ran = with(&fleet, &fleet.path("n1/tls"), &["plan"]);
    insta::assert_snapshot!(ran.text(), @"
    exit 1
    --- stdout
    Error: host n1 is not trusted: spiffe://test/agent/n1 may not call
    /drover.agent.v1.HostService/GetInventory; a certificate of role reader or
    operator or admin may
      No server is recorded there; nothing is planned on it or away from it.
      hint: compare its address and the two certificates (drover pki show FILE), or
            accept it with --allow-unreachable n1

    Drover will perform the following actions. They are marked so:
      + create

      # written down, no host is touched:
      + host.n1
      + flavor.small
      + image.guest

    Blocked, and left as it is:

      ! server.web cannot be created (declared and not there yet)
          no host can take it:
            n1 ComputeFilter: down
          no host passes ComputeFilter
          hint: it would fit with one more host with 512 MiB free, 8 MiB of disk, 1
                vCPU

    Plan: 0 to create, 0 to update, 0 to destroy. 3 records to write.

    The plan was not saved, so `drover apply` makes a new one. To apply exactly this
    one, save it with --out FILE.
    ");
}

#[test]
fn one_that_has_expired() {
    let fleet = fleet();
    let tls = fleet.path("expired");
    fleet.issue(Role::Operator, "tester", 0, &tls);
    let file = tls.join("cert.pem").display().to_string();
    // Certificates count in whole seconds.
    poll_until("the certificate expires", PATIENCE, || {
        let shown = fleet.drover(&["pki", "show", &file, "--json"]).json();
        (shown["valid"] == false).then_some(())
    })
    .expect("it expires");
    with(&fleet, &tls, &["plan"])
        .exits(1)
        .says("expired/cert.pem is valid from")
        .says("drover pki issue");
}

#[test]
fn files_that_are_no_certificates() {
    let fleet = fleet();
    let tls = fleet.path("broken");
    fleet.issue(Role::Operator, "tester", 1, &tls);
    for file in ["ca.pem", "cert.pem", "key.pem"] {
        let right = std::fs::read(tls.join(file)).expect("there");
        std::fs::write(tls.join(file), "no PEM\n").expect("written");
        with(&fleet, &tls, &["plan"]).exits(1).says(file).says("hint:");
        std::fs::write(tls.join(file), right).expect("written");
    }
    with(&fleet, &tls, &["plan"]).exits(0);
}

#[test]
fn pki_commands() {
    let fleet = fleet();
    let ran = fleet
        .drover(&["pki", "init", "--fleet", "prod", "--dir", "ca"])
        .exits(0);
    insta::assert_snapshot!(ran.text(), @"
    exit 0
    --- stdout
    Made the authority of fleet prod in ca.

    Move ca/root-key.pem to a safe place: only making a new intermediate needs it.
    Next: drover pki issue agent HOST --dir ca
    ");
    fleet
        .drover(&["pki", "init", "--fleet", "prod", "--dir", "ca"])
        .exits(1)
        .says("exists already");
    let ran = fleet.drover(&[
        "pki", "issue", "agent", "n1", "--dir", "ca", "--out", "n1", "--days", "30",
    ]);
    insta::assert_snapshot!(ran.text(), @r#"
    exit 0
    --- stdout
    Issued spiffe://prod/agent/n1, valid for 30 days:
      ca_file   = "n1/ca.pem"
      cert_file = "n1/cert.pem"
      key_file  = "n1/key.pem"
    "#);
    insta::assert_snapshot!(fleet.drover(&["pki", "show", "n1/cert.pem"]).text(), @"
    exit 0
    --- stdout
    spiffe://prod/agent/n1
      signed by drover intermediate
      <time> until <time> (valid)
    ");
    let json = fleet
        .drover(&["pki", "show", "n1/cert.pem", "--json"])
        .exits(0)
        .json();
    assert_eq!(json["identity"], "spiffe://prod/agent/n1", "{json}");
    let days = |file: &str| {
        let shown = fleet.drover(&["pki", "show", file, "--json"]).exits(0);
        drop(shown);
        let raw = crate::run::finish(fleet.command(&["pki", "show", file, "--json"])).json();
        let time =
            |key: &str| -> jiff::Timestamp { raw[key].as_str().expect("a time").parse().expect("a time") };
        time("not_after").duration_since(time("not_before")).as_hours() / 24
    };
    assert_eq!(days("n1/cert.pem"), 30);
    fleet
        .drover(&["pki", "issue", "reader", "bob", "--dir", "ca"])
        .exits(0);
    assert_eq!(days("ca/reader-bob/cert.pem"), 365);
    fleet
        .drover(&["pki", "issue", "agent", "n1", "--dir", "none"])
        .exits(1)
        .says("drover pki init");
    fleet
        .drover(&["pki", "show", "none.pem"])
        .exits(1)
        .says("none.pem");
    fleet
        .drover(&["pki", "issue", "agent", "../n1", "--dir", "ca"])
        .exits(1);
}
