//! `format` and `formatlist`, with Terraform's verbs.

use super::{Call, Function, FunctionError, Outcome, Room, Want};
use crate::value::{Kind, Number, Type, Value, convert, encode_json};
use unicode_segmentation::UnicodeSegmentation as _;

pub(super) const TABLE: &[Function] = &[
    Function::new("format", &[("spec", Want::Text)], Want::Text, format).variadic("values", Want::Any),
    Function::new("formatlist", &[("spec", Want::Text)], Want::Texts, formatlist)
        .variadic("values", Want::Any),
];

fn format(call: &mut Call<'_>) -> Outcome {
    let values: Vec<&Value> = call.arguments.iter().skip(1).collect();
    render(call.text(0), &values, call.room).map(Value::from)
}

fn formatlist(call: &mut Call<'_>) -> Outcome {
    let lengths = call
        .arguments
        .iter()
        .skip(1)
        .filter_map(Value::as_items)
        .map(|items| items.len());
    let mut lengths: Vec<usize> = lengths.collect();
    lengths.dedup();
    let length = match lengths.as_slice() {
        [] => 1,
        [length] => *length,
        _ => return Err(FunctionError::new("all lists must have the same length")),
    };
    let mut out = Vec::with_capacity(length);
    let mut bytes = 0_usize;
    for at in 0..length {
        let values: Vec<&Value> = call
            .arguments
            .iter()
            .skip(1)
            .map(|value| value.as_items().and_then(|items| items.get(at)).unwrap_or(value))
            .collect();
        let text = render(call.text(0), &values, call.room)?;
        bytes = bytes.saturating_add(text.len());
        call.room.bytes(Some(bytes))?;
        out.push(Value::from(text));
    }
    Ok(Value::list(out))
}

#[derive(Default)]
struct Verb {
    plus: bool,
    minus: bool,
    zero: bool,
    space: bool,
    sharp: bool,
    width: Option<usize>,
    precision: Option<usize>,
    argument: Option<usize>,
}

struct Spec<'s> {
    rest: &'s str,
}

impl Spec<'_> {
    fn eat(&mut self, character: char) -> bool {
        match self.rest.strip_prefix(character) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn number(&mut self) -> Result<Option<usize>, FunctionError> {
        const LARGEST: usize = 10_000;
        let end = self
            .rest
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(self.rest.len());
        if end == 0 {
            return Ok(None);
        }
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        let number = digits.parse().ok().filter(|number| *number <= LARGEST);
        number
            .map(Some)
            .ok_or_else(|| FunctionError::in_argument(0, format!("{digits} is larger than {LARGEST}")))
    }

    fn index(&mut self, verb: &mut Verb) -> Result<(), FunctionError> {
        if self.eat('[') {
            let number = self.number()?.filter(|number| *number > 0);
            if number.is_none() || !self.eat(']') {
                return Err(FunctionError::in_argument(
                    0,
                    "an argument index is written [1], [2] and so on",
                ));
            }
            verb.argument = number.map(|number| number - 1);
        }
        Ok(())
    }

    fn verb(&mut self) -> Result<(Verb, char), FunctionError> {
        let mut verb = Verb::default();
        loop {
            if self.eat('+') {
                verb.plus = true;
            } else if self.eat('-') {
                verb.minus = true;
            } else if self.eat('0') {
                verb.zero = true;
            } else if self.eat(' ') {
                verb.space = true;
            } else if self.eat('#') {
                verb.sharp = true;
            } else {
                break;
            }
        }
        self.index(&mut verb)?;
        verb.width = self.number()?;
        if self.eat('.') {
            verb.precision = Some(self.number()?.unwrap_or(0));
        }
        self.index(&mut verb)?;
        let Some(letter) = self.rest.chars().next() else {
            return Err(FunctionError::in_argument(
                0,
                "the text ends within a verb; write %% for a percent sign",
            ));
        };
        self.rest = &self.rest[letter.len_utf8()..];
        Ok((verb, letter))
    }
}

fn render(spec: &str, values: &[&Value], room: Room) -> Result<String, FunctionError> {
    let mut out = String::new();
    let mut spec = Spec { rest: spec };
    let mut next = 0;
    let mut indexed = false;
    while let Some(at) = spec.rest.find('%') {
        out.push_str(&spec.rest[..at]);
        spec.rest = &spec.rest[at + 1..];
        if spec.eat('%') {
            out.push('%');
            continue;
        }
        let (verb, letter) = spec.verb()?;
        indexed |= verb.argument.is_some();
        let at = verb.argument.unwrap_or(next);
        let value = values.get(at).ok_or_else(|| {
            let message = format!(
                "%{letter} needs argument {}, but there are {}",
                at + 1,
                values.len()
            );
            FunctionError::in_argument(0, message)
        })?;
        next = at + 1;
        let text =
            one(&verb, letter, value).map_err(|message| FunctionError::in_argument(at + 1, message))?;
        room.bytes(Some(out.len().saturating_add(text.len())))?;
        out.push_str(&text);
    }
    out.push_str(spec.rest);
    if !indexed && next < values.len() {
        let message = format!("there are {} values, but the text uses only {next}", values.len());
        return Err(FunctionError::in_argument(next + 1, message));
    }
    Ok(out)
}

