//! What a vendor says in the head of an answer of how much more it takes: OpenAI's words, which most others use, and
//! Anthropic's. What is absurd is not said.

use weir_shared::health::{Quota, Word};

use crate::clock;
use crate::wire::http1::{AnswerHead, Name};

/// The head of an answer is there: what it says of how much more the vendor takes is known to all cores at once.
/// `number`: of the call among those that left, see [`Quota::send`].
pub fn learn(quota: &Quota, number: u64, head: &AnswerHead, bytes: &[u8]) {
    let now = clock::now();
    let said = read(head, bytes, &|| clock::wall_at(now) / 1_000_000);
    quota.learn(said.requests, said.tokens, number, now / 1_000_000);
}

/// Of requests and of tokens, each when there is a count of what is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Said {
    requests: Option<Word>,
    tokens: Option<Word>,
}

/// `wall_ms` is asked when a moment is named.
fn read(head: &AnswerHead, bytes: &[u8], wall_ms: &dyn Fn() -> u64) -> Said {
    let (mut requests, mut tokens, mut input) = (Counts::default(), Counts::default(), Counts::default());
    for field in head.fields.iter().filter(|field| field.name == Name::Other) {
        let Some((of, what)) = kind(field.name_in(bytes)) else { continue };
        let counts = match of {
            Of::Requests => &mut requests,
            Of::Tokens => &mut tokens,
            Of::InputTokens => &mut input,
        };
        counts.take(what, field.value_in(bytes), wall_ms);
    }
    // Where prompts are counted apart, they are what a call is refused for; answers are counted while they are written.
    Said { requests: requests.word(), tokens: input.word().or(tokens.word()) }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Of {
    Requests,
    Tokens,
    InputTokens,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Limit,
    Left,
    Reset,
}

fn kind(name: &[u8]) -> Option<(Of, What)> {
    const OPENAI: &[u8] = b"x-ratelimit-";
    const ANTHROPIC: &[u8] = b"anthropic-ratelimit-";
    let behind = |prefix: &[u8]| {
        let front = name.get(..prefix.len())?;
        front.eq_ignore_ascii_case(prefix).then(|| &name[prefix.len()..])
    };
    let find = |table: &[(&[u8], Of, What)], rest: &[u8]| {
        table.iter().find(|(known, ..)| known.eq_ignore_ascii_case(rest)).map(|(_, of, what)| (*of, *what))
    };
    match name.first()? | 0x20 {
        b'x' => find(OPENAI_WORDS, behind(OPENAI)?),
        b'a' => find(ANTHROPIC_WORDS, behind(ANTHROPIC)?),
        _ => None,
    }
}

const OPENAI_WORDS: &[(&[u8], Of, What)] = &[
    (b"limit-requests", Of::Requests, What::Limit),
    (b"remaining-requests", Of::Requests, What::Left),
    (b"reset-requests", Of::Requests, What::Reset),
    (b"limit-tokens", Of::Tokens, What::Limit),
    (b"remaining-tokens", Of::Tokens, What::Left),
    (b"reset-tokens", Of::Tokens, What::Reset),
];

const ANTHROPIC_WORDS: &[(&[u8], Of, What)] = &[
    (b"requests-limit", Of::Requests, What::Limit),
    (b"requests-remaining", Of::Requests, What::Left),
    (b"requests-reset", Of::Requests, What::Reset),
    (b"tokens-limit", Of::Tokens, What::Limit),
    (b"tokens-remaining", Of::Tokens, What::Left),
    (b"tokens-reset", Of::Tokens, What::Reset),
    (b"input-tokens-limit", Of::InputTokens, What::Limit),
    (b"input-tokens-remaining", Of::InputTokens, What::Left),
    (b"input-tokens-reset", Of::InputTokens, What::Reset),
];

/// Of what is said twice, the first holds.
#[derive(Default)]
struct Counts {
    limit: Option<u64>,
    left: Option<u64>,
    full_in_ms: Option<u64>,
}

impl Counts {
    fn take(&mut self, what: What, value: &[u8], wall_ms: &dyn Fn() -> u64) {
        let (place, said) = match what {
            What::Limit => (&mut self.limit, number(value)),
            What::Left => (&mut self.left, number(value)),
            What::Reset => {
                let until = || moment_ms(value).map(|moment| moment.saturating_sub(wall_ms()));
                (&mut self.full_in_ms, duration_ms(value).or_else(until))
            }
        };
        *place = place.or(said);
    }

    fn word(&self) -> Option<Word> {
        Some(Word { left: self.left?, limit: self.limit, full_in_ms: self.full_in_ms })
    }
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value)
        .ok()
        .filter(|text| text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit()))?
        .parse()
        .ok()
}

