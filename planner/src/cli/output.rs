//! Results on stdout, and events where they were asked for. Progress and logs go elsewhere (stderr).

use super::events;
use super::failure::Failure;
use serde::Serialize;
use serde_json::Value;
use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

/// Standard output, whether it may be coloured, and who reads events.
#[derive(Debug)]
pub(super) struct Output {
    colour: bool,
    readers: Vec<Reader>,
    /// Why the first event was lost while nothing could be ended for it.
    lost: Option<Failure>,
}

/// Where events go.
#[derive(Debug)]
enum Reader {
    /// `--json`
    Stdout,
    /// `--json-into`
    File { path: PathBuf, file: File },
}

impl Reader {
    fn write(&mut self, line: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Stdout => std::io::stdout().lock().write_all(line),
            Self::File { file, .. } => file.write_all(line),
        }
    }

    fn failed(&self, error: std::io::Error) -> Failure {
        match self {
            Self::Stdout => Failure::because("could not print the result", error),
            Self::File { path, .. } => {
                Failure::because(format!("could not write events to {}", path.display()), error)
            }
        }
    }
}

impl Output {
    /// Coloured on a terminal, unless `--no-color` or NO_COLOR says otherwise.
    #[must_use]
    pub(super) fn new(no_color: bool) -> Self {
        let refused = no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            colour: !refused && std::io::stdout().is_terminal(),
            readers: Vec::new(),
            lost: None,
        }
    }

    /// Whether escape sequences may be printed.
    #[must_use]
    pub(super) fn colour(&self) -> bool {
        self.colour
    }

    /// From now on events are printed.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub(super) fn print_events(&mut self) -> Result<(), Failure> {
        self.read_by(Reader::Stdout)
    }

    /// From now on events are written to a file of this name, which only its owner may read.
    ///
    /// # Errors
    /// Where it cannot be made or written to.
    pub(super) fn write_events(&mut self, path: &Path) -> Result<(), Failure> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| Failure::because(format!("could not open {}", path.display()), error))?;
        self.read_by(Reader::File {
            path: path.to_owned(),
            file,
        })
    }

    fn read_by(&mut self, mut reader: Reader) -> Result<(), Failure> {
        write(&mut reader, &events::version())?;
        self.readers.push(reader);
        Ok(())
    }

    /// Whether anybody reads events.
    #[must_use]
    pub(super) fn has_readers(&self) -> bool {
        !self.readers.is_empty()
    }

    /// Gives an event to whoever reads events.
    ///
    /// # Errors
    /// Where it cannot be written; a closed pipe ends the process quietly, as it does other tools.
    pub(super) fn event(&mut self, event: &Value) -> Result<(), Failure> {
        self.readers
            .iter_mut()
            .try_for_each(|reader| write(reader, event))
    }

    /// The same where nothing may be ended by a reader that is gone.
    pub(super) fn event_if_heard(&mut self, event: impl FnOnce() -> Value) {
        if self.readers.is_empty() {
            return;
        }
        let line = format!("{}\n", event());
        for reader in &mut self.readers {
            if let Err(error) = reader.write(line.as_bytes())
                && self.lost.is_none()
            {
                self.lost = Some(reader.failed(error));
            }
        }
    }

    /// Why events were lost since this was asked for last, if any were.
    #[must_use]
    pub(super) fn lost_events(&mut self) -> Option<Failure> {
        self.lost.take()
    }

    /// Prints text and a line end.
    ///
    /// # Errors
    /// Where stdout cannot be written to; a closed pipe ends the process quietly, as it does other tools.
    pub(super) fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.write(text.as_bytes())?;
        self.write(b"\n")
    }

    /// Prints a value as indented JSON.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)?;
        self.line(&text)
    }

    /// Prints a value as JSON on one line.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub(super) fn json_line(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)?;
        self.line(&text)
    }

    /// Prints bytes as they are.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match std::io::stdout().lock().write_all(bytes) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
            Err(error) => Err(Failure::because("could not print the result", error)),
        }
    }
}

fn write(reader: &mut Reader, event: &Value) -> Result<(), Failure> {
    match reader.write(format!("{event}\n").as_bytes()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(reader.failed(error)),
    }
}
