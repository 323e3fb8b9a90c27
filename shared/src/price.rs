//! What a model costs: rates per class, per tier, per band of prompt length.

#![deny(clippy::float_arithmetic)]

use crate::money::{Overflow, Pico, Rate};
use crate::usage::{Class, Tier, Usage};

/// One rate for each class, with the borrowed ones filled in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rates([Rate; Class::COUNT]);

impl Rates {
    pub const FREE: Self = Self([Rate(0); Class::COUNT]);

    /// A class that the list does not name is paid like [`Class::priced_like`] says, or is free.
    pub fn from_list(list: &[(Class, Rate)]) -> Self {
        let find = |class: Class| list.iter().find(|(named, _)| *named == class).map(|(_, rate)| *rate);
        let mut rates = [Rate(0); Class::COUNT];
        for &class in Class::ALL {
            let mut from = Some(class);
            rates[class as usize] = loop {
                match from {
                    Some(named) => match find(named) {
                        Some(rate) => break rate,
                        None => from = named.priced_like(),
                    },
                    None => break Rate(0),
                }
            };
        }
        Self(rates)
    }

    pub fn of(&self, class: Class) -> Rate {
        self.0[class as usize]
    }

    pub fn cost(&self, usage: &Usage) -> Result<Pico, Overflow> {
        usage.each().try_fold(Pico(0), |sum, (class, count)| sum.plus(self.of(class).times(count)))
    }

    pub fn dearest_prompt_token(&self) -> Rate {
        self.dearest(Class::is_prompt_token)
    }

    pub fn dearest_answer_token(&self) -> Rate {
        self.dearest(Class::is_answer_token)
    }

    fn dearest(&self, counts: impl Fn(Class) -> bool) -> Rate {
        Class::ALL.iter().copied().filter(|&class| counts(class)).map(|class| self.of(class)).max().unwrap_or_default()
    }
}

/// From this many tokens of prompt on, other rates hold for the whole request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Band {
    pub above_prompt_tokens: u64,
    pub rates: Rates,
}

/// One tier: its base rates and its bands, the longest prompts last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    pub base: Rates,
    pub bands: Vec<Band>,
}

impl Schedule {
    pub const FREE: Self = Self { base: Rates::FREE, bands: Vec::new() };

    pub fn for_prompt(&self, prompt_tokens: u64) -> &Rates {
        let band = self.bands.iter().rev().find(|band| prompt_tokens > band.above_prompt_tokens);
        band.map_or(&self.base, |band| &band.rates)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PriceList {
    pub standard: Schedule,
    /// Batch, flex, priority; a tier without a list is paid like standard.
    pub tiers: Vec<(Tier, Schedule)>,
}

impl PriceList {
    pub const FREE: Self = Self { standard: Schedule::FREE, tiers: Vec::new() };

    pub fn rates(&self, tier: Tier, prompt_tokens: u64) -> &Rates {
        let schedule = self.tiers.iter().find(|(named, _)| *named == tier).map_or(&self.standard, |(_, list)| list);
        schedule.for_prompt(prompt_tokens)
    }

    pub fn cost(&self, usage: &Usage, tier: Tier) -> Result<Pico, Overflow> {
        self.rates(tier, usage.prompt_tokens()).cost(usage)
    }

    /// The most that so many tokens can cost, whatever class, tier and band they fall into.
    pub fn worst_case(&self, prompt_tokens: u64, answer_tokens: u64) -> Result<Pico, Overflow> {
        let schedules = std::iter::once(&self.standard).chain(self.tiers.iter().map(|(_, list)| list));
        let mut worst = Pico(0);
        for schedule in schedules {
            for rates in std::iter::once(&schedule.base).chain(schedule.bands.iter().map(|band| &band.rates)) {
                let prompt = rates.dearest_prompt_token().times(prompt_tokens);
                let answer = rates.dearest_answer_token().times(answer_tokens);
                worst = worst.max(prompt.plus(answer)?.plus(rates.of(Class::Request).times(1))?);
            }
        }
        Ok(worst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(input: u64, output: u64) -> Rates {
        Rates::from_list(&[(Class::Input, Rate(input)), (Class::Output, Rate(output)), (Class::CacheRead, Rate(1))])
    }

    #[test]
    fn unnamed_classes_borrow() {
        let rates = rates(10, 40);
        assert_eq!(rates.of(Class::Reasoning), Rate(40));
        assert_eq!(rates.of(Class::CacheWrite1h), Rate(10));
        assert_eq!(rates.of(Class::CacheRead), Rate(1));
        assert_eq!(rates.of(Class::Image), Rate(0));
    }

    #[test]
    fn a_long_prompt_pays_the_band_for_all_of_it() {
        let list = PriceList {
            standard: Schedule {
                base: rates(10, 40),
                bands: vec![Band { above_prompt_tokens: 100, rates: rates(20, 60) }],
            },
            tiers: vec![(Tier::Batch, Schedule { base: rates(5, 20), bands: Vec::new() })],
        };
        let short = Usage::NONE.with(Class::Input, 100);
        let long = Usage::NONE.with(Class::Input, 101);
        assert_eq!(list.cost(&short, Tier::Standard), Ok(Pico(1_000)));
        assert_eq!(list.cost(&long, Tier::Standard), Ok(Pico(2_020)));
        assert_eq!(list.cost(&long, Tier::Batch), Ok(Pico(505)));
        assert_eq!(list.cost(&long, Tier::Flex), Ok(Pico(2_020)));
        assert_eq!(list.worst_case(10, 10), Ok(Pico(800)));
    }

    #[test]
    fn costs_agree_with_long_division_by_hand() {
        // An oracle in another form: sums kept as (dollars per million × tokens) in decimal strings of 10^-12.
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..100_000 {
            let (input, output) = (next() >> 24, next() >> 24);
            let (tokens_in, tokens_out) = (next() >> 16, next() >> 16);
            let usage = Usage::NONE.with(Class::Input, tokens_in).with(Class::Output, tokens_out);
            let high = |a: u64, b: u64| (u128::from(a) * u128::from(b)) as i128;
            let expected = high(input, tokens_in) + high(output, tokens_out);
            assert_eq!(rates(input, output).cost(&usage), Ok(Pico(expected)));
            let rounded = Pico(expected).round(0);
            match i64::try_from(expected / 1_000 + i128::from(expected % 1_000 >= 500)) {
                Ok(nano) => assert_eq!(rounded.map(|n| n.0), Ok(nano)),
                Err(_) => assert_eq!(rounded, Err(Overflow)),
            }
        }
    }
}
