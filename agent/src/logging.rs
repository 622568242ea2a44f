//! Log lines in the one format: `timestamp level module [request id] message location`, or as JSON objects
//! with the same in them.

use crate::config::LogFormat;
use std::fmt::{self, Write as _};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

/// The field, of an event or of a span around it, that holds the request id.
const REQUEST: &str = "request";

/// Writes log lines to stderr, from level info on or as the environment variable `DROVER_LOG` says. To be called once.
pub fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env("DROVER_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter).with(RequestIds);
    // An error means that a subscriber is set already, as in tests: theirs stays.
    let _set = match format {
        LogFormat::Text => tracing::subscriber::set_global_default(registry.with(lines.event_format(Line))),
        LogFormat::Json => tracing::subscriber::set_global_default(
            registry.with(lines.json().with_file(true).with_line_number(true)),
        ),
    };
}

/// The request id of a span.
struct RequestId(String);

/// Keeps each span's request id where [`Line`] finds it.
struct RequestIds;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for RequestIds {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let (Some(span), Some(request)) = (context.span(id), fields.request) {
            span.extensions_mut().insert(RequestId(request));
        }
    }
}

/// The fields of one event or span, as text.
#[derive(Default)]
struct Fields {
    message: String,
    others: String,
    request: Option<String>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            REQUEST => {
                self.request = Some(format!("{value:?}"));
                Ok(())
            }
            name => write!(self.others, " {name}={value:?}"),
        };
        written.expect("writing to a String cannot fail");
    }
}

/// One line of text per event.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
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
        let mut fields = Fields::default();
        event.record(&mut fields);
        let of_span = || {
            let scope = context.event_scope()?;
            scope
                .into_iter()
                .find_map(|span| span.extensions().get::<RequestId>().map(|id| id.0.clone()))
        };
        let request = fields.request.or_else(of_span).unwrap_or_else(|| "-".to_owned());
        // A message of several lines, such as a list of mistakes, stays one line of the log.
        let message = fields.message.replace('\n', "; ");
        let meta = event.metadata();
        writeln!(
            writer,
            "{:.3} {} {} [{request}] {message}{} {}:{}",
            jiff::Timestamp::now(),
            meta.level(),
            meta.target(),
            fields.others,
            meta.file().unwrap_or("-"),
            meta.line().unwrap_or(0),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_time_level_module_request_message_and_place() {
        let captured = Captured::default();
        let writer = captured.clone();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .event_format(Line);
        let subscriber = tracing_subscriber::registry().with(RequestIds).with(lines);
        let (here, first) = (file!(), line!() + 3);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info_span!("operation", request = %"req-1").in_scope(|| {
                tracing::warn!(bytes = 7, "cut\noff");
            });
            tracing::info!("alone");
        });
        let text = String::from_utf8(captured.0.lock().expect("not poisoned").clone()).expect("text");
        let lines: Vec<&str> = text
            .lines()
            .map(|line| line.split_once(' ').expect("a time").1)
            .collect();
        assert_eq!(
            lines,
            [
                format!("WARN drover_agent::logging::tests [req-1] cut; off bytes=7 {here}:{first}"),
                format!("INFO drover_agent::logging::tests [-] alone {here}:{}", first + 2),
            ]
        );
        let time = text.split(' ').next().expect("a time");
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    }
}
