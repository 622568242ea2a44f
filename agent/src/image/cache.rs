//! The image cache: one download however many ask, and no image removed under whoever uses it.

use super::convert::{convert, inspect_file};
use super::digest;
use super::error::ImageError;
use super::fetch::fetch;
use super::flight::{Flight, FlightStep, Waiter};
use super::order::ImageOrder;
use super::store::{ImageRecord, Store, StoredImage, io as io_error};
use crate::config::ImageLimits;
use crate::operations::Failure;
use drover_agent_core::image_header::{HeaderError, ImageFormat};
use drover_agent_core::oplog::FailureCode;
use drover_types::{ByteSize, Sha256Digest};
use reqwest::Client;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

/// How often an order is taken up again after somebody else's download ended badly or was given up.
const TRIES: usize = 8;

/// Told how far an order is: in words, bytes done, bytes in all or 0.
pub type Report = dyn Fn(&'static str, u64, u64) + Send + Sync;

/// The image cache of one agent.
#[derive(Debug, Clone)]
pub struct ImageCache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    limits: ImageLimits,
    client: Client,
    /// Held for short file operations only, never across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    flights: BTreeMap<Sha256Digest, Flight>,
    holds: BTreeMap<Sha256Digest, usize>,
}

/// An image in the cache that stays there for as long as this is kept.
#[derive(Debug)]
pub struct HeldImage {
    /// The image.
    pub image: StoredImage,
    /// It was there already.
    pub cached: bool,
    hold: Hold,
}

impl HeldImage {
    /// The image it keeps.
    #[must_use]
    pub const fn checksum(&self) -> Sha256Digest {
        self.hold.checksum
    }
}

#[derive(Debug)]
struct Hold {
    checksum: Sha256Digest,
    inner: Arc<Inner>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        if let Some(count) = state.holds.get_mut(&self.checksum) {
            *count -= 1;
            if *count == 0 {
                state.holds.remove(&self.checksum);
            }
        }
    }
}

enum Joined {
    There(StoredImage, Hold),
    Waiting(Waiter),
    GivenUp(watch::Receiver<FlightStep>),
}

impl ImageCache {
    /// Opens the cache below `images` and removes what a crash left unfinished there. Blocks on files.
    ///
    /// # Errors
    /// Where the directories cannot be used, or `images.extra_ca_file` cannot be read.
    pub fn open(images: &Path, limits: ImageLimits) -> Result<Self, super::OpenError> {
        let client = super::client::build(&limits)?;
        let store = Store::open(images).map_err(super::OpenError::Store)?;
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                limits,
                client,
                state: Mutex::default(),
            }),
        })
    }

    /// Sees to it that the image is in the cache, and keeps it there until the answer is dropped. Others who
    /// ask meanwhile wait for the same download; it is given up when the last of them is dropped.
    ///
    /// # Errors
    /// Why it is not there; nothing of it is left then.
    pub async fn ensure(&self, order: &ImageOrder, report: &Report) -> Result<HeldImage, Failure> {
        let mut cached = true;
        for _ in 0..TRIES {
            let this = self.clone();
            let wanted = order.clone();
            let joined = tokio::task::spawn_blocking(move || this.join(&wanted))
                .await
                .map_err(|fault| Failure::new(FailureCode::System, format!("image cache: {fault}")))?
                .map_err(|error| error.failure())?;
            match joined {
                Joined::There(image, hold) => {
                    check_size(order, &image)?;
                    return Ok(HeldImage { image, cached, hold });
                }
                Joined::Waiting(waiter) => {
                    cached = false;
                    let same_order = waiter.same_order;
                    match waiter.end(report).await {
                        Some(Err(failure)) if same_order => return Err(failure),
                        // Somebody else's source or limit failed, or it is there now: look again.
                        Some(Err(_) | Ok(())) | None => {}
                    }
                }
                Joined::GivenUp(mut steps) => {
                    // Until the flight has gone; an error is just that.
                    while steps.changed().await.is_ok() {}
                }
            }
        }
        Err(Failure::new(
            FailureCode::System,
            format!("image {} came and went {TRIES} times", order.checksum),
        )
        .hint("apply again"))
    }

    /// Removes an image; one that is not there is a success. `users` counts the servers that stand on it.
    /// Blocks on files.
    ///
    /// # Errors
    /// [`ImageError::InUse`] while servers use it or it is being fetched; then it stays.
    pub fn remove<E>(
        &self,
        checksum: Sha256Digest,
        users: impl FnOnce() -> Result<usize, E>,
    ) -> Result<(), ImageError>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let state = self.inner.state();
        let held = state.holds.get(&checksum).copied().unwrap_or(0);
        let fetching = usize::from(state.flights.contains_key(&checksum));
        let users = users().map_err(|error| ImageError::UsersUnknown {
            checksum,
            source: Box::new(error),
        })?;
        let servers = users.max(held).max(fetching);
        if servers > 0 {
            return Err(ImageError::InUse { checksum, servers });
        }
        self.inner.store.remove(checksum)
    }

    /// Every image in the cache. Blocks on files.
    ///
    /// # Errors
    /// Where the cache cannot be read.
    pub fn all(&self) -> Result<Vec<StoredImage>, ImageError> {
        self.inner.store.all()
    }

    /// Where the base file of an image lies, or would lie.
    #[must_use]
    pub fn path(&self, checksum: Sha256Digest) -> std::path::PathBuf {
        self.inner.store.path(checksum)
    }

    fn join(&self, order: &ImageOrder) -> Result<Joined, ImageError> {
        let checksum = order.checksum;
        let mut state = self.inner.state();
        if let Some(flight) = state.flights.get(&checksum) {
            return Ok(match flight.join(order) {
                Some(waiter) => Joined::Waiting(waiter),
                None => Joined::GivenUp(flight.gone()),
            });
        }
        if let Some(image) = self.inner.store.find(checksum)? {
            *state.holds.entry(checksum).or_default() += 1;
            let inner = self.inner.clone();
            return Ok(Joined::There(image, Hold { checksum, inner }));
        }
        let (flight, waiter, steps, give_up) = Flight::new(order);
        state.flights.insert(checksum, flight);
        let (inner, order) = (self.inner.clone(), order.clone());
        // Its end is seen by its waiters; without any it gives up.
        tokio::spawn(async move {
            let ended = tokio::select! {
                ended = inner.make(&order, &steps) => Some(ended),
                // Dropping the work leaves temporary files only, and those remove themselves.
                () = give_up.cancelled() => None,
            };
            inner.state().flights.remove(&checksum);
            match ended {
                Some(Ok(())) => steps.send_replace(FlightStep::Ended(Ok(()))),
                Some(Err(error)) => steps.send_replace(FlightStep::Ended(Err(error.failure()))),
                None => return,
            };
        });
        Ok(Joined::Waiting(waiter))
    }
}

