//! Runs the binary in a clean environment, and shows what it did in a form that is the same each time.

use crate::fake_hosts::Fleet;
use drover_tests::lab::poll_until;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longer than any command takes here, on a machine busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(300);

/// How a command ended and what it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Status, stdout and stderr for snapshots; parts that are empty are left out.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("exit {}", self.status);
        for (name, part) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !part.is_empty() {
                text.push_str(&format!("\n--- {name}\n{}", part.trim_end()));
            }
        }
        text
    }

    /// Stdout as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// Stdout as one JSON value per line.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        let lines = self.stdout.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect()
    }

    /// The only event of this type.
    pub(crate) fn event(&self, kind: &str) -> Value {
        let mut found: Vec<Value> = self.json_lines();
        found.retain(|event| event["type"] == kind);
        assert_eq!(found.len(), 1, "events of type {kind}: {self:#?}");
        found.remove(0)
    }

    /// Fails unless it ended with this status.
    #[track_caller]
    pub(crate) fn exits(self, status: i32) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Fails unless stdout or stderr has this text.
    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        // Lines are wrapped to fit, so any white space may stand between two words.
        let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let all = flat(&format!("{} {}", self.stdout, self.stderr));
        assert!(all.contains(&flat(text)), "{text:?} is not in:\n{}", self.text());
        self
    }

    /// Fails if stdout or stderr has this text.
    #[track_caller]
    pub(crate) fn says_nothing_of(self, text: &str) -> Self {
        let all = format!("{}{}", self.stdout, self.stderr);
        assert!(!all.contains(text), "{text:?} is in:\n{}", self.text());
        self
    }
}

/// The binary beside the test programs.
pub(crate) fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("the test program's path");
    let directory = own.parent().and_then(Path::parent).expect("target/debug/deps");
    let path = directory.join("drover");
    assert!(
        path.is_file(),
        "{} is not there: run `make build`",
        path.display()
    );
    path
}

/// The binary with no environment but what every process needs, without a terminal.
pub(crate) fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .current_dir(directory)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("COLUMNS", "80")
        .stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn finish(mut command: Command) -> Ran {
    let output = tempfile::tempdir().expect("a directory");
    let (stdout, stderr) = (output.path().join("stdout"), output.path().join("stderr"));
    let create = |path: &Path| File::create(path).expect("made");
    let mut child = command
        .stdout(create(&stdout))
        .stderr(create(&stderr))
        .spawn()
        .expect("the binary starts");
    let ended = poll_until(format!("{command:?}"), PATIENCE, || {
        child.try_wait().expect("a child")
    });
    let ended = ended.unwrap_or_else(|error| {
        drop(child.kill());
        panic!("{error}");
    });
    let read = |path: &Path| std::fs::read_to_string(path).expect("text");
    Ran {
        status: ended.code().expect("it was not killed"),
        stdout: read(&stdout),
        stderr: read(&stderr),
    }
}

/// Runs drover in a directory.
pub(crate) fn drover_in(directory: &Path, arguments: &[&str]) -> Ran {
    let ran = finish(command(directory, arguments));
    let here = directory.display().to_string();
    let clean = |text: &str| match here.as_str() {
        "/" => same_each_time(text),
        here => same_each_time(&text.replace(here, "<here>")),
    };
    Ran {
        stdout: clean(&ran.stdout),
        stderr: clean(&ran.stderr),
        ..ran
    }
}

impl Fleet {
    /// Runs drover in the project's directory. What differs from run to run is replaced in what it prints.
    pub(crate) fn drover(&self, arguments: &[&str]) -> Ran {
        self.clean(&finish(self.command(arguments)))
    }

    /// The binary, to be run in the project's directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        command(&self.project(), arguments)
    }

    /// Replaces what differs from run to run.
    pub(crate) fn clean(&self, ran: &Ran) -> Ran {
        let clean = |text: &str| {
            let mut text = text.replace(&self.path("").display().to_string(), "<fleet>/");
            for host in &self.hosts {
                text = text.replace(&host.address.to_string(), &format!("<{}>", host.name));
            }
            same_each_time(&text)
        };
        Ran {
            stdout: clean(&ran.stdout),
            stderr: clean(&ran.stderr),
            status: ran.status,
        }
    }
}

/// What an apply tells of its steps, each as if it had taken one second. On a busy machine a step may take long enough to
/// be mentioned again, which is left out.
pub(crate) fn timeless(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains(": Still "));
    let line = |line: &str| match line.split_once(" after ") {
        Some((before, after)) if before.contains(": ") => {
            let rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, 'm' | 's'));
            format!("{before} after 1s{rest}")
        }
        Some(_) | None => line.to_owned(),
    };
    lines.map(line).collect::<Vec<_>>().join("\n")
}

/// Replaces ids, digests and times.
pub(crate) fn same_each_time(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    // A word of these characters may be an id, a digest or a time.
    for character in text.chars().chain(['\n']) {
        if character.is_ascii_alphanumeric() || matches!(character, '-' | ':' | '.') {
            word.push(character);
            continue;
        }
        out.push_str(&replaced(&word));
        word.clear();
        out.push(character);
    }
    out.pop();
    out
}

fn replaced(word: &str) -> String {
    let core = word.trim_end_matches(['.', ':']);
    let rest = &word[core.len()..];
    let (prefix, body) = core
        .strip_prefix("sha256:")
        .map_or(("", core), |body| ("sha256:", body));
    let hex = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit());
    let parts: Vec<&str> = body
        .split('-')
        .map(|part| if hex(part) { part } else { "" })
        .collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let shown = if lengths == [8, 4, 4, 4, 12] {
        "<id>"
    } else if body.len() == 64 && hex(body) {
        "<digest>"
    } else if body.len() >= 20 && body.starts_with("20") && body.ends_with('Z') && body.contains("T") {
        "<time>"
    } else {
        return word.to_owned();
    };
    format!("{prefix}{shown}{rest}")
}

#[test]
fn what_differs_from_run_to_run_is_replaced() {
    assert_eq!(
        same_each_time(
            "id 6a1c1f0e-0000-4000-8000-000000000001, since 2026-11-21T03:46:01.123456Z.\n(sha256:\
             0000000000000000000000000000000000000000000000000000000000000000)"
        ),
        "id <id>, since <time>.\n(sha256:<digest>)"
    );
}
