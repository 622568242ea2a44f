//! Every file in `examples/` is parsed, planned, applied and destroyed. Addresses, the store and certificates are
//! the test's own.

use crate::fake_hosts::Fleet;
use drover_types::Sha256Digest;
use std::path::{Path, PathBuf};

fn examples() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut all: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("the examples")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "hcl"))
        .collect();
    all.sort();
    assert!(!all.is_empty());
    all
}

/// The example as it is, but for addresses: its first host is the first one here, and so on. The fleet's
/// name is in the certificates.
fn adapted(path: &Path) -> Option<Fleet> {
    let text = std::fs::read_to_string(path).expect("an example");
    let text = without(&without(&text, "state \"etcd\" {"), "tls {");
    let addresses: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("address")?.split('"').nth(1))
        .collect();
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("host \"")?.split('"').next())
        .collect();
    if names.is_empty() || addresses.len() != names.len() {
        return None;
    }
    let fleet = Fleet::start_named(&text_after(&text, "fleet"), &names);
    let mut adapted = text.clone();
    for (host, address) in fleet.hosts.iter().zip(&addresses) {
        adapted = adapted.replacen(&format!("\"{address}\""), &format!("\"{}\"", host.address), 1);
    }
    fleet.write("drover.hcl", &adapted);
    if text.contains("\nmodule \"") {
        let modules = path.with_file_name("modules");
        copy(&modules, &fleet.project().join("modules"));
    }
    Some(fleet)
}

/// The folders of the modules that examples call.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("the folder") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("a file");
        }
    }
}

/// The text without the inner block that begins so: records and certificates are where drover looks first.
fn without(text: &str, block: &str) -> String {
    let Some(begin) = text.find(&format!("  {block}\n")) else {
        return text.to_owned();
    };
    let end = text[begin..].find("\n  }\n").expect("blocks end") + begin + "\n  }\n".len();
    format!("{}{}", &text[..begin], &text[end..])
}

fn text_after(text: &str, argument: &str) -> String {
    let line = text.lines().find(|line| line.trim().starts_with(argument));
    line.and_then(|line| line.split('"').nth(1))
        .expect("the example names it")
        .to_owned()
}

/// Values for the variables that examples have.
fn variables(fleet: &Fleet) -> Vec<String> {
    let image = fleet.path("images/guest.raw");
    let checksum = Sha256Digest::of(&std::fs::read(&image).expect("the image"));
    vec![
        "--var".to_owned(),
        format!("guest_image=file://{}", image.display()),
        "--var".to_owned(),
        format!("guest_checksum={checksum}"),
    ]
}

#[test]
fn each_is_valid_and_can_be_applied() {
    for path in examples() {
        let fleet = adapted(&path).unwrap_or_else(|| panic!("{}: hosts with addresses", path.display()));
        let variables = variables(&fleet);
        let run = |command: &[&str]| {
            let mut arguments: Vec<&str> = command.to_vec();
            arguments.extend(variables.iter().map(String::as_str));
            fleet.drover(&arguments).exits(0)
        };
        run(&["validate"]).says("The configuration is valid.");
        let planned = run(&["plan"]).says("to create");
        assert!(
            !planned.stdout.contains("Plan: 0 to create"),
            "{}: {}",
            path.display(),
            planned.text()
        );
        run(&["apply", "--auto-approve"]).says("Apply complete!");
        run(&["plan", "--detailed-exitcode"]).says("No changes.");
        run(&["destroy", "--auto-approve"]).says("Apply complete!");
        assert!(
            fleet.hosts.iter().all(|host| host.hypervisor.all().is_empty()),
            "{}",
            path.display()
        );
    }
}
