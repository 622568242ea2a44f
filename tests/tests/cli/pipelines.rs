//! `examples/ci`: every pipeline can be read, and runs commands and options that exist.

use crate::fake_hosts::Fleet;
use crate::help;
use crate::plan_shown::{applied, changed};
use drover_types::PowerState;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn files() -> Vec<PathBuf> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ci")];
    let mut files = Vec::new();
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).expect("the examples") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Each `drover …` of a text, up to what the shell takes for itself.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split(" #").next().unwrap_or_default().trim();
        if line.starts_with('#') {
            continue;
        }
        let line = line.trim_start_matches("- ").trim_start_matches("run: ");
        // Units of systemd and tables of cron name the binary by its path.
        let line = line
            .split_once("/usr/local/bin/")
            .map_or(line, |(_, command)| command);
        let Some(rest) = line.strip_prefix("drover ") else {
            continue;
        };
        let end = ["||", "&&", ">", ";", "|"]
            .iter()
            .filter_map(|stop| rest.find(stop))
            .min()
            .unwrap_or(rest.len());
        found.push(rest[..end].split_whitespace().map(str::to_owned).collect());
    }
    found
}

#[test]
fn every_command_and_option_exists() {
    let options = help::options();
    let known: BTreeSet<&str> = options.values().flatten().map(String::as_str).collect();
    let mut all = 0;
    for path in files() {
        let text = std::fs::read_to_string(&path).expect("text");
        for words in commands(&text) {
            all += 1;
            let said = format!("{}: drover {}", path.display(), words.join(" "));
            let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
            while words.first().is_some_and(|word| word.starts_with('-')) {
                let global = words.remove(0);
                if global == "-C" {
                    words.remove(0);
                }
            }
            let plain: Vec<&str> = words
                .iter()
                .copied()
                .take_while(|word| !word.starts_with('-'))
                .collect();
            let command = (1..=plain.len().min(2))
                .rev()
                .map(|length| plain[..length].join(" "))
                .find(|command| known.contains(command.as_str()));
            let command = command.unwrap_or_else(|| panic!("{said}: no such command"));
            for option in words.iter().filter(|word| word.starts_with("--")) {
                let name = option.split('=').next().unwrap_or_default();
                let there = options
                    .get(name)
                    .is_some_and(|commands| commands.contains(&command));
                assert!(there, "{said}: {command} has no {name}");
            }
        }
    }
    assert!(all >= 10, "{all} commands were found");
}

#[test]
fn every_pipeline_is_yaml() {
    let pipelines: Vec<PathBuf> = files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "yml"))
        .filter(|path| !path.components().any(|part| part.as_os_str() == "drift"))
        .collect();
    assert!(pipelines.len() >= 2, "{pipelines:?}");
    for path in pipelines {
        let text = std::fs::read_to_string(&path).expect("text");
        let parsed: Result<Value, _> = serde_yaml_ng::from_str(&text);
        let parsed = parsed.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // Both kinds of pipeline name their steps in the same two words.
        let jobs = parsed.get("jobs").unwrap_or(&parsed);
        assert!(
            jobs["plan"].is_object() && jobs["apply"].is_object(),
            "{parsed:#}"
        );
    }
}

/// The script that works anywhere, from plan to apply.
#[test]
fn the_script_plans_and_applies() {
    let fleet = Fleet::start(&[4096]);
    fleet.write(
        "web.hcl",
        "server \"web\" {\n  flavor = flavor.small\n  image  = image.guest\n}\n",
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ci/pipeline.sh");
    let run = |step: &str| {
        let binary = crate::run::binary();
        let path = format!(
            "{}:{}",
            binary.parent().expect("a directory").display(),
            std::env::var("PATH").expect("PATH")
        );
        let ran = std::process::Command::new("sh")
            .arg(&script)
            .args([step, ".", "plan.bin"])
            .current_dir(fleet.project())
            .env("PATH", path)
            .output()
            .expect("sh");
        assert!(ran.status.success(), "{ran:?}");
        String::from_utf8_lossy(&ran.stdout).into_owned()
    };
    assert!(run("plan").contains("pipeline: to be reviewed"));
    assert!(run("apply").contains("Apply complete! 1 created"));
    assert!(run("plan").contains("pipeline: nothing to do"));
}

/// What the policy answers to a plan: its refusals and its warnings.
fn judged(policy: &str, plan: &Value) -> [Vec<String>; 2] {
    let mut engine = regorus::Engine::new();
    let added = engine.add_policy("drover.rego".to_owned(), policy.to_owned());
    added.unwrap_or_else(|error| panic!("{error}"));
    engine.set_input_json(&plan.to_string()).expect("JSON");
    ["data.main.deny", "data.main.warn"].map(|rule| {
        let said = engine.eval_rule(rule.to_owned()).expect("a rule");
        let said = said.as_set().expect("a set").iter();
        said.map(|message| message.as_string().expect("a text").to_string())
            .collect()
    })
}

#[test]
fn the_policy_refuses_plans_that_lose_data_or_restart_too_much() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ci/policy/drover.rego");
    let policy = std::fs::read_to_string(path).expect("text");
    let mut fleet = applied();
    let plan = |fleet: &Fleet| {
        fleet.drover(&["plan", "--out", "plan.bin"]);
        fleet.drover(&["show", "--json", "plan.bin"]).exits(0).json()
    };
    assert_eq!(judged(&policy, &plan(&fleet)), [vec![], Vec::<String>::new()]);

    changed(&fleet);
    let mixed = plan(&fleet);
    let lost = [
        "server.db: the root disk is made anew: what is on it is lost (its image changed)",
        "server.old: its disk is lost (it is no longer declared)",
    ];
    assert_eq!(judged(&policy, &mixed)[0], lost);
    let strict = policy.replace("max_reboots := 5", "max_reboots := 0");
    let strict = judged(&strict, &mixed);
    assert_eq!(strict[0].len(), 3, "{strict:?}");
    assert_eq!(strict[0][0], "1 guests would restart, at most 0 may");

    for mut domain in fleet.hosts[0].hypervisor.all() {
        domain.state.power = PowerState::Shutdown;
        domain.live_xml = None;
        fleet.hosts[0].hypervisor.put(domain);
    }
    fleet.host_named("n3").stop();
    let [deny, warn] = judged(&policy, &plan(&fleet));
    assert!(
        deny.contains(&"not every host answered, or something is blocked".to_owned()),
        "{deny:?}"
    );
    assert!(
        warn.iter()
            .any(|text| text.ends_with("was changed outside of Drover: power")),
        "{warn:?}"
    );
}
