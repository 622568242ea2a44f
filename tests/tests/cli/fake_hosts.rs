//! Hosts of this process: real agents (gRPC, mutual TLS, operation log, image cache, files), each on a
//! loopback port, with a hypervisor in memory; and a directory with a configuration to run `drover` in.

use drover::pki::Authority;
use drover_agent::config::{Config, ImageLimits, LogFormat, Reserved};
use drover_agent::daemon::Daemon;
use drover_agent::hypervisor::{FakeHypervisor, HostDescription};
use drover_agent_core::inventory::CpuSets;
use drover_proto::transport::CredentialFiles;
use drover_types::{ByteSize, FleetName, HostName, Identity, Role, Sha256Digest, VirtType};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The runtime of every agent of this process.
pub(crate) static AGENTS: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime starts"));

/// The name of every test's fleet.
pub(crate) const FLEET: &str = "test";

/// What libvirt says of a host, without NUMA cells.
const CAPABILITIES: &str = include_str!("capabilities.xml");

/// Images are files here, and a busy machine is no reason to give one up.
const FETCH_TIMEOUT: Duration = Duration::from_secs(120);

/// What the image of [`Fleet::start`] holds, in MiB.
const IMAGE_MIB: usize = 1;

/// A port of loopback, and a socket that keeps it from everybody but one who listens there at this address, as an agent
/// that starts anew does.
pub(crate) fn reserved_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("agents reuse addresses, too");
    socket
        .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .expect("a port is free");
    let address = socket.local_addr().expect("it is bound");
    (socket, address)
}

/// One agent and its host.
pub(crate) struct FakeHost {
    pub(crate) name: HostName,
    pub(crate) address: SocketAddr,
    pub(crate) hypervisor: Arc<FakeHypervisor>,
    pub(crate) config: Config,
    /// Its port, also while no agent listens there.
    _port: TcpSocket,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

/// Hosts, their authority, and a directory whose `drover.hcl` declares them.
pub(crate) struct Fleet {
    dir: TempDir,
    pub(crate) hosts: Vec<FakeHost>,
}

impl Fleet {
    /// Hosts `n1`, `n2`, … with so many MiB of memory each and four processors. The first has the most
    /// memory in most tests, since free memory decides where a server goes.
    pub(crate) fn start(memory_mib: &[u64]) -> Self {
        let hosts: Vec<(String, u64)> = (1..)
            .map(|number| format!("n{number}"))
            .zip(memory_mib.iter().copied())
            .collect();
        let fleet = Self::new(FLEET, &hosts, CAPABILITIES);
        fleet.write("drover.hcl", &fleet.base());
        fleet
    }

    /// The same, each host with two NUMA cells of two processors and half of its memory, whose use by servers is looked
    /// at.
    pub(crate) fn start_with_cells(memory_mib: &[u64]) -> Self {
        let hosts: Vec<(String, u64)> = (1..)
            .map(|number| format!("n{number}"))
            .zip(memory_mib.iter().copied())
            .collect();
        let cells = "<topology><cells num='2'>\
            <cell id='0'><memory unit='KiB'>2097152</memory><pages unit='KiB' size='4'>524288</pages><cpus num='2'>\
            <cpu id='0' siblings='0'/><cpu id='1' siblings='1'/></cpus></cell>\
            <cell id='1'><memory unit='KiB'>2097152</memory><pages unit='KiB' size='4'>524288</pages><cpus num='2'>\
            <cpu id='2' siblings='2'/><cpu id='3' siblings='3'/></cpus></cell></cells></topology></host>";
        let fleet = Self::new(FLEET, &hosts, &CAPABILITIES.replacen("</host>", cells, 1));
        fleet.write("drover.hcl", &fleet.base_with_cells());
        fleet
    }

    /// As [`Self::base`], with the filter of NUMA cells.
    pub(crate) fn base_with_cells(&self) -> String {
        let name = format!("  fleet = \"{FLEET}\"\n");
        let filters = "  scheduler {\n    filters = [\"RamFilter\", \"DiskFilter\", \"ComputeFilter\", \
                       \"NUMATopologyFilter\"]\n  }\n";
        self.base().replacen(&name, &format!("{name}{filters}"), 1)
    }

    /// A fleet of this name with hosts of these names and 4 GiB each, and no configuration.
    pub(crate) fn start_named(fleet: &str, hosts: &[&str]) -> Self {
        let hosts: Vec<(String, u64)> = hosts.iter().map(|name| ((*name).to_owned(), 4096)).collect();
        Self::new(fleet, &hosts, CAPABILITIES)
    }

    fn new(name: &str, hosts: &[(String, u64)], capabilities: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut fleet = Self {
            dir,
            hosts: Vec::new(),
        };
        for directory in ["project", "images"] {
            std::fs::create_dir(fleet.path(directory)).expect("made");
        }
        authority(&fleet.path("pki"), name);
        fleet.issue(Role::Operator, "tester", 1, &fleet.path("project/.drover/tls"));
        // Not all the same, so that nothing is sparse by chance.
        let image: Vec<u8> = (0..IMAGE_MIB << 20)
            .map(|byte: usize| (byte % 251) as u8)
            .collect();
        std::fs::write(fleet.path("images/guest.raw"), image).expect("written");
        for (host, memory_mib) in hosts {
            let host = fleet.host(name, host, *memory_mib, capabilities);
            fleet.hosts.push(host);
        }
        fleet
    }

