//! The functions that expressions can call, by Terraform's names and results. One file per family; the table
//! here says what each takes, so that checking and converting arguments is written once.

mod charsets;
mod cidr;
mod collections;
mod conversion;
mod dates;
mod encoding;
mod files;
mod format;
mod hashes;
mod numbers;
mod patterns;
mod sets;
mod strings;
mod timestamps;
mod yaml;

pub use files::{FileError, FileReader, ModuleFiles, NoFiles};
pub(crate) use files::{joined, read_text};

use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::value::{Kind, Type, Value, convert};

/// What a parameter takes, or a function gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// Anything, null too.
    Any,
    Bool,
    Number,
    Text,
    /// A list, tuple or set as it is.
    Items,
    /// A map or object as it is.
    Fields,
    /// Items or fields as they are, or a text.
    Measurable,
    /// A list of texts.
    Texts,
    /// A list of numbers.
    Numbers,
    /// A map whose values are lists of texts.
    TextsByName,
    /// A set of one type.
    Set,
}

impl Want {
    pub(crate) fn ty(self) -> Type {
        match self {
            Self::Any | Self::Items | Self::Fields | Self::Measurable => Type::Any,
            Self::Bool => Type::Bool,
            Self::Number => Type::Number,
            Self::Text => Type::String,
            Self::Texts => Type::list(Type::String),
            Self::Numbers => Type::list(Type::Number),
            Self::TextsByName => Type::map(Type::list(Type::String)),
            Self::Set => Type::set(Type::Any),
        }
    }

    pub(crate) fn accept(self, value: &Value) -> Result<Value, String> {
        if self == Self::Any || value.unknown().is_some() {
            return Ok(value.clone());
        }
        if value.is_null() {
            return Err("it must not be null".to_owned());
        }
        let fits = match self {
            Self::Items => value.as_items().is_some(),
            Self::Fields => value.as_fields().is_some(),
            Self::Measurable => {
                value.as_items().is_some() || value.as_fields().is_some() || value.as_str().is_some()
            }
            Self::Any
            | Self::Bool
            | Self::Number
            | Self::Text
            | Self::Texts
            | Self::Numbers
            | Self::TextsByName
            | Self::Set => {
                return convert(value, &self.ty()).map_err(|error| error.to_string());
            }
        };
        if fits {
            return Ok(value.clone());
        }
        let needed = match self {
            Self::Items => "a list, set or tuple",
            Self::Fields => "a map or object",
            _ => "a collection or a text",
        };
        Err(format!(
            "{needed} is required, but this is {}",
            Type::of(value).friendly()
        ))
    }
}

/// Whether a function looks at everything in its arguments, or hands parts on as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parts {
    /// An unknown or sensitive part makes the whole result so.
    Whole,
    /// Parts keep what they are; only an argument that itself is unknown or sensitive taints the result.
    Kept,
    /// The function says itself which marks its result has.
    Unmarked,
}

/// How much work a call is, by one of its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cost {
    /// The same however large the argument is.
    Constant,
    /// By its number of items or bytes.
    Length,
    /// By everything in it.
    Weight,
}

impl Cost {
    pub(crate) fn of(self, value: &Value) -> usize {
        match self {
            Self::Constant => 1,
            Self::Length => match value.kind() {
                Kind::List(items) | Kind::Tuple(items) | Kind::Set(items) => items.len() + 1,
                Kind::Map(fields) | Kind::Object(fields) => fields.len() + 1,
                Kind::String(text) => text.len() / 64 + 1,
                Kind::Null | Kind::Bool(_) | Kind::Number(_) | Kind::Unknown(_) => 1,
            },
            Self::Weight => usize::try_from(value.weight() / 8)
                .unwrap_or(usize::MAX)
                .saturating_add(1),
        }
    }
}

/// Largest results of functions whose result can be much larger than their arguments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    items: usize,
    bytes: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            items: 1_000_000,
            bytes: 16 << 20,
        }
    }
}

impl Room {
    /// Checks the number of items a result would have before it is made.
    pub(crate) fn items(&self, number: Option<usize>) -> Result<usize, FunctionError> {
        number.filter(|number| *number <= self.items).ok_or_else(|| {
            FunctionError::new(format!("the result would have more than {} items", self.items))
        })
    }

    /// Checks the number of bytes a text would have before it is made.
    pub(crate) fn bytes(&self, number: Option<usize>) -> Result<usize, FunctionError> {
        number.filter(|number| *number <= self.bytes).ok_or_else(|| {
            FunctionError::new(format!(
                "the result would have more than {} MiB",
                self.bytes >> 20
            ))
        })
    }
}

/// What is wrong with a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FunctionError {
    /// The argument it is about, from 0.
    pub(crate) argument: Option<usize>,
    /// A phrase without a final full stop.
    pub(crate) message: String,
}

impl FunctionError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            argument: None,
            message: message.into(),
        }
    }

    pub(crate) fn in_argument(argument: usize, message: impl Into<String>) -> Self {
        Self {
            argument: Some(argument),
            message: message.into(),
        }
    }
}

