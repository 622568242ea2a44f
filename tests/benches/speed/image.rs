//! An image over HTTP into the cache (fetched, hashed, inspected, converted, synced), against the slower of
//! `curl` and one pass of hashing, followed by `qemu-img convert`.

use crate::Failed;
use crate::fleet::Fleet;
use crate::table::{Allowed, Row, Times};
use drover::agents::Caller;
use drover_core::executor::{AgentRequest, Event, ImageOrder};
use drover_tests::lab::{FLEET, Host, WAIT_LONG, poll_until};
use drover_types::{HostName, OperationId, Sha256Digest};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use uuid::Uuid;

const ROUNDS: usize = 5;
const PORT: u16 = 8000;
/// Bytes that no one can compress, in a disk of four times the size.
const DATA_MIB: usize = 256;

pub(crate) fn measure(fleet: &Fleet<'_>) -> Result<Vec<Row>, Failed> {
    let folder = fleet.lab.directory().join("source");
    std::fs::create_dir_all(&folder)?;
    let (disk, image) = (folder.join("disk.raw"), folder.join("image.qcow2"));
    sh(&format!(
        "head -c {DATA_MIB}M /dev/urandom >{disk} && truncate -s {size}M {disk} && qemu-img convert -f raw -O qcow2 {disk} {image}",
        disk = disk.display(),
        image = image.display(),
        size = DATA_MIB * 4,
    ))?;
    let digest = sh(&format!("sha256sum {}", image.display()))?;
    let checksum: Sha256Digest =
        format!("sha256:{}", digest.split(' ').next().unwrap_or_default()).parse()?;
    let client = fleet.lab.client();
    let mut server = Command::new("busybox");
    server
        .args(["httpd", "-f", "-p", &PORT.to_string(), "-h"])
        .arg(&folder);
    client.spawn_daemon("httpd", &server)?;
    poll_until("the web server", WAIT_LONG, || {
        client.listening_tcp_ports().ok()?.contains(&PORT).then_some(())
    })?;
    let url = format!("http://{}:{PORT}/image.qcow2", client.ip());

    let host = fleet.lab.host("n3");
    let order = ImageOrder {
        source: url.parse()?,
        checksum,
        format: None,
        max_virtual_size: 1 << 40,
    };
    let (mut drover, mut raw) = (Times::default(), Times::default());
    for round in 0..=ROUNDS {
        let by_hand = by_hand(host, &url)?;
        let fetched = fetch(fleet, host, &order)?;
        if round > 0 {
            raw.push(by_hand);
            drover.push(fetched);
        }
    }
    Ok(vec![Row::Ratio {
        what: "image of 256 MiB: fetch, checksum, conversion",
        drover,
        raw,
        allowed: Allowed {
            factor: 1.1,
            plus: Duration::ZERO,
        },
    }])
}

/// The raw tools, into the file system that the agent uses.
fn by_hand(host: &Host, url: &str) -> Result<Duration, Failed> {
    let folder = host.agent_data().join("by-hand");
    std::fs::create_dir_all(&folder)?;
    let (source, base) = (folder.join("source"), folder.join("base"));
    let (source, base) = (source.display().to_string(), base.display().to_string());
    // Only the network is the host's: the files are reached under the same path from here.
    let timed = |program: &str, arguments: &[&str]| -> Result<Duration, Failed> {
        let begin = Instant::now();
        let output = host.network_command(program).args(arguments).output()?;
        if output.status.success() {
            Ok(begin.elapsed())
        } else {
            Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)).into())
        }
    };
    let curl = timed(
        "curl",
        &["--silent", "--show-error", "--fail", "-o", &source, url],
    )?;
    // While curl runs, one pass of hashing runs beside it; the fastest hasher there is counts.
    let hash = timed("openssl", &["dgst", "-sha256", &source])?;
    let convert = timed(
        "qemu-img",
        &["convert", "-f", "qcow2", "-O", "raw", &source, &base],
    )?;
    std::fs::remove_dir_all(Path::new(&folder))?;
    Ok(curl.max(hash) + convert)
}

fn fetch(fleet: &Fleet<'_>, host: &Host, order: &ImageOrder) -> Result<Duration, Failed> {
    let agents = fleet.agents(&[host])?;
    let name: HostName = host.name().parse()?;
    let fleet_name = FLEET.parse()?;
    let project = "default".parse()?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let work = fleet.lab.client().inside_network(move || {
        let runtime = builder.enable_all().build().map_err(|error| error.to_string())?;
        runtime.block_on(async {
            let seen = agents.observe(&BTreeMap::new()).await;
            let token = seen
                .get(&name)
                .and_then(|seen| seen.inventory())
                .ok_or("the host gives no inventory")?
                .token;
            let caller = Caller {
                fleet: fleet_name,
                project,
                token,
            };
            let ensure = AgentRequest::EnsureImage { image: order.clone() };
            let begin = Instant::now();
            carry_out(&agents, &caller, &name, &ensure).await?;
            let took = begin.elapsed();
            let delete = AgentRequest::DeleteImage {
                checksum: order.checksum,
            };
            carry_out(&agents, &caller, &name, &delete).await?;
            Ok::<Duration, String>(took)
        })
    })?;
    Ok(work?)
}

async fn carry_out(
    agents: &drover::agents::Agents,
    caller: &Caller,
    host: &HostName,
    request: &AgentRequest,
) -> Result<(), String> {
    let operation = OperationId::from_uuid(Uuid::new_v4());
    let (events, mut answers) = mpsc::channel(64);
    let read = async {
        let mut last = None;
        while let Some(event) = answers.recv().await {
            last = Some(event);
        }
        last
    };
    let call = async {
        agents.call(caller, operation, host, request, &events).await;
        drop(events);
    };
    let ((), last) = tokio::join!(call, read);
    agents.acknowledge(caller, host, &[operation]).await;
    match last {
        Some(Event::Succeeded { .. }) => Ok(()),
        other => Err(format!("the agent answered {other:?}")),
    }
}

fn sh(script: &str) -> Result<String, Failed> {
    let output = Command::new("sh").args(["-c", script]).output()?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?)
    } else {
        Err(format!("{script}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}