fn one(verb: &Verb, letter: char, value: &Value) -> Result<String, String> {
    let as_type = |ty: &Type| match convert(value, ty) {
        Ok(value) if !value.is_null() => Ok(value),
        Ok(_) => Err("it must not be null".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    match letter {
        'v' => Ok(pad(verb, general(verb, value)?)),
        't' => Ok(pad(
            verb,
            if as_type(&Type::Bool)?.as_bool() == Some(true) {
                "true"
            } else {
                "false"
            }
            .to_owned(),
        )),
        's' | 'q' => {
            let text = as_type(&Type::String)?;
            let text = text.as_str().unwrap_or_default();
            let cut: String = match verb.precision {
                Some(most) => text.graphemes(true).take(most).collect(),
                None => text.to_owned(),
            };
            let cut = if letter == 'q' { quote(&cut)? } else { cut };
            Ok(pad(verb, cut))
        }
        'd' | 'b' | 'o' | 'x' | 'X' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let number = as_type(&Type::Number)?;
            let number = number.as_number().cloned().unwrap_or_else(|| 0_i64.into());
            Ok(number_text(verb, letter, &number))
        }
        other => Err(format!(
            "%{other} is not a verb; use v, s, q, d, b, o, x, X, e, E, f, g, G or t"
        )),
    }
}

fn quote(text: &str) -> Result<String, String> {
    encode_json(&Value::from(text)).map_err(|error| error.to_string())
}

fn general(verb: &Verb, value: &Value) -> Result<String, String> {
    let json = || encode_json(value).map_err(|error| error.to_string());
    match value.kind() {
        Kind::String(_) if verb.sharp => json(),
        Kind::String(text) => Ok(text.to_string()),
        Kind::Number(number) if !verb.sharp => Ok(signed(verb, number.to_string())),
        Kind::Null
        | Kind::Bool(_)
        | Kind::Number(_)
        | Kind::List(_)
        | Kind::Tuple(_)
        | Kind::Set(_)
        | Kind::Map(_)
        | Kind::Object(_)
        | Kind::Unknown(_) => json(),
    }
}

fn signed(verb: &Verb, text: String) -> String {
    if text.starts_with('-') {
        text
    } else if verb.plus {
        format!("+{text}")
    } else if verb.space {
        format!(" {text}")
    } else {
        text
    }
}

fn number_text(verb: &Verb, letter: char, number: &Number) -> String {
    let text = match letter {
        'd' => number.truncate().to_string(),
        'b' => number.to_radix(2),
        'o' => number.to_radix(8),
        'x' => number.to_radix(16),
        'X' => number.to_radix(16).to_uppercase(),
        'f' | 'F' => number.to_fixed(u32::try_from(verb.precision.unwrap_or(6)).unwrap_or(6)),
        'e' | 'E' => exponent_form(number, verb.precision.unwrap_or(6)),
        _ => shortest(number, verb.precision),
    };
    let text = if matches!(letter, 'E' | 'G') {
        text.to_uppercase()
    } else {
        text
    };
    let text = signed(verb, text);
    let missing = verb.width.unwrap_or(0).saturating_sub(text.len());
    if verb.zero && !verb.minus && missing > 0 {
        let (sign, digits) = match text.strip_prefix(['-', '+', ' ']) {
            Some(digits) => (&text[..1], digits),
            None => ("", text.as_str()),
        };
        return format!("{sign}{}{digits}", "0".repeat(missing));
    }
    pad(verb, text)
}

/// As Go writes exponents: with a sign and at least two digits.
fn exponent_form(number: &Number, precision: usize) -> String {
    let text = format!("{:.*e}", precision.min(100), number.to_f64());
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// As Go's %g: with an exponent only where the plain form would be long.
fn shortest(number: &Number, precision: Option<usize>) -> String {
    let value = number.to_f64();
    if value == 0.0 || !value.is_finite() {
        return number.to_string();
    }
    let digits = match precision {
        Some(precision) => format!("{:.*e}", precision.clamp(1, 100) - 1, value),
        None => format!("{value:e}"),
    };
    let (mantissa, exponent) = digits.split_once('e').unwrap_or((&digits, "0"));
    let exponent: i64 = exponent.parse().unwrap_or(0);
    let mantissa = if mantissa.contains('.') {
        mantissa.trim_end_matches('0').trim_end_matches('.')
    } else {
        mantissa
    };
    let limit = precision.map_or(21, |precision| {
        i64::try_from(precision.max(1)).unwrap_or(i64::MAX)
    });
    if exponent < -4 || exponent >= limit {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:0>2}", exponent.unsigned_abs());
    }
    Number::parse(&format!("{mantissa}e{exponent}"))
        .map_or_else(|_| number.to_string(), |number| number.to_string())
}

fn pad(verb: &Verb, text: String) -> String {
    let missing = verb
        .width
        .unwrap_or(0)
        .saturating_sub(text.graphemes(true).count());
    if verb.minus {
        return text + &" ".repeat(missing);
    }
    let fill = if verb.zero { "0" } else { " " };
    fill.repeat(missing) + &text
}
