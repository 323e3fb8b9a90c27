//! What a request consumed, in disjoint classes: no token stands in two of them, and together they are the vendor's total.

#![deny(clippy::float_arithmetic)]

/// One line here is one class everywhere: in usage, in prices, in records and in reports.
macro_rules! classes {
    ($($(#[$doc:meta])* $class:ident $name:literal $unit:ident,)+) => {
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Class { $($(#[$doc])* $class,)+ }

        impl Class {
            pub const ALL: &[Self] = &[$(Self::$class,)+];
            pub const COUNT: usize = Self::ALL.len();

            pub fn name(self) -> &'static str {
                match self { $(Self::$class => $name,)+ }
            }

            pub fn unit(self) -> Unit {
                match self { $(Self::$class => Unit::$unit,)+ }
            }
        }
    };
}

/// What a price of this class is said per.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    MillionTokens,
    MillionCharacters,
    One,
}

classes! {
    /// Tokens of the prompt that were neither read from nor written to a vendor's cache.
    Input "input" MillionTokens,
    CacheRead "cache_read" MillionTokens,
    CacheWrite5m "cache_write_5m" MillionTokens,
    CacheWrite1h "cache_write_1h" MillionTokens,
    /// Tokens of the answer that are not reasoning and not audio.
    Output "output" MillionTokens,
    Reasoning "reasoning" MillionTokens,
    AudioInput "audio_input" MillionTokens,
    AudioOutput "audio_output" MillionTokens,
    ImageInput "image_input" MillionTokens,
    ImageOutput "image_output" MillionTokens,
    Image "image" One,
    Request "request" One,
    Second "second" One,
    Page "page" One,
    Character "character_million" MillionCharacters,
    /// Calls of tools that the vendor runs itself (web search and the like).
    ServerTool "server_tool" One,
}

impl Class {
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|class| class.name() == name)
    }

    /// A class without a price of its own is paid like this one.
    pub fn priced_like(self) -> Option<Self> {
        match self {
            Self::CacheRead | Self::CacheWrite5m | Self::AudioInput | Self::ImageInput => Some(Self::Input),
            Self::CacheWrite1h => Some(Self::CacheWrite5m),
            Self::Reasoning | Self::AudioOutput | Self::ImageOutput => Some(Self::Output),
            _ => None,
        }
    }

    /// Counts towards the tokens of the prompt, which choose the context band.
    pub fn is_prompt_token(self) -> bool {
        matches!(
            self,
            Self::Input
                | Self::CacheRead
                | Self::CacheWrite5m
                | Self::CacheWrite1h
                | Self::AudioInput
                | Self::ImageInput
        )
    }

    pub fn is_answer_token(self) -> bool {
        matches!(self, Self::Output | Self::Reasoning | Self::AudioOutput | Self::ImageOutput)
    }
}

/// More than this of anything in one request is a vendor's mistake, not a bill.
pub const COUNT_MAX: u64 = 1 << 48;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    counts: [u64; Class::COUNT],
}

impl Usage {
    pub const NONE: Self = Self { counts: [0; Class::COUNT] };

    pub fn of(self, class: Class) -> u64 {
        self.counts[class as usize]
    }

    pub fn set(&mut self, class: Class, count: u64) {
        self.counts[class as usize] = count;
    }

    /// Both together, class by class.
    pub fn plus(self, other: Self) -> Self {
        Class::ALL.iter().fold(self, |sum, &class| sum.with(class, sum.of(class).saturating_add(other.of(class))))
    }

    pub fn with(mut self, class: Class, count: u64) -> Self {
        self.set(class, count);
        self
    }

    /// The classes that were used, in their order.
    pub fn each(&self) -> impl Iterator<Item = (Class, u64)> + '_ {
        Class::ALL.iter().map(|&class| (class, self.of(class))).filter(|&(_, count)| count > 0)
    }

    pub fn prompt_tokens(&self) -> u64 {
        self.sum(Class::is_prompt_token)
    }

    pub fn answer_tokens(&self) -> u64 {
        self.sum(Class::is_answer_token)
    }

    pub fn tokens(&self) -> u64 {
        self.prompt_tokens().saturating_add(self.answer_tokens())
    }

    fn sum(&self, counts: impl Fn(Class) -> bool) -> u64 {
        // Every count is below 2^48 (readers refuse more) and there are sixteen of them.
        self.each().filter(|&(class, _)| counts(class)).fold(0, |sum: u64, (_, count)| sum.saturating_add(count))
    }
}

/// Which of a vendor's price lists a request was served under.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[repr(u8)]
pub enum Tier {
    #[default]
    Standard,
    Batch,
    Flex,
    Priority,
}

impl Tier {
    pub const ALL: &[Self] = &[Self::Standard, Self::Batch, Self::Flex, Self::Priority];

    pub fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Batch => "batch",
            Self::Flex => "flex",
            Self::Priority => "priority",
        }
    }

    /// A vendor's word for the tier it used; what we do not know is billed as standard.
    pub fn of_vendor_word(word: &str) -> Self {
        Self::ALL.iter().copied().find(|tier| tier.name() == word).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_do_not_overlap_and_read_back() {
        for &class in Class::ALL {
            assert_eq!(Class::parse(class.name()), Some(class));
            assert!(!(class.is_prompt_token() && class.is_answer_token()));
        }
        let usage = Usage::NONE.with(Class::Input, 10).with(Class::CacheRead, 90).with(Class::Reasoning, 5);
        assert_eq!((usage.prompt_tokens(), usage.answer_tokens(), usage.tokens()), (100, 5, 105));
    }

    #[test]
    fn borrowing_a_price_ends() {
        for &class in Class::ALL {
            let mut at = class;
            for _ in 0..Class::COUNT {
                match at.priced_like() {
                    Some(next) => at = next,
                    None => break,
                }
            }
            assert_eq!(at.priced_like(), None, "{class:?} borrows in a circle");
        }
    }
}
