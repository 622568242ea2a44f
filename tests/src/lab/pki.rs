//! The fleet's certificates in a lab, all issued by `drover pki` itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::binaries::binary;
use super::node::output;
use super::{Lab, LabError};

/// The fleet that a lab's agents and configuration belong to.
pub const FLEET: &str = "lab";

/// One party's credentials as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Whom it trusts.
    pub ca_file: PathBuf,
    /// Its certificate, with the intermediate's.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
}

impl TlsFiles {
    fn in_directory(directory: &Path) -> TlsFiles {
        TlsFiles {
            ca_file: directory.join("ca.pem"),
            cert_file: directory.join("cert.pem"),
            key_file: directory.join("key.pem"),
        }
    }

    /// As the attributes of an HCL block.
    pub(crate) fn attributes(&self, indent: &str) -> String {
        let TlsFiles {
            ca_file,
            cert_file,
            key_file,
        } = self;
        format!(
            "{indent}ca_file = {:?}\n{indent}cert_file = {:?}\n{indent}key_file = {:?}\n",
            ca_file.display().to_string(),
            cert_file.display().to_string(),
            key_file.display().to_string()
        )
    }
}

/// A certificate authority made by `drover pki init`.
#[derive(Debug, Clone)]
pub struct Pki {
    directory: PathBuf,
}

impl Lab {
    /// The authority of the lab's own fleet, made at the first call.
    pub fn pki(&self) -> Result<Pki, LabError> {
        self.another_pki("pki", FLEET)
    }

    /// An authority of any fleet in its own directory, for tests of who must not be trusted.
    pub fn another_pki(&self, directory: &str, fleet: &str) -> Result<Pki, LabError> {
        let pki = Pki {
            directory: self.directory().join(directory),
        };
        if !pki.directory.exists() {
            run_pki(&["init", "--fleet", fleet, "--dir"], &pki.directory)?;
        }
        Ok(pki)
    }

    /// The credentials of the person at the command line.
    pub fn operator(&self) -> Result<TlsFiles, LabError> {
        self.pki()?.issue("operator", "tester")
    }
}

impl Pki {
    /// Where the authority's own files are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Issues a certificate, at the first call for this role and name; later calls give the same.
    pub fn issue(&self, role: &str, name: &str) -> Result<TlsFiles, LabError> {
        let out = self.directory.join(format!("{role}-{name}"));
        let files = TlsFiles::in_directory(&out);
        if !files.key_file.exists() {
            run_pki(&["issue", role, name, "--dir"], &self.directory)?;
        }
        Ok(files)
    }
}

fn run_pki(arguments: &[&str], directory: &Path) -> Result<(), LabError> {
    let mut command = Command::new(binary("drover")?);
    command.arg("pki").args(arguments).arg(directory);
    eprintln!("lab $ drover pki {} {}", arguments.join(" "), directory.display());
    output(command).map(drop)
}