/// `17ms`, `1s`, `8.64s`, `6m0s`, `1h2m3.4s`; a number alone is seconds.
fn duration_ms(value: &[u8]) -> Option<u64> {
    let mut rest = std::str::from_utf8(value).ok().filter(|text| !text.is_empty() && text.len() <= 32)?;
    let mut total = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let whole: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let mut thousandths = 0;
        if let Some(behind) = rest.strip_prefix('.') {
            let digits = behind.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(behind.len());
            let three = behind[..digits].bytes().chain(*b"000").take(3);
            thousandths = three.fold(0, |sum, digit| 10 * sum + u64::from(digit - b'0'));
            rest = &behind[digits..];
        }
        let letters = rest.find(|letter: char| !letter.is_ascii_lowercase()).unwrap_or(rest.len());
        let unit_ms = match &rest[..letters] {
            "ms" => 1,
            "s" | "" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        rest = &rest[letters..];
        total = total.saturating_add(whole.saturating_mul(unit_ms)).saturating_add(thousandths * unit_ms / 1_000);
    }
    Some(total)
}

/// `2026-11-28T23:30:00Z`, as Anthropic says it; parts of a second are left out.
fn moment_ms(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok().filter(|text| text.len() <= 40)?;
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.split('.').next()?.splitn(3, ':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    let is_one = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 61;
    if !is_one {
        return None;
    }
    // Years that begin in March have their odd day at their end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let days = days.checked_sub(DAYS_BEFORE_1970)?;
    Some((days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000)
}

/// From the first of March of the year 0.
const DAYS_BEFORE_1970: u64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::http1;

    fn said(fields: &str) -> Said {
        let bytes = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{fields}\r\n");
        let head = http1::answer(bytes.as_bytes(), &mut http1::Progress::default(), false).unwrap().unwrap();
        read(&head, bytes.as_bytes(), &|| 1_795_908_600_000)
    }

    fn word(left: u64, limit: Option<u64>, full_in_ms: Option<u64>) -> Option<Word> {
        Some(Word { left, limit, full_in_ms })
    }

    #[test]
    fn both_vocabularies_are_read() {
        let openai = "x-ratelimit-limit-requests: 60\r\nX-RateLimit-Remaining-Requests: 59\r\nx-ratelimit-reset-requests: 1s\r\n\
            x-ratelimit-limit-tokens: 150000\r\nx-ratelimit-remaining-tokens: 149984\r\nx-ratelimit-reset-tokens: 6m0s\r\n";
        let want =
            Said { requests: word(59, Some(60), Some(1_000)), tokens: word(149_984, Some(150_000), Some(360_000)) };
        assert_eq!(said(openai), want);
        let anthropic = "anthropic-ratelimit-requests-limit: 50\r\nanthropic-ratelimit-requests-remaining: 49\r\n\
            anthropic-ratelimit-requests-reset: 2026-11-28T23:30:01Z\r\nanthropic-ratelimit-tokens-remaining: 9\r\n\
            anthropic-ratelimit-input-tokens-remaining: 30000\r\nanthropic-ratelimit-input-tokens-limit: 40000\r\n";
        let want = Said { requests: word(49, Some(50), Some(1_000)), tokens: word(30_000, Some(40_000), None) };
        assert_eq!(said(anthropic), want);
        assert_eq!(said("x-request-id: 7\r\nx-ratelimit-limit-requests: 60\r\nalt-svc: clear\r\n"), Said::default());
    }

    #[test]
    fn what_is_absurd_is_not_said() {
        for absurd in ["-1", "1e9", "", "999999999999999999999999", "nine", "1.5"] {
            assert_eq!(said(&format!("x-ratelimit-remaining-requests: {absurd}\r\n")), Said::default(), "{absurd}");
        }
        for absurd in ["soon", "-1s", "1y", "1s!", "99999999999999999999999s", ".", "2026-13-01T00:00:00Z", "TZ", "é"]
        {
            let told = said(&format!("x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: {absurd}\r\n"));
            assert_eq!(told.requests, word(0, None, None), "{absurd}");
        }
        let past = said("x-ratelimit-remaining-requests: 0\r\nx-ratelimit-reset-requests: 1999-01-01T00:00:00Z\r\n");
        assert_eq!(past.requests, word(0, None, Some(0)));
        let twice = said("x-ratelimit-remaining-requests: 3\r\nx-ratelimit-remaining-requests: 0\r\n");
        assert_eq!(twice.requests, word(3, None, None));
    }

    #[test]
    fn durations_and_moments_are_read() {
        for (text, want) in
            [("17ms", 17), ("8.64s", 8_640), ("1h2m3.4s", 3_723_400), ("60", 60_000), ("0s", 0), ("2d", 172_800_000)]
        {
            assert_eq!(duration_ms(text.as_bytes()), Some(want), "{text}");
        }
        for (text, want) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600_000),
            ("2026-11-28T23:30:00Z", 1_795_908_600_000),
            ("2026-11-28T23:30:00.999Z", 1_795_908_600_000),
        ] {
            assert_eq!(moment_ms(text.as_bytes()), Some(want), "{text}");
        }
        assert_eq!(moment_ms(b"1970-01-01T00:00:00"), None);
    }
}
