//! Makes the authority and signs certificates with it.

use drover_types::{FleetName, Identity, Role};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the root and the intermediate are valid.
const AUTHORITY_DAYS: u32 = 3650;
/// Clocks of hosts differ a little: certificates begin to be valid this long before they are made.
const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// Why the authority could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// There is one already.
    #[error("{} exists already; an authority is made once (choose another --dir for a new one)", .0.display())]
    Exists(PathBuf),
    /// There is none.
    #[error("{} holds no authority; make one with `drover pki init`", dir.display())]
    NoAuthority {
        /// The directory.
        dir: PathBuf,
        /// What reading it says.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("could not write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file could not be read.
    #[error("could not read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A key or certificate could not be made or read.
    #[error("could not {attempted}")]
    Certificate {
        /// What was attempted.
        attempted: &'static str,
        /// What rcgen says.
        source: rcgen::Error,
    },
    /// A file holds something else than a certificate.
    #[error("{} holds no certificate that can be read", .0.display())]
    NotACertificate(PathBuf),
    /// The authority belongs to another fleet.
    #[error("the authority in {} is of fleet {found}, not {asked}", dir.display())]
    OtherFleet {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: String,
        /// For whom a certificate was asked.
        asked: FleetName,
    },
}

fn certificate(attempted: &'static str) -> impl Fn(rcgen::Error) -> PkiError {
    move |source| PkiError::Certificate { attempted, source }
}

/// A certificate just issued, as PEM.
#[derive(Debug)]
pub struct Issued {
    /// Who it speaks for.
    pub identity: Identity,
    chain: String,
    key: String,
    root: String,
}

/// The files of an issued certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedFiles {
    /// The root.
    pub ca_file: PathBuf,
    /// Certificate and intermediate.
    pub cert_file: PathBuf,
    /// The key, readable by its owner only.
    pub key_file: PathBuf,
}

impl Issued {
    /// Writes `ca.pem`, `cert.pem` and `key.pem` into `dir`, replacing older ones one by one atomically.
    ///
    /// # Errors
    /// The first file that could not be written.
    pub fn write_to(&self, dir: &Path) -> Result<IssuedFiles, PkiError> {
        private_directory(dir)?;
        let files = IssuedFiles {
            ca_file: dir.join("ca.pem"),
            cert_file: dir.join("cert.pem"),
            key_file: dir.join("key.pem"),
        };
        replace(&files.ca_file, &self.root, 0o644)?;
        replace(&files.key_file, &self.key, 0o600)?;
        replace(&files.cert_file, &self.chain, 0o644)?;
        Ok(files)
    }
}

/// A fleet's authority, able to sign.
pub struct Authority {
    fleet: FleetName,
    issuer: Issuer<'static, KeyPair>,
    intermediate: String,
    root: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("fleet", &self.fleet)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority in `dir`, which may exist but must hold none.
    ///
    /// # Errors
    /// Where there is one already, or a file cannot be written; an unfinished attempt leaves no `root.pem`.
    pub fn create(dir: &Path, fleet: &FleetName) -> Result<Self, PkiError> {
        if dir.join("root.pem").exists() {
            return Err(PkiError::Exists(dir.to_owned()));
        }
        private_directory(dir)?;
        let root_key = KeyPair::generate().map_err(certificate("make the root's key"))?;
        let root_params = authority_params(fleet, "root", 1);
        let root = root_params
            .self_signed(&root_key)
            .map_err(certificate("sign the root"))?;
        let root_issuer = Issuer::from_params(&root_params, &root_key);
        let key = KeyPair::generate().map_err(certificate("make the intermediate's key"))?;
        let intermediate = authority_params(fleet, "intermediate", 0)
            .signed_by(&key, &root_issuer)
            .map_err(certificate("sign the intermediate"))?;
        replace(&dir.join("root-key.pem"), &root_key.serialize_pem(), 0o600)?;
        replace(&dir.join("intermediate-key.pem"), &key.serialize_pem(), 0o600)?;
        replace(&dir.join("intermediate.pem"), &intermediate.pem(), 0o644)?;
        // Last: its presence says that the authority is whole.
        replace(&dir.join("root.pem"), &root.pem(), 0o644)?;
        Self::open(dir)
    }

