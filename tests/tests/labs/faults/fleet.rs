//! A fleet in a lab whose parts are killed: its configuration, its commands, and what must be true again
//! afterwards, whatever happened.

use drover::store::{Store, StoreSettings};
use drover_core::record::Layout;
use drover_proto::transport::{CredentialFiles, Credentials, Timeouts, connect};
use drover_proto::v1::operation_service_client::OperationServiceClient;
use drover_proto::v1::{ListOperationsRequest, OperationSummary};
use drover_tests::lab::{self, Etcd, FLEET, Finished, Hold, Host, Lab, TlsFiles, Workspace, poll_until};
use drover_types::{Identity, Role};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// For whatever a host or an agent does on a busy machine.
pub(crate) const WAIT: Duration = Duration::from_secs(180);

/// Virtual hardware as small as it can be: nothing here waits for a guest's system.
pub(crate) const TINY: &str = r#"flavor "tiny" {
  vcpus = 1
  ram   = "64MiB"
  disk  = "4MiB"
}
"#;

/// `count` servers called `web` of the tiny flavor, with further attributes as lines.
pub(crate) fn servers(count: usize, more: &str) -> String {
    format!(
        "{TINY}\nserver \"web\" {{\n  count  = {count}\n  flavor = flavor.tiny\n  image  = image.blank\n{more}}}\n"
    )
}

/// A lab with agents.
pub(crate) fn start(hosts: u8, etcd: Etcd) -> Lab {
    let lab = Lab::builder().hosts(hosts).etcd(etcd).start();
    let lab = lab.unwrap_or_else(|error| panic!("{}", chain(&error)));
    lab.start_agents()
        .unwrap_or_else(|error| panic!("{}", chain(&error)));
    lab
}

/// A lab for one of the two stores.
pub(crate) fn start_on(store: lab::Store, hosts: u8) -> Lab {
    start(
        hosts,
        match store {
            lab::Store::Etcd => Etcd::Single,
            lab::Store::Local => Etcd::None,
        },
    )
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// One fleet, its records in one of the two stores.
pub(crate) struct Fleet<'lab> {
    pub(crate) lab: &'lab Lab,
    store: lab::Store,
    pub(crate) workspace: Workspace<'lab>,
    pub(crate) image: String,
}

impl<'lab> Fleet<'lab> {
    pub(crate) fn new(lab: &'lab Lab, store: lab::Store) -> Self {
        Self {
            lab,
            store,
            workspace: lab.workspace("fleet").expect("a workspace can be made"),
            image: blank_image(lab),
        }
    }

