//! A JSON value taken apart: what is missing or of another type is noted with its place, and reading goes on.

use super::super::input::Name;
use super::super::validate::InputError;
use indexmap::IndexMap;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

/// Mistakes beyond this many are counted, not listed: a file of another kind has one per line.
const LISTED: usize = 200;

/// Mistakes in the shape of the text.
#[derive(Debug, Default)]
pub(super) struct Mistakes {
    pub(super) listed: Vec<InputError>,
    more: usize,
}

impl Mistakes {
    fn note(&mut self, place: String, problem: String) {
        if self.listed.len() < LISTED {
            self.listed.push(InputError::Shape { place, problem });
        } else {
            self.more += 1;
        }
    }

    /// All of them, the unlisted ones as a number.
    pub(super) fn finish(mut self) -> Vec<InputError> {
        if self.more > 0 {
            self.listed.push(InputError::Shape {
                place: "the scenario".to_owned(),
                problem: format!("has {} more mistakes of this kind", self.more),
            });
        }
        self.listed
    }
}

/// Where an object stands: `hosts[3].instances[0]`; put into words only where something is wrong.
#[derive(Debug, Clone, Copy)]
struct Place<'p> {
    outer: Option<&'p Place<'p>>,
    key: &'p str,
    at: Option<usize>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(outer) = self.outer {
            write!(f, "{outer}.")?;
        }
        f.write_str(self.key)?;
        self.at.map_or(Ok(()), |at| write!(f, "[{at}]"))
    }
}

/// What a value is, for a message.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("{:?}", text.chars().take(40).collect::<String>()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// A number that is whole, also where it is written with a fraction of zero.
fn whole(value: &Value) -> Option<i64> {
    let number = value.as_number()?;
    number.as_i64().or_else(|| {
        let float = number.as_f64().filter(|_| number.is_f64())?;
        // Up to here every whole number is a double of its own.
        (float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0).then_some(float as i64)
    })
}

/// Text as Nova keeps it: numbers and truths become what Python's `str` makes of them.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(super::super::matching::python_text(value)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// One object of the scenario.
pub(super) struct Fields<'v, 'm> {
    /// Of the outermost object nothing.
    place: Option<Place<'m>>,
    fields: Option<&'v Map<String, Value>>,
    /// The keys that were asked for.
    asked: RefCell<BTreeSet<String>>,
    mistakes: &'m mut Mistakes,
}

/// Keys of fewer letters resemble each other by chance.
const TELLING: usize = 5;

