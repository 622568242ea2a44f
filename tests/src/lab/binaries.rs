//! Where Drover's own programs are found: beside the running one, or where `DROVER_BIN_DIR` says.

use std::path::{Path, PathBuf};

use super::LabError;

/// The path of one of Drover's programs, for example `drover` or `drover-agent`.
pub fn binary(name: &str) -> Result<PathBuf, LabError> {
    let directory = match std::env::var_os("DROVER_BIN_DIR") {
        Some(directory) => PathBuf::from(directory),
        None => beside_this_one()?,
    };
    let path = directory.join(name);
    if path.is_file() {
        Ok(path)
    } else {
        Err(LabError::MissingBinary { path })
    }
}

fn beside_this_one() -> Result<PathBuf, LabError> {
    let own = std::env::current_exe().map_err(LabError::io("find", "the running program"))?;
    Ok(profile_directory(&own).to_owned())
}

/// Cargo puts test programs one directory below the others.
fn profile_directory(program: &Path) -> &Path {
    let directory = program.parent().unwrap_or(Path::new("."));
    if directory.ends_with("deps") {
        directory.parent().unwrap_or(directory)
    } else {
        directory
    }
}

/// A file of the source tree, for example one of its scripts.
pub(crate) fn source_file(path: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests
        .parent()
        .expect("the tests crate is a directory of the workspace")
        .join(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_lie_beside_the_test_programs_directory() {
        for (own, expected) in [
            ("/w/target/debug/deps/labs-0a1b", "/w/target/debug"),
            ("/w/target/debug/drover-lab", "/w/target/debug"),
            ("/usr/bin/drover-lab", "/usr/bin"),
        ] {
            assert_eq!(profile_directory(Path::new(own)), Path::new(expected), "{own}");
        }
    }
}
