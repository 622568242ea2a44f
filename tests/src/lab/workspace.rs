//! The command line under test: `drover` in a directory of its own, in the client's network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::binaries::binary;
use super::node::{create_dir, spawn_error};
use super::{Lab, LabError, TlsFiles};

/// A directory with configuration files that `drover` is run in.
#[derive(Debug)]
pub struct Workspace<'lab> {
    lab: &'lab Lab,
    directory: PathBuf,
    drover: PathBuf,
}

/// How a command ended and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The command line, for messages.
    pub command: String,
    /// The exit status; none when a signal ended it.
    pub code: Option<i32>,
    /// Results.
    pub stdout: String,
    /// Progress, logs and errors.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Lab {
    /// A workspace at `<lab>/<name>` with an operator's credentials in `.drover/tls`, where drover
    /// finds them by itself.
    pub fn workspace(&self, name: &str) -> Result<Workspace<'_>, LabError> {
        self.workspace_of(name, &self.operator()?)
    }

    /// A workspace with somebody else's credentials.
    pub fn workspace_of(&self, name: &str, credentials: &TlsFiles) -> Result<Workspace<'_>, LabError> {
        let directory = self.directory().join(name);
        let tls = directory.join(".drover/tls");
        create_dir(&tls)?;
        let TlsFiles {
            ca_file,
            cert_file,
            key_file,
        } = credentials;
        for (from, name) in [
            (ca_file, "ca.pem"),
            (cert_file, "cert.pem"),
            (key_file, "key.pem"),
        ] {
            // Keeps the permissions, too: the key's matter.
            fs::copy(from, tls.join(name)).map_err(LabError::io("copy", from))?;
        }
        Ok(Workspace {
            lab: self,
            directory,
            drover: binary("drover")?,
        })
    }
}

impl Workspace<'_> {
    /// Where the configuration lies.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes a file of the workspace, replacing it.
    pub fn write(&self, file: &str, text: &str) -> Result<(), LabError> {
        let path = self.directory.join(file);
        fs::write(&path, text).map_err(LabError::io("write", &path))
    }

    /// `drover -C <workspace>` with arguments. Its child is drover itself, so it can be killed.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.client_command(&self.drover);
        command.arg("-C").arg(&self.directory).args(arguments);
        command
    }

    /// Runs drover to its end, whatever its status.
    pub fn drover(&self, arguments: &[&str]) -> Result<Finished, LabError> {
        let shown = format!("drover {}", arguments.join(" "));
        eprintln!("lab client$ {shown}");
        let mut command = self.command(arguments);
        let begin = Instant::now();
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|source| spawn_error(&command, source))?;
        Ok(Finished {
            command: shown,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            took: begin.elapsed(),
        })
    }

    /// Runs drover to its end and checks its exit status.
    ///
    /// # Panics
    /// Where the status is another, with all that the command wrote.
    pub fn expect(&self, code: i32, arguments: &[&str]) -> Finished {
        match self.drover(arguments) {
            Ok(finished) => finished.expect(code),
            Err(error) => panic!("{}", super::error::chain(&error)),
        }
    }
}

impl Finished {
    /// Checks the exit status.
    ///
    /// # Panics
    /// Where the status is another, with all that the command wrote.
    pub fn expect(self, code: i32) -> Finished {
        let Finished {
            command,
            code: actual,
            stdout,
            stderr,
            took: _,
        } = &self;
        assert!(
            *actual == Some(code),
            "`{command}` ended with {actual:?}, not {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        );
        self
    }
}
