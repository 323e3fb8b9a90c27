//! How long anything may take. Each name says between which two moments.

use std::time::Duration;

macro_rules! times {
    ($($(#[$doc:meta])+ $name:ident = $default:literal,)+) => {
        /// In milliseconds, so that a deadline is one addition to a clock that a core reads ten times a second.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct Times { $($(#[$doc])+ pub $name: u64,)+ }

        impl Default for Times {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        /// As an operator writes them: "250ms", "10s", "5m". What is not said keeps its default.
        #[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct TimesDraft {
            $(#[serde(default, skip_serializing_if = "Option::is_none")] pub $name: Option<String>,)+
        }

        impl TimesDraft {
            /// On top of `base`; every time that cannot be read is reported by its name.
            pub fn over(&self, base: Times, mut fault: impl FnMut(&'static str, NotADuration)) -> Times {
                let mut times = base;
                $(if let Some(text) = &self.$name {
                    match parse(text) {
                        Ok(duration) => times.$name = duration.as_millis() as u64,
                        Err(reason) => fault(stringify!($name), reason),
                    }
                })+
                times
            }
        }
    };
}

times! {
    /// From a request's first byte to the end of its head.
    header = 10_000,
    /// Between two reads of a request's body.
    body = 30_000,
    /// To a vendor's open connection: TCP and TLS together.
    connect = 1_000,
    /// From the sent request to the head of the vendor's answer, for streams; all attempts share it.
    first_byte = 60_000,
    /// The same for models that think before they answer.
    first_byte_reasoning = 600_000,
    /// Between two data events of a stream; comments do not count.
    idle = 60_000,
    /// From the admitted request to the end of its answer.
    total = 600_000,
    /// Without progress while writing to the caller.
    write = 30_000,
    /// An idle connection of a caller.
    keepalive = 75_000,
    /// An idle connection to a vendor.
    upstream_keepalive = 30_000,
    /// From SIGTERM to the last stream cut.
    drain = 300_000,
    /// Silence after which a streaming caller gets a sign of life.
    heartbeat = 15_000,
    /// A TLS handshake with a caller.
    handshake = 10_000,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotADuration {
    Malformed,
    OutOfRange,
}

/// A day: longer waits are somebody's mistake.
const LONGEST: Duration = Duration::from_secs(86_400);

pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| NotADuration::Malformed)?;
    let milliseconds = match &text[digits..] {
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err(NotADuration::Malformed),
    };
    let duration = Duration::from_millis(milliseconds.ok_or(NotADuration::OutOfRange)?);
    if duration.is_zero() || duration > LONGEST { Err(NotADuration::OutOfRange) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read() {
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("5m"), Ok(Duration::from_secs(300)));
        for malformed in ["", "s", "10", "1.5s", "-1s", "10 s", "1d"] {
            assert_eq!(parse(malformed), Err(NotADuration::Malformed), "{malformed:?}");
        }
        assert_eq!(parse("0s"), Err(NotADuration::OutOfRange));
        assert_eq!(parse("25h"), Err(NotADuration::OutOfRange));
    }

    #[test]
    fn what_is_not_said_keeps_its_default_and_what_is_wrong_is_named() {
        let draft = TimesDraft { idle: Some("5s".into()), total: Some("soon".into()), ..TimesDraft::default() };
        let mut wrong = Vec::new();
        let times = draft.over(Times::default(), |name, _| wrong.push(name));
        assert_eq!((times.idle, times.total, times.header), (5_000, 600_000, 10_000));
        assert_eq!(wrong, ["total"]);
    }
}