    /// Writes the configuration: every host of the lab, with more attributes for some, and `rest`.
    pub(crate) fn configure(&self, hosts: &[(&str, &str)], rest: &str) {
        let blocks = self.lab.hosts().iter().map(|host| {
            let more = hosts.iter().find(|(name, _)| *name == host.name());
            let more = more.map_or(String::new(), |(_, more)| format!("  {more}\n"));
            self.lab.host_block(host.name(), &more)
        });
        let text: Vec<String> = [self.lab.drover_block(self.store)]
            .into_iter()
            .chain(blocks)
            .chain([self.image.clone(), rest.to_owned()])
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

    /// Applies what is configured, after whoever was killed with the lock in hand.
    pub(crate) fn apply(&self) -> Finished {
        self.drover(0, &["apply", "--auto-approve", "--lock-timeout", "60s"])
    }

    pub(crate) fn destroy(&self) -> Finished {
        self.drover(0, &["destroy", "--auto-approve", "--lock-timeout", "60s"])
    }

    /// Ends the leases of whoever was killed with the lock in hand: they would run out within 15 s, and tests that
    /// kill many do not wait for each. The embedded store's lock dies with its process.
    pub(crate) fn forget_dead_holder(&self) {
        match self.store {
            lab::Store::Local => {}
            lab::Store::Etcd => {
                let etcd = self.lab.etcd();
                let leases = etcd.etcdctl(&["lease", "list"]).expect("etcd answers");
                for lease in leases.lines().filter(|line| !line.contains("found")) {
                    // One that has just run out is as gone as one that is revoked.
                    drop(etcd.etcdctl(&["lease", "revoke", lease.trim()]));
                }
            }
        }
    }

    /// Starts every agent anew, so that each waits at this point until what is returned is dropped, after `passes`
    /// have passed.
    pub(crate) fn hold_agents(&self, point: &str, passes: usize) -> Vec<Hold> {
        let hold = |host: &Host| {
            host.stop_agent().expect("the agent ends when asked to");
            let hold = host.hold(point, passes).expect("the lab can be written");
            host.start_agent_held(&[&hold]).expect("the agent is back");
            hold
        };
        self.lab.hosts().iter().map(hold).collect()
    }

    /// How many domains there are on all hosts together.
    pub(crate) fn domain_count(&self) -> usize {
        self.lab.hosts().iter().map(|host| domains(host).len()).sum()
    }

    /// A command that logs the steps of its journal.
    pub(crate) fn logged(&self, arguments: &[&str]) -> Command {
        let mut command = self.workspace.command(arguments);
        command.env("DROVER_LOG", "drover=info");
        command
    }

    pub(crate) fn expect_no_changes(&self) {
        let plan = self.drover(0, &["plan", "--detailed-exitcode"]);
        assert!(plan.stdout.contains("No changes"), "{}", plan.stdout);
    }

    /// A server's record: every attribute as `drover server show --json` has it.
    pub(crate) fn record(&self, address: &str) -> Value {
        let shown = self.workspace.expect(0, &["server", "show", address, "--json"]);
        let shown: Value = serde_json::from_str(&shown.stdout).expect("--json prints JSON");
        shown["record"].clone()
    }

    /// Where a server is recorded to be: its id and its host.
    pub(crate) fn server(&self, address: &str) -> (String, String) {
        let record = self.record(address);
        let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
        (text("id"), text("host"))
    }

    /// What an apply that succeeded leaves: each server's domain and files on its own host and nowhere else, no
    /// unfinished image, no operation that an agent or the journal still holds, no lock, and nothing to plan.
    pub(crate) fn expect_settled(&self, addresses: &[&str]) {
        self.expect_no_changes();
        let placed: BTreeMap<String, String> = addresses.iter().map(|address| self.server(address)).collect();
        assert_eq!(
            placed.len(),
            addresses.len(),
            "every server has its own id: {placed:?}"
        );
        for host in self.lab.hosts() {
            let own: BTreeSet<String> = placed
                .iter()
                .filter(|(_, on)| *on == host.name())
                .map(|(id, _)| id.clone())
                .collect();
            assert_eq!(domains(host), own, "domains on {}", host.name());
            assert_eq!(
                files(host, "servers"),
                own,
                "server directories on {}",
                host.name()
            );
            self.expect_clean(host);
        }
        self.expect_no_open_key();
    }

    /// What a destroyed fleet leaves: the store's own counters.
    pub(crate) fn expect_nothing_left(&self) {
        for host in self.lab.hosts() {
            let none = BTreeSet::new();
            assert_eq!(domains(host), none, "domains on {}", host.name());
            assert_eq!(
                files(host, "servers"),
                none,
                "server directories on {}",
                host.name()
            );
            self.expect_clean(host);
        }
        // Operations that have ended are kept for people and for resumed plans; whether one has not, or a lock
        // still locks, is looked at below.
        let kept = |key: &str| {
            ["/meta", "/default/inc/", "/ops/", "/lock"]
                .iter()
                .any(|part| key.contains(part))
        };
        let left: Vec<String> = self.keys().into_keys().filter(|key| !kept(key)).collect();
        assert_eq!(left, Vec::<String>::new(), "keys in the store");
        self.expect_no_open_key();
    }

    /// No lock, and no operation without its end.
    fn expect_no_open_key(&self) {
        // A killed holder of the embedded store leaves its record, which locks nothing: the next taker
        // removes it, and a next apply that has nothing to do takes no lock.
        let locks = |record: &Value| {
            let holder = record["pid"].as_u64().expect("a lock names its process");
            Path::new(&format!("/proc/{holder}")).exists()
        };
        let open = |key: &str, record: &Value| {
            key.ends_with("/lock") && locks(record) || key.contains("/ops/") && !is_ended(record)
        };
        let open: BTreeMap<String, Value> = self
            .keys()
            .into_iter()
            .filter(|(key, record)| open(key, record))
            .collect();
        assert_eq!(open, BTreeMap::new(), "keys of an apply that has ended");
    }

    /// No unfinished file and no operation that somebody still has to ask about.
    fn expect_clean(&self, host: &Host) {
        let left = files(host, "handovers");
        assert_eq!(left, BTreeSet::new(), "handovers on {}", host.name());
        // An image is told when it is whole, and goes to its place after that.
        wait("the end of unfinished images", || {
            files(host, "images/tmp").is_empty().then_some(())
        });
        let stray: BTreeSet<String> = files(host, "images/base")
            .into_iter()
            .filter(|name| name.contains("new"))
            .collect();
        assert_eq!(stray, BTreeSet::new(), "unfinished records on {}", host.name());
        // Whoever was killed did not thank for what it had recorded; the next apply that works does.
        let keys = self.keys();
        let recorded = |operation: &OperationSummary| {
            let key = format!("/ops/{}", operation.operation_id);
            !operation.running && keys.keys().any(|known| known.ends_with(&key))
        };
        let left: Vec<_> = self
            .operations(host)
            .into_iter()
            .filter(|left| !recorded(left))
            .collect();
        assert!(left.is_empty(), "operations on {}: {left:?}", host.name());
    }

    /// The operations that a host's agent remembers.
    pub(crate) fn operations(&self, host: &Host) -> Vec<OperationSummary> {
        let files = self.lab.operator().expect("the lab has an operator");
        self.lab
            .client()
            .inside_network(|| {
                runtime().block_on(async {
                    let channel = channel(host, &files).await;
                    let mut client = OperationServiceClient::new(channel);
                    let answer = client.list_operations(ListOperationsRequest {}).await;
                    let answer = answer.expect("an operator may list operations");
                    answer.into_inner().operations
                })
            })
            .expect("the client's network is there")
    }

    /// Every key of the fleet with its record, in either store.
    pub(crate) fn keys(&self) -> BTreeMap<String, Value> {
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
            runtime().block_on(async {
                let (store, _) = Store::open(&settings, layout).await.expect("the store opens");
                let snapshot = store.read_all().await.expect("the store can be read");
                let entries = snapshot.entries.iter();
                let record = |bytes: &[u8]| serde_json::from_slice(bytes).expect("records are JSON");
                entries
                    .map(|entry| (entry.key.to_string(), record(&entry.value)))
                    .collect()
            })
        };
        self.lab
            .client()
            .inside_network(read)
            .expect("the client's network is there")
    }
}

