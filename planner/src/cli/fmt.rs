//! `drover fmt`: the layout of configuration files.

use super::exit::ExitStatus;
use super::failure::Failure;
use super::output::Output;
use super::project::Form;
use crate::files::{FilesError, read_file, write_over};
use clap::Args;
use drover_lang::config::InputFile;
use drover_lang::diagnostic::Style;
use drover_lang::layout::arrange_file;
use similar::TextDiff;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// Put the layout of configuration files in order, comments kept
#[derive(Debug, Args)]
pub(super) struct FmtCommand {
    /// Files and directories; - for stdin to stdout [default: this directory]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Write nothing; exit with 1 where a file is not in order
    #[arg(long)]
    check: bool,
    /// Print what changes, as a unified diff
    #[arg(long)]
    diff: bool,
    /// Look into sub-directories as well
    #[arg(long)]
    recursive: bool,
}

pub(super) fn run(command: &FmtCommand, no_color: bool, output: &mut Output) -> Result<ExitStatus, Failure> {
    let style = Form::new(false, no_color).style();
    if command.paths.iter().any(|path| path == Path::new("-")) {
        if command.paths.len() > 1 {
            return Err(Failure::new(
                "- stands for stdin and cannot be combined with other paths",
            ));
        }
        return stdin(command, style, output);
    }
    let mut paths = Vec::new();
    let here = [PathBuf::from(".")];
    let given = if command.paths.is_empty() {
        &here[..]
    } else {
        &command.paths
    };
    for path in given {
        collect(path, command.recursive, &mut paths)?;
    }
    let mut status = ExitStatus::Done;
    for path in paths {
        let file = read_file(&path)?;
        let name = file.path.clone();
        let input = InputFile {
            path: file.path,
            bytes: file.bytes,
        };
        let arranged = match arrange_file(&input) {
            Ok(arranged) => arranged,
            Err((found, sources)) => {
                eprintln!("{}", found.render(&sources, style).trim_end());
                status = ExitStatus::Error;
                continue;
            }
        };
        if arranged.as_bytes() == input.bytes {
            continue;
        }
        output.line(&name)?;
        if command.diff {
            output.write(difference(&name, &input.bytes, &arranged).as_bytes())?;
        }
        if command.check {
            status = ExitStatus::Error;
        } else {
            write_over(&path, arranged.as_bytes())
                .map_err(|error| Failure::because(format!("could not write {name}"), error))?;
        }
    }
    Ok(status)
}

fn stdin(command: &FmtCommand, style: Style, output: &mut Output) -> Result<ExitStatus, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::because("could not read stdin", error))?;
    let input = InputFile {
        path: "<stdin>".to_owned(),
        bytes,
    };
    let arranged = match arrange_file(&input) {
        Ok(arranged) => arranged,
        Err((found, sources)) => {
            eprintln!("{}", found.render(&sources, style).trim_end());
            return Ok(ExitStatus::Error);
        }
    };
    if command.diff {
        output.write(difference("<stdin>", &input.bytes, &arranged).as_bytes())?;
    } else if !command.check {
        output.write(arranged.as_bytes())?;
    }
    let differs = arranged.as_bytes() != input.bytes;
    Ok(if command.check && differs {
        ExitStatus::Error
    } else {
        ExitStatus::Done
    })
}

fn difference(name: &str, before: &[u8], after: &str) -> String {
    let before = String::from_utf8_lossy(before);
    TextDiff::from_lines(&*before, after)
        .unified_diff()
        .header(&format!("old/{name}"), &format!("new/{name}"))
        .to_string()
}

/// The files that end in `.hcl`, sorted; a file that is named is taken whatever its name.
fn collect(path: &Path, recursive: bool, paths: &mut Vec<PathBuf>) -> Result<(), FilesError> {
    let failed = |source| FilesError::Directory {
        path: path.to_owned(),
        source,
    };
    if path.is_file() {
        paths.push(path.to_owned());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(failed)?;
    let mut entries: Vec<_> = entries.collect::<Result<_, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let kind = entry.file_type().map_err(failed)?;
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        let below = entry.path();
        if kind.is_dir() && recursive && !hidden {
            collect(&below, recursive, paths)?;
        } else if kind.is_file() && !hidden && below.extension().is_some_and(|extension| extension == "hcl") {
            paths.push(below);
        }
    }
    Ok(())
}
