//! The image cache against a real HTTP(S) server, real files and real qemu-img.

use crate::source::{Conduct, Source};
use drover_agent::config::ImageLimits;
use drover_agent::image::{HeldImage, ImageCache, ImageOrder};
use drover_agent::operations::Failure;
use drover_agent_core::oplog::FailureCode;
use drover_types::{ByteSize, Sha256Digest};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(120);

struct Here {
    dir: TempDir,
    limits: ImageLimits,
}

impl Here {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let limits = ImageLimits {
            max_size: ByteSize::from_mib(64),
            connect_timeout: PATIENCE,
            stall_timeout: PATIENCE,
            total_timeout: PATIENCE,
            file_roots: vec![dir.path().to_owned()],
            extra_ca_file: None,
        };
        Self { dir, limits }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn cache(&self) -> ImageCache {
        ImageCache::open(&self.path("images"), self.limits.clone()).expect("a cache")
    }

    /// Files of the cache, beside its two directories.
    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = ["base", "tmp"]
            .iter()
            .flat_map(|part| fs::read_dir(self.path("images").join(part)).expect("listed"))
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        names
    }

    /// A qcow2 of 8 MiB with some data.
    fn qcow2(&self) -> Vec<u8> {
        let path = self.path("made.qcow2");
        run("qemu-img", &["create", "-q", "-f", "qcow2", text(&path), "8M"]);
        run(
            "qemu-io",
            &[
                "-c",
                "write -q -P 7 0 1M",
                "-c",
                "write -q -P 9 5M 64k",
                text(&path),
            ],
        );
        fs::read(path).expect("made")
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect(program);
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

fn order(source: &str, checksum: Sha256Digest) -> ImageOrder {
    let wire = drover_proto::v1::Image {
        source: source.to_owned(),
        checksum: checksum.to_string(),
        ..drover_proto::v1::Image::default()
    };
    ImageOrder::read(&wire).expect("an order")
}

async fn ensure(cache: &ImageCache, order: &ImageOrder) -> Result<HeldImage, Failure> {
    tokio::time::timeout(PATIENCE, cache.ensure(order, &|_, _, _| ()))
        .await
        .expect("an end in time")
}

async fn failure(here: &Here, order: &ImageOrder) -> Failure {
    let failure = ensure(&here.cache(), order).await.expect_err("a failure");
    assert_eq!(
        here.files(),
        Vec::<String>::new(),
        "nothing is left after: {failure}"
    );
    failure
}

/// As `digest::of_base` says, for less than 4 MiB pieces of a whole file.
fn base_digest(bytes: &[u8]) -> Sha256Digest {
    let leaves: Vec<u8> = bytes
        .chunks(4 << 20)
        .flat_map(|piece| *Sha256Digest::of(piece).as_bytes())
        .collect();
    Sha256Digest::of(&leaves)
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_make_one_download_and_one_raw_base_file() {
    let here = Here::new();
    let body = here.qcow2();
    let checksum = Sha256Digest::of(&body);
    let source = Source::start(body, Conduct::Good, None).await;
    let order = order(&format!("http://{}/a.qcow2", source.address), checksum);
    let cache = here.cache();
    let all = futures::future::join_all((0..16).map(|_| ensure(&cache, &order))).await;
    assert_eq!(source.requests(), 1);
    let first = all.into_iter().next().expect("sixteen").expect("fetched");
    let mut raw = vec![0; 8 << 20];
    raw[..1 << 20].fill(7);
    raw[5 << 20..(5 << 20) + (64 << 10)].fill(9);
    assert_eq!(fs::read(&first.image.path).expect("readable"), raw);
    assert_eq!(first.image.record.base_digest, base_digest(&raw));
    assert_eq!(first.image.record.virtual_size, 8 << 20);
    assert!(
        first.image.disk_size < 3 << 20,
        "it is sparse: {}",
        first.image.disk_size
    );
    assert_eq!(here.files(), [checksum.hex(), format!("{}.json", checksum.hex())]);

    let again = ensure(&here.cache(), &order).await.expect("cached");
    assert!(again.cached);
    assert_eq!(again.image, first.image);
    assert_eq!(source.requests(), 1);
}

#[tokio::test]
async fn a_body_that_is_cut_off_or_stalls_is_a_fetch_failure() {
    let mut here = Here::new();
    here.limits.stall_timeout = Duration::from_millis(300);
    let body = vec![7; 1 << 20];
    let checksum = Sha256Digest::of(&body);
    for conduct in [Conduct::CutsOff, Conduct::Stalls, Conduct::Missing] {
        let source = Source::start(body.clone(), conduct, None).await;
        let order = order(&format!("http://{}/a", source.address), checksum);
        let failure = failure(&here, &order).await;
        assert_eq!(failure.code, FailureCode::Fetch, "{conduct:?}: {failure}");
        assert!(failure.message.contains(&source.address.to_string()), "{failure}");
    }
}

#[tokio::test]
async fn other_bytes_than_ordered_are_refused_with_both_checksums() {
    let here = Here::new();
    let body = vec![7; 4096];
    let found = Sha256Digest::of(&body);
    let source = Source::start(body, Conduct::Good, None).await;
    let expected = Sha256Digest::of(b"other");
    let failure = failure(&here, &order(&format!("http://{}/a", source.address), expected)).await;
    assert_eq!(failure.code, FailureCode::Checksum);
    assert!(failure.message.contains(&found.to_string()), "{failure}");
    assert!(failure.message.contains(&expected.to_string()), "{failure}");
}

#[tokio::test]
async fn unsafe_damaged_and_too_large_images_are_refused() {
    let mut here = Here::new();
    let good = here.qcow2();
    let backed = here.path("backed.qcow2");
    let made = here.path("made.qcow2");
    let arguments = ["create", "-q", "-f", "qcow2", "-b", text(&made), "-F", "qcow2"];
    run("qemu-img", &[&arguments[..], &[text(&backed)]].concat());
    let with_backing = fs::read(&backed).expect("made");
    let cut = good[..good.len() - (128 << 10)].to_vec();

    for (case, body, word) in [
        ("backing file", with_backing, "backing file"),
        ("cut qcow2", cut, "truncated"),
    ] {
        let path = here.path("source");
        fs::write(&path, &body).expect("written");
        let order = order(&format!("file://{}", text(&path)), Sha256Digest::of(&body));
        let failure = failure(&here, &order).await;
        assert_eq!(failure.code, FailureCode::ImageRefused, "{case}: {failure}");
        assert!(failure.message.contains(word), "{case}: {failure}");
    }

    let path = here.path("source");
    fs::write(&path, &good).expect("written");
    let mut small = order(&format!("file://{}", text(&path)), Sha256Digest::of(&good));
    small.max_virtual_size = Some(ByteSize::from_mib(7));
    let refused = failure(&here, &small).await;
    assert_eq!(refused.code, FailureCode::ImageRefused, "{refused}");

    here.limits.max_size = ByteSize::from_bytes(good.len() as u64 - 1);
    small.max_virtual_size = None;
    let refused = failure(&here, &small).await;
    assert_eq!(refused.code, FailureCode::ImageRefused, "{refused}");
    assert!(refused.hint.contains("images.max_size"), "{refused:?}");
}

#[tokio::test]
async fn a_smaller_order_does_not_spoil_a_larger_one() {
    let here = Here::new();
    let body = here.qcow2();
    let source = Source::start(body.clone(), Conduct::Good, None).await;
    let large = order(&format!("http://{}/a", source.address), Sha256Digest::of(&body));
    let mut small = large.clone();
    small.max_virtual_size = Some(ByteSize::from_mib(1));
    let cache = here.cache();
    let (first, second) = tokio::join!(ensure(&cache, &small), ensure(&cache, &large));
    assert_eq!(first.expect_err("too small").code, FailureCode::ImageRefused);
    assert_eq!(second.expect("fits").image.record.virtual_size, 8 << 20);
    let again = ensure(&cache, &small).await.expect_err("still too small");
    assert_eq!(again.code, FailureCode::ImageRefused);
}

#[tokio::test]
async fn raw_files_are_taken_as_they_are_and_stay_sparse() {
    let here = Here::new();
    let mut body = vec![0; 6 << 20];
    body[3 << 20..(3 << 20) + 1000].fill(1);
    let path = here.path("disk.raw");
    fs::write(&path, &body).expect("written");
    let order = order(&format!("file://{}", text(&path)), Sha256Digest::of(&body));
    let held = ensure(&here.cache(), &order).await.expect("taken");
    assert_eq!(fs::read(&held.image.path).expect("readable"), body);
    assert_eq!(held.image.record.base_digest, base_digest(&body));
    assert!(held.image.disk_size < 1 << 20, "{}", held.image.disk_size);
}

#[tokio::test]
async fn https_needs_a_known_authority_and_is_never_left() {
    let mut here = Here::new();
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::new(["127.0.0.1".to_owned()])
        .and_then(|parameters| parameters.self_signed(&key))
        .expect("a certificate");
    let acceptor = || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let private = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private.into())
            .expect("a configuration");
        tokio_rustls::TlsAcceptor::from(Arc::new(config))
    };
    let body = vec![3; 8192];
    let checksum = Sha256Digest::of(&body);
    let source = Source::start(body.clone(), Conduct::Good, Some(acceptor())).await;
    let secure = order(&format!("https://{}/a", source.address), checksum);
    let unknown = failure(&here, &secure).await;
    assert_eq!(unknown.code, FailureCode::Fetch);
    assert!(
        unknown.message.to_lowercase().contains("certificate"),
        "{unknown}"
    );

    let authority = here.path("extra.pem");
    fs::write(&authority, certificate.pem()).expect("written");
    here.limits.extra_ca_file = Some(authority);
    let elsewhere = Source::start(body, Conduct::Downgrades, Some(acceptor())).await;
    let moved = order(&format!("https://{}/a", elsewhere.address), checksum);
    let refused = failure(&here, &moved).await;
    assert!(
        refused.message.contains("redirects from https to http"),
        "{refused}"
    );
    assert!(!ensure(&here.cache(), &secure).await.expect("trusted").cached);
}

