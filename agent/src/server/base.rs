//! The base file under a server's overlay, out of the image cache.

use super::directory::{DirectoryError, ServerDirectory};
use super::failure::WorkError;
use super::request::WantedServer;
use crate::agent::Agent;
use crate::image::{HeldImage, ImageOrder};
use crate::operations::{OperationHandle, chain};
use drover_proto::v1;
use drover_types::Sha256Digest;
use std::io;
use std::path::{Path, PathBuf};

/// A converted image that overlays stand on.
pub(crate) struct BaseFile {
    pub(crate) path: PathBuf,
    pub(crate) digest: Sha256Digest,
    pub(crate) virtual_size: u64,
    /// Keeps the file in the cache until the server's record names it.
    _held: HeldImage,
}

impl Agent {
    /// The base file of a server's image, fetched if it is not here. Keep it until the server's record is
    /// written: until then nothing else keeps it in the cache.
    pub(crate) async fn base_file(
        &self,
        wanted: &WantedServer,
        operation: &OperationHandle,
    ) -> Result<BaseFile, WorkError> {
        let (image, _) = wanted.made_from().map_err(WorkError::Request)?;
        let order = ImageOrder::read(image).map_err(WorkError::Request)?;
        let held = self
            .ensure_image(&order, operation)
            .await
            .map_err(WorkError::Image)?;
        Ok(BaseFile {
            path: held.image.path.clone(),
            digest: held.image.record.base_digest,
            virtual_size: held.image.record.virtual_size,
            _held: held,
        })
    }

    /// Where the base file of an image lies.
    pub(crate) fn base_path(&self, image: Sha256Digest) -> PathBuf {
        self.images.path(image)
    }

    /// The images in the cache, each with how often it is named among those that servers stand on.
    pub(crate) async fn cached_images(&self, stood_on: &[Sha256Digest]) -> Vec<v1::CachedImage> {
        let images = self.images.clone();
        let all = match tokio::task::spawn_blocking(move || images.all()).await {
            Ok(Ok(all)) => all,
            Ok(Err(error)) => {
                tracing::warn!("the image cache cannot be listed: {}", chain(&error));
                Vec::new()
            }
            Err(fault) => {
                tracing::error!(%fault, "listing the image cache ended by a fault");
                Vec::new()
            }
        };
        let used_by = |checksum| stood_on.iter().filter(|image| **image == checksum).count();
        all.into_iter()
            .map(|image| v1::CachedImage {
                checksum: image.checksum.to_string(),
                virtual_size: image.virtual_size,
                disk_size: image.disk_size,
                used_by: u32::try_from(used_by(image.checksum)).unwrap_or(u32::MAX),
            })
            .collect()
    }
}

/// How many servers of this host stand on an image. Blocks on files.
///
/// # Errors
/// Where one server's record cannot be read: it may be one of them.
pub(crate) fn count_users(servers: &Path, checksum: Sha256Digest) -> Result<usize, DirectoryError> {
    let failed = |source| DirectoryError::File {
        attempt: "list",
        path: servers.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(servers) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed(error)),
    };
    let mut count = 0;
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        let Some(server) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let file = ServerDirectory::new(servers, server).read()?;
        count += usize::from(file.is_some_and(|file| file.image == checksum));
    }
    Ok(count)
}
