//! Why a command did not do what it was asked: with what exit code, and what to do next.

use weir_shared::fault::Exit;
use weir_shared::store::StoreError;

#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub what: String,
    /// What the person at the terminal can do about it.
    pub next: String,
    /// For scripts: joined to the error object under `--json`.
    pub details: serde_json::Map<String, serde_json::Value>,
}

impl Failure {
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), next: String::new(), details: serde_json::Map::new() }
    }

    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = next.into();
        self
    }

    pub fn detail(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    pub fn json(&self) -> serde_json::Value {
        let mut object = self.details.clone();
        let error = serde_json::json!({
            "exit": self.exit as u8, "name": self.exit.name(), "message": self.what, "next": self.next,
        });
        object.insert("error".into(), error);
        object.into()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let (exit, next) = match &error {
            StoreError::Conflict { .. } => (Exit::Conflict, "look at `weirctl history`, then try again"),
            StoreError::Missing(_) | StoreError::Corrupt(_) => {
                (Exit::Store, "restore the store from a copy; running nodes keep what they have")
            }
            StoreError::Refused(_) => (Exit::Store, "nothing was changed"),
            StoreError::Unavailable(_) => {
                (Exit::Store, "check --store and --state (WEIR_STORE, WEIR_STATE), and who may write there")
            }
        };
        Self::new(exit, error.to_string()).next(next)
    }
}
