//! A JSON number as a whole number of small units, digit by digit: `2.5e-07` dollars a token are 250 000 pico-dollars.

#![deny(clippy::float_arithmetic)]

use std::fmt;

use weir_shared::usage::{Class, Unit};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scaled {
    pub units: u64,
    /// The text was finer than a unit; half a unit was rounded up.
    pub rounded: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotAFigure {
    /// Text, an object, NaN.
    NoNumber,
    Negative,
    Absurd,
}

impl fmt::Display for NotAFigure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoNumber => "is no number",
            Self::Negative => "is negative",
            Self::Absurd => "is more than anybody asks",
        })
    }
}

/// `text` × 10^`decimals`, at most `most`.
pub fn scaled(text: &str, decimals: i32, most: u64) -> Result<Scaled, NotAFigure> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (sign, size) = match exponent.strip_prefix('-') {
        Some(size) => (-1, size),
        None => (1, exponent.strip_prefix('+').unwrap_or(exponent)),
    };
    if !digits(whole) || !digits(fraction) || !digits(size) {
        return Err(NotAFigure::NoNumber);
    }
    let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0').collect();
    let Some(first) = all.iter().position(|digit| *digit != 0) else {
        return Ok(Scaled { units: 0, rounded: false });
    };
    if negative {
        return Err(NotAFigure::Negative);
    }
    // How many digits stand before the point, once it is moved. Nobody writes exponents of seven digits for a price.
    let exponent: i64 = if size.len() > 6 { 1_000_000 } else { size.parse().unwrap_or(1_000_000) };
    let point = whole.len() as i64 + sign * exponent + i64::from(decimals);
    let mut units: u64 = 0;
    for at in first as i64..point {
        let digit = usize::try_from(at).ok().and_then(|at| all.get(at)).copied().unwrap_or(0);
        let next = units.checked_mul(10).and_then(|units| units.checked_add(u64::from(digit)));
        units = next.filter(|units| *units <= most).ok_or(NotAFigure::Absurd)?;
    }
    let rest = usize::try_from(point).map_or(&all[..], |point| all.get(point..).unwrap_or_default());
    let half = point >= 0 && rest.first().is_some_and(|digit| *digit >= 5);
    units += u64::from(half);
    if units > most {
        return Err(NotAFigure::Absurd);
    }
    Ok(Scaled { units, rounded: rest.iter().any(|digit| *digit != 0) })
}

/// The dearest that is believed, in pico-dollars: the dearest tokens that a list ever named were 600 dollars a million, the
/// dearest single thing some dollars.
pub fn most(class: Class) -> u64 {
    match class.unit() {
        Unit::MillionTokens | Unit::MillionCharacters => 1_000_000_000,
        Unit::One => 100_000_000_000_000,
    }
}

/// As a folder's file says it: dollars per million, or dollars for one.
pub fn dollars(class: Class, pico: u64) -> String {
    let decimals = match class.unit() {
        Unit::MillionTokens | Unit::MillionCharacters => 6,
        Unit::One => 12,
    };
    let scale = 10_u64.pow(decimals);
    let fraction = format!("{:0width$}", pico % scale, width = decimals as usize);
    // Two decimals, as people write dollars, and more where there are more.
    let kept = fraction.trim_end_matches('0').len().max(2);
    format!("{}.{}", pico / scale, &fraction[..kept])
}