impl Drop for Fleet<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for host in self.lab.hosts() {
            let log = host.agent_log().unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(60)..];
            println!("--- the agent of {}\n{}", host.name(), tail.join("\n"));
        }
    }
}

fn is_ended(operation: &Value) -> bool {
    let status = operation["status"].as_str().unwrap_or_default();
    status == "succeeded" || status == "failed"
}

/// The ids of the domains of a host, running or not.
pub(crate) fn domains(host: &Host) -> BTreeSet<String> {
    let text = host
        .virsh(&["list", "--all", "--uuid"])
        .expect("libvirtd answers");
    text.split_whitespace().map(str::to_owned).collect()
}

/// The names in a directory of a host's agent; none where the directory is not there.
pub(crate) fn files(host: &Host, directory: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(host.agent_data().join(directory));
    let entries = entries.into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime can be made")
}

/// A checked connection to a host's agent; to be called in the client's network.
pub(crate) async fn channel(host: &Host, files: &TlsFiles) -> tonic::transport::Channel {
    let files = CredentialFiles {
        ca_file: files.ca_file.clone(),
        cert_file: files.cert_file.clone(),
        key_file: files.key_file.clone(),
    };
    let credentials = Credentials::load(&files).expect("drover pki writes what drover reads");
    let expected = Identity {
        fleet: FLEET.parse().expect("a fleet's name"),
        role: Role::Agent,
        name: host.name().parse().expect("a host's name"),
    };
    let address = host.agent_address();
    connect(
        &address.ip().to_string(),
        address.port(),
        &expected,
        &credentials,
        Timeouts::default(),
    )
    .await
    .unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// An image that boots nothing and is fetched at once.
fn blank_image(lab: &Lab) -> String {
    let path = blank_file(lab, 1);
    image_block(&format!("file://{}", path.display()), &path)
}

/// A file of so many MiB of which every sector is its own.
pub(crate) fn blank_file(lab: &Lab, mib: usize) -> PathBuf {
    let path = lab.directory().join(format!("blank-{mib}.img"));
    let sectors = (0..mib * 2048).flat_map(|sector| {
        let mut bytes = vec![0; 512];
        bytes[..8].copy_from_slice(&(sector as u64).to_be_bytes());
        bytes
    });
    std::fs::write(&path, sectors.collect::<Vec<u8>>()).expect("the lab's directory can be written");
    path
}

/// The `image` block of a file that is had at `source`.
pub(crate) fn image_block(source: &str, file: &Path) -> String {
    let sum = Command::new("sha256sum")
        .arg(file)
        .output()
        .expect("sha256sum runs");
    let text = String::from_utf8(sum.stdout).expect("a digest is ASCII");
    let digest = text.split_whitespace().next().expect("a digest");
    format!(
        "image \"blank\" {{\n  source = \"{source}\"\n  checksum = \"sha256:{digest}\"\n  format = \"raw\"\n}}\n"
    )
}

/// Waits until `probe` answers.
pub(crate) fn wait<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    poll_until(what, WAIT, probe).unwrap_or_else(|error| panic!("{error}"))
}
