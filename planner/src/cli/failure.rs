//! What a command that could not do its work tells the user: what happened, why, and what to do next.

use super::exit::ExitStatus;
use std::error::Error;
use std::fmt;

/// A command's failure: a status, the error with its causes, and hints.
#[derive(Debug)]
pub struct Failure {
    status: ExitStatus,
    summary: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    hints: Vec<String>,
    /// It was shown already, as diagnostics.
    shown: bool,
}

impl Failure {
    /// A failure with nothing beneath it.
    pub fn new(summary: impl Into<String>) -> Self {
        Self {
            status: ExitStatus::Error,
            summary: summary.into(),
            source: None,
            hints: Vec::new(),
            shown: false,
        }
    }

    /// A failure that an error caused.
    pub fn because(summary: impl Into<String>, source: impl Error + Send + Sync + 'static) -> Self {
        Self {
            source: Some(Box::new(source)),
            ..Self::new(summary)
        }
    }

    /// A failure that was printed already.
    pub fn shown(status: ExitStatus) -> Self {
        Self {
            status,
            shown: true,
            ..Self::new("")
        }
    }

    /// The same with another status.
    #[must_use]
    pub fn with_status(mut self, status: ExitStatus) -> Self {
        self.status = status;
        self
    }

    /// The same with one more thing to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The command's exit status.
    #[must_use]
    pub fn status(&self) -> ExitStatus {
        self.status
    }

    /// Whether there is nothing left to print.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.shown
    }

    /// As an event of the machine-readable output, of type `diagnostic`.
    #[must_use]
    pub fn to_event(&self) -> serde_json::Value {
        let mut detail: Vec<String> = self.causes();
        detail.extend(self.hints.iter().cloned());
        let summary = capital(&self.summary);
        super::events::event(
            super::events::Level::Error,
            "diagnostic",
            &format!("Error: {summary}"),
            serde_json::json!({
                "diagnostic": { "severity": "error", "summary": summary, "detail": detail.join("\n") },
            }),
        )
    }

    fn causes(&self) -> Vec<String> {
        let mut causes = Vec::new();
        let mut next: Option<&(dyn Error + 'static)> =
            self.source.as_deref().map(|e| e as &(dyn Error + 'static));
        while let Some(error) = next {
            let said = error.to_string();
            // Some libraries repeat their source in their own words.
            if causes.last().is_none_or(|last: &String| !last.contains(&said)) {
                causes.push(said);
            }
            next = error.source();
        }
        causes
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let summary = error.to_string();
        match error.source() {
            None => Self::new(summary),
            Some(_) => Self {
                source: Some(Box::new(Beneath(error))),
                ..Self::new(summary)
            },
        }
    }
}

/// An error whose own words were said already: shows only what is beneath it.
#[derive(Debug)]
struct Beneath<E>(E);

impl<E: Error> fmt::Display for Beneath<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .source()
            .map_or(Ok(()), |source| fmt::Display::fmt(source, f))
    }
}

impl<E: Error> Error for Beneath<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source().and_then(Error::source)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error: {}", capital(&self.summary))?;
        for cause in self.causes() {
            write!(f, "\n  because: {cause}")?;
        }
        for hint in &self.hints {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// As a sentence begins, unless it begins with a name: an address, a file.
fn capital(text: &str) -> String {
    let word = text.split_whitespace().next().unwrap_or_default();
    if word.contains(['.', '/', '_', '[']) {
        return text.to_owned();
    }
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(characters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not open the door")]
    struct Door(#[source] std::io::Error);

    #[test]
    fn an_address_is_left_as_it_is_written() {
        let failure = Failure::new("server.web[0] is not recorded");
        assert_eq!(failure.to_string(), "Error: server.web[0] is not recorded");
    }

    #[test]
    fn says_each_cause_once_and_the_hints() {
        let failure = Failure::from(Door(std::io::Error::other("it is locked"))).hint("try the window");
        assert_eq!(
            failure.to_string(),
            "Error: Could not open the door\n  because: it is locked\n  hint: try the window"
        );
    }
}
