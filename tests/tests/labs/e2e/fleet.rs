//! A fleet in a lab as its operator has it: a directory with a configuration, commands run there, and what
//! is then true of hosts and store. Asserts where every case asserts the same.

use drover::store::{Store, StoreSettings};
use drover_core::record::Layout;
use drover_tests::lab::{self, FLEET, Finished, Host, Lab, WAIT_LONG, Workspace, poll_until, wait_for_line};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// For what boots or moves guests under software emulation on a busy machine.
pub(crate) const WAIT_GUEST: Duration = Duration::from_secs(300);

/// Files in an agent's data directory that are none of any server or image.
const AGENTS_OWN: [&str; 3] = ["operations.log", "operations.lock", "last-boot"];

/// One fleet, its records in one of the two stores.
pub(crate) struct Fleet<'lab> {
    pub(crate) lab: &'lab Lab,
    store: lab::Store,
    pub(crate) workspace: Workspace<'lab>,
    image: String,
}

/// A server as `drover server show` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) id: String,
    pub(crate) host: String,
}

impl<'lab> Fleet<'lab> {
    pub(crate) fn new(lab: &'lab Lab, store: lab::Store) -> Self {
        Self {
            lab,
            store,
            workspace: lab.workspace("fleet").expect("a workspace can be made"),
            image: lab.image_block("guest").expect("the guest image can be made"),
        }
    }

    /// Writes the configuration: every host of the lab, with more attributes for some, and `servers`.
    pub(crate) fn configure(&self, hosts: &[(&str, &str)], servers: &str) {
        self.configure_with("", hosts, servers);
    }

    /// The same, with more in the `drover` block.
    pub(crate) fn configure_with(&self, settings: &str, hosts: &[(&str, &str)], servers: &str) {
        let blocks = self.lab.hosts().iter().map(|host| {
            let more = hosts.iter().find(|(name, _)| *name == host.name());
            let more = more.map_or(String::new(), |(_, more)| format!("  {more}\n"));
            self.lab.host_block(host.name(), &more)
        });
        let drover = self.lab.drover_block(self.store);
        let text: Vec<String> = [drover.replacen("drover {\n", &format!("drover {{\n{settings}"), 1)]
            .into_iter()
            .chain(blocks)
            .chain([self.image.clone(), servers.to_owned()])
            .collect();
        self.workspace
            .write("main.hcl", &text.join("\n"))
            .expect("the workspace can be written");
    }

    /// Runs drover, shows what it printed, and checks its exit status.
    pub(crate) fn drover(&self, code: i32, arguments: &[&str]) -> Finished {
        let finished = self.workspace.expect(code, arguments);
        println!(
            "$ {} # {code}, {:.1} s\n{}{}",
            finished.command,
            finished.took.as_secs_f64(),
            finished.stdout,
            finished.stderr
        );
        finished
    }

    pub(crate) fn apply(&self) -> Finished {
        self.drover(0, &["apply", "--auto-approve"])
    }

    /// Nothing to do, in every way that drover can say it.
    pub(crate) fn expect_no_changes(&self) {
        let text = self.drover(0, &["plan", "--detailed-exitcode"]);
        assert!(text.stdout.contains("No changes"), "{}", text.stdout);
        let json = self.drover(0, &["plan", "--detailed-exitcode", "--json"]);
        let events = events(&json);
        for event in &events {
            let kind = event["type"].as_str().unwrap_or_default();
            assert!(
                ["version", "change_summary", "outputs"].contains(&kind),
                "a plan without changes says {event}"
            );
        }
        let summary = of_type(&events, "change_summary")
            .next()
            .expect("a plan has a summary");
        assert_eq!(summary["complete"], true, "{summary}");
        let counts = summary["changes"].as_object().expect("a summary counts");
        let changed = counts
            .iter()
            .filter(|(_, count)| count.as_u64().is_some_and(|count| count > 0));
        assert_eq!(changed.count(), 0, "{summary}");
    }

    pub(crate) fn server(&self, address: &str) -> Server {
        let shown = self.workspace.expect(0, &["server", "show", address, "--json"]);
        let shown: Value = serde_json::from_str(&shown.stdout).expect("--json prints JSON");
        let text = |key: &str| match &shown["record"][key] {
            Value::String(text) => text.clone(),
            other => panic!("{address}: {key} is {other} in {shown}"),
        };
        Server {
            id: text("id"),
            host: text("host"),
        }
    }

