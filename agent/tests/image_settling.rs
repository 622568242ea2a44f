//! An image between the moment that it is told and the one that it is in its place, which is held open here.
#![cfg(feature = "failpoints")]

use drover_agent::config::ImageLimits;
use drover_agent::image::{ImageCache, ImageOrder};
use drover_agent_core::oplog::FailureCode;
use drover_types::{ByteSize, Sha256Digest};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
const POINT: &str = "before-rename";

fn nothing(_phase: &'static str, _done: u64, _total: u64) {}

/// Lets go of what the point holds, also where an assertion fails: the runtime waits for its threads.
struct LetGo;

impl Drop for LetGo {
    fn drop(&mut self) {
        fail::remove(POINT);
    }
}

/// One test, since the point is the process's.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_told_before_it_is_in_its_place_and_kept_only_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let body = vec![3; 1 << 20];
    let source = dir.path().join("disk.raw");
    std::fs::write(&source, &body).expect("written");
    let checksum = Sha256Digest::of(&body);
    let order = ImageOrder::read(&drover_proto::v1::Image {
        source: format!("file://{}", source.display()),
        checksum: checksum.to_string(),
        ..drover_proto::v1::Image::default()
    })
    .expect("an order");
    let limits = ImageLimits {
        max_size: ByteSize::from_mib(64),
        connect_timeout: PATIENCE,
        stall_timeout: PATIENCE,
        total_timeout: PATIENCE,
        file_roots: vec![dir.path().to_owned()],
        extra_ca_file: None,
    };
    let images = dir.path().join("images");
    let cache = ImageCache::open(&images, limits).expect("a cache");
    let files = |folder: &str| std::fs::read_dir(images.join(folder)).expect("listed").count();
    let remove = || cache.remove(checksum, || Ok::<_, std::io::Error>(0));

    let _let_go = LetGo;
    fail::cfg(POINT, "pause").expect("a point");
    let told = tokio::time::timeout(PATIENCE, cache.fetched(&order, &nothing)).await;
    let (image, cached) = told.expect("it is not waited for").expect("it is whole");
    assert_eq!(
        (image.checksum, image.virtual_size, cached),
        (checksum, 1 << 20, false)
    );
    assert!(!cache.path(checksum).exists(), "it is not in its place");
    assert_eq!(cache.all().expect("listed"), [image], "inventories have it");
    let removed = remove().map_err(|error| error.failure().code);
    assert_eq!(removed, Err(FailureCode::Conflict), "it is on its way");
    let standing = tokio::spawn({
        let (cache, order) = (cache.clone(), order.clone());
        async move { cache.ensure(&order, &nothing).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!standing.is_finished(), "whoever stands on it waits");
    fail::remove(POINT);
    let held = standing.await.expect("no panic").expect("it is there");
    assert!(held.image.path.is_file());
    drop(held);
    remove().expect("nobody uses it");

    // Told, and lost on its way: it is not listed, nothing is left of it, and it can be asked for again.
    fail::cfg(POINT, "pause").expect("a point");
    cache.fetched(&order, &nothing).await.expect("it is whole");
    fail::cfg(POINT, "panic").expect("a point");
    tokio::time::timeout(PATIENCE, cache.settled(checksum))
        .await
        .expect("in time");
    fail::remove(POINT);
    assert_eq!(cache.all().expect("listed"), []);
    assert_eq!(files("tmp"), 0);
    let again = cache.ensure(&order, &nothing).await.expect("fetched again");
    assert!(!again.cached && again.image.path.is_file());
}
