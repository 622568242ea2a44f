//! Functions over numbers.

use super::{Call, Function, FunctionError, Outcome, Want};
use crate::value::{Number, Type, Value, convert};

pub(super) const TABLE: &[Function] = &[
    Function::new("min", &[("number", Want::Number)], Want::Number, |call| {
        extreme(call, false)
    })
    .variadic("more", Want::Number),
    Function::new("max", &[("number", Want::Number)], Want::Number, |call| {
        extreme(call, true)
    })
    .variadic("more", Want::Number),
    Function::new("abs", &[("number", Want::Number)], Want::Number, abs),
    Function::new("ceil", &[("number", Want::Number)], Want::Number, |call| {
        Ok(call.number(0).ceil().into())
    }),
    Function::new("floor", &[("number", Want::Number)], Want::Number, |call| {
        Ok(call.number(0).floor().into())
    }),
    Function::new("signum", &[("number", Want::Number)], Want::Number, signum),
    Function::new(
        "parseint",
        &[("number", Want::Text), ("base", Want::Number)],
        Want::Number,
        parseint,
    ),
    Function::new(
        "pow",
        &[("base", Want::Number), ("exponent", Want::Number)],
        Want::Number,
        pow,
    ),
    Function::new(
        "log",
        &[("number", Want::Number), ("base", Want::Number)],
        Want::Number,
        log,
    ),
    Function::new("sum", &[("list", Want::Items)], Want::Number, sum),
];

fn extreme(call: &mut Call<'_>, largest: bool) -> Outcome {
    let numbers = (0..call.arguments.len()).map(|at| call.number(at));
    let found = if largest { numbers.max() } else { numbers.min() };
    found
        .map(Value::from)
        .ok_or_else(|| FunctionError::new("a number is required"))
}

fn abs(call: &mut Call<'_>) -> Outcome {
    let number = call.number(0);
    Ok(Value::from(if number.is_negative() {
        number.negate()
    } else {
        number
    }))
}

fn signum(call: &mut Call<'_>) -> Outcome {
    let number = call.number(0);
    let sign: i64 = if number.is_zero() {
        0
    } else if number.is_negative() {
        -1
    } else {
        1
    };
    Ok(Value::from(Number::from(sign)))
}

fn parseint(call: &mut Call<'_>) -> Outcome {
    let base = call.integer(1)?;
    let radix = u32::try_from(base).ok().filter(|radix| (2..=62).contains(radix));
    let radix = radix.ok_or_else(|| FunctionError::in_argument(1, "the base must be between 2 and 62"))?;
    let text = call.text(0);
    let number = if radix > 36 {
        from_letters(text, radix)
    } else {
        Number::from_radix(text, radix).ok()
    };
    number
        .map(Value::from)
        .ok_or_else(|| FunctionError::in_argument(0, format!("{text:?} is not an integer in base {base}")))
}

/// A whole number in a base above 36, in which small letters come before capital ones, as Go has it.
fn from_letters(text: &str, radix: u32) -> Option<Number> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1_i64, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || digits.len() > 1_000 {
        return None;
    }
    let base = Number::from(i64::from(radix));
    let mut whole = Number::from(0_i64);
    for digit in digits.chars() {
        let worth = match digit {
            '0'..='9' => u32::from(digit) - u32::from('0'),
            'a'..='z' => u32::from(digit) - u32::from('a') + 10,
            'A'..='Z' => u32::from(digit) - u32::from('A') + 36,
            _ => return None,
        };
        if worth >= radix {
            return None;
        }
        whole = whole
            .multiply(&base)
            .ok()?
            .add(&Number::from(i64::from(worth)))
            .ok()?;
    }
    whole.multiply(&Number::from(sign)).ok()
}

fn from_float(result: f64) -> Outcome {
    if !result.is_finite() {
        return Err(FunctionError::new(
            "the result is not a number that can be written",
        ));
    }
    Number::parse(&result.to_string())
        .map(Value::from)
        .map_err(|error| FunctionError::new(error.to_string()))
}

fn pow(call: &mut Call<'_>) -> Outcome {
    let (base, exponent) = (call.number(0), call.number(1));
    // Whole powers stay exact.
    if let Some(times) = exponent.as_u64().filter(|times| *times <= 4_096) {
        let mut result = Number::from(1_i64);
        for _ in 0..times {
            result = result
                .multiply(&base)
                .map_err(|error| FunctionError::new(error.to_string()))?;
        }
        return Ok(Value::from(result));
    }
    from_float(base.to_f64().powf(exponent.to_f64()))
}

fn log(call: &mut Call<'_>) -> Outcome {
    let (number, base) = (call.number(0).to_f64(), call.number(1).to_f64());
    from_float(number.ln() / base.ln())
}

fn sum(call: &mut Call<'_>) -> Outcome {
    let items = call.items(0);
    if items.is_empty() {
        return Err(FunctionError::in_argument(0, "the list is empty"));
    }
    let mut total = Number::from(0_i64);
    for item in items {
        let number =
            convert(item, &Type::Number).map_err(|error| FunctionError::in_argument(0, error.to_string()))?;
        let number = number
            .as_number()
            .ok_or_else(|| FunctionError::in_argument(0, "an item is null"))?;
        total = total
            .add(number)
            .map_err(|error| FunctionError::new(error.to_string()))?;
    }
    Ok(Value::from(total))
}