impl<'v> Fields<'v, '_> {
    fn inside<'p>(&'p self, key: &'p str, at: Option<usize>) -> Place<'p> {
        let outer = self.place.as_ref();
        Place { outer, key, at }
    }

    fn note(&mut self, key: &str, problem: String) {
        let place = self.inside(key, None).to_string();
        self.mistakes.note(place, problem);
    }

    /// The value, unless it is missing or null.
    fn get(&self, key: &str) -> Option<&'v Value> {
        let mut asked = self.asked.borrow_mut();
        if !asked.contains(key) {
            asked.insert(key.to_owned());
        }
        self.fields?.get(key).filter(|value| !value.is_null())
    }

    /// Notes the keys that nobody asked for and that are almost one that is not there: what was meant by them would
    /// silently not hold. Any others are the file's own, as recorded scenarios have them.
    pub(super) fn finish(&mut self) {
        let asked = self.asked.take();
        let almost = |key: &String| {
            asked.iter().find(|known| {
                known.len() >= TELLING
                    && !self.fields.is_some_and(|fields| fields.contains_key(*known))
                    && strsim::damerau_levenshtein(key, known) <= 2
            })
        };
        let given = self.fields.into_iter().flat_map(Map::keys);
        let unknown: Vec<(&String, String)> = given
            .filter(|key| key.len() >= TELLING && !asked.contains(*key))
            .filter_map(|key| Some((key, almost(key)?.clone())))
            .collect();
        for (key, known) in unknown {
            self.note(key, format!("there is no such key; did you mean {known}?"));
        }
    }

    fn missing(&mut self, key: &str, wanted: &str) {
        // Of what is no object at all one mistake is noted already.
        if self.fields.is_some() {
            self.note(key, format!("missing; it must be {wanted}"));
        }
    }

    fn wrong(&mut self, key: &str, value: &Value, wanted: &str) {
        self.note(key, format!("is {}; it must be {wanted}", kind(value)));
    }

    fn read<T>(&mut self, key: &str, wanted: &str, take: impl FnOnce(&'v Value) -> Option<T>) -> Option<T> {
        let value = self.get(key)?;
        let taken = take(value);
        if taken.is_none() {
            self.wrong(key, value, wanted);
        }
        taken
    }

    fn required<T>(
        &mut self,
        key: &str,
        wanted: &str,
        take: impl FnOnce(&'v Value) -> Option<T>,
    ) -> Option<T> {
        if self.get(key).is_none() {
            self.missing(key, wanted);
        }
        self.read(key, wanted, take)
    }

    /// Whether there is anything but null.
    pub(super) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// A whole number that must be there.
    pub(super) fn whole(&mut self, key: &str) -> i64 {
        self.required(key, "a whole number", whole).unwrap_or(0)
    }

    pub(super) fn maybe_whole(&mut self, key: &str) -> Option<i64> {
        self.read(key, "a whole number", whole)
    }

    pub(super) fn whole_or(&mut self, key: &str, otherwise: i64) -> i64 {
        self.maybe_whole(key).unwrap_or(otherwise)
    }

    /// A number that must be there.
    pub(super) fn number(&mut self, key: &str) -> f64 {
        self.required(key, "a number", Value::as_f64).unwrap_or(1.0)
    }

    pub(super) fn number_or(&mut self, key: &str, otherwise: f64) -> f64 {
        self.read(key, "a number", Value::as_f64).unwrap_or(otherwise)
    }

    pub(super) fn truth_or(&mut self, key: &str, otherwise: bool) -> bool {
        self.read(key, "true or false", Value::as_bool)
            .unwrap_or(otherwise)
    }

    /// A text that must be there.
    pub(super) fn text(&mut self, key: &str) -> String {
        self.required(key, "a text", |value| value.as_str().map(str::to_owned))
            .unwrap_or_default()
    }

    pub(super) fn maybe_text(&mut self, key: &str) -> Option<String> {
        self.read(key, "a text", |value| value.as_str().map(str::to_owned))
    }

    /// The object's name, which must be there and not be empty.
    pub(super) fn name(&mut self) -> Name {
        let text = self.required("name", "a text that is not empty", |value| {
            value.as_str().filter(|text| !text.is_empty())
        });
        Name::from(text.unwrap_or_default())
    }

    pub(super) fn address(&mut self, key: &str) -> Option<IpAddr> {
        self.read(key, "an IP address", |value| value.as_str()?.parse().ok())
    }

    pub(super) fn maybe_name(&mut self, key: &str) -> Option<Name> {
        self.maybe_text(key).map(Name::from)
    }

    /// Any value, null for none.
    pub(super) fn any(&self, key: &str) -> Option<Value> {
        self.get(key).cloned()
    }

    /// A list; each item that is no text is noted.
    pub(super) fn texts(&mut self, key: &str) -> Vec<String> {
        let items = self.read(key, "a list of texts", Value::as_array);
        let mut texts = Vec::new();
        for (at, item) in items.into_iter().flatten().enumerate() {
            match item.as_str() {
                Some(text) => texts.push(text.to_owned()),
                None => self.wrong(&format!("{key}[{at}]"), item, "a text"),
            }
        }
        texts
    }

    /// As [`Self::texts`], where the list must be there.
    pub(super) fn needed_texts(&mut self, key: &str) -> Vec<String> {
        if self.get(key).is_none() {
            self.missing(key, "a list of texts");
        }
        self.texts(key)
    }

    /// As [`Self::texts`]; one text alone is a list of one.
    pub(super) fn names(&mut self, key: &str) -> Vec<Name> {
        if let Some(Value::String(one)) = self.get(key) {
            return vec![Name::from(one.as_str())];
        }
        self.texts(key).into_iter().map(Name::from).collect()
    }

    pub(super) fn name_set(&mut self, key: &str) -> BTreeSet<Name> {
        self.names(key).into_iter().collect()
    }

    fn by_name<T>(
        &mut self,
        key: &str,
        wanted: &str,
        take: impl Fn(&Value) -> Option<T>,
    ) -> IndexMap<String, T> {
        let entries = self.read(key, "an object", Value::as_object);
        let mut taken = IndexMap::new();
        for (name, value) in entries
            .into_iter()
            .flatten()
            .filter(|(_, value)| !value.is_null())
        {
            match take(value) {
                Some(value) => {
                    taken.insert(name.clone(), value);
                }
                None => self.wrong(&format!("{key}[{name:?}]"), value, wanted),
            }
        }
        taken
    }

    pub(super) fn texts_by_name(&mut self, key: &str) -> BTreeMap<String, String> {
        self.by_name(key, "a text", text).into_iter().collect()
    }

    pub(super) fn numbers_by_name(&mut self, key: &str) -> IndexMap<String, f64> {
        self.by_name(key, "a number", Value::as_f64)
    }

    /// A list of whole numbers.
    pub(super) fn wholes(&mut self, key: &str) -> Vec<i64> {
        self.read(key, "a list of whole numbers", |value| {
            value.as_array()?.iter().map(whole).collect()
        })
        .unwrap_or_default()
    }

    /// A list of lists of whole numbers.
    pub(super) fn lists_of_wholes(&mut self, key: &str) -> Vec<Vec<i64>> {
        self.read(key, "a list of lists of whole numbers", |value| {
            let lists = value.as_array()?.iter();
            lists
                .map(|list| list.as_array()?.iter().map(whole).collect())
                .collect()
        })
        .unwrap_or_default()
    }

    /// Lists of exactly `N` texts.
    pub(super) fn tuples<const N: usize>(&mut self, key: &str) -> Vec<[String; N]> {
        let items = self.read(key, "a list", Value::as_array);
        let mut tuples = Vec::new();
        for (at, item) in items.into_iter().flatten().enumerate() {
            let texts: Option<Vec<String>> = item.as_array().and_then(|parts| {
                parts
                    .iter()
                    .map(|part| part.as_str().map(str::to_owned))
                    .collect()
            });
            match texts.and_then(|texts| <[String; N]>::try_from(texts).ok()) {
                Some(tuple) => tuples.push(tuple),
                None => self.wrong(&format!("{key}[{at}]"), item, &format!("a list of {N} texts")),
            }
        }
        tuples
    }

    /// An object inside; reading goes on in an empty one where there is none.
    pub(super) fn inner<T>(&mut self, key: &str, read: impl FnOnce(&mut Fields<'v, '_>) -> T) -> T {
        let fields = self.read(key, "an object", Value::as_object);
        let Self { place, mistakes, .. } = self;
        let place = Some(Place {
            outer: place.as_ref(),
            key,
            at: None,
        });
        let mut inner = Fields {
            place,
            fields,
            asked: RefCell::default(),
            mistakes,
        };
        let value = read(&mut inner);
        inner.finish();
        value
    }

    /// The same where it must be there.
    pub(super) fn needed<T>(&mut self, key: &str, read: impl FnOnce(&mut Fields<'v, '_>) -> T) -> T {
        if self.get(key).is_none() {
            self.missing(key, "an object");
        }
        self.inner(key, read)
    }

    /// A list of objects.
    pub(super) fn objects<T>(&mut self, key: &str, read: impl Fn(&mut Fields<'v, '_>) -> T) -> Vec<T> {
        let items = self.read(key, "a list of objects", Value::as_array);
        let mut objects = Vec::new();
        for (at, item) in items.into_iter().flatten().enumerate() {
            let fields = item.as_object();
            if fields.is_none() {
                self.wrong(&format!("{key}[{at}]"), item, "an object");
            }
            let Self { place, mistakes, .. } = self;
            let place = Some(Place {
                outer: place.as_ref(),
                key,
                at: Some(at),
            });
            let mut object = Fields {
                place,
                fields,
                asked: RefCell::default(),
                mistakes,
            };
            objects.push(read(&mut object));
            object.finish();
        }
        objects
    }

    /// A list of objects that must be there.
    pub(super) fn needed_objects<T>(&mut self, key: &str, read: impl Fn(&mut Fields<'v, '_>) -> T) -> Vec<T> {
        if self.get(key).is_none() {
            self.missing(key, "a list of objects");
        }
        self.objects(key, read)
    }
}

/// The outermost object.
pub(super) fn outermost<'v, 'm>(value: &'v Value, mistakes: &'m mut Mistakes) -> Fields<'v, 'm> {
    let fields = value.as_object();
    if fields.is_none() {
        let problem = format!("is {}; it must be an object", kind(value));
        mistakes.note("the scenario".to_owned(), problem);
    }
    Fields {
        place: None,
        fields,
        asked: RefCell::default(),
        mistakes,
    }
}
