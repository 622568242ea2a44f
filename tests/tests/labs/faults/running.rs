//! A drover that runs while something happens to it: its lines as they come, signals, its end.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead as _, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// A command under way, both outputs merged.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    /// Everything it has written so far.
    pub(crate) seen: Vec<String>,
    shown: String,
}

/// How a command ended.
pub(crate) struct Ended {
    /// None where a signal ended it.
    pub(crate) code: Option<i32>,
    /// Both outputs.
    pub(crate) seen: Vec<String>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let arguments: Vec<_> = command.get_args().map(|text| text.to_string_lossy()).collect();
        let shown = format!(
            "drover {}",
            arguments[arguments.iter().position(|text| text == "-C").unwrap_or(0)..].join(" ")
        );
        println!("& {shown}");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("drover can be started");
        let (sender, lines) = channel();
        read(child.stdout.take().expect("it is piped"), sender.clone());
        read(child.stderr.take().expect("it is piped"), sender);
        Self {
            child,
            lines,
            seen: Vec::new(),
            shown,
        }
    }

    /// The next line; none when it ended or wrote nothing for so long.
    pub(crate) fn next(&mut self, within: Duration) -> Result<String, RecvTimeoutError> {
        let line = self.lines.recv_timeout(within)?;
        self.seen.push(line.clone());
        Ok(line)
    }

    /// Waits for a line that holds `text`.
    pub(crate) fn wait_for(&mut self, text: &str, within: Duration) -> String {
        let until = Instant::now() + within;
        loop {
            match self.next(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(why) => panic!(
                    "no line with {text:?} from `{}` ({why}):\n{}",
                    self.shown,
                    self.seen.join("\n")
                ),
            }
        }
    }

    /// Waits for a step of the journal, as `create/sending`.
    pub(crate) fn wait_for_step(&mut self, wanted: &str, within: Duration) {
        let until = Instant::now() + within;
        loop {
            match self.next(until.saturating_duration_since(Instant::now())) {
                Ok(line) if journal_step(&line).is_some_and(|step| step == wanted) => return,
                Ok(_) => {}
                Err(why) => panic!(
                    "no step {wanted} of `{}` ({why}):\n{}",
                    self.shown,
                    self.seen.join("\n")
                ),
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process number"));
        kill(pid, signal).expect("our child can be signalled");
    }

    /// Reads on for so long, or to the end; true where the end came.
    pub(crate) fn read_for(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            match self.next(until.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return false,
                Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
    }

    /// `kill -9`, unless it has ended already.
    pub(crate) fn kill(mut self) -> Ended {
        self.child.kill().expect("our child can be killed");
        self.end()
    }

    /// Waits for its own end.
    pub(crate) fn finish(mut self, within: Duration) -> Ended {
        if !self.read_for(within) {
            drop(self.child.kill());
            panic!(
                "`{}` did not end within {within:?}:\n{}",
                self.shown,
                self.seen.join("\n")
            );
        }
        self.end()
    }

    fn end(mut self) -> Ended {
        let status = self.child.wait().expect("our child can be waited for");
        while let Ok(line) = self.lines.recv() {
            self.seen.push(line);
        }
        Ended {
            code: status.code(),
            seen: self.seen,
        }
    }
}

impl Ended {
    pub(crate) fn text(&self) -> String {
        self.seen.join("\n")
    }

    /// Checks the exit status, and shows all it wrote.
    pub(crate) fn expect(self, code: i32) -> Self {
        println!("{}", self.text());
        assert_eq!(self.code, Some(code), "{}", self.text());
        self
    }
}

/// The step of the journal that a line of the log names.
pub(crate) fn step(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(" step=")?;
    Some(rest.split_whitespace().next()?.trim_matches('"'))
}

/// The same with the action it belongs to, as `create/sending`.
pub(crate) fn journal_step(line: &str) -> Option<String> {
    let (_, rest) = line.split_once(" verb=\"")?;
    let (verb, _) = rest.split_once('"')?;
    Some(format!("{verb}/{}", step(line)?))
}

fn read(stream: impl Read + Send + 'static, lines: Sender<String>) {
    // Ends with the stream, which ends with the child.
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}
