//! How an apply goes on, shown while it does: for people bars on a terminal and lines otherwise, for programs one
//! event per step.

mod words;

use super::events::{Level, event, resource};
use super::output::Output;
use drover_core::executor::{ActionFailure, JournalStep, Progress, ProgressEvent};
use drover_types::{Address, HostName, OperationId};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::{Duration, Instant};
use words::{progress_json, progress_words, seconds, words};

/// How often a running action is mentioned again where there are no bars.
const REMINDER: Duration = Duration::from_secs(10);
/// What ends sooner gets no bar: a screen that flickers says nothing.
const BAR_AFTER: Duration = Duration::from_millis(250);

/// What people see of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Lines above bars, on a terminal.
    Bars,
    /// Lines.
    Lines,
    /// Nothing: programs read the events.
    Nothing,
}

#[derive(Debug)]
struct Running {
    address: Address,
    verb: &'static str,
    host: Option<HostName>,
    since: Instant,
    reminded: Instant,
    progress: Progress,
    bar: Option<ProgressBar>,
}

/// Shows progress events as they come.
pub(super) struct Reporter<'o> {
    mode: Mode,
    output: &'o mut Output,
    bars: MultiProgress,
    running: BTreeMap<OperationId, Running>,
}

impl<'o> Reporter<'o> {
    pub(super) fn new(mode: Mode, output: &'o mut Output) -> Self {
        let bars = MultiProgress::with_draw_target(match mode {
            Mode::Bars => ProgressDrawTarget::stderr(),
            Mode::Lines | Mode::Nothing => ProgressDrawTarget::hidden(),
        });
        Self {
            mode,
            output,
            bars,
            running: BTreeMap::new(),
        }
    }

    /// Shows one event.
    pub(super) fn show(&mut self, event: &ProgressEvent) {
        match event {
            ProgressEvent::Step {
                address,
                verb,
                host,
                operation,
                step,
            } => self.step(address, verb, host.as_ref(), *operation, *step),
            ProgressEvent::Progress {
                operation,
                progress,
                address,
                verb,
                host,
            } => self.progress(*operation, progress, address, verb, host),
            ProgressEvent::Done {
                address,
                verb,
                host,
                operation,
            } => self.done(address, verb, host.as_ref(), *operation),
            ProgressEvent::NextAlternate {
                address,
                from,
                to,
                why,
            } => {
                let line = format!("{address}: {from} could not ({why}); trying {to}");
                let more = json!({ "from": from.as_str(), "why": why });
                let hook = hook(address, "create", Some(to), more);
                self.tell(Level::Warn, "apply_alternate", &line, json!({ "hook": hook }));
            }
            ProgressEvent::Failed(failure) => self.failed(failure),
            ProgressEvent::Stopping { running } => {
                let line = format!(
                    "Stopping: nothing new is begun; waiting for {running} running. Interrupt again to detach (agents \
                     go on, the next apply settles them)."
                );
                self.tell(
                    Level::Warn,
                    "apply_stopping",
                    &line,
                    json!({ "running": running }),
                );
            }
        }
    }

