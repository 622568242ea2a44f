//! Plans as people read them, in each situation that `docs/` promises something about: one of everything, a rebuild, a
//! destroy, targets, drift, what is hidden.

use crate::fake_hosts::Fleet;
use drover_types::PowerState;

pub(crate) const SERVERS: &str = r#"
variable "token" {
  type      = string
  sensitive = true
  default   = "very-secret"
}
flavor "large" {
  vcpus = 2
  ram   = "1GiB"
  disk  = "8MiB"
}
server "web" {
  count  = 2
  flavor = flavor.small
  image  = image.guest
  labels = { token = var.token }
}
server "db" {
  flavor        = flavor.small
  image         = image.guest
  allow_rebuild = true
}
server "old" {
  flavor = flavor.small
  image  = image.guest
}
server "cache" {
  flavor = flavor.small
  image  = image.guest
}
output "hosts" {
  value = server.web[*].host
}
output "token" {
  value     = server.web[0].labels
  sensitive = true
}
"#;

pub(crate) fn applied() -> Fleet {
    let fleet = Fleet::start(&[4096, 3072, 2048]);
    fleet.write("web.hcl", SERVERS);
    fleet
        .drover(&["apply", "--auto-approve"])
        .exits(0)
        .says_nothing_of("very-secret");
    fleet
}

/// The configuration with one server each created, resized, rebuilt, migrated and destroyed, and a changed secret.
pub(crate) fn changed(fleet: &Fleet) {
    std::fs::write(fleet.path("images/newer.raw"), vec![7_u8; 1 << 20]).expect("written");
    let base = fleet.base();
    let drained = base.replacen("host \"n2\" {\n", "host \"n2\" {\n  state   = \"drain\"\n", 1);
    fleet.write(
        "drover.hcl",
        &format!("{drained}\n{}", fleet.image("newer", "newer.raw")),
    );
    let mut servers = SERVERS.to_owned();
    for (from, to) in [
        ("very-secret", "other-secret"),
        ("count  = 2", "count  = 3"),
        (
            "server \"db\" {\n  flavor        = flavor.small\n  image         = image.guest",
            "server \"db\" {\n  flavor        = flavor.small\n  image         = image.newer",
        ),
        (
            "server \"cache\" {\n  flavor = flavor.small",
            "server \"cache\" {\n  flavor = flavor.large",
        ),
        (
            "server \"old\" {\n  flavor = flavor.small\n  image  = image.guest\n}\n",
            "",
        ),
    ] {
        assert!(servers.contains(from), "{from}");
        servers = servers.replacen(from, to, 1);
    }
    fleet.write("web.hcl", &servers);
}

