//! Numbers: exact integers and decimals, so that sizes and ratios come out as they were written. Terraform
//! computes with 512-bit binary floats; here results keep 98 decimal digits.

use bigdecimal::{BigDecimal, RoundingMode, ToPrimitive, Zero};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A number. Small integers take no allocation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Number(Repr);

/// A `Decimal` is normalised and never an integer that fits `i64`, so that equal numbers have equal parts.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Integer(i64),
    Decimal(Arc<BigDecimal>),
}

/// Why there is no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// The text is not a number.
    #[error("a number is required")]
    NotANumber,
    /// Division or remainder by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// Too large or too small to be kept.
    #[error("the number has more than {MAX_MAGNITUDE} digits before or after its point")]
    OutOfRange,
}

/// Significant digits kept of a sum or product. Two fewer than of a quotient, so that 1/3 * 3 is 1.
const DIGITS: u64 = 98;
/// Significant digits kept of what is read or divided.
const QUOTIENT_DIGITS: u64 = 100;
/// Largest power of ten, up and down: `1e999999999` would take a gigabyte as soon as 1 is added.
const MAX_MAGNITUDE: i64 = 5_000;

impl Number {
    /// Reads a number as HCL and JSON write it, with an optional sign in front.
    ///
    /// # Errors
    /// When the text is none, or is out of range.
    pub fn parse(text: &str) -> Result<Self, NumberError> {
        if let Ok(integer) = text.parse::<i64>() {
            return Ok(Self(Repr::Integer(integer)));
        }
        let plain = text.len() <= 10_000
            && text.bytes().any(|byte| byte.is_ascii_digit())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
        if !plain {
            return Err(NumberError::NotANumber);
        }
        if let Some((_, exponent)) = text.split_once(['e', 'E']) {
            let exponent: i64 = exponent.parse().map_err(|_| NumberError::NotANumber)?;
            if exponent.abs() > 2 * MAX_MAGNITUDE {
                return Err(NumberError::OutOfRange);
            }
        }
        BigDecimal::from_str(text)
            .map_err(|_| NumberError::NotANumber)
            .and_then(|decimal| Self::from_decimal(decimal, QUOTIENT_DIGITS))
    }

    fn from_decimal(decimal: BigDecimal, digits: u64) -> Result<Self, NumberError> {
        if decimal.is_zero() {
            return Ok(Self(Repr::Integer(0)));
        }
        let (_, scale) = decimal.as_bigint_and_scale();
        if scale.abs() > 4 * MAX_MAGNITUDE {
            return Err(NumberError::OutOfRange);
        }
        let rounded = if decimal.digits() > digits {
            decimal.with_prec(digits)
        } else {
            decimal
        };
        let decimal = rounded.normalized();
        if decimal.order_of_magnitude().abs() > MAX_MAGNITUDE {
            return Err(NumberError::OutOfRange);
        }
        let integer = if decimal.is_integer() {
            decimal.to_i64()
        } else {
            None
        };
        Ok(Self(match integer {
            Some(integer) => Repr::Integer(integer),
            None => Repr::Decimal(Arc::new(decimal)),
        }))
    }

    fn decimal(&self) -> BigDecimal {
        match &self.0 {
            Repr::Integer(integer) => BigDecimal::from(*integer),
            Repr::Decimal(decimal) => (**decimal).clone(),
        }
    }

    fn combine(
        &self,
        other: &Self,
        small: fn(i64, i64) -> Option<i64>,
        large: fn(BigDecimal, BigDecimal) -> BigDecimal,
        digits: u64,
    ) -> Result<Self, NumberError> {
        if let (Repr::Integer(a), Repr::Integer(b)) = (&self.0, &other.0)
            && let Some(result) = small(*a, *b)
        {
            return Ok(Self(Repr::Integer(result)));
        }
        Self::from_decimal(large(self.decimal(), other.decimal()), digits)
    }

    /// The sum.
    ///
    /// # Errors
    /// When it is out of range; so for the other operations.
    pub fn add(&self, other: &Self) -> Result<Self, NumberError> {
        self.combine(other, i64::checked_add, |a, b| a + b, DIGITS)
    }

    /// The difference.
    ///
    /// # Errors
    /// When it is out of range.
    pub fn subtract(&self, other: &Self) -> Result<Self, NumberError> {
        self.combine(other, i64::checked_sub, |a, b| a - b, DIGITS)
    }

