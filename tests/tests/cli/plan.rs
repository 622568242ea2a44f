//! Plans as people read them.

use crate::fake_hosts::Fleet;

const SERVERS: &str = r#"
group "web" {
  policy = "anti-affinity"
}
server "web" {
  count  = 2
  flavor = flavor.small
  image  = image.guest
  group  = group.web
}
output "hosts" {
  value = server.web[*].host
}
output "password" {
  value     = "very-secret"
  sensitive = true
}
"#;

#[test]
fn a_first_plan() {
    let fleet = Fleet::start(&[4096, 2048]);
    fleet.write("web.hcl", SERVERS);
    let ran = fleet.drover(&["plan"]).exits(0).says_nothing_of("very-secret");
    insta::assert_snapshot!(ran.text(), @r#"
    exit 0
    --- stdout
    Drover will perform the following actions. They are marked so:
      + create

      # server.web[0] will be created on n1
      # host: n1, most free memory of 2 hosts that fit
      + server "web" {
          + disk           = "8MiB"
          + flavor         = "flavor.small"
          + group          = "group.web"
          + host           = "n1"
          + id             = "<id>"
          + image          = "image.guest"
          + image_checksum = "sha256:631b84027d6b…"
          + name           = "web-0"
          + power          = "on"
          + ram            = "512MiB"
          + vcpus          = 1
        }

      # server.web[1] will be created on n2
      # host: n2, the only host that fits
      + server "web" {
          + disk           = "8MiB"
          + flavor         = "flavor.small"
          + group          = "group.web"
          + host           = "n2"
          + id             = "<id>"
          + image          = "image.guest"
          + image_checksum = "sha256:631b84027d6b…"
          + name           = "web-1"
          + power          = "on"
          + ram            = "512MiB"
          + vcpus          = 1
        }

      # image.guest will be fetched to n1, n2

      # written down, no host is touched:
      + host.n1
      + host.n2
      + flavor.small
      + image.guest
      + group.web

    Changes to outputs:
      + hosts    = ["n1", "n2"]
      + password = (sensitive value)

    Plan: 2 to create, 0 to update, 0 to destroy. 5 records to write.

    The plan was not saved, so `drover apply` makes a new one. To apply exactly this
    one, save it with --out FILE.
    "#);
    assert!(
        fleet.hosts.iter().all(|host| host.hypervisor.all().is_empty()),
        "a plan does nothing"
    );
    fleet
        .drover(&["plan", "--json"])
        .exits(0)
        .says_nothing_of("very-secret");
    fleet.drover(&["plan"]).exits(0);
}

#[test]
fn the_same_plan_every_time() {
    let fleet = Fleet::start(&[4096, 2048]);
    fleet.write("web.hcl", SERVERS);
    let first = fleet.drover(&["plan", "--explain"]);
    assert_eq!(first, fleet.drover(&["plan", "--explain"]));
}

#[test]
fn where_no_host_fits_every_host_and_filter_is_named() {
    let fleet = Fleet::start(&[4096, 2048]);
    let big = r#"
flavor "big" {
  vcpus = 2
  ram   = "8GiB"
  disk  = "8MiB"
}
flavor "wide" {
  vcpus = 64
  ram   = "64MiB"
  disk  = "8MiB"
}
server "big" {
  flavor = flavor.big
  image  = image.guest
}
server "wide" {
  flavor = flavor.wide
  image  = image.guest
}
server "zoned" {
  flavor            = flavor.small
  image             = image.guest
  availability_zone = "moon"
}
server "fits" {
  flavor = flavor.small
  image  = image.guest
}
"#;
    fleet.write("big.hcl", big);
    let ran = fleet.drover(&["plan"]);
    insta::assert_snapshot!(ran.text(), @r#"
    exit 1
    --- stdout
    Drover will perform the following actions. They are marked so:
      + create

      # server.fits will be created on n1
      # host: n1, most free memory of 2 hosts that fit; else n2
      + server "fits" {
          + disk           = "8MiB"
          + flavor         = "flavor.small"
          + host           = "n1"
          + id             = "<id>"
          + image          = "image.guest"
          + image_checksum = "sha256:631b84027d6b…"
          + name           = "fits"
          + power          = "on"
          + ram            = "512MiB"
          + vcpus          = 1
        }

      # image.guest will be fetched to n1

      # written down, no host is touched:
      + host.n1
      + host.n2
      + flavor.big
      + flavor.small
      + flavor.wide
      + image.guest

    Blocked, and left as it is:

      ! server.big cannot be created (declared and not there yet)
          no host can take it:
            n1 RamFilter: wants 8 GiB, the whole host has 4 GiB
            n2 RamFilter: wants 8 GiB, the whole host has 2 GiB
          no host passes RamFilter
          hint: it would fit with a host of at least 8 GiB, where n1 has 4 GiB, or
                one more host with 8 GiB free, 8 MiB of disk, 2 vCPU

      ! server.wide cannot be created (declared and not there yet)
          no host can take it:
            n1 CoreFilter: wants 64, the whole host has 4
            n2 CoreFilter: wants 64, the whole host has 4
          no host passes CoreFilter
          hint: it would fit with a host of at least 64 vCPU, where n2 has 4, or one
                more host with 64 MiB free, 8 MiB of disk, 64 vCPU

      ! server.zoned cannot be created (declared and not there yet)
          no host can take it:
            n1 AvailabilityZoneFilter: wants zone moon, host is in nova
            n2 AvailabilityZoneFilter: wants zone moon, host is in nova
          no host passes AvailabilityZoneFilter
          hint: it would fit with n1 in zone moon, or one more host in moon with 512
                MiB free, 8 MiB of disk, 1 vCPU

    Plan: 1 to create, 0 to update, 0 to destroy. 6 records to write.

    The plan was not saved, so `drover apply` makes a new one. To apply exactly this
    one, save it with --out FILE.
    "#);
    let blocked = fleet.drover(&["plan", "--json"]);
    let addresses: Vec<String> = blocked
        .json_lines()
        .iter()
        .filter(|event| !event["blocked"].is_null())
        .map(|event| {
            event["blocked"]["address"]
                .as_str()
                .expect("an address")
                .to_owned()
        })
        .collect();
    assert_eq!(addresses, ["server.big", "server.wide", "server.zoned"]);
}

#[test]
fn a_group_larger_than_the_fleet_is_blocked_by_its_conflict() {
    let fleet = Fleet::start(&[4096, 2048]);
    fleet.write("web.hcl", &SERVERS.replace("count  = 2", "count  = 3"));
    insta::assert_snapshot!(fleet.drover(&["plan"]).text(), @r#"
    exit 1
    --- stdout
    Drover will perform the following actions. They are marked so:
      + create

      # server.web[0] will be created on n1
      # host: n1, most free memory of 2 hosts that fit
      + server "web" {
          + disk           = "8MiB"
          + flavor         = "flavor.small"
          + group          = "group.web"
          + host           = "n1"
          + id             = "<id>"
          + image          = "image.guest"
          + image_checksum = "sha256:631b84027d6b…"
          + name           = "web-0"
          + power          = "on"
          + ram            = "512MiB"
          + vcpus          = 1
        }

      # server.web[1] will be created on n2
      # host: n2, the only host that fits
      + server "web" {
          + disk           = "8MiB"
          + flavor         = "flavor.small"
          + group          = "group.web"
          + host           = "n2"
          + id             = "<id>"
          + image          = "image.guest"
          + image_checksum = "sha256:631b84027d6b…"
          + name           = "web-1"
          + power          = "on"
          + ram            = "512MiB"
          + vcpus          = 1
        }

      # image.guest will be fetched to n1, n2

      # written down, no host is touched:
      + host.n1
      + host.n2
      + flavor.small
      + image.guest
      + group.web

    Blocked, and left as it is:

      ! server.web[2] cannot be created (declared and not there yet)
          no host can take it:
            n1 ServerGroupAntiAffinityFilter: holds 1 of group group.web
            n2 ServerGroupAntiAffinityFilter: holds 1 of group group.web
          no host passes ServerGroupAntiAffinityFilter
          hint: it would fit with one less of group group.web on n1, or `group.web`
                of at most 2 members, or one more host with 512 MiB free, 8 MiB of
                disk, 1 vCPU

    Changes to outputs:
      + hosts    = (known after apply: server.web[2].host)
      + password = (sensitive value)

    Plan: 2 to create, 0 to update, 0 to destroy. 5 records to write.

    The plan was not saved, so `drover apply` makes a new one. To apply exactly this
    one, save it with --out FILE.
    "#);
}

#[test]
fn a_host_that_is_disabled_or_drained_gets_nothing() {
    let fleet = Fleet::start(&[4096, 2048]);
    fleet.write("web.hcl", &SERVERS.replace("count  = 2", "count  = 1"));
    for state in ["disabled", "drain"] {
        let base = fleet.base();
        let base = base.replacen(
            "host \"n1\" {\n",
            &format!("host \"n1\" {{\n  state   = \"{state}\"\n"),
            1,
        );
        fleet.write("drover.hcl", &base);
        fleet
            .drover(&["plan"])
            .exits(0)
            .says("server.web[0] will be created on n2");
    }
}

#[test]
fn what_needs_a_host_cannot_decide_where_servers_go() {
    let fleet = Fleet::start(&[4096]);
    let circular = "server \"a\" {\n  flavor = flavor.small\n  image  = image.guest\n}\nserver \"b\" {\n  flavor = flavor.small\n  image  = image.guest\n  availability_zone = server.a.host\n}\n";
    fleet.write("web.hcl", circular);
    insta::assert_snapshot!(fleet.drover(&["plan"]).text(), @r#"
    exit 1
    --- stderr
    error: Placement cannot depend on its result
     --> web.hcl:8:23
      |
    8 |   availability_zone = server.a.host
      |                       ^^^^^^^^^^^^^ in server "b"
      |
      = availability_zone cannot depend on server.a.host: the host is chosen by
        placement, from what the files say, so nothing that placement needs may
        depend on its result. Only outputs may.
      = server.a.host is known after placement
    "#);
}

#[test]
fn lists_of_an_empty_fleet() {
    let fleet = Fleet::start(&[4096]);
    let all: Vec<String> = [
        &["show"][..],
        &["output"],
        &["state", "list"],
        &["host", "list"],
        &["server", "list"],
        &["image", "list"],
    ]
    .iter()
    .map(|arguments| {
        format!(
            "$ drover {}\n{}",
            arguments.join(" "),
            fleet.drover(arguments).text()
        )
    })
    .collect();
    insta::assert_snapshot!(all.join("\n\n"), @"
    $ drover show
    exit 0
    --- stdout
    Nothing is recorded.

    $ drover output
    exit 0
    --- stdout
    No outputs are recorded.

    $ drover state list
    exit 0

    $ drover host list
    exit 0
    --- stdout
    HOST  STATE  AGENT  SERVERS  VCPUS  MEMORY  DISK  NOTE

    $ drover server list
    exit 0
    --- stdout
    SERVER  ID  HOST  STATE  POWER  TASK

    $ drover image list
    exit 0
    --- stdout
    IMAGE  SHA256  HOSTS  SOURCE
    ");
    for arguments in [
        &["state", "show", "server.web"][..],
        &["server", "show", "server.web"],
        &["server", "console-log", "server.web"],
        &["server", "reboot", "server.web"],
        &["output", "hosts"],
    ] {
        let ran = fleet.drover(arguments).exits(1);
        assert!(
            ran.stderr.contains("is recorded") || ran.stderr.contains("is not recorded"),
            "{}",
            ran.text()
        );
        assert!(ran.stderr.contains("hint:"), "{}", ran.text());
    }
    fleet
        .drover(&["server", "migrate", "server.web", "--auto-approve"])
        .exits(1)
        .says("server.web");
}

#[test]
fn any_server_is_explained_placed_or_not() {
    let fleet = Fleet::start(&[4096, 2048]);
    fleet.write("web.hcl", SERVERS);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    let more = r#"
flavor "big" {
  vcpus = 2
  ram   = "3GiB"
  disk  = "8MiB"
}
server "big" {
  count  = 2
  flavor = flavor.big
  image  = image.guest
}
"#;
    fleet.write("more.hcl", more);
    let stays = fleet.drover(&["plan", "--explain", "server.web[0]"]);
    insta::assert_snapshot!(explained(&stays.stdout), @"
    server.web[0]: n1, the only one of 2 hosts that passes
      n1  passes, weight 0 <- chosen
      n2  anti-affinity: holds 1 of group group.web
    ");
    let big = fleet.drover(&["plan", "--explain", "server.big"]).exits(1);
    insta::assert_snapshot!(explained(&big.stdout), @"
    server.big[0]: n1, the only one of 2 hosts that passes
      n1  passes, weight 0 <- chosen
      n2  RAM: wants 3 GiB, the whole host has 2 GiB

    server.big[1]: no valid host among 2
      n1  RAM: wants 3 GiB, 2.5 GiB of 4 GiB × 1.5 left
      n2  RAM: wants 3 GiB, the whole host has 2 GiB
    ");
    assert!(
        big.stdout.lines().all(|line| line.chars().count() <= 80),
        "{}",
        big.stdout
    );
    let json = fleet
        .drover(&["plan", "--explain", "server.big[1]", "--json"])
        .exits(1);
    let explanation = &json.event("explanation")["change"];
    assert_eq!(explanation["address"], "server.big[1]");
    assert_eq!(
        explanation["explanation"]["hosts"][1]["refusals"][0]["wanted_mib"],
        3072
    );
    fleet
        .drover(&["plan", "--explain", "server.nobody"])
        .exits(1)
        .says("nothing of that address is declared or recorded");
}

/// What is printed behind the plan.
fn explained(stdout: &str) -> &str {
    let start = stdout.rfind("Plan: ").expect("a summary");
    let behind = &stdout[start..];
    let behind = behind.find("\n\n").map_or("", |end| &behind[end..]);
    let end = behind.find("\n\nThe plan was not saved").unwrap_or(behind.len());
    behind[..end].trim()
}

#[test]
fn hosts_made_for_each_item_go_by_their_names() {
    let fleet = Fleet::start(&[4096, 2048]);
    let (blocks, rest) = fleet.base().split_once("flavor ").map_or_else(
        || panic!("{}", fleet.base()),
        |(blocks, rest)| (blocks.to_owned(), format!("flavor {rest}")),
    );
    let settings = blocks.split("host ").next().unwrap_or_default();
    let addresses: Vec<String> = fleet
        .hosts
        .iter()
        .map(|host| format!("    {} = \"{}\"\n", host.name, host.address))
        .collect();
    let hosts = format!(
        "host \"all\" {{\n  for_each = {{\n{}  }}\n  name    = each.key\n  address = each.value\n}}\n",
        addresses.concat()
    );
    fleet.write("drover.hcl", &format!("{settings}{hosts}{rest}"));
    fleet.write("web.hcl", SERVERS);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet
        .drover(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("No changes.");
    fleet
        .drover(&["plan", "--target", "host.n2", "--detailed-exitcode"])
        .exits(0);
    // Written out, they are the same hosts.
    fleet.write("drover.hcl", &fleet.base());
    fleet
        .drover(&["plan", "--detailed-exitcode"])
        .exits(0)
        .says("No changes.");
}
