//! `count` and `for_each`: which instances a block has.

use super::declarations::Declared;
use crate::diagnostic::Diagnostic;
use crate::eval::{Evaluator, Instance};
use crate::value::{Cause, Kind, Type, Value, convert, show};
use drover_core::model::Repetition;
use drover_types::InstanceKey;
use std::sync::Arc;

/// The instances of a block.
#[derive(Debug, Clone)]
pub(super) enum Instances {
    /// Neither `count` nor `for_each`.
    Single,
    /// `count`.
    Counted(u64),
    /// `for_each`, sorted by key.
    Keyed(Vec<(Arc<str>, Value)>),
    /// Wrong (reported) or not known.
    Unclear,
}

/// Most instances of one block.
const MOST: u64 = 100_000;
/// Longest key, in bytes: it becomes part of addresses and of the store's keys.
const LONGEST_KEY: usize = 255;

/// Evaluates `count` or `for_each`; an unknown one is an error that says what is not known and why.
pub(super) fn instances(declared: &Declared, evaluator: &mut Evaluator<'_>) -> Instances {
    match (declared.argument("count"), declared.argument("for_each")) {
        (None, None) => Instances::Single,
        (Some(_), Some(_)) => Instances::Unclear,
        (Some(expression), None) => {
            let value = evaluator.eval(expression);
            match count(&value) {
                Ok(number) => Instances::Counted(number),
                Err(None) => Instances::Unclear,
                Err(Some(problem)) => {
                    evaluator.fail(expression, Diagnostic::error("Invalid count argument", problem));
                    Instances::Unclear
                }
            }
        }
        (None, Some(expression)) => {
            let value = evaluator.eval(expression);
            match keys(&value) {
                Ok(pairs) => Instances::Keyed(pairs),
                Err(None) => Instances::Unclear,
                Err(Some(problem)) => {
                    evaluator.fail(
                        expression,
                        Diagnostic::error("Invalid for_each argument", problem),
                    );
                    Instances::Unclear
                }
            }
        }
    }
}

/// What is wrong, or nothing where that is reported already or only a value is missing while files are checked.
type Problem = Option<String>;

fn not_known(cause: &Cause, what: &str) -> Problem {
    match cause {
        Cause::Failed | Cause::Variable(_) | Cause::Store(_) => None,
        Cause::Placement(_) => Some(format!(
            "{what} must be known before placement, but {cause}. How many servers there are cannot depend on where \
             they will run."
        )),
    }
}

fn count(value: &Value) -> Result<u64, Problem> {
    if let Some(cause) = value.why_unknown() {
        return Err(not_known(cause, "The value of count"));
    }
    if value.marks().is_ephemeral() {
        return Err(Some(
            "count is ephemeral, but how many instances there are is recorded.".to_owned(),
        ));
    }
    if value.is_sensitive() {
        let detail = "count is sensitive, but how many instances there are is shown with their addresses. Use another \
                      value, or nonsensitive(...) where the number may be known.";
        return Err(Some(detail.to_owned()));
    }
    if value.is_null() {
        return Err(Some(
            "count is null. Write a whole number, or leave count out for a single instance.".to_owned(),
        ));
    }
    let number = convert(value, &Type::Number)
        .map_err(|error| Some(format!("count must be a whole number: {error}.")))?;
    let number = number.as_number().and_then(|number| number.as_u64());
    match number {
        Some(number) if number <= MOST => Ok(number),
        Some(number) => Err(Some(format!(
            "count is {number}, but a block has at most {MOST} instances."
        ))),
        None => Err(Some(format!(
            "count must be a whole number of at least 0, but it is {}.",
            show(value)
        ))),
    }
}