/// One call with converted, known arguments.
pub(crate) struct Call<'c> {
    pub(crate) arguments: Vec<Value>,
    pub(crate) files: ModuleFiles<'c>,
    pub(crate) room: Room,
}

impl Call<'_> {
    /// The text at this place; the table says that it is one.
    pub(crate) fn text(&self, at: usize) -> &str {
        self.arguments.get(at).and_then(Value::as_str).unwrap_or_default()
    }

    /// The number at this place; the table says that it is one.
    pub(crate) fn number(&self, at: usize) -> crate::value::Number {
        self.arguments
            .get(at)
            .and_then(Value::as_number)
            .cloned()
            .unwrap_or_else(|| 0_i64.into())
    }

    /// The number at this place as an integer.
    pub(crate) fn integer(&self, at: usize) -> Result<i64, FunctionError> {
        let number = self.number(at);
        number.as_i64().ok_or_else(|| {
            FunctionError::in_argument(at, format!("a whole number is required, but this is {number}"))
        })
    }

    /// The items at this place; nothing where the table allows something else.
    pub(crate) fn items(&self, at: usize) -> &[Value] {
        self.arguments
            .get(at)
            .and_then(Value::as_items)
            .map_or(&[], |items| &***items)
    }
}

/// What a function gives, or what is wrong.
pub(crate) type Outcome = Result<Value, FunctionError>;

/// A table entry.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) parameters: &'static [(&'static str, Want)],
    /// How many of the last parameters may be left out.
    pub(crate) optional: usize,
    pub(crate) variadic: Option<(&'static str, Want)>,
    pub(crate) gives: Want,
    pub(crate) parts: Parts,
    pub(crate) cost: Cost,
    pub(crate) run: fn(&mut Call<'_>) -> Outcome,
}

impl Function {
    /// A function that looks at everything in its arguments.
    const fn new(
        name: &'static str,
        parameters: &'static [(&'static str, Want)],
        gives: Want,
        run: fn(&mut Call<'_>) -> Outcome,
    ) -> Self {
        Self {
            name,
            parameters,
            optional: 0,
            variadic: None,
            gives,
            parts: Parts::Whole,
            cost: Cost::Length,
            run,
        }
    }

    const fn optional(mut self, number: usize) -> Self {
        self.optional = number;
        self
    }

    const fn variadic(mut self, name: &'static str, want: Want) -> Self {
        self.variadic = Some((name, want));
        self
    }

    const fn keeping_parts(mut self) -> Self {
        self.parts = Parts::Kept;
        self
    }

    const fn deciding_marks(mut self) -> Self {
        self.parts = Parts::Unmarked;
        self
    }

    const fn cost(mut self, cost: Cost) -> Self {
        self.cost = cost;
        self
    }
}

/// Every family's table.
const FAMILIES: [&[Function]; 14] = [
    collections::TABLE,
    sets::TABLE,
    conversion::TABLE,
    strings::TABLE,
    patterns::TABLE,
    format::TABLE,
    numbers::TABLE,
    encoding::TABLE,
    hashes::TABLE,
    charsets::TABLE,
    yaml::TABLE,
    dates::TABLE,
    cidr::TABLE,
    files::TABLE,
];

/// The function with this name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FAMILIES
        .iter()
        .flat_map(|family| family.iter())
        .find(|function| function.name == name)
}

/// Functions of Terraform that are not here, and what to write instead.
const LEFT_OUT: [(&str, &str); 8] = [
    ("timestamp", NO_CLOCK),
    ("plantimestamp", NO_CLOCK),
    (
        "uuid",
        "a plan of the same files must be the same plan: uuidv5(\"dns\", \"…\") gives the same id each time",
    ),
    (
        "bcrypt",
        "it is salted anew each time: compute the hash outside, and give it as a variable",
    ),
    (
        "rsadecrypt",
        "decrypt outside, and give the secret as a variable with ephemeral = true",
    ),
    ("base64gzip", "compress it outside, and read it with filebase64"),
    ("abspath", FOLDERS),
    ("pathexpand", FOLDERS),
];
const NO_CLOCK: &str = "a plan of the same files must be the same plan: give the time as a variable, for example \
                        --var now=$(date -u +%FT%TZ)";
const FOLDERS: &str = "files are read below the module's folder: write paths from path.module on";

/// A call of a function that is not there, and what to write instead.
pub(crate) fn unknown(name: &str) -> Diagnostic {
    let left_out = LEFT_OUT.iter().find(|(other, _)| *other == name);
    let hint = left_out
        .map(|(_, instead)| (*instead).to_owned())
        .or_else(|| did_you_mean(name, names()));
    let detail = format!("There is no function named {name:?}.");
    Diagnostic::error("Call to unknown function", detail).hint(hint)
}

/// Every name that can be called.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let table = FAMILIES
        .iter()
        .flat_map(|family| family.iter())
        .map(|function| function.name);
    table.chain(["try", "can"])
}