    /// Mentions what has been running for long. Call it about once a second.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        let mut due = Vec::new();
        for running in self.running.values_mut() {
            if running.bar.is_none()
                && self.mode == Mode::Bars
                && now.duration_since(running.since) >= BAR_AFTER
            {
                running.bar = Some(bar(&self.bars, running));
            }
            if let Some(bar) = &running.bar {
                bar.set_message(running.describe());
            }
            if now.duration_since(running.reminded) >= REMINDER {
                running.reminded = now;
                due.push((running.describe(), running.hook()));
            }
        }
        for (line, hook) in due {
            if self.mode == Mode::Lines {
                self.say(&line);
            }
            self.emit(Level::Info, "apply_progress", &line, json!({ "hook": hook }));
        }
    }

    fn step(
        &mut self,
        address: &Address,
        verb: &'static str,
        host: Option<&HostName>,
        operation: OperationId,
        step: JournalStep,
    ) {
        tracing::info!(%address, verb, %operation, step = step.name(), "step");
        let begins = matches!(
            step,
            JournalStep::Sending | JournalStep::Preparing | JournalStep::Settling
        );
        if !begins || self.running.contains_key(&operation) {
            return;
        }
        let doing = words(verb).0;
        let line = match host {
            Some(host) => format!("{address}: {doing} on {host}..."),
            None => format!("{address}: {doing}..."),
        };
        let more = json!({ "operation": operation });
        let hook = hook(address, verb, host, more);
        self.tell(Level::Info, "apply_start", &line, json!({ "hook": hook }));
        let since = Instant::now();
        let running = Running {
            address: address.clone(),
            verb,
            host: host.cloned(),
            since,
            reminded: since,
            progress: Progress::default(),
            bar: None,
        };
        self.running.insert(operation, running);
    }

    fn progress(
        &mut self,
        operation: OperationId,
        progress: &Progress,
        address: &Address,
        verb: &'static str,
        host: &HostName,
    ) {
        let (line, hook) = match self.running.get_mut(&operation) {
            Some(running) => {
                running.progress = progress.clone();
                if let Some(bar) = &running.bar {
                    bar.set_message(running.describe());
                    if progress.total_bytes > 0 {
                        bar.set_length(progress.total_bytes);
                        bar.set_position(progress.done_bytes.min(progress.total_bytes));
                        bar.set_style(style(Bar::Measured));
                    }
                }
                (running.describe(), running.hook())
            }
            None => (
                format!("{address}: {}...", words(verb).1),
                hook(address, verb, Some(host), progress_json(progress)),
            ),
        };
        self.emit(Level::Info, "apply_progress", &line, json!({ "hook": hook }));
    }

    fn done(
        &mut self,
        address: &Address,
        verb: &'static str,
        host: Option<&HostName>,
        operation: OperationId,
    ) {
        let took = self.end(operation);
        let done = words(verb).2;
        let line = match host {
            Some(host) => format!("{address}: {done} after {} [host={host}]", seconds(took)),
            None => format!("{address}: {done}"),
        };
        let more = json!({ "operation": operation, "elapsed_seconds": took.as_secs_f64() });
        let hook = hook(address, verb, host, more);
        self.tell(Level::Info, "apply_complete", &line, json!({ "hook": hook }));
    }

    fn failed(&mut self, failure: &ActionFailure) {
        let took = self.end(failure.operation);
        let ActionFailure {
            address, verb, host, ..
        } = failure;
        let on = host
            .as_ref()
            .map(|host| format!(" on {host}"))
            .unwrap_or_default();
        let what = if failure.unknown {
            "outcome unknown"
        } else {
            "failed"
        };
        let line = format!(
            "{address}: {verb}{on} {what} after {}: {}",
            seconds(took),
            failure.message
        );
        let more = json!({
            "operation": failure.operation,
            "elapsed_seconds": took.as_secs_f64(),
            "message": failure.message,
            "hint": failure.hint,
            "code": failure.code.map(|code| code.as_str()),
            "unknown": failure.unknown,
        });
        let hook = hook(address, verb, host.as_ref(), more);
        self.tell(Level::Error, "apply_errored", &line, json!({ "hook": hook }));
    }

    /// Forgets a running action and says how long it took.
    fn end(&mut self, operation: OperationId) -> Duration {
        self.running.remove(&operation).map_or(Duration::ZERO, |running| {
            if let Some(bar) = running.bar {
                bar.finish_and_clear();
            }
            running.since.elapsed()
        })
    }

    /// To people and to programs.
    fn tell(&mut self, level: Level, kind: &str, line: &str, own: Value) {
        self.say(line);
        self.emit(level, kind, line, own);
    }

    fn emit(&mut self, level: Level, kind: &str, message: &str, own: Value) {
        // Whoever reads may be gone; the apply goes on.
        self.output.event_if_heard(|| event(level, kind, message, own));
    }

    fn say(&self, line: &str) {
        match self.mode {
            Mode::Bars => {
                // Above the bars; where that fails the terminal is gone.
                drop(self.bars.println(line));
            }
            Mode::Lines => drop(writeln!(std::io::stderr(), "{line}")),
            Mode::Nothing => {}
        }
    }
}

/// What an event of an action is about.
fn hook(address: &Address, verb: &str, host: Option<&HostName>, more: Value) -> Value {
    let mut hook = json!({
        "resource": resource(address),
        "action": verb,
        "host": host.map(HostName::as_str),
    });
    if let (Some(hook), Value::Object(more)) = (hook.as_object_mut(), more) {
        hook.extend(more);
    }
    hook
}

/// What a bar shows.
#[derive(Debug, Clone, Copy)]
enum Bar {
    /// That something goes on.
    Spinning,
    /// How much of it is done.
    Measured,
}

fn style(bar: Bar) -> ProgressStyle {
    let template = match bar {
        Bar::Spinning => "  {spinner} {wide_msg}",
        Bar::Measured => "  {spinner} [{bar:20}] {wide_msg}",
    };
    ProgressStyle::with_template(template)
        .expect("a fixed template")
        .progress_chars("=> ")
}

fn bar(bars: &MultiProgress, running: &Running) -> ProgressBar {
    let bar = bars.add(ProgressBar::new_spinner());
    bar.set_style(style(Bar::Spinning));
    bar.set_message(running.describe());
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

impl Running {
    fn describe(&self) -> String {
        let doing = words(self.verb).1;
        let mut notes = vec![format!("{} elapsed", seconds(self.since.elapsed()))];
        if let Some(host) = &self.host {
            notes.push(format!("host={host}"));
        }
        if !self.progress.phase.is_empty() {
            notes.push(progress_words(&self.progress));
        }
        format!("{}: {doing}... [{}]", self.address, notes.join(", "))
    }

    fn hook(&self) -> Value {
        let mut more = progress_json(&self.progress);
        more["elapsed_seconds"] = json!(self.since.elapsed().as_secs_f64());
        hook(&self.address, self.verb, self.host.as_ref(), more)
    }
}

/// The time as log lines and events carry it.
pub(super) fn now() -> String {
    jiff::Timestamp::now().to_string()
}