    /// Opens the authority in `dir` for signing; the root's key is not needed.
    ///
    /// # Errors
    /// Where there is none, or its files cannot be read.
    pub fn open(dir: &Path) -> Result<Self, PkiError> {
        let root = std::fs::read_to_string(dir.join("root.pem")).map_err(|source| PkiError::NoAuthority {
            dir: dir.to_owned(),
            source,
        })?;
        let read = |name: &str| {
            let path = dir.join(name);
            std::fs::read_to_string(&path).map_err(|source| PkiError::Read { path, source })
        };
        let intermediate = read("intermediate.pem")?;
        let key = KeyPair::from_pem(&read("intermediate-key.pem")?)
            .map_err(certificate("read the intermediate's key"))?;
        let issuer = Issuer::from_ca_cert_pem(&intermediate, key)
            .map_err(certificate("read the intermediate's certificate"))?;
        let summary = super::summary(&dir.join("root.pem"))?;
        let fleet = summary
            .organization
            .and_then(|name| name.parse().ok())
            .ok_or_else(|| PkiError::NotACertificate(dir.join("root.pem")))?;
        Ok(Self {
            fleet,
            issuer,
            intermediate,
            root,
        })
    }

    /// The fleet it signs for.
    #[must_use]
    pub fn fleet(&self) -> &FleetName {
        &self.fleet
    }

    /// Signs a certificate for `identity`, valid from now for `days`.
    ///
    /// # Errors
    /// Where the identity is of another fleet, or signing fails.
    pub fn issue(&self, dir: &Path, identity: &Identity, days: u32) -> Result<Issued, PkiError> {
        if identity.fleet != self.fleet {
            return Err(PkiError::OtherFleet {
                dir: dir.to_owned(),
                found: self.fleet.to_string(),
                asked: identity.fleet.clone(),
            });
        }
        let key = KeyPair::generate().map_err(certificate("make a key"))?;
        let mut params = CertificateParams::default();
        let uri = Ia5String::try_from(identity.to_string()).map_err(certificate("write the identity"))?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.distinguished_name.remove(DnType::CommonName);
        params
            .distinguished_name
            .push(DnType::OrganizationName, self.fleet.as_str());
        params
            .distinguished_name
            .push(DnType::CommonName, format!("{} {}", identity.role, identity.name));
        validity(&mut params, days);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Only agents serve; they are clients too, of each other.
        params.extended_key_usages = match identity.role {
            Role::Agent => vec![
                ExtendedKeyUsagePurpose::ServerAuth,
                ExtendedKeyUsagePurpose::ClientAuth,
            ],
            Role::Reader | Role::Operator | Role::Admin => vec![ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.use_authority_key_identifier_extension = true;
        let leaf = params
            .signed_by(&key, &self.issuer)
            .map_err(certificate("sign the certificate"))?;
        Ok(Issued {
            identity: identity.clone(),
            chain: format!("{}{}", leaf.pem(), self.intermediate),
            key: key.serialize_pem(),
            root: self.root.clone(),
        })
    }
}

fn authority_params(fleet: &FleetName, what: &str, below: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params
        .distinguished_name
        .push(DnType::OrganizationName, fleet.as_str());
    params
        .distinguished_name
        .push(DnType::CommonName, format!("drover {what}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = below == 0;
    validity(&mut params, AUTHORITY_DAYS);
    params
}

fn validity(params: &mut CertificateParams, days: u32) {
    let now = SystemTime::now();
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + DAY * days).into();
}

fn private_directory(dir: &Path) -> Result<(), PkiError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|source| PkiError::Write {
            path: dir.to_owned(),
            source,
        })
}

/// Writes beside and renames, so that a reader sees the old file or the new one.
fn replace(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let failed = |source| PkiError::Write {
        path: path.to_owned(),
        source,
    };
    let beside = path.with_extension("pem.new");
    match std::fs::remove_file(&beside) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)
        .map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)
}