    /// Nobody may run a server whose release is not known where it goes: watched for five seconds.
    pub(crate) fn nobody_runs_it(&self, server: &Server) {
        let begin = Instant::now();
        poll_until("nothing, for five seconds", WAIT_LONG, || {
            assert_eq!(
                self.lab.running_on(&server.id).expect("every libvirtd answers"),
                Vec::<String>::new(),
                "nobody may run it while the release is not known"
            );
            (begin.elapsed().as_secs() >= 5).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    }

    pub(crate) fn host(&self, name: &str) -> &'lab Host {
        self.lab.host(name)
    }

    /// What the guest wrote while it ran on this host, in the agent's own file.
    pub(crate) fn console(&self, host: &str, server: &Server) -> PathBuf {
        self.directory(host, server).join("console.log")
    }

    /// The server's directory on a host.
    pub(crate) fn directory(&self, host: &str, server: &Server) -> PathBuf {
        self.host(host).agent_data().join("servers").join(&server.id)
    }

    /// Waits until the guest of this server has printed its line, through drover, and checks that it is its own.
    pub(crate) fn wait_ready(&self, address: &str, server: &Server) {
        let ready = format!("drover-guest: ready uuid={}", server.id);
        wait_for_line(&self.console(&server.host, server), &ready, WAIT_GUEST)
            .unwrap_or_else(|error| panic!("{address}: {error}\n{}", self.processors(server)));
        let log = self.workspace.expect(0, &["server", "console-log", address]);
        assert!(
            log.stdout.lines().any(|line| line.trim_end() == ready),
            "{address}: {}",
            log.stdout
        );
    }

    /// What the guest's processors do, for a guest that says nothing.
    pub(crate) fn processors(&self, server: &Server) -> String {
        let host = self.host(&server.host);
        let ask = |question: &str| {
            let command = ["qemu-monitor-command", &server.id, "--hmp", question];
            host.virsh(&command).unwrap_or_else(|error| error.to_string())
        };
        ["info status", "info cpus", "info registers -a"]
            .map(ask)
            .join("\n")
    }

    pub(crate) fn wait_count(&self, host: &str, server: &Server, at_least: u64) -> u64 {
        let console = self.console(host, server);
        poll_until(format!("count {at_least} of {}", server.id), WAIT_GUEST, || {
            lab::last_count(&console).filter(|count| *count >= at_least)
        })
        .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Every record of the fleet by its key, in either store.
    fn records(&self) -> Vec<(String, Value)> {
        let settings = match self.store {
            lab::Store::Local => StoreSettings::Local {
                path: self.workspace.directory().join(".drover"),
            },
            lab::Store::Etcd => {
                let files = self.lab.etcd().client_files();
                StoreSettings::Etcd {
                    endpoints: self.lab.etcd().endpoints(),
                    ca_file: Some(self.lab.etcd().ca_file()),
                    cert_file: Some(files.cert_file),
                    key_file: Some(files.key_file),
                }
            }
        };
        let layout = Layout::new(
            &FLEET.parse().expect("the lab's fleet has a name"),
            &"default".parse().expect("a project name"),
        );
        let read = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made");
            runtime.block_on(async {
                let (store, _) = Store::open(&settings, layout).await.expect("the store opens");
                let snapshot = store.read_all().await.expect("the store can be read");
                let keys = snapshot.entries.iter();
                keys.map(|entry| {
                    let record = serde_json::from_slice(&entry.value).expect("records are JSON");
                    (entry.key.to_string(), record)
                })
                .collect()
            })
        };
        self.lab
            .client()
            .inside_network(read)
            .expect("the client's network is there")
    }

    /// Nothing of Drover's is left on any host, and nothing but its counters in the store.
    pub(crate) fn expect_nothing_left(&self) {
        for host in self.lab.hosts() {
            let name = host.name();
            let domains = host
                .virsh(&["list", "--all", "--name"])
                .expect("libvirtd answers");
            assert_eq!(domains.trim(), "", "domains on {name}");
            let left = files_below(&host.agent_data());
            // What the agent knows of itself.
            let own = |path: &Path| {
                let name = path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                AGENTS_OWN.contains(&name.as_str())
            };
            let left: Vec<PathBuf> = left.into_iter().filter(|path| !own(path)).collect();
            assert_eq!(left, Vec::<PathBuf>::new(), "files on {name}");
            assert_eq!(
                host.listening_tcp_ports().expect("ss runs"),
                [7443],
                "{name} listens for its agent alone"
            );
        }
        // The results of the last apply stay until the next: its plan file could still be resumed.
        let kept = |key: &str, record: &Value| {
            key.ends_with("/meta")
                || key.contains("/default/inc/")
                || (key.contains("/ops/") && record["status"] == "succeeded")
        };
        let mut left = self.records();
        left.retain(|(key, record)| !kept(key, record));
        assert_eq!(left, Vec::new(), "records in the store");
    }
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The events of a command that was given `--json`.
pub(crate) fn events(finished: &Finished) -> Vec<Value> {
    finished
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

pub(crate) fn of_type<'a>(events: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["type"] == kind)
}

/// Waits until a domain is in this state on this host.
pub(crate) fn wait_state(host: &Host, server: &Server, state: Option<&str>) {
    poll_until(
        format!("{} in state {state:?} on {}", server.id, host.name()),
        WAIT_LONG,
        || {
            let found = host.domain_state(&server.id).ok()?;
            (found.as_deref() == state).then_some(())
        },
    )
    .unwrap_or_else(|error| panic!("{error}: it is {:?}", host.domain_state(&server.id)));
}
