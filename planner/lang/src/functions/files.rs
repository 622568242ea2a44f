//! Files of the configuration's folder. Reading them is the caller's: this crate has no effects.

use super::{Call, Cost, Function, FunctionError, Outcome, Want};
use crate::value::Value;
use base64::Engine as _;

pub(super) const TABLE: &[Function] = &[
    Function::new("file", &[("path", Want::Text)], Want::Text, file),
    Function::new("fileexists", &[("path", Want::Text)], Want::Bool, fileexists),
    Function::new("filebase64", &[("path", Want::Text)], Want::Text, filebase64),
    Function::new(
        "fileset",
        &[("path", Want::Text), ("pattern", Want::Text)],
        Want::Set,
        fileset,
    ),
    Function::new(
        "templatefile",
        &[("path", Want::Text), ("vars", Want::Fields)],
        Want::Text,
        |_| Ok(Value::failed()),
    )
    .keeping_parts()
    .cost(Cost::Constant),
    Function::new(
        "templatestring",
        &[("ref", Want::Text), ("vars", Want::Fields)],
        Want::Text,
        |_| Ok(Value::failed()),
    )
    .keeping_parts()
    .cost(Cost::Constant),
    Function::new("basename", &[("path", Want::Text)], Want::Text, basename),
    Function::new("dirname", &[("path", Want::Text)], Want::Text, dirname),
];

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// No such file.
    #[error("there is no file {0:?}")]
    NotFound(String),
    /// The path leaves the configuration's folder.
    #[error("{0:?} is not below the configuration's folder; only files below it can be read")]
    Outside(String),
    /// The path leaves the folder of the module that names it.
    #[error(
        "{path:?} is not below {folder}, the folder of this module, which can read only its own files; write \
         \"${{path.module}}/...\""
    )]
    OutsideModule {
        /// The path as written.
        path: String,
        /// The module's folder.
        folder: String,
    },
    /// It is not text.
    #[error("the file {0:?} is not a text in UTF-8; read it with filebase64")]
    NotText(String),
    /// It is larger than 16 MiB.
    #[error("the file {0:?} is larger than 16 MiB")]
    TooLarge(String),
    /// Reading failed.
    #[error("the file {path:?} cannot be read")]
    Io {
        /// The path as written.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Reads files of modules. A folder is a module's, relative to the configuration's: empty for the root module,
/// `modules/shop`, `../shared`. Paths are relative to it, with `/`, and hold no `..`; the reader itself must refuse
/// links that leave the folder.
pub trait FileReader {
    /// The bytes of a file.
    ///
    /// # Errors
    /// When there is none, it is outside, too large, or cannot be read.
    fn read(&self, folder: &str, path: &str) -> Result<Vec<u8>, FileError>;

    /// The paths of all regular files below `below`, relative to it.
    ///
    /// # Errors
    /// When there is no such folder, it is outside, or cannot be read.
    fn list(&self, folder: &str, below: &str) -> Result<Vec<String>, FileError>;
}

/// A reader for configurations that stand in no folder: every file is missing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoFiles;

impl FileReader for NoFiles {
    fn read(&self, _: &str, path: &str) -> Result<Vec<u8>, FileError> {
        Err(FileError::NotFound(path.to_owned()))
    }

    fn list(&self, _: &str, below: &str) -> Result<Vec<String>, FileError> {
        Err(FileError::NotFound(below.to_owned()))
    }
}

/// The files that one module may read: those below its own folder. Paths are written relative to the
/// configuration's folder, as in Terraform, so a module writes `${path.module}/…`.
#[derive(Clone, Copy)]
pub struct ModuleFiles<'f> {
    /// Reads every module's files.
    pub reader: &'f dyn FileReader,
    /// The module's folder; empty for the root module.
    pub folder: &'f str,
}