fn keys(value: &Value) -> Result<Vec<(Arc<str>, Value)>, Problem> {
    if value.is_sensitive() || (matches!(value.kind(), Kind::Set(_)) && value.holds_sensitive()) {
        let detail =
            "for_each is sensitive, but its keys become parts of addresses, which are shown. Use other keys.";
        return Err(Some(detail.to_owned()));
    }
    if value.marks().is_ephemeral() || (matches!(value.kind(), Kind::Set(_)) && value.holds_ephemeral()) {
        let detail = "for_each is ephemeral, but its keys become parts of addresses, which are recorded.";
        return Err(Some(detail.to_owned()));
    }
    if let Some(unknown) = value.unknown() {
        return Err(not_known(unknown.cause(), "The value of for_each"));
    }
    let pairs: Vec<(Arc<str>, Value)> = match value.kind() {
        Kind::Map(fields) | Kind::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        Kind::Set(items) => {
            let mut pairs = Vec::with_capacity(items.len());
            for item in items.iter() {
                if let Some(cause) = item.why_unknown() {
                    return Err(not_known(cause, "Each key of for_each"));
                }
                let text = convert(item, &Type::String).ok();
                let Some(key) = text.as_ref().and_then(Value::as_str) else {
                    return Err(Some(
                        "A set for for_each must hold texts, and no null.".to_owned(),
                    ));
                };
                pairs.push((Arc::from(key), Value::from(key)));
            }
            pairs
        }
        Kind::List(_) | Kind::Tuple(_) => {
            let detail = "for_each takes a map or a set of texts, so that each instance has a key of its own. For a \
                          list of different texts write toset(...).";
            return Err(Some(detail.to_owned()));
        }
        Kind::Null => {
            return Err(Some(
                "for_each is null. Write a map or a set; an empty one for no instance.".to_owned(),
            ));
        }
        Kind::Bool(_) | Kind::Number(_) | Kind::String(_) | Kind::Unknown(_) => {
            return Err(Some(format!(
                "for_each takes a map or a set of texts, but this is {}.",
                Type::of(value).friendly()
            )));
        }
    };
    if u64::try_from(pairs.len()).unwrap_or(u64::MAX) > MOST {
        return Err(Some(format!(
            "for_each has {} items, but a block has at most {MOST} instances.",
            pairs.len()
        )));
    }
    if let Some((key, _)) = pairs.iter().find(|(key, _)| key.len() > LONGEST_KEY) {
        let short: String = key.chars().take(40).collect();
        return Err(Some(format!(
            "The key {short:?}... has {} bytes; a key has at most {LONGEST_KEY}.",
            key.len()
        )));
    }
    Ok(pairs)
}

impl Instances {
    /// Key and names of each instance; nothing for an unclear number.
    pub(super) fn each(&self) -> Vec<(Option<InstanceKey>, Instance)> {
        match self {
            Self::Single => vec![(None, Instance::default())],
            Self::Counted(number) => (0..*number)
                .map(|index| {
                    let instance = Instance {
                        index: Some(index),
                        each: None,
                    };
                    (Some(InstanceKey::Index(index)), instance)
                })
                .collect(),
            Self::Keyed(pairs) => pairs
                .iter()
                .map(|(key, value)| {
                    let instance = Instance {
                        index: None,
                        each: Some((key.clone(), value.clone())),
                    };
                    (Some(InstanceKey::Key(key.to_string())), instance)
                })
                .collect(),
            Self::Unclear => Vec::new(),
        }
    }

    /// How they are made; nothing where that is unclear.
    pub(super) fn repetition(&self) -> Option<Repetition> {
        match self {
            Self::Single => Some(Repetition::Single),
            Self::Counted(number) => Some(Repetition::Counted(*number)),
            Self::Keyed(_) => Some(Repetition::Keyed),
            Self::Unclear => None,
        }
    }

    /// What a reference to the block stands for, from what each instance does.
    pub(super) fn gather(&self, mut values: Vec<Value>) -> Value {
        match self {
            Self::Single => values.pop().unwrap_or_else(Value::failed),
            Self::Counted(_) => Value::tuple(values),
            Self::Keyed(pairs) => Value::object(pairs.iter().map(|(key, _)| key.clone()).zip(values)),
            Self::Unclear => Value::failed(),
        }
    }
}
