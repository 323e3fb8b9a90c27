//! A table of cases: all are run, and all that fail are told, with their names.

pub struct Table {
    failures: Vec<String>,
    cases: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    pub fn new() -> Self {
        Self { failures: Vec::new(), cases: 0 }
    }

    /// One case: `Err` says what is wrong with it.
    pub fn case(&mut self, name: impl std::fmt::Display, outcome: Result<(), String>) {
        self.cases += 1;
        if let Err(why) = outcome {
            let shown: String = why.chars().take(SHOWN_CHARS_MAX).collect();
            self.failures.push(format!("── {name}: {shown}"));
        }
    }

    /// The test fails when a case has.
    #[track_caller]
    pub fn end(self) {
        assert!(self.cases > 0, "a table without cases");
        let (failed, cases) = (self.failures.len(), self.cases);
        assert!(failed == 0, "{failed} of {cases} cases:\n{}", self.failures.join("\n"));
    }
}

/// A stream of megabytes says no more than its beginning; where a part of it matters, the message starts with that.
const SHOWN_CHARS_MAX: usize = 1_200;

/// `Err` with both sides when they differ.
pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} is {found:?}, not {expected:?}")) }
}

pub fn ensure(is: bool, why: impl Into<String>) -> Result<(), String> {
    if is { Ok(()) } else { Err(why.into()) }
}