impl ModuleFiles<'_> {
    /// The path relative to the module's folder.
    fn below(&self, path: &str) -> Result<String, FileError> {
        let outside = || match self.folder {
            "" => FileError::Outside(path.to_owned()),
            folder => FileError::OutsideModule {
                path: path.to_owned(),
                folder: folder.to_owned(),
            },
        };
        let whole = joined("", path).ok_or_else(outside)?;
        if self.folder.is_empty() {
            return match whole.split('/').next() {
                Some("..") => Err(outside()),
                Some(_) | None => Ok(whole),
            };
        }
        match whole.strip_prefix(self.folder) {
            Some("") => Ok(String::new()),
            Some(rest) => rest.strip_prefix('/').map(str::to_owned).ok_or_else(outside),
            None => Err(outside()),
        }
    }
}

const LARGEST: usize = 16 << 20;

/// `path`, seen from `folder`, without `.` and doubled slashes: `..` is left only in front. Nothing for what is no
/// relative path.
pub(crate) fn joined(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') || path.contains('\0') {
        return None;
    }
    let mut steps: Vec<&str> = Vec::new();
    for step in folder.split('/').chain(path.split('/')) {
        match step {
            "" | "." => {}
            ".." if steps.last().is_some_and(|last| *last != "..") => {
                steps.pop();
            }
            other => steps.push(other),
        }
    }
    Some(steps.join("/"))
}

