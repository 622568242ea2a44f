//! Configurations that are right: what reaches the model.

use crate::support::{BASE, plan, plan_with, validate};
use drover_core::model::{GroupPolicy, HostState, MetricsSettings, Power, SchedulerSettings};
use drover_lang::config::{StateSettings, VariableSource, resolve_outputs};
use drover_lang::functions::NoFiles;
use drover_types::{Address, HostName};
use std::collections::BTreeMap;

fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

#[test]
fn the_designs_example_becomes_a_fleet() {
    let outcome = plan(
        r#"
drover {
  fleet = "prod"
  state "etcd" {
    endpoints = ["https://10.0.0.1:2379"]
    ca_file   = "ca.pem"
  }
  project = "default"
  scheduler {
    filters              = ["AvailabilityZoneFilter", "RamFilter"]
    ram_allocation_ratio = 1.25
    weights              = { ram = 1.0 }
  }
}
variable "web_count" {
  type    = number
  default = 3
}
host "n1" {
  address           = "n1.example:7443"
  availability_zone = "rack-1"
  labels            = { ssd = "true" }
  state             = "drain"
}
flavor "small" {
  vcpus = 1
  ram   = "512MiB"
  disk  = "10GiB"
}
image "debian" {
  source     = "https://images.example/debian-12.qcow2"
  checksum   = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  properties = { hypervisor_type = "qemu" }
}
group "web" { policy = "anti-affinity" }
server "web" {
  count  = var.web_count
  flavor = flavor.small
  image  = image.debian
  group  = group.web
  power  = "on"
}
server "db" {
  for_each   = { primary = "rack-1", "standby" = "rack-2" }
  flavor     = flavor.small
  image      = image.debian
  name       = "db-${each.key}"
  availability_zone = each.value
  power      = "off"
  depends_on = [server.web]
  labels     = { first = server.web[0].name, web = length(server.web) }
}
output "web_hosts" { value = server.web[*].host }
output "names" { value = { for key, server in server.db : key => server.name } }
"#,
    );
    assert_eq!(outcome.rendered, "");
    let evaluated = outcome.evaluated.expect("no errors");
    let fleet = &evaluated.desired;
    assert_eq!(fleet.fleet.as_str(), "prod");
    assert_eq!(
        evaluated.settings.state,
        StateSettings::Etcd {
            endpoints: vec!["https://10.0.0.1:2379".to_owned()],
            ca_file: Some("ca.pem".to_owned()),
            cert_file: None,
            key_file: None
        }
    );
    assert_eq!(fleet.scheduler.filters, ["AvailabilityZoneFilter", "RamFilter"]);
    assert_eq!(fleet.scheduler.ram_allocation_ratio, 1.25);
    let host = &fleet.hosts[&"n1".parse::<HostName>().expect("a name")];
    assert_eq!(
        (host.spec.state, host.spec.labels["ssd"].as_str()),
        (HostState::Drain, "true")
    );
    assert_eq!(host.origin.to_string(), "main.hcl:19:1");
    let servers: Vec<String> = fleet.servers.keys().map(ToString::to_string).collect();
    assert_eq!(
        servers,
        [
            "server.db[\"primary\"]",
            "server.db[\"standby\"]",
            "server.web[0]",
            "server.web[1]",
            "server.web[2]"
        ]
    );
    let web = &fleet.servers[&address("server.web[2]")].spec;
    assert_eq!(
        (web.name.as_str(), web.size.vcpus, web.power),
        ("web-2", 1, Power::On)
    );
    assert_eq!(web.group, Some(address("group.web")));
    assert_eq!(
        fleet.groups[&address("group.web")].spec.policy,
        GroupPolicy::AntiAffinity
    );
    let db = &fleet.servers[&address("server.db[\"standby\"]")].spec;
    assert_eq!(
        (db.name.as_str(), db.availability_zone.as_deref(), db.power),
        ("db-standby", Some("rack-2"), Power::Off)
    );
    assert_eq!(
        (db.labels["first"].as_str(), db.labels["web"].as_str()),
        ("web-0", "3")
    );
    assert_eq!(
        fleet.depends_on[&address("server.db[\"primary\"]")]
            .iter()
            .count(),
        3
    );
    let names = evaluated.outputs["names"].to_json().expect("known");
    assert_eq!(
        names.to_string(),
        r#"{"primary":"db-primary","standby":"db-standby"}"#
    );
}

