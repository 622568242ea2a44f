//! Modules: what reaches the model from them, and every mistake, with its place in the module's own files.

use crate::support::{BASE, FakeFiles, Outcome, inputs, load, new_store};
use drover_lang::config::{Identities, resolve_outputs};
use drover_lang::functions::NoFiles;
use drover_types::{Address, HostName};
use std::collections::{BTreeMap, BTreeSet};

/// `main.hcl` after the usual declarations, with files of modules.
fn fleet(main: &str, others: &[(&str, &str)]) -> Outcome {
    let main = format!("{BASE}{main}");
    let mut files = vec![("main.hcl", main.as_str())];
    files.extend(others);
    load(&files, &inputs(&[], new_store()))
}

fn servers(outcome: &Outcome) -> Vec<String> {
    assert_eq!(outcome.rendered, "");
    let evaluated = outcome.evaluated.as_ref().expect("no errors");
    let servers = evaluated.desired.servers.iter();
    servers
        .map(|(address, server)| format!("{address} {}", server.spec.name))
        .collect()
}

fn output(outcome: &Outcome, name: &str) -> String {
    assert_eq!(outcome.rendered, "");
    let evaluated = outcome.evaluated.as_ref().expect("no errors");
    evaluated.outputs[name].to_json().expect("known").to_string()
}

/// A module that takes a size, an image and a number.
const SHOP_MAIN: &str = r#"
variable "flavor" {}
variable "image" {}
variable "size" {
  type    = number
  default = 2
}
locals {
  role = "shop"
}
group "web" {
  policy = "soft-anti-affinity"
}
server "web" {
  count  = var.size
  flavor = var.flavor
  image  = var.image
  group  = group.web
  labels = { role = local.role, group = group.web.name, at = path.module }
}
output "names" {
  value = server.web[*].name
}
output "first" {
  value = server.web[0]
}
"#;

