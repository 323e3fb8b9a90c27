//! Time: the only file that asks for it, and how people write it. Days are UTC.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "this is the place that may")]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// For waiting: it does not jump when somebody sets the clock.
pub struct Timer(Instant);

impl Timer {
    #[expect(clippy::disallowed_methods, reason = "this is the place that may")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// "250ms", "30s", "5m", "24h", "30d", "2w"; zero is a duration, too.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write a number and a unit, such as 30s, 5m, 24h, 30d");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => DAY * 1_000,
        "w" => 7 * DAY * 1_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let total = number.checked_mul(milliseconds).filter(|total| *total <= LONGEST_DAYS * DAY * 1_000);
    total.map(Duration::from_millis).ok_or_else(|| format!("{text:?} is longer than {LONGEST_DAYS} days"))
}

/// A moment: "2026-01-31", "2026-01-31T12:30:00Z", or "7d", which is so long ago.
pub fn moment(text: &str, now: u64) -> Result<u64, String> {
    match date(text) {
        Some(seconds) => Ok(seconds),
        None => match duration(text) {
            Ok(ago) => Ok(now.saturating_sub(ago.as_secs())),
            Err(_) => {
                Err(format!("{text:?} is no moment; write 2026-01-31, 2026-01-31T12:30:00Z, or how long ago: 7d"))
            }
        },
    }
}

/// A moment to come: a date, or "30d" from now.
pub fn deadline(text: &str, now: u64) -> Result<u64, String> {
    let at = match date(text) {
        Some(seconds) => seconds,
        None => now + duration(text)?.as_secs(),
    };
    if at > now { Ok(at) } else { Err(format!("{text:?} is not in the future")) }
}

/// `2026-01-31`
pub fn day(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / DAY);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `2026-01-31T12:30:00Z`
pub fn stamp(seconds: u64) -> String {
    let rest = seconds % DAY;
    format!("{}T{:02}:{:02}:{:02}Z", day(seconds), rest / 3_600, rest / 60 % 60, rest % 60)
}

/// `45s`, `12m`, `3h`, `9d`: as exact as a listing needs.
pub fn rough(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / DAY),
    }
}

const DAY: u64 = 86_400;
/// A century: whoever writes more means something else.
const LONGEST_DAYS: u64 = 36_525;

fn date(text: &str) -> Option<u64> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let number = |text: &str, digits: usize| {
        (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse::<u64>().ok())?
    };
    let mut parts = date.split('-');
    let (year, month, day) = (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let mut clock = time.split(':');
    let (hour, minute, second) = (number(clock.next()?, 2)?, number(clock.next()?, 2)?, number(clock.next()?, 2)?);
    if parts.next().is_some() || clock.next().is_some() || hour > 23 || minute > 59 || second > 59 || year < 1970 {
        return None;
    }
    let days = days_of(year, month, day)?;
    // The 31st of April would become the 1st of May.
    (civil(days) == (year, month, day)).then_some(days * DAY + hour * 3_600 + minute * 60 + second)
}

/// Days since 1970, counted from the first of a March so that leap days come last in their year.
fn days_of(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year;
    days.checked_sub(719_468)
}

fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_two_centuries_reads_back() {
        for days in 0..73_000 {
            let seconds = days * DAY + 3_661;
            assert_eq!(date(&stamp(seconds)), Some(seconds), "{}", stamp(seconds));
            assert_eq!(date(&day(seconds)), Some(days * DAY));
        }
        assert_eq!(stamp(1_767_225_599), "2025-12-31T23:59:59Z");
        assert_eq!(day(1_709_164_800), "2024-02-29");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for wrong in ["2026-02-29", "2026-13-01", "2026-00-01", "26-01-01", "2026-1-1", "2026-01-01T25:00:00Z", "", "x"]
        {
            assert_eq!(date(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_and_moments() {
        assert_eq!(duration("30d"), Ok(Duration::from_secs(30 * DAY)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for wrong in ["", "5", "d", "-1d", "1.5h", "99999999999999999999s", "9999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(moment("1d", 2 * DAY), Ok(DAY));
        assert_eq!(moment("1970-01-02", 0), Ok(DAY));
        assert_eq!(deadline("1d", DAY), Ok(2 * DAY));
        assert!(deadline("1970-01-02", 2 * DAY).is_err() && deadline("0s", 5).is_err());
    }
}
