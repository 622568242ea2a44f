//! The one port, over real TLS on loopback: who gets in, who may call what, and what cannot hold it up.

use crate::authority::{Authority, Signed};
use drover_agent::access::allowed;
use drover_agent::config::{Config, ImageLimits, LogFormat, Reserved};
use drover_agent::daemon::Daemon;
use drover_agent::hypervisor::{FakeHypervisor, HostDescription};
use drover_agent::limits::Limits;
use drover_agent::tls::{Acceptor, Reloader};
use drover_agent_core::inventory::CpuSets;
use drover_proto::Method;
use drover_proto::transport::{ConnectError, Credentials, Timeouts, connect};
use drover_proto::v1::host_service_client::HostServiceClient;
use drover_proto::v1::operation_service_client::OperationServiceClient;
use drover_proto::v1::{GetInventoryRequest, ListOperationsRequest, ListOperationsResponse};
use drover_types::{ByteSize, Identity, Role, VirtType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;

const PATIENCE: Duration = Duration::from_secs(30);
const AGENT: &str = "spiffe://prod/agent/n1";

struct Served {
    authority: Authority,
    address: SocketAddr,
    dir: TempDir,
    stop: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve() -> Served {
    // Nothing but the health of some services needs libvirt, and none of this machine's may be touched.
    serve_on(None, Limits::default()).await
}

/// An agent on a hypervisor in memory, or on a libvirt that is not there.
async fn serve_on(hypervisor: Option<Arc<FakeHypervisor>>, limits: Limits) -> Served {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let config = Config {
        host: "n1".parse().expect("a name"),
        fleet: "prod".parse().expect("a name"),
        listen: "127.0.0.1:0".parse().expect("an address"),
        data_dir: dir.path().join("data"),
        libvirt_uri: "qemu+unix:///system?socket=/nonexistent".to_owned(),
        virt_type: VirtType::Qemu,
        tls: authority.write(&dir.path().join("tls"), &authority.sign(&[AGENT])),
        reserved: Reserved::default(),
        cpus: CpuSets::default(),
        pci_devices: Vec::new(),
        images: ImageLimits {
            max_size: ByteSize::from_mib(1),
            connect_timeout: PATIENCE,
            stall_timeout: PATIENCE,
            total_timeout: PATIENCE,
            file_roots: Vec::new(),
            extra_ca_file: None,
        },
        shutdown_grace: Duration::from_millis(100),
        log_format: LogFormat::Text,
    };
    let daemon = match hypervisor {
        Some(hypervisor) => Box::pin(Daemon::start_on(config, hypervisor)).await,
        None => Box::pin(Daemon::start(config)).await,
    };
    let daemon = daemon.expect("started").with_limits(limits);
    let (address, stop) = (daemon.address(), CancellationToken::new());
    tokio::spawn(daemon.serve(stop.clone().cancelled_owned()));
    Served {
        authority,
        address,
        dir,
        stop,
    }
}

fn identity(uri: &str) -> Identity {
    uri.parse().expect("an identity")
}

async fn call(address: SocketAddr, credentials: &Credentials, path: &'static str) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel(address, credentials).await);
    client.ready().await.expect("ready");
    let codec = ProstCodec::<ListOperationsRequest, ListOperationsResponse>::default();
    let path = http::uri::PathAndQuery::from_static(path);
    let answer = client.unary(Request::new(ListOperationsRequest {}), path, codec);
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(answer) => answer.map(drop),
        // It stays open, so it was let in.
        Err(_) => Ok(()),
    }
}

const OPERATIONS: &str = "drover.agent.v1.OperationService";

async fn channel(address: SocketAddr, credentials: &Credentials) -> Channel {
    connect(
        "127.0.0.1",
        address.port(),
        &identity(AGENT),
        credentials,
        Timeouts::default(),
    )
    .await
    .expect("connected")
}

/// What the agent says of a service, by `grpc.health.v1`.
async fn check_health(
    address: SocketAddr,
    credentials: &Credentials,
    service: &str,
) -> Result<ServingStatus, Status> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let mut client = HealthClient::new(channel(address, credentials).await);
    Ok(client.check(request).await?.into_inner().status())
}