#[test]
fn one_of_everything() {
    let fleet = applied();
    changed(&fleet);
    let ran = fleet
        .drover(&["plan", "--out", "plan.bin"])
        .exits(0)
        .says_nothing_of("very-secret")
        .says_nothing_of("other-secret");
    insta::assert_snapshot!(ran.text(), @r#"
    exit 0
    --- stdout
    Drover will perform the following actions. They are marked so:
      + create
      ~ update in place
      > migrate to another host
    -/+ destroy the root disk, then create it anew
      - destroy

      # server.cache will be updated with a reboot on n1
      # why: its size changed
      # impact: reboots the guest, about 20 s
      ~ server "cache" {
          ~ flavor = "flavor.small" -> "flavor.large"
          ~ ram    = "512MiB" -> "1GiB" # forces a reboot
          ~ vcpus  = 1 -> 2 # forces a reboot
            # (7 unchanged attributes hidden)
        }

      # server.db must be rebuilt on n1
      # why: its image changed
      # impact: the root disk is made anew: what is on it is lost
    -/+ server "db" {
          ~ image          = "image.guest" -> "image.newer"
          ~ image_checksum = "sha256:631b84027d6b…" -> "sha256:51b12eb83873…"
            # forces a new root disk
            # (9 unchanged attributes hidden)
        }

      # server.old will be destroyed on n1
      # why: it is no longer declared
      # impact: its disk is lost
      - server "old" {
          - disk           = "8MiB" -> null
          - flavor         = "flavor.small" -> null
          - host           = "n1" -> null
          - id             = "<id>" -> null
          - image          = "image.guest" -> null
          - image_checksum = "sha256:631b84027d6b…" -> null
          - name           = "old" -> null
          - power          = "on" -> null
          - ram            = "512MiB" -> null
          - vcpus          = 1 -> null
        }

      # server.web[0] will be migrated to n3
      # why: n2 is being drained
      # impact: live migration n2 → n3, 512 MiB of memory, up to 8 MiB of disk
      # host: n3, most free memory of 2 hosts that fit
      > server "web" {
          ~ host = "n2" -> "n3"
            # (10 unchanged attributes hidden)
        }

      # server.web[2] will be created on n1
      # host: n1, the first of 2 hosts that fit equally well; else n3
      + server "web" {
          + disk           = "8MiB"
          + flavor         = "flavor.small"
          + host           = "n1"
          + id             = "<id>"
          + image          = "image.guest"
          + image_checksum = "sha256:631b84027d6b…"
          + labels         = (sensitive value)
          + name           = "web-2"
          + power          = "on"
          + ram            = "512MiB"
          + vcpus          = 1
        }

      # image.newer will be fetched to n1

      # written down, no host is touched:
      ~ host.n2
          ~ state = "active" -> "drain"
            # (1 unchanged attribute hidden)
      + image.newer
      ~ server.web[0]
          ~ labels = (sensitive value)
            # (10 unchanged attributes hidden)
      ~ server.web[1]
          ~ labels = (sensitive value)
            # (10 unchanged attributes hidden)

    Changes to outputs:
      ~ hosts = ["n2", "n1"] -> ["n3", "n1", "n1"]
      ~ token = (sensitive value)

    Plan: 1 to create, 0 to update, 1 to migrate, 1 to reboot, 1 to replace, 1 to
    destroy. 4 records to write.

    Saved the plan to plan.bin. To perform exactly these actions, run:
        drover apply plan.bin
    "#);
    let too_wide: Vec<&str> = ran
        .stdout
        .lines()
        .filter(|line| line.chars().count() > 80)
        .collect();
    assert!(too_wide.is_empty(), "{too_wide:#?}");
    let shown = fleet.drover(&["show", "plan.bin"]).exits(0);
    assert!(ran.stdout.starts_with(&shown.stdout), "{}", shown.text());
    fleet
        .drover(&["show", "--json", "plan.bin"])
        .exits(0)
        .says_nothing_of("very-secret")
        .says_nothing_of("other-secret");
    fleet
        .drover(&["plan", "--json"])
        .exits(0)
        .says_nothing_of("very-secret")
        .says_nothing_of("other-secret");
}

#[test]
fn a_secret_stays_hidden_when_its_server_goes_and_when_it_turns_into_one() {
    let fleet = applied();
    fleet
        .drover(&["destroy"])
        .exits(1)
        .says_nothing_of("very-secret")
        .says("labels = (sensitive value) -> null");
    // What was plain and is hidden from now on is written down as such.
    let fleet = Fleet::start(&[4096]);
    let plain = SERVERS.replace("  sensitive = true\n  default", "  default");
    fleet.write("web.hcl", &plain);
    fleet.drover(&["apply", "--auto-approve"]).exits(0);
    fleet.write("web.hcl", SERVERS);
    fleet
        .drover(&["plan", "--detailed-exitcode"])
        .exits(2)
        .says_nothing_of("very-secret");
    fleet
        .drover(&["apply", "--auto-approve"])
        .exits(0)
        .says_nothing_of("very-secret");
    fleet
        .drover(&["plan", "--destroy"])
        .exits(0)
        .says_nothing_of("very-secret");
    // An output that shows it must say that it hides it.
    fleet.write(
        "web.hcl",
        &SERVERS.replace(
            "  value     = server.web[0].labels\n  sensitive = true\n",
            "  value     = server.web[0].labels\n",
        ),
    );
    fleet
        .drover(&["validate"])
        .exits(1)
        .says("holds a sensitive value")
        .says_nothing_of("very-secret");
}

#[test]
fn nothing_to_do() {
    let fleet = applied();
    insta::assert_snapshot!(fleet.drover(&["plan"]).text(), @"
    exit 0
    --- stdout
    No changes. The fleet matches the configuration.
    ");
    insta::assert_snapshot!(fleet.drover(&["plan", "--refresh-only"]).text(), @"
    exit 0
    --- stdout
    No changes. The records match what the hosts report.
    ");
    fleet.drover(&["destroy", "--auto-approve"]).exits(0);
    insta::assert_snapshot!(fleet.drover(&["plan", "--destroy"]).text(), @"
    exit 0
    --- stdout
    No changes. There is nothing to destroy.
    ");
}

#[test]
fn everything_goes() {
    let fleet = applied();
    insta::assert_snapshot!(fleet.drover(&["plan", "--destroy", "--target", "server.old"]).text(), @r#"
    exit 0
    --- stdout
    Drover will destroy what follows:
      - destroy

      # server.old will be destroyed on n1
      # why: destroy was asked for
      # impact: its disk is lost
      - server "old" {
          - disk           = "8MiB" -> null
          - flavor         = "flavor.small" -> null
          - host           = "n1" -> null
          - id             = "<id>" -> null
          - image          = "image.guest" -> null
          - image_checksum = "sha256:631b84027d6b…" -> null
          - name           = "old" -> null
          - power          = "on" -> null
          - ram            = "512MiB" -> null
          - vcpus          = 1 -> null
        }

    Plan: 0 to create, 0 to update, 1 to destroy.

    Warning: this plan is limited to server.old
      Everything else is left as it is, also where it differs from the
      configuration. Of outputs only those change that follow what this plan does.
      Targets are for getting out of trouble, not for everyday work.
      hint: afterwards, look at the rest with `drover plan` without --target

    The plan was not saved, so `drover apply` makes a new one. To apply exactly this
    one, save it with --out FILE.
    "#);
    let ran = fleet.drover(&["plan", "--destroy"]).exits(0);
    let summary = ran.stdout.lines().find(|line| line.starts_with("Plan: "));
    insta::assert_snapshot!(summary.unwrap_or_default(), @"Plan: 0 to create, 0 to update, 5 to destroy. 6 records to write.");
}

#[test]
fn targets_leave_the_rest_and_say_so() {
    let fleet = applied();
    changed(&fleet);
    let ran = fleet.drover(&["plan", "--target", "server.cache"]).exits(0);
    insta::assert_snapshot!(ran.text(), @r#"
    exit 0
    --- stdout
    Drover will perform the following actions. They are marked so:
      ~ update in place

      # server.cache will be updated with a reboot on n1
      # why: its size changed
      # impact: reboots the guest, about 20 s
      ~ server "cache" {
          ~ flavor = "flavor.small" -> "flavor.large"
          ~ ram    = "512MiB" -> "1GiB" # forces a reboot
          ~ vcpus  = 1 -> 2 # forces a reboot
            # (7 unchanged attributes hidden)
        }

      # written down, no host is touched:
      ~ host.n2
          ~ state = "active" -> "drain"
            # (1 unchanged attribute hidden)

    Plan: 0 to create, 0 to update, 1 to reboot, 0 to destroy. 1 record to write.

    Warning: this plan is limited to server.cache
      Everything else is left as it is, also where it differs from the
      configuration. Of outputs only those change that follow what this plan does.
      Targets are for getting out of trouble, not for everyday work.
      hint: afterwards, look at the rest with `drover plan` without --target

    The plan was not saved, so `drover apply` makes a new one. To apply exactly this
    one, save it with --out FILE.
    "#);
}

#[test]
fn drift_has_its_own_section() {
    let fleet = applied();
    let hypervisor = &fleet.hosts[0].hypervisor;
    // Their order is that of ids, which are others each time.
    let is_cache = |xml: &String| xml.contains(">server.cache<");
    let mut domain = hypervisor
        .all()
        .into_iter()
        .find(|domain| domain.persistent_xml.as_ref().is_some_and(is_cache))
        .expect("it is on n1");
    domain.state.power = PowerState::Shutdown;
    domain.live_xml = None;
    hypervisor.put(domain);
    insta::assert_snapshot!(fleet.drover(&["plan"]).text(), @r#"
    exit 0
    --- stdout
    Changed outside of Drover:
      ~ server.cache on n1 is shutdown; it was recorded as on

    Drover will perform the following actions. They are marked so:
      ~ update in place

      # server.cache will be started on n1
      # why: found shutdown
      # impact: starts the guest
      ~ server "cache" {
          ~ power = "shutdown" -> "on"
            # (9 unchanged attributes hidden)
        }

    Plan: 0 to create, 1 to update, 0 to destroy.

    The plan was not saved, so `drover apply` makes a new one. To apply exactly this
    one, save it with --out FILE.
    "#);
    insta::assert_snapshot!(fleet.drover(&["plan", "--refresh-only"]).text(), @"
    exit 0
    --- stdout
    Changed outside of Drover:
      ~ server.cache on n1 is shutdown; it was recorded as on

    Nothing of this is settled by writing it down. `drover plan` shows what brings
    it in order.
    ");
}

#[test]
fn many_alike_are_told_together_and_full_shows_each() {
    let fleet = Fleet::start(&[16384, 16384]);
    fleet.write(
        "web.hcl",
        "server \"web\" {\n  count  = 24\n  flavor = flavor.small\n  image  = image.guest\n}\n",
    );
    let ran = fleet.drover(&["plan", "--out", "plan.bin"]).exits(0);
    insta::assert_snapshot!(ran.text(), @r#"
    exit 0
    --- stdout
    Drover will perform the following actions. They are marked so:
      + create

      # server.web[0-23] will be created (24 servers)
      # host: 2 hosts, 12 on each: n1, n2
      + server "web" {
          + disk           = "8MiB"
          + flavor         = "flavor.small"
          + host           = "n1", "n2"
          + id             = (24 different)
          + image          = "image.guest"
          + image_checksum = "sha256:631b84027d6b…"
          + name           = "web-0" … "web-23" (24 different)
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

    Plan: 24 to create, 0 to update, 0 to destroy. 4 records to write.

    Shortened; --full shows everything one by one.

    Saved the plan to plan.bin. To perform exactly these actions, run:
        drover apply plan.bin
    "#);
    for arguments in [&["plan", "--full"][..], &["show", "--full", "plan.bin"]] {
        let full = fleet.drover(arguments).exits(0).says_nothing_of("Shortened");
        assert_eq!(full.stdout.matches("will be created on").count(), 24);
    }
    fleet.drover(&["show", "--full"]).exits(1);
    fleet
        .drover(&["apply", "--full"])
        .exits(1)
        .says("server.web[23] will be created on");
}

#[test]
fn warnings_in_a_line_each() {
    let fleet = applied();
    changed(&fleet);
    let ran = fleet
        .drover(&["plan", "--target", "server.cache", "--compact-warnings"])
        .exits(0)
        .says_nothing_of("getting out of trouble");
    insta::assert_snapshot!(ran.stdout.split("Plan:").nth(1).unwrap_or_default(), @"
     0 to create, 0 to update, 1 to reboot, 0 to destroy. 1 record to write.

    Warnings:
      - this plan is limited to server.cache
    To see all that they say, leave out --compact-warnings.

    The plan was not saved, so `drover apply` makes a new one. To apply exactly this
    one, save it with --out FILE.
    ");
    // What is wrong is told whole, and so is all beside it.
    fleet.write("more.hcl", "server \"more\" {\n  flavor            = flavor.small\n  image             = image.guest\n  availability_zone = \"moon\"\n}\n");
    fleet
        .drover(&["plan", "--target", "server.more", "--compact-warnings"])
        .exits(1)
        .says("getting out of trouble");
}

#[test]
fn a_summary_for_a_pull_request() {
    let fleet = applied();
    changed(&fleet);
    let ran = fleet
        .drover(&["plan", "--markdown", "--out", "plan.bin"])
        .exits(0)
        .says_nothing_of("very-secret");
    insta::assert_snapshot!(ran.stdout, @r#"
    ### Drover: 1 to create, 0 to update, 1 to migrate, 1 to reboot, 1 to replace, 1 to destroy

    Fleet `test`, project `default`.

    | | Server | Host | Impact | Why |
    |---|---|---|---|---|
    | reboot | `server.cache` | n1 | reboots the guest, about 20 s | its size changed |
    | **rebuild** | `server.db` | n1 | the root disk is made anew: what is on it is lost | its image changed |
    | **destroy** | `server.old` | n1 | its disk is lost | it is no longer declared |
    | migrate | `server.web[0]` | n2 → n3 | live migration n2 → n3, 512 MiB of memory, up to 8 MiB of disk | n2 is being drained |
    | create | `server.web[2]` | n1 |  | declared and not there yet |

    <details><summary>The plan</summary>

    ```diff
    Drover will perform the following actions. They are marked so:
    +   create
    !   update in place
    !   migrate to another host
    -/+ destroy the root disk, then create it anew
    -   destroy

      # server.cache will be updated with a reboot on n1
      # why: its size changed
      # impact: reboots the guest, about 20 s
    !   server "cache" {
    !       flavor = "flavor.small" -> "flavor.large"
    !       ram    = "512MiB" -> "1GiB" # forces a reboot
    !       vcpus  = 1 -> 2 # forces a reboot
            # (7 unchanged attributes hidden)
        }

      # server.db must be rebuilt on n1
      # why: its image changed
      # impact: the root disk is made anew: what is on it is lost
    -/+ server "db" {
    !       image          = "image.guest" -> "image.newer"
    !       image_checksum = "sha256:631b84027d6b…" -> "sha256:51b12eb83873…"
            # forces a new root disk
            # (9 unchanged attributes hidden)
        }

      # server.old will be destroyed on n1
      # why: it is no longer declared
      # impact: its disk is lost
    -   server "old" {
    -       disk           = "8MiB" -> null
    -       flavor         = "flavor.small" -> null
    -       host           = "n1" -> null
    -       id             = "<id>" -> null
    -       image          = "image.guest" -> null
    -       image_checksum = "sha256:631b84027d6b…" -> null
    -       name           = "old" -> null
    -       power          = "on" -> null
    -       ram            = "512MiB" -> null
    -       vcpus          = 1 -> null
        }

      # server.web[0] will be migrated to n3
      # why: n2 is being drained
      # impact: live migration n2 → n3, 512 MiB of memory, up to 8 MiB of disk
      # host: n3, most free memory of 2 hosts that fit
    !   server "web" {
    !       host = "n2" -> "n3"
            # (10 unchanged attributes hidden)
        }

      # server.web[2] will be created on n1
      # host: n1, the first of 2 hosts that fit equally well; else n3
    +   server "web" {
    +       disk           = "8MiB"
    +       flavor         = "flavor.small"
    +       host           = "n1"
    +       id             = "<id>"
    +       image          = "image.guest"
    +       image_checksum = "sha256:631b84027d6b…"
    +       labels         = (sensitive value)
    +       name           = "web-2"
    +       power          = "on"
    +       ram            = "512MiB"
    +       vcpus          = 1
        }

      # image.newer will be fetched to n1

      # written down, no host is touched:
    !   host.n2
    !       state = "active" -> "drain"
            # (1 unchanged attribute hidden)
    +   image.newer
    !   server.web[0]
    !       labels = (sensitive value)
            # (10 unchanged attributes hidden)
    !   server.web[1]
    !       labels = (sensitive value)
            # (10 unchanged attributes hidden)

    Changes to outputs:
    !   hosts = ["n2", "n1"] -> ["n3", "n1", "n1"]
    !   token = (sensitive value)

    Plan: 1 to create, 0 to update, 1 to migrate, 1 to reboot, 1 to replace, 1 to
    destroy. 4 records to write.
    ```

    </details>
    "#);
    assert_eq!(ran, fleet.drover(&["show", "--markdown", "plan.bin"]));
    fleet.drover(&["plan", "--markdown", "--json"]).exits(1);
    fleet.drover(&["show", "--markdown"]).exits(1);
    let fleet = applied();
    insta::assert_snapshot!(fleet.drover(&["plan", "--markdown"]).stdout, @"
    ### Drover: no changes

    Fleet `test`, project `default`.
    ");
}