    /// The product.
    ///
    /// # Errors
    /// When it is out of range.
    pub fn multiply(&self, other: &Self) -> Result<Self, NumberError> {
        self.combine(other, i64::checked_mul, |a, b| a * b, DIGITS)
    }

    /// The quotient.
    ///
    /// # Errors
    /// When `other` is zero, or the result out of range.
    pub fn divide(&self, other: &Self) -> Result<Self, NumberError> {
        if other.is_zero() {
            return Err(NumberError::DivisionByZero);
        }
        let exact = |a: i64, b: i64| {
            if a.checked_rem(b) == Some(0) {
                a.checked_div(b)
            } else {
                None
            }
        };
        self.combine(other, exact, |a, b| a / b, QUOTIENT_DIGITS)
    }

    /// The remainder, with the sign of `self`, as Terraform's `%`.
    ///
    /// # Errors
    /// When `other` is zero.
    pub fn remainder(&self, other: &Self) -> Result<Self, NumberError> {
        if other.is_zero() {
            return Err(NumberError::DivisionByZero);
        }
        self.combine(other, i64::checked_rem, |a, b| a % b, DIGITS)
    }

    /// With the other sign.
    #[must_use]
    pub fn negate(&self) -> Self {
        match &self.0 {
            Repr::Integer(integer) => integer.checked_neg().map_or_else(
                || Self(Repr::Decimal(Arc::new(-BigDecimal::from(*integer)))),
                |negated| Self(Repr::Integer(negated)),
            ),
            // -(2^63) fits where 2^63 does not, so the result is normalised again.
            Repr::Decimal(decimal) => Self::from_decimal(-(**decimal).clone(), QUOTIENT_DIGITS)
                .expect("a sign does not change the magnitude"),
        }
    }

    fn rounded(&self, mode: RoundingMode) -> Self {
        match &self.0 {
            Repr::Integer(_) => self.clone(),
            Repr::Decimal(decimal) => Self::from_decimal(decimal.with_scale_round(0, mode), QUOTIENT_DIGITS)
                .expect("rounding to an integer adds at most one digit to a number in range"),
        }
    }

    /// The largest integer that is not larger.
    #[must_use]
    pub fn floor(&self) -> Self {
        self.rounded(RoundingMode::Floor)
    }

    /// The smallest integer that is not smaller.
    #[must_use]
    pub fn ceil(&self) -> Self {
        self.rounded(RoundingMode::Ceiling)
    }

    /// Without its fraction.
    #[must_use]
    pub fn truncate(&self) -> Self {
        self.rounded(RoundingMode::Down)
    }

    /// Whether it is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == Repr::Integer(0)
    }

    /// Whether it is less than zero.
    #[must_use]
    pub fn is_negative(&self) -> bool {
        match &self.0 {
            Repr::Integer(integer) => *integer < 0,
            Repr::Decimal(decimal) => decimal.sign() == bigdecimal::num_bigint::Sign::Minus,
        }
    }

    /// Whether it has no fraction.
    #[must_use]
    pub fn is_integer(&self) -> bool {
        match &self.0 {
            Repr::Integer(_) => true,
            Repr::Decimal(decimal) => decimal.is_integer(),
        }
    }

    /// As an integer, if it is one that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match &self.0 {
            Repr::Integer(integer) => Some(*integer),
            Repr::Decimal(_) => None,
        }
    }

    /// As an integer that is not negative, if it is one that fits.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match &self.0 {
            Repr::Integer(integer) => u64::try_from(*integer).ok(),
            Repr::Decimal(decimal) if decimal.is_integer() => decimal.to_u64(),
            Repr::Decimal(_) => None,
        }
    }

    /// The nearest floating-point number.
    #[must_use]
    pub fn to_f64(&self) -> f64 {
        match &self.0 {
            #[expect(clippy::cast_precision_loss, reason = "the nearest is what is asked for")]
            Repr::Integer(integer) => *integer as f64,
            Repr::Decimal(decimal) => decimal.to_f64().unwrap_or(f64::INFINITY),
        }
    }

    /// The integer part in another base, as C's `%x`, `%o` and `%b` write it.
    #[must_use]
    pub fn to_radix(&self, radix: u32) -> String {
        let (integer, _) = self
            .decimal()
            .with_scale_round(0, RoundingMode::Down)
            .into_bigint_and_scale();
        integer.to_str_radix(radix)
    }

    /// Reads an integer in another base (2 to 36), as Terraform's `parseint`.
    ///
    /// # Errors
    /// When the text is none.
    pub fn from_radix(text: &str, radix: u32) -> Result<Self, NumberError> {
        if text.len() > 10_000 || text.contains('_') {
            return Err(NumberError::NotANumber);
        }
        bigdecimal::num_bigint::BigInt::parse_bytes(text.as_bytes(), radix)
            .ok_or(NumberError::NotANumber)
            .and_then(|integer| Self::from_decimal(BigDecimal::from(integer), QUOTIENT_DIGITS))
    }

    /// Text with exactly so many digits behind the point.
    #[must_use]
    pub fn to_fixed(&self, places: u32) -> String {
        self.decimal()
            .with_scale_round(i64::from(places.min(1_000)), RoundingMode::HalfEven)
            .to_plain_string()
    }
}

