//! The real binary, killed in the middle of a download and started again.

use crate::authority::Authority;
use crate::source::{Conduct, Source};
use drover_proto::transport::{Credentials, Timeouts, connect};
use drover_proto::v1::image_service_client::ImageServiceClient;
use drover_proto::v1::operation_event::Event;
use drover_proto::v1::operation_finished::Outcome;
use drover_proto::v1::operation_result::Result as Success;
use drover_proto::v1::operation_service_client::OperationServiceClient;
use drover_proto::v1::{EnsureImageRequest, Image, OperationHeader, WatchOperationRequest};
use drover_types::Sha256Digest;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;
use tonic::transport::Channel;

const PATIENCE: Duration = Duration::from_secs(120);
const OPERATION: &str = "6e6f7065-0000-4000-8000-000000000001";

/// Kills its process when a test fails in the middle.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_drover-agent"))
}

fn start(config: &Path) -> Agent {
    let mut command = binary();
    command.arg("--config").arg(config).stderr(Stdio::null());
    Agent(command.spawn().expect("started"))
}

async fn channel(address: SocketAddr, credentials: &Credentials) -> Channel {
    let expected = "spiffe://prod/agent/n1".parse().expect("an identity");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let timeouts = Timeouts::default();
        match connect("127.0.0.1", address.port(), &expected, credentials, timeouts).await {
            Ok(channel) => return channel,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn configuration(dir: &Path, authority: &Authority, address: SocketAddr) -> std::path::PathBuf {
    authority.write(&dir.join("tls"), &authority.sign(&["spiffe://prod/agent/n1"]));
    let config = dir.join("agent.hcl");
    let text = format!(
        "host = \"n1\"\nfleet = \"prod\"\nlisten = \"{address}\"\ndata_dir = \"data\"\nvirt_type = \"qemu\"\n\
         libvirt_uri = \"qemu+unix:///system?socket=/nonexistent\"\n\
         tls {{\n  ca_file = \"tls/ca.pem\"\n  cert_file = \"tls/cert.pem\"\n  key_file = \"tls/key.pem\"\n}}\n"
    );
    std::fs::write(&config, text).expect("written");
    config
}

/// A port, and a socket that keeps it from everybody but an agent that listens there.
fn reserved_address() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("agents reuse addresses, too");
    socket
        .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .expect("a port is free");
    let address = socket.local_addr().expect("it is bound");
    (socket, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_killed_in_the_middle_is_finished_by_the_next_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let (_port, address) = reserved_address();
    let config = configuration(dir.path(), &authority, address);
    let credentials = authority.credentials("spiffe://prod/operator/ann");
    let body = vec![7; 1 << 20];
    let checksum = Sha256Digest::of(&body);
    let source = Source::start(body, Conduct::StallsOnce, None).await;

    let first = start(&config);
    let request = EnsureImageRequest {
        header: Some(OperationHeader {
            operation_id: OPERATION.to_owned(),
            fencing_token: 1,
            request_id: "req-1".to_owned(),
            fleet: "prod".to_owned(),
            project: "default".to_owned(),
        }),
        image: Some(Image {
            source: format!("http://{}/a", source.address),
            checksum: checksum.to_string(),
            ..Image::default()
        }),
    };
    let mut stream = ImageServiceClient::new(channel(address, &credentials).await)
        .ensure_image(request)
        .await
        .expect("admitted")
        .into_inner();
    let deadline = Instant::now() + PATIENCE;
    while source.requests() == 0 {
        assert!(Instant::now() < deadline, "the agent does not fetch");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(first);
    while let Ok(Some(event)) = stream.message().await {
        assert!(!matches!(event.event, Some(Event::Finished(_))), "{event:?}");
    }

    let _second = start(&config);
    let watch = WatchOperationRequest {
        operation_id: OPERATION.to_owned(),
    };
    let mut stream = OperationServiceClient::new(channel(address, &credentials).await)
        .watch_operation(watch)
        .await
        .expect("still in the log")
        .into_inner();
    let outcome = loop {
        let event = tokio::time::timeout(PATIENCE, stream.message())
            .await
            .expect("in time");
        match event.expect("no error").expect("not cut").event {
            Some(Event::Finished(finished)) => break finished.outcome,
            Some(Event::Accepted(_) | Event::Progress(_)) | None => {}
        }
    };
    match outcome {
        Some(Outcome::Succeeded(result)) => match result.result {
            Some(Success::Image(image)) => assert_eq!(image.checksum, checksum.to_string()),
            other => panic!("no image: {other:?}"),
        },
        other => panic!("not fetched: {other:?}"),
    }
    assert_eq!(source.requests(), 2);
    let images = dir.path().join("data/images");
    let count = |folder: &str| std::fs::read_dir(images.join(folder)).expect("listed").count();
    // It is told when it is whole, and is brought to its place after that.
    let deadline = Instant::now() + PATIENCE;
    while (count("tmp"), count("base")) != (0, 2) {
        assert!(
            Instant::now() < deadline,
            "{} unfinished files, {} in place",
            count("tmp"),
            count("base")
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = binary().args(arguments).output().expect("run");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn options_and_exit_statuses() {
    let dir = tempfile::tempdir().expect("a directory");
    let (_port, address) = reserved_address();
    let config = configuration(dir.path(), &Authority::new(), address);
    let path = config.to_str().expect("UTF-8");
    let version = format!("drover-agent {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["--version"]), (Some(0), version, String::new()));
    assert_eq!(
        run(&["--config", path, "--check"]),
        (Some(0), format!("{path}: good\n"), String::new())
    );
    let (code, _, said) = run(&["--nope"]);
    assert_eq!(code, Some(1), "{said}");

    std::fs::write(&config, "host = 1\n").expect("written");
    let (code, _, said) = run(&["--config", path, "--check"]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains(&format!("{path}:1:1: host: write a text in quotes")),
        "{said}"
    );
    let (code, _, said) = run(&["--config", "/nonexistent/agent.hcl"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("could not read /nonexistent/agent.hcl"), "{said}");
}

/// The line in which an agent with this `log_format` says that it serves.
fn serving_line(format: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let (_port, address) = reserved_address();
    let config = configuration(dir.path(), &Authority::new(), address);
    let settings = std::fs::read_to_string(&config).expect("just written");
    std::fs::write(&config, format!("log_format = \"{format}\"\n{settings}")).expect("written");
    let log = dir.path().join("log");
    let mut command = binary();
    command
        .arg("--config")
        .arg(&config)
        .stderr(std::fs::File::create(&log).expect("made"));
    let _agent = Agent(command.spawn().expect("started"));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = std::fs::read_to_string(&log).expect("text");
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        if let Some(line) = whole.lines().find(|line| line.contains("serving")) {
            return line.to_owned();
        }
        assert!(Instant::now() < deadline, "it does not serve: {text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn log_lines_say_when_how_grave_and_where_in_both_formats() {
    let text = serving_line("text");
    let (head, rest) = text.split_once(" [-] serving ").expect(&text);
    let [time, level, module]: [&str; 3] = head.split(' ').collect::<Vec<_>>().try_into().expect(&text);
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{text}");
    assert_eq!((level, module), ("INFO", "drover_agent::daemon"));
    let (file, line) = rest
        .rsplit(' ')
        .next()
        .and_then(|place| place.rsplit_once(':'))
        .expect(&text);
    assert_eq!(file, "agent/src/daemon.rs");
    let line: u64 = line.parse().expect(&text);

    let json: serde_json::Value = serde_json::from_str(&serving_line("json")).expect("an object");
    assert_eq!(json["level"], "INFO", "{json}");
    assert_eq!(json["target"], module, "{json}");
    assert_eq!(json["fields"]["message"], "serving", "{json}");
    assert_eq!(
        (&json["filename"], &json["line_number"]),
        (&file.into(), &line.into()),
        "{json}"
    );
    let time = json["timestamp"].as_str().unwrap_or_default();
    assert!(time.parse::<jiff::Timestamp>().is_ok(), "{json}");
}
