//! Money has no fractions.
//!
//! A rate is pico-dollars per unit. A price of "$0.15 per million tokens" is 150 000 micro-dollars per million tokens,
//! and the same integer is pico-dollars per token. So a cost is a sum of products, and it is rounded once.

#![deny(clippy::float_arithmetic)]

use std::fmt;

/// Pico-dollars (1e-12 $) per unit: per token, image, request, second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub struct Rate(pub u64);

impl Rate {
    /// "0.15" dollars per million tokens. At most six decimals: a finer price is no whole number of pico-dollars.
    pub fn per_million(text: &str) -> Result<Self, NotAPrice> {
        decimal(text, 6).map(Self)
    }

    /// "0.04" dollars per unit, at most twelve decimals.
    pub fn per_unit(text: &str) -> Result<Self, NotAPrice> {
        decimal(text, 12).map(Self)
    }

    pub fn times(self, units: u64) -> Pico {
        // 64 bits by 64 bits fit in 127.
        Pico(i128::from(self.0) * i128::from(units))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotAPrice {
    Malformed,
    Negative,
    TooFine { decimals_max: u32 },
    TooLarge,
}

impl fmt::Display for NotAPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not a decimal number: write dollars as a string, such as \"0.15\""),
            Self::Negative => f.write_str("a price cannot be negative"),
            Self::TooFine { decimals_max } => {
                write!(f, "finer than a pico-dollar: at most {decimals_max} decimals, rounded by you and not by us")
            }
            Self::TooLarge => f.write_str("too large for a price"),
        }
    }
}

impl std::error::Error for NotAPrice {}

/// An exact sum of products, before its one rounding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Pico(pub i128);

impl Pico {
    pub fn plus(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_add(other.0).map(Self).ok_or(Overflow)
    }

    /// Rounded half up to nano-dollars, after a markup in basis points; the only rounding there is.
    pub fn round(self, markup_bp: i32) -> Result<Nano, Overflow> {
        const BASIS: i128 = 10_000;
        const PICO_PER_NANO: i128 = 1_000;
        let factor = BASIS + i128::from(markup_bp.max(-10_000));
        let scaled = self.0.checked_mul(factor).ok_or(Overflow)?;
        let divisor = BASIS * PICO_PER_NANO;
        let rounded = scaled.checked_add(divisor / 2).ok_or(Overflow)?.div_euclid(divisor);
        i64::try_from(rounded).map(Nano).map_err(|_| Overflow)
    }
}

/// Nano-dollars: what a record keeps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash, serde::Serialize, serde::Deserialize)]
pub struct Nano(pub i64);

impl fmt::Display for Nano {
    /// Dollars with nine decimals, exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let amount = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:09}", amount / 1_000_000_000, amount % 1_000_000_000)
    }
}

/// A sum that does not fit is an error, never a wrap and never a silent maximum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overflow;

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the amount does not fit in nano-dollars")
    }
}

impl std::error::Error for Overflow {}

fn decimal(text: &str, decimals_max: u32) -> Result<u64, NotAPrice> {
    if text.starts_with('-') {
        return Err(NotAPrice::Negative);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
        return Err(NotAPrice::Malformed);
    }
    let fraction = fraction.trim_end_matches('0');
    let missing = decimals_max.checked_sub(fraction.len() as u32).ok_or(NotAPrice::TooFine { decimals_max })?;
    let mut amount: u64 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = u64::from(digit - b'0');
        amount = amount.checked_mul(10).and_then(|a| a.checked_add(digit)).ok_or(NotAPrice::TooLarge)?;
    }
    10u64.checked_pow(missing).and_then(|scale| amount.checked_mul(scale)).ok_or(NotAPrice::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_exact_or_refused() {
        assert_eq!(Rate::per_million("0.15"), Ok(Rate(150_000)));
        assert_eq!(Rate::per_million("15"), Ok(Rate(15_000_000)));
        assert_eq!(Rate::per_million("0.000001"), Ok(Rate(1)));
        assert_eq!(Rate::per_million("0.0000010"), Ok(Rate(1)));
        assert_eq!(Rate::per_million("0.0000001"), Err(NotAPrice::TooFine { decimals_max: 6 }));
        assert_eq!(Rate::per_million("-1"), Err(NotAPrice::Negative));
        for malformed in ["", ".", "1.", ".5", "1e3", "1,5", "0x1", "NaN", " 1"] {
            assert_eq!(Rate::per_million(malformed), Err(NotAPrice::Malformed), "{malformed:?}");
        }
        assert_eq!(Rate::per_million("99999999999999"), Err(NotAPrice::TooLarge));
        assert_eq!(Rate::per_unit("0.04"), Ok(Rate(40_000_000_000)));
    }

    #[test]
    fn a_million_tokens_cost_their_price() {
        assert_eq!(Rate::per_million("0.15").map(|rate| rate.times(1_000_000)), Ok(Pico(150_000_000_000)));
    }

    #[test]
    fn rounding_is_half_up_and_happens_once() {
        assert_eq!(Pico(499).round(0), Ok(Nano(0)));
        assert_eq!(Pico(500).round(0), Ok(Nano(1)));
        assert_eq!(Pico(1_499).round(0), Ok(Nano(1)));
        // 454.5 pico with 10 % on top is 499.95: the markup comes before the rounding.
        assert_eq!(Pico(455).round(1_000), Ok(Nano(1)));
        assert_eq!(Pico(454).round(1_000), Ok(Nano(0)));
        assert_eq!(Pico(i128::MAX).round(0), Err(Overflow));
        assert_eq!(Nano(-1_500_000_000).to_string(), "-1.500000000");
    }
}