#[test]
fn outputs_that_need_hosts_wait_for_placement() {
    let text = format!(
        "{BASE}
server \"web\" {{
  count  = 2
  flavor = flavor.small
  image  = image.debian
}}
locals {{
  where = [for server in server.web : \"${{server.name}} on ${{server.host}}\"]
}}
output \"where\" {{ value = local.where }}
output \"hosts\" {{ value = server.web[*].host }}
output \"id\" {{ value = server.web[0].id }}
"
    );
    let outcome = plan(&text);
    assert_eq!(outcome.rendered, "");
    let evaluated = outcome.evaluated.expect("no errors");
    assert!(evaluated.outputs["where"].to_json().is_none());
    let first = evaluated.outputs["id"].to_json().expect("known before placement");
    let hosts: BTreeMap<Address, HostName> = [("server.web[0]", "n1"), ("server.web[1]", "n2")]
        .into_iter()
        .map(|(server, host)| (address(server), host.parse().expect("a name")))
        .collect();
    let (outputs, found) = resolve_outputs(&evaluated, &hosts, &NoFiles);
    assert!(found.is_empty());
    let json = |name: &str| outputs[name].to_json().expect("known").to_string();
    assert_eq!(json("where"), r#"["web-0 on n1","web-1 on n2"]"#);
    assert_eq!(json("hosts"), r#"["n1","n2"]"#);
    assert_eq!(outputs["id"].to_json(), Some(first));
    let (outputs, _) = resolve_outputs(&evaluated, &BTreeMap::new(), &NoFiles);
    assert!(
        outputs["hosts"].to_json().is_none(),
        "a server without a host keeps its output unknown"
    );
}

#[test]
fn variables_come_in_terraforms_order_of_precedence() {
    let text = format!(
        "{BASE}
variable \"a\" {{}}
variable \"b\" {{
  type = list(object({{ name = string, size = optional(number, 3) }}))
}}
variable \"c\" {{
  type = number
  default = 1
}}
variable \"secret\" {{
  type      = string
  sensitive = true
}}
output \"all\" {{ value = [var.a, var.b, var.c] }}
output \"secret\" {{
  value     = \"x${{var.secret}}\"
  sensitive = true
}}
"
    );
    let environment = |name: &str, text: &str| VariableSource::Environment {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    let argument = |text: &str| VariableSource::Argument {
        text: text.to_owned(),
    };
    let file = VariableSource::File {
        path: "drover.vars.hcl".to_owned(),
        bytes: b"a = \"file\"\nc = \"7\"\nsecret = \"s\"\n".to_vec(),
    };
    let sources = [
        environment("a", "environment"),
        environment("b", "[{ name = \"one\" }, { name = \"two\", size = 5 }]"),
        environment("PATH", "ignored"),
        file,
        argument("a=x=y"),
    ];
    let outcome = plan_with(&text, &sources);
    assert_eq!(outcome.rendered, "");
    let evaluated = outcome.evaluated.expect("no errors");
    assert_eq!(
        evaluated.outputs["all"].to_json().expect("known").to_string(),
        r#"["x=y",[{"name":"one","size":3},{"name":"two","size":5}],7]"#
    );
    assert!(evaluated.outputs["secret"].sensitive);
    assert!(evaluated.outputs["secret"].value.is_sensitive());
}

#[test]
fn files_alone_are_checked_without_values() {
    let text = format!(
        "{BASE}
variable \"n\" {{ type = number }}
server \"web\" {{
  count  = var.n
  flavor = flavor.small
  image  = image.debian
  name   = \"web-${{count.index}}\"
}}
server \"other\" {{
  flavor = flavor.small
  image  = image.debian
  labels = {{ peer = server.web[0].id, n = var.n }}
}}
"
    );
    assert_eq!(validate(&text).rendered, "");
    assert!(plan(&text).rendered.contains("No value for required variable"));
}

