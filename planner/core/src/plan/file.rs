//! Plan files: a plan as bytes, with its version and digest in front.

use super::types::Plan;
use drover_types::{FleetName, ProjectName, Sha256Digest};
use sha2::{Digest as _, Sha256};
use std::io::{BufWriter, Write};

/// Why a file is no plan to apply.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// It does not begin as plan files do.
    #[error("this is not a plan file; make one with: drover plan --out FILE")]
    NotAPlan,
    /// Another version wrote it.
    #[error(
        "the plan file has format {found}, this drover reads format {}; plan again",
        super::PLAN_FORMAT
    )]
    OtherVersion {
        /// Its format.
        found: u32,
    },
    /// Its content is not what was written.
    #[error("the plan file was altered or is cut short; plan again")]
    Altered,
    /// It holds the digest it should, and still cannot be read.
    #[error("the plan file cannot be read")]
    Unreadable(#[source] serde_json::Error),
    /// It was made for another fleet or project.
    #[error(
        "the plan file is of fleet {found_fleet}, project {found_project}; this is fleet {fleet}, project {project}"
    )]
    OtherFleet {
        /// Its fleet.
        found_fleet: FleetName,
        /// Its project.
        found_project: ProjectName,
        /// Ours.
        fleet: FleetName,
        /// Ours.
        project: ProjectName,
    },
}

/// What every plan file begins with; the format's number and the digest follow, each on its line.
const MAGIC: &str = "drover plan ";

/// The digest of everything in a plan but the digest, which is put back after it. Neither the plan nor its text is
/// there twice meanwhile: of a large fleet both have gigabytes.
pub(super) fn digest_of(plan: &mut Plan) -> Sha256Digest {
    let own = std::mem::replace(&mut plan.digest, Sha256Digest::from_bytes([0; 32]));
    let mut hash = BufWriter::with_capacity(1 << 16, Hash(Sha256::new()));
    serde_json::to_writer(&mut hash, plan).expect("a plan has only text keys and finite numbers");
    plan.digest = own;
    let Hash(hash) = hash.into_inner().expect("a digest takes every byte");
    Sha256Digest::from_bytes(hash.finalize().into())
}

/// A digest that is written to.
#[derive(Debug)]
struct Hash(Sha256);

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn body(plan: &Plan) -> Vec<u8> {
    serde_json::to_vec(plan).expect("a plan has only text keys and finite numbers")
}

/// The plan as the content of a plan file. The same plan gives the same bytes.
#[must_use]
pub fn encode(plan: &Plan) -> Vec<u8> {
    let body = body(plan);
    let mut bytes = format!("{MAGIC}{}\n{}\n", plan.format, Sha256Digest::of(&body)).into_bytes();
    bytes.extend(body);
    bytes
}

/// Reads a plan file.
///
/// # Errors
/// Where it is none, was altered, or is of another version, fleet or project.
pub fn decode(bytes: &[u8], fleet: &FleetName, project: &ProjectName) -> Result<Plan, PlanFileError> {
    let rest = bytes
        .strip_prefix(MAGIC.as_bytes())
        .ok_or(PlanFileError::NotAPlan)?;
    let (format, rest) = line(rest).ok_or(PlanFileError::Altered)?;
    let found: u32 = format.parse().map_err(|_| PlanFileError::Altered)?;
    if found != super::PLAN_FORMAT {
        return Err(PlanFileError::OtherVersion { found });
    }
    let (digest, body) = line(rest).ok_or(PlanFileError::Altered)?;
    let digest: Sha256Digest = digest.parse().map_err(|_| PlanFileError::Altered)?;
    if Sha256Digest::of(body) != digest {
        return Err(PlanFileError::Altered);
    }
    let mut plan: Plan = serde_json::from_slice(body).map_err(PlanFileError::Unreadable)?;
    let digest = digest_of(&mut plan);
    if plan.digest != digest {
        return Err(PlanFileError::Altered);
    }
    if plan.fleet != *fleet || plan.project != *project {
        return Err(PlanFileError::OtherFleet {
            found_fleet: plan.fleet,
            found_project: plan.project,
            fleet: fleet.clone(),
            project: project.clone(),
        });
    }
    Ok(plan)
}

/// The text up to the next line feed, and what follows it.
fn line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().take(100).position(|byte| *byte == b'\n')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}
