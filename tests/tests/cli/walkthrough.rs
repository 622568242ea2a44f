//! `docs/walkthrough.md` is true: its files are written, its commands are run in their order, and what they print is
//! what stands there. With `DROVER_WALKTHROUGH=write` the document gets what was printed.

use crate::fake_hosts::Fleet;
use crate::run::{same_each_time, timeless};
use drover_types::Sha256Digest;
use std::path::{Path, PathBuf};
use std::process::Stdio;

fn document() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/walkthrough.md")
}

/// Hosts, paths and the image's checksum as the document has them, and as they are here.
fn names(fleet: &Fleet) -> Vec<(String, String)> {
    let image = fleet.path("images/guest.raw");
    let checksum = Sha256Digest::of(&std::fs::read(&image).expect("the image"));
    let mut names: Vec<(String, String)> = fleet
        .hosts
        .iter()
        .map(|host| (format!("{}.example:7443", host.name), host.address.to_string()))
        .collect();
    names.push(("/srv/images/guest.raw".to_owned(), image.display().to_string()));
    names.push(("sha256:CHECKSUM".to_owned(), checksum.to_string()));
    names
}

/// Runs a command line as a terminal shows it: both streams as they come.
fn run(fleet: &Fleet, line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words.first(), Some(&"drover"), "{line}");
    let path = fleet.path("shown");
    let file = std::fs::File::create(&path).expect("made");
    let status = fleet
        .command(&words[1..])
        .stdout(Stdio::from(file.try_clone().expect("a descriptor")))
        .stderr(Stdio::from(file))
        .status()
        .expect("the binary starts");
    let mut text = std::fs::read_to_string(&path).expect("text");
    for (written, here) in names(fleet) {
        text = text.replace(&here, &written);
    }
    let mut shown = timeless(&same_each_time(&text));
    if let Some(code) = status.code().filter(|code| *code != 0) {
        shown.push_str(&format!("\n(exit status {code})"));
    }
    shown.trim_end().to_owned()
}

#[test]
fn every_command_prints_what_stands_there() {
    let fleet = Fleet::start_named("prod", &["n1", "n2"]);
    let written = std::fs::read_to_string(document()).expect("the document");
    let mut made = String::new();
    let mut lines = written.lines();
    let mut commands = 0;
    while let Some(line) = lines.next() {
        made.push_str(line);
        made.push('\n');
        let Some(kind) = line.strip_prefix("```").filter(|kind| !kind.is_empty()) else {
            continue;
        };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if kind == "console" {
            let shown: Vec<String> = body
                .iter()
                .filter_map(|line| line.strip_prefix("$ "))
                .map(|command| {
                    commands += 1;
                    format!("$ {command}\n{}", run(&fleet, command))
                        .trim_end()
                        .to_owned()
                })
                .collect();
            made.push_str(&shown.join("\n\n"));
            made.push('\n');
        } else {
            let name = kind.strip_prefix("hcl ").expect("a file's name");
            let mut text = body.join("\n");
            for line in &body {
                made.push_str(line);
                made.push('\n');
            }
            for (written, here) in names(&fleet) {
                text = text.replace(&written, &here);
            }
            fleet.write(name, &text);
        }
        made.push_str("```\n");
    }
    assert!(commands > 10, "the document has lost its commands");
    if std::env::var_os("DROVER_WALKTHROUGH").is_some_and(|value| value == "write") {
        std::fs::write(document(), made).expect("written");
    } else {
        assert!(
            made == written,
            "docs/walkthrough.md does not say what is printed (write it with DROVER_WALKTHROUGH=write):\n{made}"
        );
    }
    assert!(fleet.hosts.iter().all(|host| host.hypervisor.all().is_empty()));
}
