//! Reading the arguments of one instance of a block into checked values.

use super::declarations::{Declarations, Declared};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::eval::Evaluator;
use crate::value::{Cause, Fields, Type, Value, convert, show};
use drover_types::{Address, HostName, Kind};
use hcl::edit::expr::Expression;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

/// Reads arguments; what is wrong is reported, and [`Arguments::complete`] then is false.
pub(super) struct Arguments<'r, 'a> {
    pub(super) evaluator: &'r mut Evaluator<'a>,
    pub(super) declared: &'r Declared,
    /// Names of arguments that hold sensitive values.
    pub(super) sensitive: BTreeSet<String>,
    complete: bool,
}

impl<'r, 'a> Arguments<'r, 'a> {
    pub(super) fn new(evaluator: &'r mut Evaluator<'a>, declared: &'r Declared) -> Self {
        Self {
            evaluator,
            declared,
            sensitive: BTreeSet::new(),
            complete: true,
        }
    }

    /// Whether nothing was wrong or unknown so far.
    pub(super) fn complete(&self) -> bool {
        self.complete
    }

    /// The value of an argument as this type; nothing where it is absent, null, wrong or unknown.
    fn given(&mut self, name: &str, ty: &Type) -> Option<(Value, &'r Expression)> {
        let expression = self.declared.argument(name)?;
        let value = self.evaluator.eval(expression);
        if value.holds_sensitive() {
            self.sensitive.insert(name.to_owned());
        }
        if let Some(cause) = value.why_unknown() {
            let cause = cause.clone();
            self.unknown(name, &cause, expression);
            return None;
        }
        if !self.may_be_ephemeral(name, &value, expression) || value.is_null() {
            return None;
        }
        match convert(&value, ty) {
            Ok(value) => Some((value, expression)),
            Err(error) => {
                self.wrong(name, expression, &format!("{error}"), None);
                None
            }
        }
    }

    /// False, and reported, where an ephemeral value would be recorded.
    fn may_be_ephemeral(&mut self, name: &str, value: &Value, expression: &Expression) -> bool {
        // How the store and the agents are reached is recorded nowhere.
        let kept = !matches!(self.declared.block.ident.as_str(), "state" | "tls");
        if !kept || !value.holds_ephemeral() {
            return true;
        }
        self.complete = false;
        let detail = format!(
            "The argument {name:?} is recorded, and an ephemeral value must not be. Ephemeral values may be used in the \
             blocks state and tls, in local values and in conditions."
        );
        self.evaluator.fail(
            expression,
            Diagnostic::error("Invalid use of ephemeral value", detail),
        );
        false
    }

    fn unknown(&mut self, name: &str, cause: &Cause, expression: &Expression) {
        self.complete = false;
        if let Cause::Placement(reference) = cause {
            let detail = format!(
                "{name} cannot depend on {reference}: the host is chosen by placement, from what the files say, so nothing \
                 that placement needs may depend on its result. Only outputs may."
            );
            self.evaluator.fail(
                expression,
                Diagnostic::error("Placement cannot depend on its result", detail),
            );
        }
    }

    /// Reports what is wrong with an argument.
    pub(super) fn wrong(&mut self, name: &str, expression: &Expression, problem: &str, hint: Option<String>) {
        self.complete = false;
        let stop = if problem.ends_with(['?', '.']) { "" } else { "." };
        let detail = format!("The argument {name:?} cannot be used: {problem}{stop}");
        self.evaluator.fail(
            expression,
            Diagnostic::error("Invalid argument value", detail).hint(hint),
        );
    }