impl From<i64> for Number {
    fn from(integer: i64) -> Self {
        Self(Repr::Integer(integer))
    }
}

impl From<u64> for Number {
    fn from(integer: u64) -> Self {
        i64::try_from(integer).map_or_else(
            |_| Self(Repr::Decimal(Arc::new(BigDecimal::from(integer).normalized()))),
            |integer| Self(Repr::Integer(integer)),
        )
    }
}

impl From<usize> for Number {
    fn from(integer: usize) -> Self {
        Self::from(u64::try_from(integer).unwrap_or(u64::MAX))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (&self.0, &other.0) {
            (Repr::Integer(a), Repr::Integer(b)) => a.cmp(b),
            (Repr::Integer(_) | Repr::Decimal(_), Repr::Integer(_) | Repr::Decimal(_)) => {
                self.decimal().cmp(&other.decimal())
            }
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Integer(integer) => write!(f, "{integer}"),
            Repr::Decimal(decimal) => f.write_str(&decimal.to_plain_string()),
        }
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number {
        Number::parse(text).expect(text)
    }

    #[test]
    fn computes_exactly() {
        assert_eq!(number("0.1").add(&number("0.2")), Ok(number("0.3")));
        assert_eq!(
            number("9007199254740993")
                .add(&number("0"))
                .expect("sum")
                .to_string(),
            "9007199254740993"
        );
        assert_eq!(
            number("9223372036854775807")
                .add(&number("1"))
                .expect("sum")
                .to_string(),
            "9223372036854775808"
        );
        let third = number("1").divide(&number("3")).expect("quotient");
        assert_eq!(third.multiply(&number("3")), Ok(number("1")));
        assert_eq!(number("-7").remainder(&number("3")), Ok(number("-1")));
        assert_eq!(
            number("7").divide(&number("2")).expect("quotient").to_string(),
            "3.5"
        );
        assert_eq!(number("1").divide(&number("0")), Err(NumberError::DivisionByZero));
        assert_eq!(number("1.0"), number("1"));
        assert_eq!(number("1e3"), number("1000"));
        assert_eq!(
            number("-9223372036854775808").negate().negate(),
            number("-9223372036854775808")
        );
        assert_eq!(number("-1.5").floor(), number("-2"));
        assert_eq!(number("-1.5").ceil(), number("-1"));
    }

    #[test]
    fn keeps_huge_exponents_from_taking_memory() {
        assert_eq!(Number::parse("1e999999999"), Err(NumberError::OutOfRange));
        assert_eq!(
            Number::parse("1e99999999999999999999"),
            Err(NumberError::NotANumber)
        );
        let large = number("1e5000");
        assert_eq!(large.multiply(&large), Err(NumberError::OutOfRange));
        assert_eq!(
            number("1e-5000").multiply(&number("1e-5000")),
            Err(NumberError::OutOfRange)
        );
    }

    #[test]
    fn refuses_other_texts() {
        for bad in [
            "", "-", "1x", " 1", "0x10", "1_000", "nan", "inf", "1e", ".", "1.2.3", "e5",
        ] {
            assert_eq!(Number::parse(bad), Err(NumberError::NotANumber), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn printing_then_parsing_gives_the_same_number(a in any::<i64>(), b in any::<i64>()) {
            let quotient = Number::from(a).divide(&Number::from(b.max(1))).expect("not by zero");
            prop_assert_eq!(Number::parse(&quotient.to_string()), Ok(quotient));
        }

        #[test]
        fn no_text_panics(text in "[0-9.eE+-]{0,12}") {
            if let Ok(number) = Number::parse(&text) {
                prop_assert_eq!(Number::parse(&number.to_string()), Ok(number));
            }
        }
    }
}