#[test]
fn ids_are_those_of_the_store() {
    let text = format!(
        "{BASE}\nserver \"web\" {{\n  flavor = flavor.small\n  image = image.debian\n}}\noutput \"id\" {{ value = server.web.id }}\n"
    );
    let id = |created: u64| {
        let identities = drover_lang::config::Identities::Read {
            lineage: "6ba7b810-9dad-11d1-80b4-00c04fd430c8".parse().expect("a UUID"),
            servers: BTreeMap::new(),
            created: BTreeMap::from([(address("server.web"), created)]),
            succeeded: std::collections::BTreeSet::new(),
            records: None,
        };
        let outcome = crate::support::load(&[("main.hcl", &text)], &crate::support::inputs(&[], identities));
        outcome.evaluated.expect("no errors").outputs["id"]
            .to_json()
            .expect("known")
    };
    assert_eq!(id(0), id(0));
    assert_ne!(id(0), id(1), "an id is never used twice");
}

#[test]
fn the_minimal_example_is_right() {
    let outcome = validate(include_str!("../../../../examples/minimal.hcl"));
    assert_eq!(outcome.rendered, "");
    // Its image is a variable, so that nothing that needs it is known from the file alone.
    assert!(outcome.evaluated.is_some());
}

#[test]
fn aggregates_group_rules_and_placement_hints_reach_the_model() {
    let outcome = plan(&format!(
        r#"{BASE}
host "n1" {{ address = "10.0.1.1" }}
host "n2" {{ address = "10.0.1.2" }}
aggregate "fast" {{
  hosts    = [host.n1, "n2"]
  metadata = {{ ssd = "true" }}
}}
group "pairs" {{
  policy = "anti-affinity"
  rules {{
    max_server_per_host = 2
  }}
}}
server "db" {{
  flavor = flavor.small
  image  = image.debian
  group  = group.pairs
}}
server "web" {{
  count          = 2
  flavor         = flavor.small
  image          = image.debian
  different_host = [server.db]
  host_network   = "10.0.1.0/24"
  priority       = -3
  labels         = {{ pairs = group.pairs.max_server_per_host, fast = join(" ", aggregate.fast.hosts) }}
}}
server "near" {{
  flavor    = flavor.small
  image     = image.debian
  same_host = server.web
}}
"#
    ));
    assert_eq!(outcome.rendered, "");
    let fleet = outcome.evaluated.expect("no errors").desired;
    let fast = &fleet.aggregates[&address("aggregate.fast")].spec;
    let hosts: Vec<&str> = fast.hosts.iter().map(|host| host.as_str()).collect();
    assert_eq!((hosts, fast.metadata["ssd"].as_str()), (vec!["n1", "n2"], "true"));
    assert_eq!(fleet.groups[&address("group.pairs")].spec.max_server_per_host, 2);
    let web = &fleet.servers[&address("server.web[1]")].spec;
    assert_eq!(web.hints.different_host, [address("server.db")].into());
    assert_eq!(
        web.hints.network.map(|network| network.to_string()).as_deref(),
        Some("10.0.1.0/24")
    );
    assert_eq!(web.hints.priority, -3);
    assert_eq!(web.labels["pairs"], "2");
    assert_eq!(web.labels["fast"], "n1 n2");
    let near = &fleet.servers[&address("server.near")].spec;
    assert_eq!(
        near.hints.same_host,
        [address("server.web[0]"), address("server.web[1]")].into()
    );
}

#[test]
fn hosts_can_be_made_for_each_item() {
    let outcome = plan(&format!(
        r#"{BASE}
locals {{
  racks = {{ "n1" = "rack-1", "n2" = "rack-2" }}
}}
host "all" {{
  for_each          = local.racks
  name              = each.key
  address           = "${{each.key}}.example:7443"
  availability_zone = each.value
}}
host "spare" {{
  count   = 2
  name    = "spare${{count.index + 1}}"
  address = "spare${{count.index + 1}}.example:7443"
}}
host "one" {{
  name    = "n9.example"
  address = "n9.example:7443"
}}
aggregate "fast" {{
  hosts = concat(values(host.all), [host.spare[1], host.one])
}}
output "zones" {{
  value = [for host in host.all : "${{host.name}} in ${{host.availability_zone}}"]
}}
"#
    ));
    assert_eq!(outcome.rendered, "");
    let evaluated = outcome.evaluated.expect("no errors");
    let hosts: Vec<String> = evaluated.desired.hosts.keys().map(ToString::to_string).collect();
    assert_eq!(hosts, ["n1", "n2", "n9.example", "spare1", "spare2"]);
    let fast = evaluated.desired.aggregates.values().next().expect("declared");
    let members: Vec<String> = fast.spec.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(members, ["n1", "n2", "n9.example", "spare2"]);
    assert_eq!(
        evaluated.outputs["zones"].to_json(),
        Some(serde_json::json!(["n1 in rack-1", "n2 in rack-2"]))
    );
}