/// The order's own limit, where the image was made for somebody with a larger one.
fn check_size(order: &ImageOrder, image: &StoredImage) -> Result<(), Failure> {
    let size = ByteSize::from_bytes(image.record.virtual_size);
    match order.max_virtual_size {
        Some(disk) if size > disk => Err(ImageError::Header {
            checksum: order.checksum,
            source: HeaderError::OverFlavor { size, disk },
        }
        .failure()),
        Some(_) | None => Ok(()),
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // Both maps are whole after every statement that holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make(
        self: &Arc<Self>,
        order: &ImageOrder,
        steps: &watch::Sender<FlightStep>,
    ) -> Result<(), ImageError> {
        let phase = |phase, done, total| {
            steps.send_replace(FlightStep::Working { phase, done, total });
        };
        let begin = Instant::now();
        phase("fetching", 0, 0);
        tracing::info!(checksum = %order.checksum, "fetching {}", order.source);
        let (temp, file) = self.store.temp(order.checksum)?;
        let clone = file.try_clone().map_err(io_error("open", temp.path()))?;
        let report = |done, total| phase("fetching", done, total);
        fetch(&self.client, &self.limits, order, &temp, clone, &report).await?;

        let fetched = begin.elapsed();
        phase("inspecting", 0, 0);
        let wanted = order.clone();
        let (header, temp, file) = blocking(move || {
            let header = inspect_file(&wanted, &file, temp.path())?;
            Ok((header, temp, file))
        })
        .await?;
        let format = header.format;
        let (temp, file) = match format {
            ImageFormat::Raw => (temp, file),
            ImageFormat::Qcow2 | ImageFormat::Vmdk | ImageFormat::Vdi | ImageFormat::Vpc => {
                phase("converting", 0, header.virtual_size.bytes());
                convert(&self.store, order.checksum, &header, (&temp, &file)).await?
            }
        };
        let converted = begin.elapsed();
        phase("putting in place", 0, 0);
        let (this, checksum) = (self.clone(), order.checksum);
        let stored = blocking(move || {
            let read = || {
                let length = file.metadata()?.len();
                Ok((digest::of_synced_base(&file)?, length))
            };
            let (base_digest, length) = read().map_err(io_error("hash or sync", temp.path()))?;
            let record = ImageRecord::new(checksum, base_digest, length, format);
            this.store.put(&temp, &file, &record)
        })
        .await?;
        tracing::info!(
            checksum = %checksum,
            base = %stored.record.base_digest,
            fetch = ?fetched,
            convert = ?(converted - fetched),
            settle = ?(begin.elapsed() - converted),
            "image is in the cache"
        );
        Ok(())
    }
}

async fn blocking<T, F>(work: F) -> Result<T, ImageError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, ImageError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(fault) => Err(io_error("work on", Path::new("the image cache"))(
            std::io::Error::other(fault),
        )),
    }
}
