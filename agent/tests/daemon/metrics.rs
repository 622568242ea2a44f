//! What an agent reports of its host's processors, asked over its port, with a hypervisor in memory.

use crate::authority::Authority;
use drover_agent::config::{Config, ImageLimits, LogFormat, Reserved};
use drover_agent::daemon::Daemon;
use drover_agent::hypervisor::{FakeHypervisor, HostDescription};
use drover_agent_core::inventory::{CpuSample, CpuSets, CpuTimes};
use drover_proto::transport::{Timeouts, connect};
use drover_proto::v1::GetInventoryRequest;
use drover_proto::v1::host_service_client::HostServiceClient;
use drover_types::{ByteSize, CpuMetric, VirtType};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};

const AGENT: &str = "spiffe://prod/agent/n1";
const SECOND: u64 = 1_000_000_000;

fn hypervisor() -> Arc<FakeHypervisor> {
    let host = HostDescription {
        hostname: "n1".to_owned(),
        cpus: 2,
        memory_kib: 1 << 20,
        sockets: 1,
        cores: 2,
        threads: 1,
        capabilities_xml: include_str!("../../core/src/inventory/testdata/capabilities.xml").to_owned(),
        hypervisor_version: 10_000_000,
        libvirt_version: 11_003_000,
    };
    let cpus = include_str!("../../core/src/inventory/testdata/domain-capabilities-qemu.xml");
    Arc::new(FakeHypervisor::new(host, cpus.to_owned()))
}

async fn start(dir: &Path, authority: &Authority, hypervisor: Arc<FakeHypervisor>) -> Daemon {
    let patience = Duration::from_secs(30);
    let config = Config {
        host: "n1".parse().expect("a name"),
        fleet: "prod".parse().expect("a name"),
        listen: "127.0.0.1:0".parse().expect("an address"),
        data_dir: dir.join("data"),
        libvirt_uri: String::new(),
        virt_type: VirtType::Qemu,
        tls: authority.write(&dir.join("tls"), &authority.sign(&[AGENT])),
        reserved: Reserved::default(),
        cpus: CpuSets::default(),
        pci_devices: Vec::new(),
        images: ImageLimits {
            max_size: ByteSize::from_mib(1),
            connect_timeout: patience,
            stall_timeout: patience,
            total_timeout: patience,
            file_roots: Vec::new(),
            extra_ca_file: None,
        },
        shutdown_grace: Duration::ZERO,
        log_format: LogFormat::Text,
    };
    Box::pin(Daemon::start_on(config, hypervisor))
        .await
        .expect("started")
}

async fn metrics(client: &mut HostServiceClient<Channel>) -> Result<BTreeMap<String, f64>, Status> {
    let request = GetInventoryRequest {
        known_incarnation: String::new(),
    };
    let answer = client.get_inventory(request).await?;
    Ok(answer.into_inner().metrics)
}

fn named<const N: usize>(metrics: [(CpuMetric, f64); N]) -> BTreeMap<String, f64> {
    let metrics = metrics.into_iter();
    metrics
        .map(|(metric, value)| (metric.to_string(), value))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_reported_at_once_and_shares_from_the_second_inventory_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let (authority, hypervisor) = (Authority::new(), hypervisor());
    let daemon = start(dir.path(), &authority, Arc::clone(&hypervisor)).await;
    let (port, stop) = (daemon.address().port(), CancellationToken::new());
    let served = tokio::spawn(daemon.serve(stop.clone().cancelled_owned()));
    let credentials = authority.credentials("spiffe://prod/operator/ann");
    let agent = AGENT.parse().expect("an identity");
    let channel = connect("127.0.0.1", port, &agent, &credentials, Timeouts::default()).await;
    let mut client = HostServiceClient::new(channel.expect("connected"));

    // A libvirt that counts nothing is no reason to report nothing else.
    assert_eq!(metrics(&mut client).await.expect("an inventory"), BTreeMap::new());

    let mut sample = CpuSample {
        frequency_mhz: 2600,
        processors: 2,
        times: CpuTimes {
            user_ns: 50 * SECOND,
            kernel_ns: 20 * SECOND,
            idle_ns: 100 * SECOND,
            iowait_ns: SECOND,
        },
    };
    hypervisor.set_cpu(sample);
    let first = metrics(&mut client).await.expect("an inventory");
    assert_eq!(
        first,
        named([
            (CpuMetric::Frequency, 2600.0),
            (CpuMetric::UserTime, 50e9),
            (CpuMetric::KernelTime, 20e9),
            (CpuMetric::IdleTime, 100e9),
            (CpuMetric::IowaitTime, 1e9),
        ])
    );

    // Twenty seconds of two processors later.
    sample.times.user_ns += 10 * SECOND;
    sample.times.kernel_ns += 6 * SECOND;
    sample.times.idle_ns += 20 * SECOND;
    sample.times.iowait_ns += 4 * SECOND;
    hypervisor.set_cpu(sample);
    let second = metrics(&mut client).await.expect("an inventory");
    assert_eq!(
        second,
        named([
            (CpuMetric::Frequency, 2600.0),
            (CpuMetric::UserTime, 60e9),
            (CpuMetric::KernelTime, 26e9),
            (CpuMetric::IdleTime, 120e9),
            (CpuMetric::IowaitTime, 5e9),
            (CpuMetric::UserPercent, 25.0),
            (CpuMetric::KernelPercent, 15.0),
            (CpuMetric::IdlePercent, 50.0),
            (CpuMetric::IowaitPercent, 10.0),
            (CpuMetric::Percent, 50.0),
        ])
    );

    // No libvirt, no inventory: what was measured before is not told again.
    hypervisor.set_away(true);
    let refused = metrics(&mut client).await.expect_err("libvirt is away");
    assert_eq!(refused.code(), Code::Unavailable);
    stop.cancel();
    served.await.expect("no panic").expect("it was told to end");
}