/// Refused by the table, before any service saw it.
fn refused(answer: &Result<(), Status>) -> bool {
    match answer {
        Ok(()) => false,
        Err(status) => {
            status.code() == Code::PermissionDenied && status.message().contains("certificate of role")
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_reaches_exactly_its_methods() {
    let served = serve().await;
    for role in Role::ALL {
        let credentials = served.authority.credentials(&format!("spiffe://prod/{role}/ann"));
        let calls = Method::ALL
            .iter()
            .map(|method| call(served.address, &credentials, method.path()));
        let answers = futures::future::join_all(calls).await;
        for (method, answer) in Method::ALL.iter().zip(answers) {
            assert_eq!(
                !refused(&answer),
                allowed(*method).contains(role),
                "{role} {method:?}: {answer:?}"
            );
        }
        let health = check_health(served.address, &credentials, OPERATIONS).await;
        assert_eq!(health.expect("answered"), ServingStatus::Serving, "{role}");
        let unknown = call(served.address, &credentials, "/drover.agent.v1.HostService/Nope").await;
        assert_eq!(unknown.expect_err("refused").code(), Code::Unimplemented);
    }
}

/// Waits until a service has this status.
async fn wait_health(served: &Served, credentials: &Credentials, service: &str, status: ServingStatus) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // A service is known once it was looked at for the first time.
        let found = check_health(served.address, credentials, service).await;
        if found.as_ref().is_ok_and(|found| *found == status) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{service:?} is {found:?}, not {status:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn fake_hypervisor() -> Arc<FakeHypervisor> {
    let host = HostDescription {
        hostname: "n1".to_owned(),
        cpus: 1,
        memory_kib: 1 << 20,
        sockets: 1,
        cores: 1,
        threads: 1,
        capabilities_xml: String::new(),
        hypervisor_version: 10_000_000,
        libvirt_version: 11_003_000,
    };
    Arc::new(FakeHypervisor::new(host, String::new()))
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_libvirt() {
    let hypervisor = fake_hypervisor();
    let served = serve_on(Some(hypervisor.clone()), Limits::default()).await;
    let reader = served.authority.credentials("spiffe://prod/reader/probe");
    let through_libvirt = [
        "",
        "drover.agent.v1.HostService",
        "drover.agent.v1.ServerService",
        "drover.agent.v1.MigrationService",
    ];
    let by_itself = [
        OPERATIONS,
        "drover.agent.v1.ImageService",
        "drover.agent.v1.PeerService",
    ];
    for (away, status) in [
        (false, ServingStatus::Serving),
        (true, ServingStatus::NotServing),
        (false, ServingStatus::Serving),
    ] {
        hypervisor.set_away(away);
        for service in through_libvirt {
            wait_health(&served, &reader, service, status).await;
        }
        for service in by_itself {
            let found = check_health(served.address, &reader, service).await;
            assert_eq!(found.expect(service), ServingStatus::Serving, "{service}");
        }
    }
    let unknown = check_health(served.address, &reader, "drover.agent.v1.Nope").await;
    assert_eq!(unknown.expect_err("there is none").code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_fleet_of_the_same_authority_may_call_nothing() {
    let served = serve().await;
    let credentials = served.authority.credentials("spiffe://test/admin/ann");
    let health = "/grpc.health.v1.Health/Check";
    for path in Method::ALL.iter().map(|method| method.path()).chain([health]) {
        let status = call(served.address, &credentials, path).await.expect_err(path);
        assert_eq!(status.code(), Code::PermissionDenied, "{path}");
        assert!(status.message().contains("not of fleet prod"), "{path}: {status}");
    }
}

#[tokio::test]
async fn each_side_refuses_the_other_authority() {
    let served = serve().await;
    let stranger = Authority::new().credentials("spiffe://prod/admin/ann");
    let answer = connect(
        "127.0.0.1",
        served.address.port(),
        &identity(AGENT),
        &stranger,
        Timeouts::default(),
    )
    .await;
    assert!(
        matches!(answer, Err(ConnectError::Untrusted { .. })),
        "{answer:?}"
    );
    let signed = Authority::new().sign(&["spiffe://prod/admin/ann"]);
    let answer = enter(served.address, Some(&signed), &rustls::version::TLS13).await;
    assert!(answer.is_err(), "the agent let a stranger in");
}

/// Opens a connection without looking at the agent's certificate, and waits for its first bytes.
async fn enter(
    address: SocketAddr,
    signed: Option<&Signed>,
    version: &'static SupportedProtocolVersion,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("agent.invalid").expect("a name");
    let mut tls = TlsConnector::from(client(signed, version))
        .connect(name, tcp)
        .await?;
    tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await?;
    let mut settings = [0; 9];
    tokio::time::timeout(PATIENCE, tls.read_exact(&mut settings))
        .await
        .expect("an answer in time")?;
    Ok(tls)
}

fn client(signed: Option<&Signed>, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = match signed {
        None => builder.with_no_client_auth(),
        Some(signed) => {
            let chain = CertificateDer::pem_slice_iter(signed.certificate.as_bytes())
                .collect::<Result<Vec<_>, _>>()
                .expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(chain, key).expect("a pair")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// For tests of the agent's side only.
#[derive(Debug)]
struct Anybody;

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[tokio::test]
async fn only_a_valid_certificate_with_one_identity_over_tls_1_3_gets_in() {
    let served = serve().await;
    let good = served.authority.sign(&["spiffe://prod/operator/ann"]);
    enter(served.address, Some(&good), &rustls::version::TLS13)
        .await
        .expect("let in");
    let expired = served
        .authority
        .sign_with(&["spiffe://prod/operator/ann"], |parameters| {
            parameters.not_before = rcgen::date_time_ymd(2001, 1, 1);
            parameters.not_after = rcgen::date_time_ymd(2002, 1, 1);
        });
    let server_only = served
        .authority
        .sign_with(&["spiffe://prod/operator/ann"], |parameters| {
            parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        });
    let two = served
        .authority
        .sign(&["spiffe://prod/operator/ann", "spiffe://prod/admin/ann"]);
    let none = served.authority.sign(&[]);
    let strange = served.authority.sign(&["https://example.org/"]);
    let (tls12, tls13) = (&rustls::version::TLS12, &rustls::version::TLS13);
    for (case, signed, version) in [
        ("TLS 1.2", Some(&good), tls12),
        ("no certificate", None, tls13),
        ("expired", Some(&expired), tls13),
        ("not for clients", Some(&server_only), tls13),
        ("two identities", Some(&two), tls13),
        ("no identity", Some(&none), tls13),
        ("another URI", Some(&strange), tls13),
    ] {
        assert!(
            enter(served.address, signed, version).await.is_err(),
            "{case} was let in"
        );
    }
}

#[tokio::test]
async fn sessions_are_not_resumed() {
    let served = serve().await;
    let good = served.authority.sign(&["spiffe://prod/operator/ann"]);
    // One configuration for both, so that a ticket of the first would be used by the second.
    let config = client(Some(&good), &rustls::version::TLS13);
    for _ in 0..2 {
        let tcp = TcpStream::connect(served.address).await.expect("connected");
        let name = ServerName::try_from("agent.invalid").expect("a name");
        let mut tls = TlsConnector::from(config.clone())
            .connect(name, tcp)
            .await
            .expect("let in");
        let mut first = [0; 9];
        tls.read_exact(&mut first).await.expect("settings");
        let (_, connection) = tls.get_ref();
        assert_eq!(connection.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(connection.tls13_tickets_received(), 0);
    }
}

/// The certificate that the agent shows.
async fn shown(address: SocketAddr, signed: &Signed) -> Vec<u8> {
    let tls = enter(address, Some(signed), &rustls::version::TLS13)
        .await
        .expect("let in");
    let certificates = tls.get_ref().1.peer_certificates().expect("it shows one");
    certificates[0].to_vec()
}

#[tokio::test]
async fn new_certificates_are_taken_and_bad_ones_are_not() {
    let served = serve().await;
    let operator = served.authority.sign(&["spiffe://prod/operator/ann"]);
    let tls = served.dir.path().join("tls");
    let first = shown(served.address, &operator).await;

    let write_garbage = || std::fs::write(tls.join("cert.pem"), "no certificate").expect("written");
    let write_other = || {
        let other = served.authority.sign(&["spiffe://prod/agent/n2"]);
        served.authority.write(&tls, &other);
    };
    for write_bad in [&write_garbage as &dyn Fn(), &write_other] {
        write_bad();
        // Longer than the agent takes to look.
        let looked = Instant::now() + Duration::from_secs(3);
        while Instant::now() < looked {
            assert_eq!(shown(served.address, &operator).await, first);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    served.authority.write(&tls, &served.authority.sign(&[AGENT]));
    let deadline = Instant::now() + PATIENCE;
    while shown(served.address, &operator).await == first {
        assert!(Instant::now() < deadline, "the new certificate is not shown");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn silent_and_surplus_connections_are_closed() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let files = authority.write(dir.path(), &authority.sign(&[AGENT]));
    let (fleet, host) = ("prod".parse().expect("a name"), "n1".parse().expect("a name"));
    let reloader = Reloader::load(files, &fleet, &host).expect("loaded");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let limits = Limits {
        connections: 1,
        handshake: Duration::from_millis(400),
        ..Limits::default()
    };
    let (sender, mut connections) = Acceptor::channel();
    let acceptor = Acceptor::new(listener, reloader.subscribe(), limits, CancellationToken::new());
    tokio::spawn(acceptor.run(sender));

    let closed = |mut stream: TcpStream| async move {
        let mut nothing = [0; 1];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut nothing)).await;
        matches!(read.expect("closed in time"), Ok(0) | Err(_))
    };
    let silent = TcpStream::connect(address).await.expect("connected");
    let surplus = TcpStream::connect(address).await.expect("connected");
    assert!(closed(surplus).await, "only one at a time");
    assert!(closed(silent).await, "a handshake ends in time");

    let name = ServerName::try_from("agent.invalid").expect("a name");
    let signed = authority.sign(&["spiffe://prod/operator/ann"]);
    let deadline = Instant::now() + PATIENCE;
    let connection = loop {
        assert!(Instant::now() < deadline, "the place is not free again");
        let tcp = TcpStream::connect(address).await.expect("connected");
        let config = client(Some(&signed), &rustls::version::TLS13);
        let Ok(_tls) = TlsConnector::from(config).connect(name.clone(), tcp).await else {
            continue;
        };
        if let Ok(Some(Ok(connection))) =
            tokio::time::timeout(Duration::from_secs(1), connections.recv()).await
        {
            break connection;
        }
    };
    drop(connection);
}

#[tokio::test]
async fn a_request_with_large_headers_is_refused() {
    let limits = Limits {
        header_bytes: 4 << 10,
        ..Limits::default()
    };
    let served = serve_on(None, limits).await;
    let operator = served.authority.credentials("spiffe://prod/operator/ann");
    let list = async |bytes: usize| {
        let mut request = Request::new(ListOperationsRequest {});
        let value = "x".repeat(bytes).parse().expect("ASCII");
        request.metadata_mut().insert("x-note", value);
        let mut client = OperationServiceClient::new(channel(served.address, &operator).await);
        client.list_operations(request).await.map(drop)
    };
    assert!(list(2 << 10).await.is_ok());
    let refused = list(5 << 10).await.expect_err("too large");
    assert!(refused.to_string().contains("431"), "{refused}");
}

#[tokio::test]
async fn one_connection_cannot_hold_more_streams_than_its_share() {
    let limits = Limits {
        streams: 2,
        ..Limits::default()
    };
    let served = serve_on(None, limits).await;
    let reader = served.authority.credentials("spiffe://prod/reader/probe");
    let mut one = HealthClient::new(channel(served.address, &reader).await);
    let mut watches = Vec::new();
    for _ in 0..2 {
        let watch = one.watch(HealthCheckRequest::default()).await.expect("watched");
        watches.push(watch.into_inner());
    }
    let soon = Duration::from_millis(300);
    let third = tokio::time::timeout(soon, one.check(HealthCheckRequest::default())).await;
    assert!(third.is_err(), "a third stream began: {third:?}");
    // Another connection has its own share.
    let other = check_health(served.address, &reader, OPERATIONS).await;
    assert_eq!(other.expect("answered"), ServingStatus::Serving);
    drop(watches.pop());
    let third = tokio::time::timeout(PATIENCE, one.check(HealthCheckRequest::default())).await;
    assert!(third.expect("in time").is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_takes_too_long_is_ended() {
    let limits = Limits {
        request: Duration::from_millis(300),
        ..Limits::default()
    };
    let hypervisor = fake_hypervisor();
    let served = serve_on(Some(hypervisor.clone()), limits).await;
    let reader = served.authority.credentials("spiffe://prod/reader/probe");
    let mut hosts = HostServiceClient::new(channel(served.address, &reader).await);
    hypervisor.set_hung(true);
    let begin = Instant::now();
    let ended = tokio::time::timeout(PATIENCE, hosts.get_inventory(GetInventoryRequest::default())).await;
    let took = begin.elapsed();
    // Before anything is asserted: a thread that hangs would keep the test from ending.
    hypervisor.set_hung(false);
    let status = ended.expect("ended in time").expect_err("libvirt hangs");
    assert!(
        matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded),
        "{status}"
    );
    assert!(took >= Duration::from_millis(300), "{took:?}");
}

#[tokio::test]
async fn a_stopped_agent_closes_its_port() {
    let served = serve().await;
    let operator = served.authority.credentials("spiffe://prod/operator/ann");
    let listed = OperationServiceClient::new(channel(served.address, &operator).await)
        .list_operations(ListOperationsRequest {})
        .await
        .expect("listed");
    assert_eq!(listed.into_inner().operations, []);
    served.stop.cancel();
    let deadline = Instant::now() + PATIENCE;
    while TcpStream::connect(served.address).await.is_ok() {
        assert!(Instant::now() < deadline, "the port stays open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
