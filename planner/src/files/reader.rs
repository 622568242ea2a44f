//! What `file()`, `templatefile()` and `fileset()` read: regular files below a module's folder, links out of it
//! not.

use super::configuration::{FilesError, read_folder};
use drover_lang::config::{InputFile, ModuleError, ModuleReader};
use drover_lang::functions::{FileError, FileReader};
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Largest file that a function reads, in bytes.
const LARGEST: u64 = 16 << 20;
/// Most files that one `fileset()` lists.
const MOST: usize = 100_000;

/// Reads below the configuration's folder and those of its modules.
#[derive(Debug, Clone)]
pub struct FolderReader {
    root: PathBuf,
}

impl FolderReader {
    /// Reads below `root`, with links in `root` itself resolved.
    ///
    /// # Errors
    /// Where there is no such folder.
    pub fn new(root: &Path) -> std::io::Result<Self> {
        Ok(Self {
            root: root.canonicalize()?,
        })
    }

    /// The real path of what `path` names, if that is below the module's folder.
    fn resolve(&self, folder: &str, path: &str) -> Result<PathBuf, FileError> {
        let real = |path: PathBuf| path.canonicalize();
        let base = real(self.root.join(folder)).map_err(|source| failed(folder, source))?;
        let found = real(base.join(path)).map_err(|source| failed(path, source))?;
        if found.starts_with(&base) {
            Ok(found)
        } else {
            Err(FileError::Outside(path.to_owned()))
        }
    }
}

fn failed(path: &str, source: std::io::Error) -> FileError {
    if source.kind() == std::io::ErrorKind::NotFound {
        FileError::NotFound(path.to_owned())
    } else {
        FileError::Io {
            path: path.to_owned(),
            source,
        }
    }
}

impl ModuleReader for FolderReader {
    fn files(&self, folder: &str) -> Result<Vec<InputFile>, ModuleError> {
        let files = read_folder(&self.root.join(folder), Path::new(folder)).map_err(|error| match error {
            FilesError::Directory { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                ModuleError::NotFound(folder.to_owned())
            }
            FilesError::Directory { source, .. } => ModuleError::Io {
                folder: folder.to_owned(),
                source,
            },
            other => ModuleError::Io {
                folder: folder.to_owned(),
                source: std::io::Error::other(other),
            },
        })?;
        let files = files.configuration.into_iter();
        Ok(files
            .map(|file| InputFile {
                path: file.path,
                bytes: file.bytes,
            })
            .collect())
    }
}

impl FileReader for FolderReader {
    fn read(&self, folder: &str, path: &str) -> Result<Vec<u8>, FileError> {
        let real = self.resolve(folder, path)?;
        let file = std::fs::File::open(&real).map_err(|source| failed(path, source))?;
        if !file.metadata().map_err(|source| failed(path, source))?.is_file() {
            let source = std::io::Error::other("it is not a regular file");
            return Err(FileError::Io {
                path: path.to_owned(),
                source,
            });
        }
        let mut content = Vec::new();
        file.take(LARGEST + 1)
            .read_to_end(&mut content)
            .map_err(|source| failed(path, source))?;
        if content.len() as u64 > LARGEST {
            return Err(FileError::TooLarge(path.to_owned()));
        }
        Ok(content)
    }

    fn list(&self, folder: &str, below: &str) -> Result<Vec<String>, FileError> {
        let root = self.resolve(folder, below)?;
        let mut found = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(&next).map_err(|source| failed(below, source))? {
                let entry = entry.map_err(|source| failed(below, source))?;
                // Links are not followed: what is listed lies below the folder.
                let kind = entry.file_type().map_err(|source| failed(below, source))?;
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file()
                    && let Ok(inner) = entry.path().strip_prefix(&root)
                    && let Some(text) = inner.to_str()
                {
                    found.push(text.to_owned());
                }
                if found.len() > MOST {
                    let source = std::io::Error::other(format!("it holds more than {MOST} files"));
                    return Err(FileError::Io {
                        path: below.to_owned(),
                        source,
                    });
                }
            }
        }
        found.sort();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_out_of_the_folder_are_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let inside = dir.path().join("inside");
        std::fs::create_dir(&inside).expect("a directory");
        std::fs::write(dir.path().join("secret"), "x").expect("a file");
        std::fs::write(inside.join("a.txt"), "hello").expect("a file");
        std::os::unix::fs::symlink("../secret", inside.join("link")).expect("a link");
        let reader = FolderReader::new(&inside).expect("a folder");
        assert_eq!(reader.read("", "a.txt").expect("the file"), b"hello");
        assert!(matches!(reader.read("", "link"), Err(FileError::Outside(_))));
        assert!(matches!(reader.read("", "none"), Err(FileError::NotFound(_))));
        assert_eq!(reader.list("", ".").expect("a list"), ["a.txt"]);
    }

    #[test]
    fn a_module_reads_its_own_folder_alone() {
        let dir = tempfile::tempdir().expect("a directory");
        let (root, shared) = (dir.path().join("prod"), dir.path().join("shared"));
        for folder in [&root, &shared] {
            std::fs::create_dir(folder).expect("a directory");
        }
        std::fs::write(root.join("own.txt"), "root").expect("a file");
        std::fs::write(shared.join("own.txt"), "shared").expect("a file");
        std::os::unix::fs::symlink("../prod/own.txt", shared.join("link")).expect("a link");
        let reader = FolderReader::new(&root).expect("a folder");
        assert_eq!(reader.read("../shared", "own.txt").expect("the file"), b"shared");
        assert!(matches!(
            reader.read("../shared", "link"),
            Err(FileError::Outside(_))
        ));
        assert_eq!(reader.list("../shared", "").expect("a list"), ["own.txt"]);
    }
}
