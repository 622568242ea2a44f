//! Writes files that a command makes: whole or not at all.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Writes a file that only its owner may read. What was there before stays until all is on the disk.
///
/// # Errors
/// Where the directory or the disk refuses; nothing is left behind then.
pub fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write_new(path, bytes, 0o600)
}

/// Writes a file that everybody may read, as far as the umask allows. What was there before stays until all is on
/// the disk, so that whoever reads it meanwhile reads the one or the other.
///
/// # Errors
/// Where the directory or the disk refuses; nothing is left behind then.
pub fn write_public(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    write_new(path, bytes, 0o644)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // Where not even this succeeds the first error says why.
        drop(std::fs::remove_file(&beside));
    }
    written
}

/// Writes a file that is not there yet.
///
/// # Errors
/// Where it is there, or the directory or the disk refuses; nothing is left behind then.
pub fn write_once(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // Where not even this succeeds the first error says why.
        drop(std::fs::remove_file(path));
    }
    written
}

/// Writes a file anew, with the rights it has. What was there before stays until all is on the disk.
///
/// # Errors
/// Where the directory or the disk refuses; nothing is left behind then.
pub fn write_over(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // A link stays one: what it leads to is written.
    let path = path.canonicalize()?;
    let rights = std::fs::metadata(&path)?.permissions();
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let written = std::fs::File::create(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::set_permissions(&beside, rights))
        .and_then(|()| std::fs::rename(&beside, &path));
    if written.is_err() {
        // Where not even this succeeds the first error says why.
        drop(std::fs::remove_file(&beside));
    }
    written
}