    /// A path of the fleet's directory; `project/…` is where drover runs.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where drover runs.
    pub(crate) fn project(&self) -> PathBuf {
        self.path("project")
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.project().join(name), text).expect("written");
    }

    /// Settings, hosts, a flavor and an image: the content of `drover.hcl`.
    pub(crate) fn base(&self) -> String {
        let hosts: Vec<String> = self
            .hosts
            .iter()
            .map(|host| {
                format!(
                    "host \"{}\" {{\n  address = \"{}\"\n}}\n",
                    host.name, host.address
                )
            })
            .collect();
        let image = self.image("guest", "guest.raw");
        format!(
            "drover {{\n  fleet = \"{FLEET}\"\n}}\n\n{}\nflavor \"small\" {{\n  vcpus = 1\n  ram   = \
             \"512MiB\"\n  disk  = \"8MiB\"\n}}\n\n{image}",
            hosts.join("")
        )
    }

    /// An image block for a file below `images`.
    pub(crate) fn image(&self, name: &str, file: &str) -> String {
        let path = self.path("images").join(file);
        let checksum = Sha256Digest::of(&std::fs::read(&path).expect("the image was made"));
        format!(
            "image \"{name}\" {{\n  source   = \"file://{}\"\n  checksum = \"{checksum}\"\n}}\n",
            path.display()
        )
    }

    /// A certificate of this fleet's authority.
    pub(crate) fn issue(&self, role: Role, name: &str, days: u32, out: &Path) -> CredentialFiles {
        issue(&self.path("pki"), role, name, days, out)
    }

    pub(crate) fn host_named(&mut self, name: &str) -> &mut FakeHost {
        self.hosts
            .iter_mut()
            .find(|host| host.name.as_str() == name)
            .unwrap_or_else(|| panic!("no host {name}"))
    }

    fn host(&self, fleet: &str, name: &str, memory_mib: u64, capabilities: &str) -> FakeHost {
        let name: HostName = name.parse().expect("a host's name");
        let data_dir = self.path(name.as_str());
        let tls = self.issue(Role::Agent, name.as_str(), 1, &data_dir.join("tls"));
        let description = HostDescription {
            hostname: name.to_string(),
            cpus: 4,
            memory_kib: memory_mib << 10,
            sockets: 1,
            cores: 4,
            threads: 1,
            capabilities_xml: capabilities.to_owned(),
            hypervisor_version: 10_000_000,
            libvirt_version: 11_003_000,
        };
        let cpus = include_str!("domain-capabilities.xml").to_owned();
        let (port, address) = reserved_port();
        let config = Config {
            host: name.clone(),
            fleet: fleet.parse().expect("a fleet's name"),
            listen: address,
            data_dir,
            libvirt_uri: String::new(),
            virt_type: VirtType::Qemu,
            tls,
            reserved: Reserved::default(),
            cpus: CpuSets::default(),
            pci_devices: Vec::new(),
            images: ImageLimits {
                max_size: ByteSize::from_mib(64),
                connect_timeout: FETCH_TIMEOUT,
                stall_timeout: FETCH_TIMEOUT,
                total_timeout: FETCH_TIMEOUT,
                file_roots: vec![self.path("images")],
                extra_ca_file: None,
            },
            shutdown_grace: Duration::ZERO,
            log_format: LogFormat::Text,
        };
        let mut host = FakeHost {
            name,
            address,
            hypervisor: Arc::new(FakeHypervisor::new(description, cpus)),
            config,
            _port: port,
            running: None,
        };
        host.start();
        host
    }
}

impl FakeHost {
    /// Starts the agent, always at the same address.
    pub(crate) fn start(&mut self) {
        let (config, hypervisor) = (self.config.clone(), Arc::clone(&self.hypervisor));
        let daemon = AGENTS.block_on(Daemon::start_on(config, hypervisor));
        let daemon = daemon.unwrap_or_else(|error| panic!("agent {}: {error:?}", self.name));
        assert_eq!(daemon.address(), self.address);
        let (stop, stopped) = oneshot::channel();
        let task = AGENTS.spawn(async move {
            let ended = daemon.serve(async { drop(stopped.await) }).await;
            ended.expect("an agent ends only when it is told to");
        });
        self.running = Some((stop, task));
    }

    /// Stops the agent; what its hypervisor runs goes on.
    pub(crate) fn stop(&mut self) {
        let (stop, task) = self.running.take().expect("the agent runs");
        drop(stop);
        AGENTS.block_on(task).expect("the agent does not panic");
    }
}

/// A certificate signed by the authority in `pki`.
pub(crate) fn issue(pki: &Path, role: Role, name: &str, days: u32, out: &Path) -> CredentialFiles {
    let authority = Authority::open(pki).expect("the authority");
    let identity = Identity {
        fleet: authority.fleet().clone(),
        role,
        name: name.parse().expect("a name"),
    };
    let files = authority
        .issue(pki, &identity, days)
        .and_then(|issued| issued.write_to(out))
        .expect("a certificate");
    CredentialFiles {
        ca_file: files.ca_file,
        cert_file: files.cert_file,
        key_file: files.key_file,
    }
}

/// A new authority in `dir`.
pub(crate) fn authority(dir: &Path, fleet: &str) {
    let fleet: FleetName = fleet.parse().expect("a fleet's name");
    Authority::create(dir, &fleet).expect("an authority");
}