#[tokio::test]
async fn a_download_that_nobody_waits_for_is_given_up_and_can_be_asked_for_again() {
    let here = Here::new();
    let body = vec![5; 1 << 20];
    let checksum = Sha256Digest::of(&body);
    let stalls = Source::start(body.clone(), Conduct::Stalls, None).await;
    let cache = here.cache();
    let slow = order(&format!("http://{}/a", stalls.address), checksum);
    let waiting = tokio::spawn({
        let (cache, slow) = (cache.clone(), slow.clone());
        async move { ensure(&cache, &slow).await.map(drop) }
    });
    until("the request arrived", || stalls.open() == 1).await;
    waiting.abort();
    until("the connection is closed", || stalls.open() == 0).await;
    until("nothing is left", || here.files().is_empty()).await;

    let good = Source::start(body, Conduct::Good, None).await;
    let order = order(&format!("http://{}/a", good.address), checksum);
    assert!(!ensure(&cache, &order).await.expect("fetched").cached);
}

#[tokio::test]
async fn an_image_in_use_is_not_removed() {
    let here = Here::new();
    let body = vec![1; 4096];
    let path = here.path("disk.raw");
    fs::write(&path, &body).expect("written");
    let checksum = Sha256Digest::of(&body);
    let cache = here.cache();
    let order = order(&format!("file://{}", text(&path)), checksum);
    let held = ensure(&cache, &order).await.expect("taken");
    let users = |count: usize| move || Ok::<_, std::io::Error>(count);
    let code =
        |result: Result<(), drover_agent::image::ImageError>| result.map_err(|error| error.failure().code);
    assert_eq!(code(cache.remove(checksum, users(0))), Err(FailureCode::Conflict));
    drop(held);
    assert_eq!(code(cache.remove(checksum, users(2))), Err(FailureCode::Conflict));
    let unknown = || Err::<usize, _>(std::io::Error::other("unreadable"));
    assert_eq!(code(cache.remove(checksum, unknown)), Err(FailureCode::System));
    assert_eq!(cache.all().expect("listed").len(), 1);
    assert_eq!(code(cache.remove(checksum, users(0))), Ok(()));
    assert_eq!(here.files(), Vec::<String>::new());
    assert_eq!(
        code(cache.remove(checksum, users(0))),
        Ok(()),
        "repeating it is harmless"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_whole_is_told_listed_and_settled_without_anybody_waiting() {
    let here = Here::new();
    let body = here.qcow2();
    let checksum = Sha256Digest::of(&body);
    let source = Source::start(body, Conduct::Good, None).await;
    let order = order(&format!("http://{}/a.qcow2", source.address), checksum);
    let cache = here.cache();
    let fetched = || async {
        tokio::time::timeout(PATIENCE, cache.fetched(&order, &|_, _, _| ()))
            .await
            .expect("an end in time")
            .expect("fetched")
    };
    let (image, cached) = fetched().await;
    assert_eq!((image.virtual_size, cached), (8 << 20, false));
    // Whether it is settled already or not.
    let listed = cache.all().expect("listed");
    assert_eq!(
        listed.iter().map(|image| image.checksum).collect::<Vec<_>>(),
        [checksum]
    );

    cache.settled(checksum).await;
    let held = ensure(&cache, &order).await.expect("there");
    assert!(held.cached && held.image.path.is_file());
    assert_eq!(source.requests(), 1);
    drop(held);
    let (again, cached) = fetched().await;
    assert_eq!((again.checksum, cached), (checksum, true));
    cache
        .remove(checksum, || Ok::<_, std::io::Error>(0))
        .expect("removed");
    assert_eq!(cache.all().expect("listed"), []);
}

#[tokio::test]
async fn what_a_crash_left_is_removed_at_the_next_start() {
    let here = Here::new();
    drop(here.cache());
    let checksum = Sha256Digest::of(b"x").hex();
    for name in [
        format!("tmp/{checksum}.0"),
        format!("base/{checksum}.json"),
        format!("base/{checksum}.new"),
    ] {
        fs::write(here.path("images").join(name), "half").expect("written");
    }
    drop(here.cache());
    assert_eq!(here.files(), Vec::<String>::new());
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