    /// Marks a required argument that is null; one that is absent is reported by the schema.
    pub(super) fn require<T>(&mut self, name: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            if self.complete
                && let Some(expression) = self.declared.argument(name)
            {
                self.wrong(name, expression, "it is required and must not be null", None);
            }
            self.complete = false;
        }
        value
    }

    /// Reports an argument that is required for a reason that the schema does not know.
    pub(super) fn lacks(&mut self, name: &str, why: &str) {
        self.complete = false;
        let title = &self.declared.title;
        let detail = format!("The argument {name:?} is required in {title}, but is not set: {why}.");
        let diagnostic = Diagnostic::error("Missing required argument", detail)
            .at_maybe(self.declared.header)
            .within(title);
        self.evaluator.diagnostics.push_distinct(diagnostic);
    }

    /// Refuses a sensitive value for what becomes part of addresses.
    pub(super) fn is_shown(&mut self, name: &str) {
        if self.sensitive.remove(name)
            && let Some(expression) = self.declared.argument(name)
        {
            let problem = "it is sensitive, but becomes part of an address, and those are shown";
            self.wrong(name, expression, problem, None);
        }
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let (value, _) = self.given(name, &Type::String)?;
        value.as_str().map(str::to_owned)
    }

    /// A text that is parsed; its error says what to write.
    pub(super) fn parsed<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: std::error::Error,
    {
        let (value, expression) = self.given(name, &Type::String)?;
        match value.as_str().unwrap_or_default().parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.wrong(name, expression, &with_sources(&error), None);
                None
            }
        }
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&mut self, name: &str, all: &[T], text: fn(T) -> &'static str) -> Option<T> {
        let (value, expression) = self.given(name, &Type::String)?;
        let given = value.as_str().unwrap_or_default();
        if let Some(found) = all.iter().copied().find(|one| text(*one) == given) {
            return Some(found);
        }
        let words: Vec<&str> = all.iter().map(|one| text(*one)).collect();
        let short: String = given.chars().take(80).collect();
        let hint = did_you_mean(given, words.iter().copied());
        self.wrong(
            name,
            expression,
            &format!("{short:?} is none of {}", words.join(", ")),
            hint,
        );
        None
    }

    /// A whole number within limits.
    pub(super) fn whole(&mut self, name: &str, least: u32, most: u32) -> Option<u32> {
        let (value, expression) = self.given(name, &Type::Number)?;
        let number = value
            .as_number()
            .and_then(|number| number.as_u64())
            .and_then(|number| u32::try_from(number).ok());
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Some(number),
            None => {
                let problem = format!(
                    "a whole number from {least} to {most} is required, but this is {}",
                    show(&value)
                );
                self.wrong(name, expression, &problem, None);
                None
            }
        }
    }

    /// A whole number that may be negative.
    pub(super) fn whole_signed(&mut self, name: &str) -> Option<i32> {
        let (value, expression) = self.given(name, &Type::Number)?;
        let number = value.as_number().map(|number| number.to_f64());
        let whole = number.filter(|number| number.fract() == 0.0 && number.abs() <= f64::from(i32::MAX));
        if whole.is_none() {
            let limit = i32::MAX;
            let problem = format!(
                "a whole number from -{limit} to {limit} is required, but this is {}",
                show(&value)
            );
            self.wrong(name, expression, &problem, None);
        }
        // Within the limits just checked.
        whole.map(|whole| whole as i32)
    }

    /// Declared hosts, each by a reference or by its name.
    pub(super) fn hosts(&mut self, name: &str, declarations: &Declarations) -> Option<BTreeSet<HostName>> {
        let expression = self.declared.argument(name)?;
        let value = self.evaluator.eval(expression);
        if value.holds_sensitive() {
            self.sensitive.insert(name.to_owned());
        }
        if let Some(cause) = value.unknown().map(|unknown| unknown.cause().clone()) {
            self.unknown(name, &cause, expression);
            return None;
        }
        let items = value.as_items().map(|items| items.to_vec());
        let Some(items) = items else {
            self.wrong(name, expression, "a list of hosts is required", None);
            return None;
        };
        let mut hosts = BTreeSet::new();
        for item in items {
            let of_host = |fields: &&Arc<Fields>| fields.declared().is_some_and(|at| at.kind == Kind::Host);
            if let Some(host) = item.as_fields().filter(of_host) {
                // One that could not be evaluated was reported where it is declared.
                let name = host.get("name").and_then(Value::as_str);
                hosts.extend(name.and_then(|name| name.parse::<HostName>().ok()));
                continue;
            }
            // Of a block with instances, each has another name than the block's.
            let known = |text: &String| {
                declarations
                    .resources
                    .get(&(Kind::Host, text.as_str().into()))
                    .is_some_and(|host| !host.is_repeated() && host.argument("name").is_none())
            };
            match item.as_str().map(str::to_owned) {
                Some(text) if known(&text) => hosts.extend(text.parse::<HostName>().ok()),
                Some(text) => {
                    let short: String = text.chars().take(80).collect();
                    let all = declarations.resources.keys();
                    let names = all
                        .filter(|(kind, _)| *kind == Kind::Host)
                        .map(|(_, name)| name.to_string())
                        .filter(known);
                    let names: Vec<String> = names.collect();
                    let block = (Kind::Host, text.as_str().into());
                    let hint = if declarations.resources.contains_key(&block) {
                        Some(format!(
                            "refer to its hosts without quotes: values(host.{text}), host.{text}[\"a\"]"
                        ))
                    } else {
                        did_you_mean(&text, names.iter().map(String::as_str))
                    };
                    self.wrong(name, expression, &format!("there is no host {short:?}"), hint);
                }
                None => self.wrong(name, expression, "each item must be a host or its name", None),
            }
        }
        Some(hosts)
    }

    /// A number that a type checks; its error says what to write.
    pub(super) fn number<T>(&mut self, name: &str) -> Option<T>
    where
        T: TryFrom<f64>,
        T::Error: std::error::Error,
    {
        let (value, expression) = self.given(name, &Type::Number)?;
        let number = value.as_number().map(|number| number.to_f64())?;
        match T::try_from(number) {
            Ok(checked) => Some(checked),
            Err(error) => {
                self.wrong(name, expression, &error.to_string(), None);
                None
            }
        }
    }

    /// True or false.
    pub(super) fn truth(&mut self, name: &str) -> Option<bool> {
        self.given(name, &Type::Bool)?.0.as_bool()
    }

    /// A list of texts with the expression, for messages about one of them.
    pub(super) fn texts(&mut self, name: &str) -> Option<(Vec<String>, &'r Expression)> {
        let (value, expression) = self.given(name, &Type::list(Type::String))?;
        let texts: Option<Vec<String>> = value
            .as_items()
            .into_iter()
            .flat_map(|items| items.iter())
            .map(|item| item.as_str().map(str::to_owned))
            .collect();
        if texts.is_none() {
            self.wrong(name, expression, "an item is null", None);
        }
        Some((texts?, expression))
    }

    /// Texts by name.
    pub(super) fn texts_by_name(&mut self, name: &str) -> BTreeMap<String, String> {
        let Some((value, expression)) = self.given(name, &Type::map(Type::String)) else {
            return BTreeMap::new();
        };
        let mut texts = BTreeMap::new();
        for (key, item) in value.as_fields().into_iter().flat_map(|fields| fields.iter()) {
            match item.as_str() {
                Some(text) => {
                    texts.insert(key.to_string(), text.to_owned());
                }
                None => self.wrong(name, expression, &format!("the value of {key:?} is null"), None),
            }
        }
        texts
    }

    /// Numbers by name, with the expression.
    pub(super) fn numbers_by_name(&mut self, name: &str) -> Option<(BTreeMap<String, f64>, &'r Expression)> {
        let (value, expression) = self.given(name, &Type::map(Type::Number))?;
        let fields = value.as_fields()?;
        let numbers = fields
            .iter()
            .filter_map(|(key, item)| Some((key.to_string(), item.as_number()?.to_f64())));
        Some((numbers.collect(), expression))
    }

    /// The declared thing of this kind that an argument refers to.
    pub(super) fn reference(&mut self, name: &str, kind: Kind) -> Option<Address> {
        let expression = self.declared.argument(name)?;
        let value = self.evaluator.eval(expression);
        if let Some(cause) = value.unknown().map(|unknown| unknown.cause().clone()) {
            self.unknown(name, &cause, expression);
            return None;
        }
        if !self.may_be_ephemeral(name, &value, expression) || value.is_null() {
            return None;
        }
        let declared = value.as_fields().and_then(|fields| fields.declared());
        match declared {
            Some(address) if address.kind == kind => return Some(address.clone()),
            Some(address) => {
                let hint = format!("write {name} = {kind}.NAME{}", self.names_of(kind));
                let problem = format!(
                    "{} is required, but {address} is {}",
                    with_article(kind),
                    with_article(address.kind)
                );
                self.wrong(name, expression, &problem, Some(hint));
            }
            None => self.not_declared(name, kind, &value, expression),
        }
        None
    }

    fn not_declared(&mut self, name: &str, kind: Kind, value: &Value, expression: &Expression) {
        let first = value.as_items().and_then(|items| items.first()).or_else(|| {
            let fields = value.as_fields()?;
            fields.iter().next().map(|(_, first)| first)
        });
        let instance = first
            .and_then(|first| first.as_fields())
            .and_then(|fields| fields.declared());
        let (problem, hint) = match (instance, value.as_str()) {
            (Some(address), _) => (
                format!(
                    "{} is required, but this has several instances",
                    with_article(kind)
                ),
                Some(format!("choose one, for example {address}")),
            ),
            (None, Some(text)) => {
                let known = self
                    .evaluator
                    .environment
                    .resources
                    .contains_key(&(kind, text.into()));
                let hint = if known {
                    format!("write {kind}.{text} without quotes")
                } else {
                    format!("write {name} = {kind}.NAME{}", self.names_of(kind))
                };
                (
                    format!("{} is required, but this is a text", with_article(kind)),
                    Some(hint),
                )
            }
            (None, None) => (
                format!(
                    "{} is required, but this is {}",
                    with_article(kind),
                    Type::of(value).friendly()
                ),
                Some(format!("write {name} = {kind}.NAME{}", self.names_of(kind))),
            ),
        };
        self.wrong(name, expression, &problem, hint);
    }

    fn names_of(&self, kind: Kind) -> String {
        const MOST: usize = 5;
        let names = self
            .evaluator
            .environment
            .resources
            .keys()
            .filter(|(other, _)| *other == kind);
        let mut names: Vec<&str> = names.map(|(_, name)| &**name).take(MOST + 1).collect();
        if names.is_empty() {
            return String::new();
        }
        if names.len() > MOST {
            names[MOST] = "...";
        }
        format!(" (there are: {})", names.join(", "))
    }

    /// The addresses of the things that a list refers to.
    pub(super) fn references(&mut self, name: &str, kind: Kind) -> BTreeSet<Address> {
        let mut found = BTreeSet::new();
        let Some(expression) = self.declared.argument(name) else {
            return found;
        };
        let value = self.evaluator.eval(expression);
        if value.is_failed() {
            self.complete = false;
            return found;
        }
        if !self.may_be_ephemeral(name, &value, expression) {
            return found;
        }
        let mut open: Vec<&Value> = vec![&value];
        while let Some(value) = open.pop() {
            // What is wrong with it was said.
            if value.is_failed() {
                self.complete = false;
                continue;
            }
            match (value.as_items(), value.as_fields()) {
                (Some(items), _) => open.extend(items.iter()),
                (None, Some(fields)) => match fields.declared() {
                    Some(address) if address.kind == kind => {
                        found.insert(address.clone());
                    }
                    Some(address) => {
                        let problem = format!(
                            "only {} can stand here, but {address} is {}",
                            with_article(kind),
                            with_article(address.kind)
                        );
                        self.wrong(name, expression, &problem, None);
                    }
                    None => open.extend(fields.iter().map(|(_, value)| value)),
                },
                (None, None) => {
                    let hint = Some(format!("write a list of addresses: [{kind}.NAME]"));
                    self.wrong(
                        name,
                        expression,
                        &format!("only a {kind} can stand here, without quotes"),
                        hint,
                    );
                }
            }
        }
        found
    }
}

/// With an article, for messages.
pub(super) fn with_article(kind: Kind) -> String {
    let article = match kind {
        Kind::Image | Kind::Aggregate => "an",
        Kind::Host | Kind::Flavor | Kind::Group | Kind::Server => "a",
    };
    format!("{article} {kind}")
}

/// An error with what caused it.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}