fn read_bytes(files: ModuleFiles<'_>, path: &str) -> Result<Vec<u8>, FileError> {
    let bytes = files.reader.read(files.folder, &files.below(path)?)?;
    if bytes.len() > LARGEST {
        return Err(FileError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

pub(crate) fn read_text(files: ModuleFiles<'_>, path: &str) -> Result<String, FileError> {
    String::from_utf8(read_bytes(files, path)?).map_err(|_| FileError::NotText(path.to_owned()))
}

fn whole_message(error: &FileError) -> FunctionError {
    let source = std::error::Error::source(error)
        .map(|source| format!(": {source}"))
        .unwrap_or_default();
    FunctionError::in_argument(0, format!("{error}{source}"))
}

/// The bytes of the file that a call's first argument names.
pub(super) fn read_call_bytes(call: &Call<'_>) -> Result<Vec<u8>, FunctionError> {
    read_bytes(call.files, call.text(0)).map_err(|error| whole_message(&error))
}

fn file(call: &mut Call<'_>) -> Outcome {
    read_text(call.files, call.text(0))
        .map(Value::from)
        .map_err(|error| whole_message(&error))
}

fn filebase64(call: &mut Call<'_>) -> Outcome {
    Ok(Value::from(
        base64::engine::general_purpose::STANDARD.encode(read_call_bytes(call)?),
    ))
}

fn fileexists(call: &mut Call<'_>) -> Outcome {
    match read_bytes(call.files, call.text(0)) {
        Ok(_) | Err(FileError::TooLarge(_)) => Ok(Value::from(true)),
        Err(FileError::NotFound(_)) => Ok(Value::from(false)),
        Err(
            error @ (FileError::Outside(_)
            | FileError::OutsideModule { .. }
            | FileError::NotText(_)
            | FileError::Io { .. }),
        ) => Err(whole_message(&error)),
    }
}

fn fileset(call: &mut Call<'_>) -> Outcome {
    let files = call.files;
    let below = files.below(call.text(0)).map_err(|error| whole_message(&error))?;
    let all = files
        .reader
        .list(files.folder, &below)
        .map_err(|error| whole_message(&error))?;
    let pattern = call.text(1);
    let chosen = all.into_iter().filter(|path| matches_pattern(pattern, path));
    Ok(Value::set(chosen.map(Value::from).collect()))
}

/// `*` within a step of the path, `**` over steps, `?`, `{a,b}`; the work is bounded by the product of the
/// lengths.
fn matches_pattern(pattern: &str, path: &str) -> bool {
    alternatives(pattern).iter().any(|pattern| {
        let pattern: Vec<&str> = pattern.split('/').collect();
        let path: Vec<&str> = path.split('/').collect();
        table(
            pattern.len(),
            path.len(),
            &|step| pattern[step] == "**",
            &|step, at| {
                let glob: Vec<char> = pattern[step].chars().collect();
                let name: Vec<char> = path[at].chars().collect();
                table(glob.len(), name.len(), &|at| glob[at] == '*', &|step, at| {
                    glob[step] == '?' || glob[step] == name[at]
                })
            },
        )
    })
}

/// Whether a pattern matches all of a sequence, where some steps of it (`star`) match any number of items.
fn table(
    steps: usize,
    items: usize,
    star: &dyn Fn(usize) -> bool,
    fits: &dyn Fn(usize, usize) -> bool,
) -> bool {
    let mut reached = vec![false; items + 1];
    reached[0] = true;
    for step in 0..steps {
        let mut next = vec![false; items + 1];
        if star(step) {
            let mut any = false;
            for (at, slot) in next.iter_mut().enumerate() {
                any |= reached[at];
                *slot = any;
            }
        } else {
            for at in 0..items {
                next[at + 1] = reached[at] && fits(step, at);
            }
        }
        reached = next;
    }
    reached[items]
}

/// The patterns that `{a,b}` stands for; nothing is expanded where that would give very many.
fn alternatives(pattern: &str) -> Vec<String> {
    const MOST: usize = 64;
    let mut done = vec![String::new()];
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((choices, tail)) = after.split_once('}') else {
            break;
        };
        let choices: Vec<&str> = choices.split(',').collect();
        if done.len() * choices.len() > MOST {
            return vec![pattern.to_owned()];
        }
        done = done
            .iter()
            .flat_map(|head| {
                choices
                    .iter()
                    .map(move |choice| format!("{head}{before}{choice}"))
            })
            .collect();
        rest = tail;
    }
    done.iter().map(|head| format!("{head}{rest}")).collect()
}

fn basename(call: &mut Call<'_>) -> Outcome {
    let path = call.text(0).trim_end_matches('/');
    Ok(Value::from(path.rsplit('/').next().unwrap_or(path)))
}

fn dirname(call: &mut Call<'_>) -> Outcome {
    let path = call.text(0);
    Ok(Value::from(match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((folder, _)) => folder,
        None => ".",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, path, fits) in [
            ("*.txt", "a.txt", true),
            ("*.txt", "b/a.txt", false),
            ("**/*.txt", "b/c/a.txt", true),
            ("**/*.txt", "a.txt", true),
            ("**", "a/b", true),
            ("a?c", "abc", true),
            ("{a,b}.tpl", "b.tpl", true),
            ("{a,b}.tpl", "c.tpl", false),
            ("", "", true),
        ] {
            assert_eq!(matches_pattern(pattern, path), fits, "{pattern} {path}");
        }
    }

    #[test]
    fn paths_stay_below_the_folder() {
        let below = |folder: &str, path: &str| {
            ModuleFiles {
                reader: &NoFiles,
                folder,
            }
            .below(path)
            .ok()
        };
        assert_eq!(below("", "./a//b/../c").as_deref(), Some("a/c"));
        for bad in ["/etc/passwd", "../x", "a/../../x", "a\0"] {
            assert_eq!(below("", bad), None, "{bad:?}");
        }
        assert_eq!(
            below("modules/shop", "modules/shop/./a.txt").as_deref(),
            Some("a.txt")
        );
        assert_eq!(below("modules/shop", "modules/shop").as_deref(), Some(""));
        assert_eq!(below("../shared", "../shared/a.txt").as_deref(), Some("a.txt"));
        for bad in [
            "a.txt",
            "modules/shopping/a.txt",
            "modules/shop/../a.txt",
            "/modules/shop/a",
        ] {
            assert_eq!(below("modules/shop", bad), None, "{bad:?}");
        }
    }
}
