//! What the cache is asked for, checked.

use drover_agent_core::image_header::ImageFormat;
use drover_proto::field::{self, FieldError};
use drover_proto::v1;
use drover_types::{ByteSize, Sha256Digest};
use reqwest::Url;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// An image that shall be in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageOrder {
    /// Where to get it.
    pub source: ImageSource,
    /// Digest of the source's bytes: its name in the cache.
    pub checksum: Sha256Digest,
    /// The format that it is said to have; none: as its header says.
    pub format: Option<ImageFormat>,
    /// The largest virtual size that is of use.
    pub max_virtual_size: Option<ByteSize>,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// Over HTTP or HTTPS.
    Web(Box<Url>),
    /// From a file of this host.
    File(PathBuf),
}

/// Why a text is no source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No URL at all.
    #[error("it is no URL; write https://…, http://… or file:///…")]
    Url(#[source] <Url as FromStr>::Err),
    /// Another scheme.
    #[error("sources begin with https://, http:// or file:///, not {0}:")]
    Scheme(String),
    /// A file URL that names another host, or no absolute path.
    #[error("a file source is written file:///absolute/path")]
    FilePath,
}

/// A word that is no format.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a format that can be taken in; use raw, qcow2, vmdk, vdi or vpc")]
struct UnknownFormat(String);

impl FromStr for ImageSource {
    type Err = SourceError;
    fn from_str(text: &str) -> Result<Self, SourceError> {
        let url: Url = text.parse().map_err(SourceError::Url)?;
        match url.scheme() {
            "https" | "http" => Ok(Self::Web(Box::new(url))),
            "file" => url
                .to_file_path()
                .map(Self::File)
                .map_err(|()| SourceError::FilePath),
            other => Err(SourceError::Scheme(other.chars().take(40).collect())),
        }
    }
}

/// Without user, password and query, which may be secret.
impl fmt::Display for ImageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file://{}", path.display()),
            Self::Web(url) => {
                write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
                if let Some(port) = url.port() {
                    write!(f, ":{port}")?;
                }
                f.write_str(url.path())
            }
        }
    }
}

impl ImageOrder {
    /// Reads an order out of a message.
    ///
    /// # Errors
    /// The field that does not hold what it must.
    pub fn read(image: &v1::Image) -> Result<Self, FieldError> {
        let formats = [
            ImageFormat::Raw,
            ImageFormat::Qcow2,
            ImageFormat::Vmdk,
            ImageFormat::Vdi,
            ImageFormat::Vpc,
        ];
        let format = match image.format.as_str() {
            "" => None,
            word => Some(
                formats
                    .into_iter()
                    .find(|format| format.as_str() == word)
                    .ok_or_else(|| FieldError {
                        field: "image.format",
                        source: Box::new(UnknownFormat(word.chars().take(40).collect())),
                    })?,
            ),
        };
        Ok(Self {
            source: field::parse("image.source", &image.source)?,
            checksum: field::parse("image.checksum", &image.checksum)?,
            format,
            max_virtual_size: (image.max_virtual_size > 0)
                .then(|| ByteSize::from_bytes(image.max_virtual_size)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_web_or_absolute_files_and_show_no_secrets() {
        for (text, shown) in [
            (
                "https://u:p@example.org:8443/a/b.qcow2?token=x",
                "https://example.org:8443/a/b.qcow2",
            ),
            ("http://example.org/a", "http://example.org/a"),
            ("file:///srv/a%20b.raw", "file:///srv/a b.raw"),
        ] {
            let source: ImageSource = text.parse().expect(text);
            assert_eq!(source.to_string(), shown);
        }
        for bad in ["", "/srv/a", "ftp://x/y", "file://other/srv/a", "nbd:unix:/x"] {
            assert!(bad.parse::<ImageSource>().is_err(), "{bad} was accepted");
        }
    }
}
