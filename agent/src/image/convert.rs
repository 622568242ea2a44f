//! From a fetched file to a base file: its header is inspected first, then qemu-img checks and converts it,
//! without privileges, within limits, and with no way to reach another file.

use super::error::ImageError;
use super::order::ImageOrder;
use super::store::{Store, TempFile, io as io_error};
use drover_agent_core::image_header::{
    HEAD_BYTES, HeaderError, ImageFile, ImageFormat, ImageHeader, ImageLimits, Qcow2Layout, TAIL_BYTES,
    TableRange, inspect,
};
use drover_types::{ByteSize, Sha256Digest};
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// The largest virtual disk taken in.
const MAX_VIRTUAL: ByteSize = ByteSize::from_gib(16 << 10);
/// qemu-img's address space and processor time; both far above what honest images need.
const LIMITS: [&str; 3] = ["--as=4294967296", "--cpu=3600", "--core=0"];
/// Of what qemu-img says, in bytes: the last lines name the cause.
const SAID: usize = 500;
/// The user and group `nobody` on every Debian.
const NOBODY: u32 = 65534;

/// Tells what the file is, and refuses what is unsafe. Blocks.
pub(super) fn inspect_file(order: &ImageOrder, file: &File, path: &Path) -> Result<ImageHeader, ImageError> {
    let checksum = order.checksum;
    let refused = |source| ImageError::Header { checksum, source };
    let read = io_error("read", path);
    let (head, tail, length) = match read_ends(file) {
        Ok(ends) => ends,
        Err(error) => return Err(read(error)),
    };
    let limits = ImageLimits {
        virtual_size: MAX_VIRTUAL,
        flavor_disk: order.max_virtual_size,
    };
    let parts = ImageFile {
        head: &head,
        tail: &tail,
        length,
    };
    let header = inspect(parts, limits).map_err(refused)?;
    match order.format {
        Some(expected) if expected != header.format => {
            return Err(ImageError::Format {
                checksum,
                found: header.format,
                expected,
            });
        }
        Some(_) | None => {}
    }
    if let Some(layout) = &header.qcow2 {
        check_tables(layout, file).map_err(|error| match error {
            TableError::Read(error) => read(error),
            TableError::Refused(source) => refused(source),
        })?;
    }
    Ok(header)
}

fn read_ends(file: &File) -> io::Result<(Vec<u8>, Vec<u8>, u64)> {
    let length = file.metadata()?.len();
    let ends = |at: u64, limit: usize| {
        let size = usize::try_from(length - at).map_or(limit, |left| left.min(limit));
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, at).map(|()| bytes)
    };
    let head = ends(0, HEAD_BYTES)?;
    let tail = ends(length.saturating_sub(TAIL_BYTES as u64), TAIL_BYTES)?;
    Ok((head, tail, length))
}

enum TableError {
    Read(io::Error),
    Refused(HeaderError),
}

fn check_tables(layout: &Qcow2Layout, file: &File) -> Result<(), TableError> {
    let table = |range: TableRange| {
        let bytes = usize::try_from(range.bytes).map_err(io::Error::other)?;
        let mut table = vec![0; bytes];
        file.read_exact_at(&mut table, range.offset).map(|()| table)
    };
    let l1 = table(layout.l1).map_err(TableError::Read)?;
    for range in layout.l2_tables(&l1).map_err(TableError::Refused)? {
        let l2 = table(range).map_err(TableError::Read)?;
        layout.check_l2(&l2).map_err(TableError::Refused)?;
    }
    Ok(())
}

/// Checks and converts a file that is not raw into a new raw one.
pub(super) async fn convert(
    store: &Store,
    checksum: Sha256Digest,
    header: &ImageHeader,
    source: (&TempFile, &File),
) -> Result<(TempFile, File), ImageError> {
    let (from, from_file) = source;
    let (to, to_file) = store.temp(checksum)?;
    let privileged = nix::unistd::geteuid().is_root();
    prepare(from_file, &to_file, header.virtual_size, privileged).map_err(io_error("prepare", to.path()))?;
    let stdio = |file: &File, path: &Path| file.try_clone().map(Stdio::from).map_err(io_error("open", path));
    let format = header.format.as_str();
    // The files are handed over open: the process could not reach them, or others, by name.
    let mut checked = None;
    if header.format == ImageFormat::Qcow2 {
        let mut check = qemu_img(privileged, &["check", "-q", "-f", format, "/dev/fd/0"]);
        check.stdin(stdio(from_file, from.path())?).stdout(Stdio::null());
        checked = Some(check);
    }
    let arguments = [
        "convert",
        "-n",
        "--target-is-zero",
        "-f",
        format,
        "-O",
        "raw",
        "/dev/fd/0",
        "/dev/fd/1",
    ];
    let mut convert = qemu_img(privileged, &arguments);
    convert
        .stdin(stdio(from_file, from.path())?)
        .stdout(stdio(&to_file, to.path())?);
    // Beside each other: of an image that is damaged, what was made of it goes with the error.
    let (sound, converted) = tokio::join!(
        async {
            match &mut checked {
                Some(check) => run(check).await,
                None => Ok(()),
            }
        },
        run(&mut convert)
    );
    sound.map_err(|said| ImageError::Damaged { checksum, said })?;
    converted.map_err(|said| ImageError::Convert { checksum, said })?;
    Ok((to, to_file))
}

/// Sizes the target, and lets the unprivileged process open both files.
fn prepare(from: &File, to: &File, size: ByteSize, privileged: bool) -> io::Result<()> {
    to.set_len(size.bytes())?;
    if privileged {
        let nobody = Some(NOBODY);
        from.set_permissions(Permissions::from_mode(0o444))?;
        nix::unistd::fchown(to, nobody.map(Into::into), nobody.map(Into::into))?;
    }
    Ok(())
}

fn qemu_img(privileged: bool, arguments: &[&str]) -> Command {
    let mut command = if privileged {
        let mut command = Command::new("setpriv");
        command
            .arg(format!("--reuid={NOBODY}"))
            .arg(format!("--regid={NOBODY}"))
            .args([
                "--clear-groups",
                "--no-new-privs",
                "--inh-caps=-all",
                "--bounding-set=-all",
            ])
            .arg("prlimit");
        command
    } else {
        Command::new("prlimit")
    };
    command.args(LIMITS).arg("qemu-img").args(arguments);
    command.stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs it to its end; on a failure gives the end of what it said.
async fn run(command: &mut Command) -> Result<(), String> {
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Err(format!("it could not be started: {error}; install qemu-utils")),
    };
    let output = match child.wait_with_output().await {
        Ok(output) => output,
        Err(error) => return Err(format!("it was lost: {error}")),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let start = said.len().saturating_sub(SAID);
    let start = (start..said.len())
        .find(|at| said.is_char_boundary(*at))
        .unwrap_or(0);
    Err(if said.is_empty() {
        output.status.to_string()
    } else {
        said[start..].to_owned()
    })
}