#[test]
fn metrics_are_novas_where_nothing_is_said_of_them() {
    let metrics = |block: &str| {
        let text = format!("drover {{\n  fleet = \"prod\"\n  scheduler {{\n{block}\n  }}\n}}\n");
        let outcome = plan(&text);
        assert_eq!(outcome.rendered, "");
        outcome.evaluated.expect("no errors").desired.scheduler.metrics
    };
    let nothing = metrics("");
    assert_eq!(nothing, MetricsSettings::default());
    assert_eq!(
        (
            nothing.weight_setting.len(),
            nothing.weight_of_unavailable,
            nothing.required
        ),
        (0, -10_000.0, true)
    );
    let some = metrics(
        "    metrics {\n      weight_setting        = { \"cpu.percent\" = -1.0, \"cpu.frequency\" = 0.01 }\n      \
         weight_of_unavailable = -5\n      required              = false\n    }",
    );
    let ratios: Vec<(&str, f64)> = some
        .weight_setting
        .iter()
        .map(|(name, ratio)| (name.as_str(), *ratio))
        .collect();
    assert_eq!(ratios, [("cpu.frequency", 0.01), ("cpu.percent", -1.0)]);
    assert_eq!((some.weight_of_unavailable, some.required), (-5.0, false));
}

#[test]
fn settings_about_image_properties() {
    let scheduler = |arguments: &str| {
        let text = format!("drover {{\n  fleet = \"prod\"\n  scheduler {{\n{arguments}\n  }}\n}}\n");
        let outcome = plan(&text);
        assert_eq!(outcome.rendered, "");
        outcome.evaluated.expect("no errors").desired.scheduler
    };
    assert_eq!(scheduler(""), SchedulerSettings::default());
    let some = scheduler(
        "    aggregate_image_properties_isolation_namespace = \"filter\"\n    \
         aggregate_image_properties_isolation_separator = \"_\"\n    \
         image_properties_default_architecture = \"aarch64\"\n    \
         image_props_weight_setting = { os_distro = 2 }",
    );
    let wanted = SchedulerSettings {
        aggregate_image_properties_isolation_namespace: Some("filter".to_owned()),
        aggregate_image_properties_isolation_separator: "_".to_owned(),
        image_properties_default_architecture: Some("aarch64".to_owned()),
        image_props_weight_setting: [("os_distro".to_owned(), 2.0)].into(),
        ..SchedulerSettings::default()
    };
    assert_eq!(some, wanted);
}

#[test]
fn names_of_pci_devices_stand_for_any_of_their_kinds() {
    let alias = |name: &str, product: &str| {
        format!(
            "    pci_alias \"{name}\" {{\n      vendor_id  = \"10DE\"\n      product_id = \"{product}\"\n    }}\n"
        )
    };
    let blocks = [alias("gpu", "1eb8"), alias("gpu", "1db4"), alias("old", "0001")].concat();
    let made = "    dynamic \"pci_alias\" {\n      for_each = [\"0002\"]\n      labels   = [\"made\"]\n      content {\n        \
                vendor_id  = \"8086\"\n        product_id = pci_alias.value\n      }\n    }\n";
    let outcome = plan(&format!(
        "drover {{\n  fleet = \"prod\"\n  scheduler {{\n{blocks}{made}  }}\n}}\n"
    ));
    assert_eq!(outcome.rendered, "");
    let aliases = outcome
        .evaluated
        .expect("no errors")
        .desired
        .scheduler
        .pci_aliases;
    let aliases: Vec<String> = (aliases.iter())
        .map(|(name, kinds)| {
            let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
            format!("{name} {}", kinds.join(" "))
        })
        .collect();
    assert_eq!(
        aliases,
        ["gpu 10de:1eb8 10de:1db4", "made 8086:0002", "old 10de:0001"]
    );
}
