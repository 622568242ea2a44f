//! The cache's files: `base/<checksum>` with its `base/<checksum>.json`, and `tmp/` for what is being made.
//!
//! The record is in place before the base file, and both are synced; so a base file that is there is whole
//! and described, whatever was killed when.

use super::error::ImageError;
use super::flight::WholeImage;
use drover_agent_core::image_header::ImageFormat;
use drover_types::Sha256Digest;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The format of records that this version writes.
const FORMAT: u32 = 1;

/// The unit in which the system counts what a file takes, in bytes.
pub(super) const BLOCK: u64 = 512;

/// What is kept of an image beside its base file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The format of this record.
    pub format: u32,
    /// Digest of the source's bytes.
    pub checksum: Sha256Digest,
    /// Digest of the base file, as `digest::of_synced_base` makes it.
    pub base_digest: Sha256Digest,
    /// Size of the base file, in bytes.
    pub virtual_size: u64,
    /// What the source was.
    pub source_format: ImageFormat,
}

impl ImageRecord {
    /// A record in this version's format.
    #[must_use]
    pub const fn new(
        checksum: Sha256Digest,
        base_digest: Sha256Digest,
        virtual_size: u64,
        source_format: ImageFormat,
    ) -> Self {
        Self {
            format: FORMAT,
            checksum,
            base_digest,
            virtual_size,
            source_format,
        }
    }
}

/// A base file in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// The base file.
    pub path: PathBuf,
    /// Its record.
    pub record: ImageRecord,
    /// What it takes on the disk, in bytes.
    pub disk_size: u64,
}

impl StoredImage {
    pub(super) const fn whole(&self) -> WholeImage {
        WholeImage {
            checksum: self.record.checksum,
            virtual_size: self.record.virtual_size,
            disk_size: self.disk_size,
        }
    }
}

/// A file below `tmp/` that is removed unless it is put in place.
#[derive(Debug)]
pub(super) struct TempFile {
    path: PathBuf,
}

impl TempFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        // It is gone after a rename; what cannot be removed is removed at the next start.
        let _gone = fs::remove_file(&self.path);
    }
}

/// The cache's directories.
#[derive(Debug)]
pub(super) struct Store {
    base: PathBuf,
    tmp: PathBuf,
    next: AtomicU64,
}

impl Store {
    /// Opens the cache below `images`, and removes what a crash left unfinished.
    pub(super) fn open(images: &Path) -> Result<Self, ImageError> {
        let store = Self {
            base: images.join("base"),
            tmp: images.join("tmp"),
            next: AtomicU64::new(0),
        };
        for directory in [&store.base, &store.tmp] {
            fs::create_dir_all(directory).map_err(io("make", directory))?;
        }
        for file in list(&store.tmp)? {
            tracing::info!(file = %file.display(), "removing an unfinished image");
            fs::remove_file(&file).map_err(io("remove", &file))?;
        }
        // A record without its base file is harmless, but would stay for ever.
        for file in list(&store.base)? {
            if file.extension().is_some_and(|end| end == "json" || end == "new")
                && !file.with_extension("").exists()
            {
                fs::remove_file(&file).map_err(io("remove", &file))?;
            }
        }
        Ok(store)
    }

    pub(super) fn path(&self, checksum: Sha256Digest) -> PathBuf {
        self.base.join(checksum.hex())
    }

    fn record_path(&self, checksum: Sha256Digest) -> PathBuf {
        self.path(checksum).with_extension("json")
    }

    /// The image, where it is in the cache.
    pub(super) fn find(&self, checksum: Sha256Digest) -> Result<Option<StoredImage>, ImageError> {
        let path = self.path(checksum);
        let data = match fs::symlink_metadata(&path) {
            Ok(data) => data,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("look at", &path)(error)),
        };
        let record_path = self.record_path(checksum);
        let record = match fs::read(&record_path) {
            Ok(bytes) => serde_json::from_slice::<ImageRecord>(&bytes).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io("read", &record_path)(error)),
        };
        match record {
            Some(record)
                if record.format <= FORMAT
                    && record.checksum == checksum
                    && data.is_file()
                    && data.len() == record.virtual_size =>
            {
                let disk_size = data.blocks() * BLOCK;
                Ok(Some(StoredImage {
                    path,
                    record,
                    disk_size,
                }))
            }
            Some(_) | None => {
                tracing::warn!(%checksum, "the cached image does not fit its record and is fetched again");
                Ok(None)
            }
        }
    }

    /// Every image in the cache.
    pub(super) fn all(&self) -> Result<Vec<StoredImage>, ImageError> {
        let mut images = Vec::new();
        for file in list(&self.base)? {
            let name = file
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            if let Ok(checksum) = format!("sha256:{name}").parse() {
                images.extend(self.find(checksum)?);
            }
        }
        images.sort_by_key(|image| image.record.checksum);
        Ok(images)
    }

    /// A new, empty file in the cache's file system.
    pub(super) fn temp(&self, checksum: Sha256Digest) -> Result<(TempFile, File), ImageError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.tmp.join(format!("{}.{number}", checksum.hex()));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(io("make", &path))?;
        Ok((TempFile { path }, file))
    }

    /// Puts a finished base file in place.
    pub(super) fn put(
        &self,
        temp: &TempFile,
        file: &File,
        record: &ImageRecord,
    ) -> Result<StoredImage, ImageError> {
        let path = self.path(record.checksum);
        file.set_permissions(Permissions::from_mode(0o444))
            .and_then(|()| nix::unistd::fchown(file, Some(0.into()), Some(0.into())).or_else(unprivileged))
            .and_then(|()| file.sync_all())
            .map_err(io("sync", temp.path()))?;
        let record_path = self.record_path(record.checksum);
        let new = record_path.with_extension("new");
        let json = serde_json::to_vec_pretty(record)
            .map_err(io::Error::other)
            .map_err(io("write", &new))?;
        write_synced(&new, &json).map_err(io("write", &new))?;
        fs::rename(&new, &record_path).map_err(io("rename", &new))?;
        fail::fail_point!("before-rename");
        fs::rename(temp.path(), &path).map_err(io("rename", temp.path()))?;
        self.sync()?;
        let disk_size = file.metadata().map_err(io("look at", &path))?.blocks() * BLOCK;
        Ok(StoredImage {
            path,
            record: record.clone(),
            disk_size,
        })
    }

    /// Removes an image; one that is not there is a success.
    pub(super) fn remove(&self, checksum: Sha256Digest) -> Result<(), ImageError> {
        for path in [self.path(checksum), self.record_path(checksum)] {
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io("remove", &path)(error)),
            }
        }
        self.sync()
    }

    fn sync(&self) -> Result<(), ImageError> {
        File::open(&self.base)
            .and_then(|directory| directory.sync_all())
            .map_err(io("sync", &self.base))
    }
}

/// Only root may give files away; an agent that is not root owns them already.
fn unprivileged(error: nix::Error) -> io::Result<()> {
    match error {
        nix::Error::EPERM => Ok(()),
        other => Err(other.into()),
    }
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, ImageError> {
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(io("list", directory))
}

pub(super) fn io(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ImageError + use<> {
    let path = path.to_owned();
    move |source| ImageError::Io {
        attempt,
        path,
        source,
    }
}
