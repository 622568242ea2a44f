//! Finds and reads a configuration's files.

use std::path::{Path, PathBuf};

/// Largest configuration file accepted, in bytes.
const LARGEST: u64 = 64 << 20;

/// One file, unread by anybody but the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFile {
    /// As messages name it: relative to the directory drover runs in.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// How files are named that hold values for Terraform.
const NOT_READ: [&str; 3] = [".tfvars", ".tfvars.json", ".vars.json"];

/// The files of a directory that concern drover, each list sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigurationFiles {
    /// `*.hcl` but the ones below.
    pub configuration: Vec<ReadFile>,
    /// `drover.vars.hcl` first, then `*.auto.vars.hcl`.
    pub variables: Vec<ReadFile>,
    /// Names by which Terraform would read values, and which are not read.
    pub not_read: Vec<String>,
}

/// Why files could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The directory cannot be listed.
    #[error("could not read the directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file cannot be read.
    #[error("could not read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is larger than any configuration.
    #[error("{} has {bytes} bytes; a configuration file has at most {LARGEST}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// There is no configuration.
    #[error("there is no configuration in {}: no file there ends in .hcl", .0.display())]
    NoConfiguration(PathBuf),
}

/// Reads the configuration of a directory, its sub-directories not.
///
/// # Errors
/// The first file that cannot be read, or that there is none.
pub fn read_configuration(directory: &Path) -> Result<ConfigurationFiles, FilesError> {
    let files = read_folder(directory, directory)?;
    if files.configuration.is_empty() {
        return Err(FilesError::NoConfiguration(directory.to_owned()));
    }
    Ok(files)
}

/// Reads the files of a directory, whose name in messages is `shown`; there may be none.
///
/// # Errors
/// The first file that cannot be read.
pub(super) fn read_folder(directory: &Path, shown: &Path) -> Result<ConfigurationFiles, FilesError> {
    let listing = |source| FilesError::Directory {
        path: directory.to_owned(),
        source,
    };
    let (mut names, mut not_read) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(directory).map_err(listing)? {
        let entry = entry.map_err(listing)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.starts_with('.') || name.ends_with(".drovertest.hcl") {
            continue;
        }
        if name.ends_with(".hcl") {
            names.push(name);
        } else if NOT_READ.iter().any(|end| name.ends_with(end)) {
            not_read.push(name);
        }
    }
    names.sort();
    not_read.sort();
    let mut files = ConfigurationFiles {
        not_read,
        ..ConfigurationFiles::default()
    };
    for name in names {
        let file = ReadFile {
            path: plain(&shown.join(&name)),
            ..read_file(&directory.join(&name))?
        };
        if name == "drover.vars.hcl" {
            files.variables.insert(0, file);
        } else if name.ends_with(".auto.vars.hcl") {
            files.variables.push(file);
        } else {
            files.configuration.push(file);
        }
    }
    Ok(files)
}

/// A path without `./` in front.
fn plain(path: &Path) -> String {
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

/// Reads the test files of a directory, sorted by name.
///
/// # Errors
/// The first file that cannot be read.
pub fn read_tests(directory: &Path) -> Result<Vec<ReadFile>, FilesError> {
    let listing = |source| FilesError::Directory {
        path: directory.to_owned(),
        source,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(listing)? {
        let path = entry.map_err(listing)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        if name.is_some_and(|name| name.ends_with(".drovertest.hcl") && !name.starts_with('.')) {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| read_file(path)).collect()
}

/// Reads one file.
///
/// # Errors
/// Where it cannot be read or is larger than any configuration.
pub fn read_file(path: &Path) -> Result<ReadFile, FilesError> {
    let failed = |source| FilesError::File {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > LARGEST {
        return Err(FilesError::TooLarge {
            path: path.to_owned(),
            bytes,
        });
    }
    let content = std::fs::read(path).map_err(failed)?;
    Ok(ReadFile {
        path: plain(path),
        bytes: content,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_files_by_what_they_are() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in [
            "b.hcl",
            "a.hcl",
            "z.auto.vars.hcl",
            "drover.vars.hcl",
            ".hidden.hcl",
            "x.drovertest.hcl",
            "notes.txt",
            "terraform.tfvars",
            "a.auto.vars.json",
        ] {
            std::fs::write(dir.path().join(name), "").expect("a file");
        }
        let files = read_configuration(dir.path()).expect("a configuration");
        let names = |files: &[ReadFile]| -> Vec<String> {
            files
                .iter()
                .filter_map(|f| f.path.rsplit('/').next().map(str::to_owned))
                .collect()
        };
        assert_eq!(names(&files.configuration), ["a.hcl", "b.hcl"]);
        assert_eq!(names(&files.variables), ["drover.vars.hcl", "z.auto.vars.hcl"]);
        assert_eq!(files.not_read, ["a.auto.vars.json", "terraform.tfvars"]);
    }

    #[test]
    fn an_empty_directory_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(matches!(
            read_configuration(dir.path()),
            Err(FilesError::NoConfiguration(_))
        ));
    }
}