#[test]
fn a_module_becomes_servers_with_its_address() {
    let outcome = fleet(
        r#"
module "shop" {
  source = "./modules/shop"
  flavor = flavor.small
  image  = image.debian
}
output "names" { value = module.shop.names }
output "id" { value = module.shop.first.address }
"#,
        &[("modules/shop/main.hcl", SHOP_MAIN)],
    );
    assert_eq!(
        servers(&outcome),
        [
            "module.shop.server.web[0] shop-web-0",
            "module.shop.server.web[1] shop-web-1"
        ]
    );
    assert_eq!(output(&outcome, "names"), r#"["shop-web-0","shop-web-1"]"#);
    assert_eq!(output(&outcome, "id"), r#""module.shop.server.web[0]""#);
    let evaluated = outcome.evaluated.expect("no errors");
    let server = &evaluated.desired.servers[&"module.shop.server.web[0]".parse().expect("an address")];
    assert_eq!(server.spec.flavor.to_string(), "flavor.small");
    let group = server.spec.group.as_ref().expect("a group");
    assert_eq!(group.to_string(), "module.shop.group.web");
    assert!(evaluated.desired.groups.contains_key(group));
    assert_eq!(server.spec.labels["at"], "modules/shop");
    assert_eq!(server.origin.to_string(), "modules/shop/main.hcl:14:1");
}

#[test]
fn count_and_for_each_make_instances_of_modules() {
    let outcome = fleet(
        r#"
module "shop" {
  source   = "./modules/shop"
  for_each = { eu = 1, us = 2 }
  flavor   = flavor.small
  image    = image.debian
  size     = each.value
}
module "plain" {
  source = "./modules/shop"
  count  = 2
  flavor = flavor.small
  image  = image.debian
  size   = count.index
}
output "by_key" { value = { for key, shop in module.shop : key => shop.names } }
output "one" { value = module.shop["us"].names[1] }
output "splat" { value = module.plain[*].names }
output "indexed" { value = module.plain[1].names }
"#,
        &[(
            "modules/shop/main.hcl",
            SHOP_MAIN
                .replace("value = server.web[0]\n", "value = length(server.web)\n")
                .as_str(),
        )],
    );
    assert_eq!(
        servers(&outcome),
        [
            "module.plain[1].server.web[0] plain-1-web-0",
            "module.shop[\"eu\"].server.web[0] shop-eu-web-0",
            "module.shop[\"us\"].server.web[0] shop-us-web-0",
            "module.shop[\"us\"].server.web[1] shop-us-web-1"
        ]
    );
    assert_eq!(
        output(&outcome, "by_key"),
        r#"{"eu":["shop-eu-web-0"],"us":["shop-us-web-0","shop-us-web-1"]}"#
    );
    assert_eq!(output(&outcome, "one"), r#""shop-us-web-1""#);
    assert_eq!(output(&outcome, "splat"), r#"[[],["plain-1-web-0"]]"#);
    assert_eq!(output(&outcome, "indexed"), r#"["plain-1-web-0"]"#);
}

#[test]
fn modules_nest_and_read_their_parents_values() {
    let outcome = fleet(
        r#"
module "region" {
  source   = "./region"
  for_each = toset(["a", "b"])
  name     = each.key
  use      = { flavor = flavor.small, image = image.debian }
}
output "all" { value = { for key, region in module.region : key => region.names } }
"#,
        &[
            (
                "region/main.hcl",
                r#"
variable "name" { type = string }
variable "use" {}
module "rack" {
  source = "../rack"
  count  = 2
  name   = "${var.name}-${count.index}"
  flavor = var.use.flavor
  image  = var.use.image
}
output "names" { value = flatten(module.rack[*].name) }
"#,
            ),
            (
                "rack/main.hcl",
                r#"
variable "name" { type = string }
variable "flavor" {}
variable "image" {}
server "web" {
  flavor = var.flavor
  image  = var.image
  name   = "web-${var.name}"
}
output "name" { value = server.web.name }
"#,
            ),
        ],
    );
    assert_eq!(
        servers(&outcome),
        [
            "module.region[\"a\"].module.rack[0].server.web web-a-0",
            "module.region[\"a\"].module.rack[1].server.web web-a-1",
            "module.region[\"b\"].module.rack[0].server.web web-b-0",
            "module.region[\"b\"].module.rack[1].server.web web-b-1"
        ]
    );
    assert_eq!(
        output(&outcome, "all"),
        r#"{"a":["web-a-0","web-a-1"],"b":["web-b-0","web-b-1"]}"#
    );
}

/// As Terraform: modules are no barriers, single outputs and variables are what waits for each other.
#[test]
fn two_modules_may_use_each_others_outputs() {
    let outcome = fleet(
        r#"
module "a" {
  source = "./a"
  given  = module.b.made
}
module "b" {
  source = "./b"
  given  = module.a.made
}
output "a" { value = module.a.passed }
output "b" { value = module.b.passed }
"#,
        &[
            (
                "a/main.hcl",
                "variable \"given\" {}\noutput \"made\" { value = \"of a\" }\noutput \"passed\" { value = var.given }\n",
            ),
            (
                "b/main.hcl",
                "variable \"given\" {}\noutput \"made\" { value = \"of b\" }\noutput \"passed\" { value = var.given }\n",
            ),
        ],
    );
    assert_eq!(output(&outcome, "a"), r#""of b""#);
    assert_eq!(output(&outcome, "b"), r#""of a""#);
}

#[test]
fn hosts_flavors_and_images_may_come_from_a_module() {
    let outcome = fleet(
        r#"
module "base" {
  source = "./base"
}
server "web" {
  flavor = module.base.sizes["large"]
  image  = module.base.image
}
output "host" { value = module.base.host.address }
output "vcpus" { value = server.web.flavor.vcpus }
"#,
        &[(
            "base/main.hcl",
            r#"
host "n1" { address = "n1.example" }
flavor "size" {
  for_each = { large = 8, tiny = 1 }
  vcpus = each.value
  ram   = "1GiB"
  disk  = "10GiB"
}
image "debian" {
  source   = "https://images.example/debian-12.qcow2"
  checksum = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
}
output "sizes" { value = flavor.size }
output "image" { value = image.debian }
output "host" { value = host.n1 }
"#,
        )],
    );
    assert_eq!(output(&outcome, "host"), r#""n1.example:7443""#);
    assert_eq!(output(&outcome, "vcpus"), "8");
    let desired = outcome.evaluated.expect("no errors").desired;
    assert_eq!(desired.hosts.len(), 1);
    let server = &desired.servers[&"server.web".parse().expect("an address")];
    assert_eq!(
        server.spec.flavor.to_string(),
        "module.base.flavor.size[\"large\"]"
    );
    assert_eq!(
        server.spec.image_address().map(ToString::to_string).as_deref(),
        Some("module.base.image.debian")
    );
}

#[test]
fn outputs_of_modules_wait_for_hosts_as_others_do() {
    let outcome = fleet(
        r#"
module "shop" {
  source = "./shop"
  for_each = toset(["a", "b"])
  flavor = flavor.small
  image  = image.debian
}
module "note" {
  source = "./note"
  text   = "runs on ${module.shop["b"].host}"
}
output "hosts" { value = { for key, shop in module.shop : key => shop.host } }
output "note" { value = module.note.text }
"#,
        &[
            (
                "shop/main.hcl",
                r#"
variable "flavor" {}
variable "image" {}
server "web" {
  flavor = var.flavor
  image  = var.image
}
locals { where = server.web.host }
output "host" { value = local.where }
"#,
            ),
            (
                "note/main.hcl",
                "variable \"text\" { type = string }\noutput \"text\" { value = upper(var.text) }\n",
            ),
        ],
    );
    assert_eq!(outcome.rendered, "");
    let evaluated = outcome.evaluated.expect("no errors");
    assert!(evaluated.outputs["note"].to_json().is_none());
    let hosts: BTreeMap<Address, HostName> = [
        ("module.shop[\"a\"].server.web", "n1"),
        ("module.shop[\"b\"].server.web", "n2"),
    ]
    .map(|(address, host)| {
        (
            address.parse().expect("an address"),
            host.parse().expect("a name"),
        )
    })
    .into();
    let (outputs, found) = resolve_outputs(&evaluated, &hosts, &NoFiles);
    assert!(found.is_empty());
    let json = |name: &str| outputs[name].to_json().expect("known").to_string();
    assert_eq!(json("hosts"), r#"{"a":"n1","b":"n2"}"#);
    assert_eq!(json("note"), r#""RUNS ON N2""#);
}

#[test]
fn depends_on_takes_modules_and_stands_in_their_calls() {
    let outcome = fleet(
        r#"
server "first" {
  flavor = flavor.small
  image  = image.debian
}
module "shop" {
  source     = "./modules/shop"
  for_each   = toset(["a", "b"])
  flavor     = flavor.small
  image      = image.debian
  size       = 1
  depends_on = [server.first]
}
server "last" {
  flavor     = flavor.small
  image      = image.debian
  depends_on = [module.shop]
}
server "after_a" {
  flavor     = flavor.small
  image      = image.debian
  name       = "after-a"
  depends_on = [module.shop["a"], server.first]
}
"#,
        &[("modules/shop/main.hcl", SHOP_MAIN)],
    );
    assert_eq!(outcome.rendered, "");
    let desired = outcome.evaluated.expect("no errors").desired;
    let needs = |address: &str| -> BTreeSet<String> {
        let needs = &desired.depends_on[&address.parse::<Address>().expect("an address")];
        needs.iter().map(ToString::to_string).collect()
    };
    let set = |all: &[&str]| -> BTreeSet<String> { all.iter().map(|one| (*one).to_owned()).collect() };
    assert_eq!(needs("module.shop[\"b\"].server.web[0]"), set(&["server.first"]));
    assert_eq!(
        needs("server.last"),
        set(&[
            "module.shop[\"a\"].server.web[0]",
            "module.shop[\"b\"].server.web[0]"
        ])
    );
    assert_eq!(
        needs("server.after_a"),
        set(&["module.shop[\"a\"].server.web[0]", "server.first"])
    );
}

#[test]
fn a_module_reads_files_of_its_own_folder_alone() {
    let files = FakeFiles(BTreeMap::from([
        ("secret.txt", "root's"),
        ("shop/motd.txt", "hello"),
        ("shop/deep/a.tpl", "${x}!"),
    ]));
    let main = format!(
        "{BASE}module \"shop\" {{\n  source = \"./shop\"\n}}\noutput \"all\" {{ value = module.shop }}\n"
    );
    let run = |module: &str| {
        let mut inputs = inputs(&[], new_store());
        inputs.files = &files;
        load(&[("main.hcl", &main), ("shop/main.hcl", module)], &inputs)
    };
    let outcome = run(r#"
output "motd" { value = file("${path.module}/motd.txt") }
output "set" { value = fileset(path.module, "**/*.tpl") }
output "filled" { value = templatefile("${path.module}/deep/a.tpl", { x = path.root }) }
output "cwd" { value = path.cwd }
"#);
    assert_eq!(
        output(&outcome, "all"),
        r#"{"cwd":"/fleet","filled":".!","motd":"hello","set":["deep/a.tpl"]}"#
    );
    insta::assert_snapshot!(
        "file_outside_of_module",
        run("output \"x\" { value = file(\"secret.txt\") }\n").rendered
    );
}

/// The sensitive value goes through a module and stays hidden; the root module has to say so.
#[test]
fn sensitive_values_stay_so_through_modules() {
    let outcome = fleet(
        "module \"m\" {\n  source = \"./m\"\n  secret = sensitive(\"x\")\n}\noutput \"x\" { value = module.m.out }\n",
        &[(
            "m/main.hcl",
            "variable \"secret\" {}\noutput \"out\" { value = \"${var.secret}!\" }\n",
        )],
    );
    insta::assert_snapshot!("sensitive_output_of_module", outcome.rendered);
}

fn mistakes(name: &str, main: &str, others: &[(&str, &str)]) {
    let rendered = fleet(main, others).rendered;
    assert!(!rendered.is_empty(), "{name} reports nothing");
    insta::assert_snapshot!(name, rendered);
}

#[test]
fn sources() {
    mistakes(
        "sources",
        r#"
module "missing" {
  source = "./nowhere"
}
module "computed" {
  source = "./${var.name}"
}
module "registry" {
  source = "shop"
}
module "absolute" {
  source = "/srv/shop"
}
module "none" {
}
module "empty" {
  source = "./empty"
}
output "x" { value = module.missing.anything }
variable "name" { default = "a" }
"#,
        &[("empty/notes.txt", "")],
    );
}

#[test]
fn inputs_and_outputs() {
    mistakes(
        "inputs_and_outputs",
        r#"
module "shop" {
  source  = "./shop"
  flavour = flavor.small
  version = "1.0"
  size    = "many"
  zone    = "rack-9"
}
output "a" { value = module.shop.name }
output "b" { value = module.shop[0].names }
output "c" { value = module.shp.names }
output "d" { value = module.shop }
output "e" { value = module.many.names }
output "f" { value = module.many[*].nams }
module "many" {
  source = "./shop"
  count  = 2
  flavor = flavor.small
  size   = 1
  zone   = "rack-1"
}
"#,
        &[(
            "shop/main.hcl",
            r#"
variable "flavor" {}
variable "size" { type = number }
variable "zone" {
  validation {
    condition     = contains(["rack-1", "rack-2"], var.zone)
    error_message = "There are rack-1 and rack-2."
  }
}
output "names" { value = [] }
"#,
        )],
    );
}

#[test]
fn mistakes_in_modules_stand_in_their_files() {
    mistakes(
        "inside",
        r#"
module "shop" {
  source   = "./shop"
  for_each = toset(["a", "b"])
}
module "again" {
  source = "./shop"
}
output "mine" { value = flavor.smal.ram }
"#,
        &[(
            "shop/main.hcl",
            r#"
drover {
  fleet = "other"
}
server "web" {
  flavor = flavor.small
  image  = "debian"
  nme    = "x"
}
flavor "odd" {
  vcpus = 0
  ram   = "512MB"
  disk  = "10GiB"
}
output "x" { value = upper(1, 2) }
"#,
        )],
    );
}

#[test]
fn circles() {
    mistakes(
        "folders_in_a_circle",
        "module \"a\" {\n  source = \"./a\"\n}\nmodule \"root\" {\n  source = \"./\"\n}\n",
        &[
            ("a/main.hcl", "module \"b\" {\n  source = \"../b\"\n}\n"),
            ("b/main.hcl", "module \"a\" {\n  source = \"../a\"\n}\n"),
        ],
    );
    mistakes(
        "values_in_a_circle",
        r#"
module "a" {
  source = "./m"
  given  = module.b.passed
}
module "b" {
  source = "./m"
  given  = module.a.passed
}
module "counted" {
  source = "./m"
  count  = module.counted[0].passed
  given  = 1
}
"#,
        &[(
            "m/main.hcl",
            "variable \"given\" {}\noutput \"passed\" { value = var.given }\n",
        )],
    );
}

#[test]
fn modules_of_unknown_number() {
    let outcome = fleet(
        r#"
server "web" {
  flavor = flavor.small
  image  = image.debian
}
module "counted" {
  source = "./m"
  count  = server.web.host == "n1" ? 1 : 0
}
module "hidden" {
  source = "./m"
  count  = sensitive(1)
}
module "hidden_key" {
  source   = "./m"
  for_each = toset([sensitive("a")])
}
module "listed" {
  source   = "./m"
  for_each = ["a"]
}
module "both" {
  source   = "./m"
  count    = 1
  for_each = toset(["a"])
}
"#,
        &[("m/main.hcl", "output \"x\" { value = 1 }\n")],
    );
    insta::assert_snapshot!("instances", outcome.rendered);
}

#[test]
fn what_validation_does_not_know_reaches_into_modules() {
    let main = format!(
        "{BASE}variable \"size\" {{ type = number }}\nmodule \"shop\" {{\n  source = \"./shop\"\n  flavor = flavor.small\n  image = image.debian\n  size = var.size\n}}\n"
    );
    let outcome = load(
        &[("main.hcl", &main), ("shop/main.hcl", SHOP_MAIN)],
        &inputs(&[], Identities::Unread),
    );
    assert_eq!(outcome.rendered, "");
    assert!(outcome.evaluated.is_some());
}

#[test]
fn a_host_is_declared_once_whatever_the_module() {
    mistakes(
        "host_twice",
        "module \"a\" {\n  source = \"./m\"\n}\nhost \"n1\" { address = \"n1.example\" }\n",
        &[("m/main.hcl", "host \"n1\" { address = \"n1.example\" }\n")],
    );
}

#[test]
fn depends_on() {
    mistakes(
        "depends_on",
        r#"
server "web" {
  count      = 2
  flavor     = flavor.small
  image      = image.debian
  depends_on = [module.shop.x, server.db, server.one[3], local.x, server.one["a"], server.one[local.x]]
}
server "one" {
  flavor     = flavor.small
  image      = image.debian
  depends_on = server.two
}
server "two" {
  flavor = flavor.small
  image  = image.debian
}
locals { x = 1 }
module "shop" {
  source     = "./m"
  depends_on = [flavor.small, "server.two"]
}
"#,
        &[("m/main.hcl", "output \"x\" { value = 1 }\n")],
    );
}
