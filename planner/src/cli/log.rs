//! Logs to stderr in the one format of all parts: `timestamp level module [request id] message location`.

use drover_types::RequestId;
use std::fmt;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

struct OneFormat {
    request: RequestId,
}

impl<S, N> FormatEvent<S, N> for OneFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let meta = event.metadata();
        let now = jiff::Timestamp::now();
        write!(
            writer,
            "{now:.3} {} {} [{}] ",
            meta.level(),
            meta.target(),
            self.request
        )?;
        context.format_fields(writer.by_ref(), event)?;
        let (file, line) = (meta.file().unwrap_or("-"), meta.line().unwrap_or(0));
        writeln!(writer, " {file}:{line}")
    }
}

/// Starts logging as the environment variable `DROVER_LOG` says (warnings where it says nothing).
pub(super) fn start(request: RequestId) {
    let filter = EnvFilter::try_from_env("DROVER_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    // A second start (several commands in one process, in tests) keeps the first.
    drop(
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            // Logs are for grep and for files.
            .with_ansi(false)
            .event_format(OneFormat { request })
            .try_init(),
    );
}
