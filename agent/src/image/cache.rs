//! The image cache: one download however many ask, and no image removed under whoever uses it.

use super::convert::{convert, inspect_file};
use super::digest;
use super::error::ImageError;
use super::fetch::fetch;
use super::flight::{Enough, Flight, FlightStep, Landed, Waiter, WholeImage};
use super::order::ImageOrder;
use super::store::{BLOCK, ImageRecord, Store, StoredImage, TempFile, io as io_error};
use crate::config::ImageLimits;
use crate::operations::Failure;
use drover_agent_core::image_header::{HeaderError, ImageFormat};
use drover_agent_core::oplog::FailureCode;
use drover_types::{ByteSize, Sha256Digest};
use reqwest::Client;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
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

enum Reached {
    Held(HeldImage),
    Settling(WholeImage),
}

/// A base file that is whole, and not in its place yet.
struct Made {
    image: WholeImage,
    format: ImageFormat,
    temp: TempFile,
    file: File,
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
        match self.reach(order, Enough::Settled, report).await? {
            Reached::Held(held) => Ok(held),
            Reached::Settling(image) => Err(Failure::new(
                FailureCode::System,
                format!("image {} was not waited for", image.checksum),
            )),
        }
    }

    /// The same, but with the answer as soon as the base file is whole. Bringing it to the disk goes on by
    /// itself; whoever needs it in the cache waits for that. Only a crash of agent or machine meanwhile takes
    /// the image away again: then it is not in the cache, and is fetched anew when it is asked for.
    ///
    /// # Errors
    /// Why it is not there; nothing of it is left then.
    pub async fn fetched(&self, order: &ImageOrder, report: &Report) -> Result<(WholeImage, bool), Failure> {
        match self.reach(order, Enough::Whole, report).await? {
            Reached::Held(held) => Ok((held.image.whole(), held.cached)),
            Reached::Settling(image) => Ok((image, false)),
        }
    }

    async fn reach(&self, order: &ImageOrder, enough: Enough, report: &Report) -> Result<Reached, Failure> {
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
                    check_size(order, image.record.virtual_size)?;
                    return Ok(Reached::Held(HeldImage { image, cached, hold }));
                }
                Joined::Waiting(waiter) => {
                    cached = false;
                    let same_order = waiter.same_order;
                    match waiter.landed(enough, report).await {
                        Some(Landed::Whole(image)) => {
                            check_size(order, image.virtual_size)?;
                            return Ok(Reached::Settling(image));
                        }
                        Some(Landed::Ended(Err(failure))) if same_order => return Err(failure),
                        // Somebody else's source or limit failed, or it is there now: look again.
                        Some(Landed::Ended(Err(_) | Ok(()))) | None => {}
                    }
                }
                Joined::GivenUp(steps) => gone(steps).await,
            }
        }
        Err(Failure::new(
            FailureCode::System,
            format!("image {} came and went {TRIES} times", order.checksum),
        )
        .hint("apply again"))
    }

    /// Waits until the image, if it is whole, is in the cache.
    pub async fn settled(&self, checksum: Sha256Digest) {
        let steps = {
            let state = self.inner.state();
            let flight = state.flights.get(&checksum);
            flight
                .filter(|flight| flight.settling().is_some())
                .map(Flight::gone)
        };
        if let Some(steps) = steps {
            gone(steps).await;
        }
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

    /// Every image that is whole, by its checksum. Blocks on files.
    ///
    /// # Errors
    /// Where the cache cannot be read.
    pub fn all(&self) -> Result<Vec<WholeImage>, ImageError> {
        // First, since those that end meanwhile are in the store then.
        let settling: Vec<WholeImage> = {
            let state = self.inner.state();
            state.flights.values().filter_map(Flight::settling).collect()
        };
        let stored = self.inner.store.all()?;
        let mut all: BTreeMap<Sha256Digest, WholeImage> = BTreeMap::new();
        all.extend(settling.into_iter().map(|image| (image.checksum, image)));
        all.extend(stored.iter().map(|image| (image.record.checksum, image.whole())));
        Ok(all.into_values().collect())
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
            let made = tokio::select! {
                made = inner.make(&order, &steps) => Some(made),
                // Dropping the work leaves temporary files only, and those remove themselves.
                () = give_up.cancelled() => None,
            };
            let ended = match made {
                Some(Ok(made)) => {
                    steps.send_replace(FlightStep::Whole(made.image));
                    Some(inner.settle(made).await)
                }
                Some(Err(error)) => Some(Err(error)),
                None => None,
            };
            inner.state().flights.remove(&checksum);
            match ended {
                Some(Ok(())) => steps.send_replace(FlightStep::Ended(Ok(()))),
                Some(Err(error)) => {
                    let failure = error.failure();
                    // Those who had enough when it was whole do not hear of it.
                    tracing::warn!(%checksum, "the image is not in the cache: {}", failure.message);
                    steps.send_replace(FlightStep::Ended(Err(failure)))
                }
                None => return,
            };
        });
        Ok(Joined::Waiting(waiter))
    }
}

/// Until the flight has gone; an error is just that.
async fn gone(mut steps: watch::Receiver<FlightStep>) {
    while steps.changed().await.is_ok() {}
}

/// The order's own limit, where the image was made for somebody with a larger one.
fn check_size(order: &ImageOrder, virtual_size: u64) -> Result<(), Failure> {
    let size = ByteSize::from_bytes(virtual_size);
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
    ) -> Result<Made, ImageError> {
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
        let data = file.metadata().map_err(io_error("look at", temp.path()))?;
        tracing::info!(
            checksum = %order.checksum,
            fetch = ?fetched,
            convert = ?(begin.elapsed() - fetched),
            "image is whole"
        );
        let image = WholeImage {
            checksum: order.checksum,
            virtual_size: data.len(),
            disk_size: data.blocks() * BLOCK,
        };
        Ok(Made {
            image,
            format,
            temp,
            file,
        })
    }

    async fn settle(self: &Arc<Self>, made: Made) -> Result<(), ImageError> {
        let begin = Instant::now();
        let this = self.clone();
        let stored = blocking(move || {
            let Made {
                image,
                format,
                temp,
                file,
            } = made;
            let base_digest = digest::of_synced_base(&file).map_err(io_error("hash or sync", temp.path()))?;
            let record = ImageRecord::new(image.checksum, base_digest, image.virtual_size, format);
            this.store.put(&temp, &file, &record)
        })
        .await?;
        tracing::info!(
            checksum = %stored.record.checksum,
            base = %stored.record.base_digest,
            settle = ?begin.elapsed(),
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
