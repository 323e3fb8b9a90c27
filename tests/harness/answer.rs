//! An answer as a caller reads it.

use serde_json::Value;
use weirbench::grammar::{self, End, Reading};

/// Whole or not: `broken` says why not.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub broken: Option<String>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {}", self.text()))
    }

    pub fn request_id(&self) -> String {
        self.header("x-request-id").unwrap_or_default().to_owned()
    }

    /// The gateway's word for what went wrong, wherever the dialect puts it; a status in words where it has no place.
    pub fn code(&self) -> String {
        let Ok(value) = serde_json::from_slice::<Value>(&self.body) else { return String::new() };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let error = &value["error"];
        match () {
            () if error["details"][0]["reason"].is_string() => text(&error["details"][0]["reason"]),
            () if error["code"].is_string() => text(&error["code"]),
            () => text(&error["type"]),
        }
    }

    /// The end of the body: where a stream goes wrong.
    pub fn tail(&self) -> String {
        String::from_utf8_lossy(&self.body[self.body.len().saturating_sub(800)..]).into_owned()
    }

    /// The stream is legal in its dialect, whether it ended well or with an error.
    pub fn read(&self, dialect: grammar::Dialect) -> Result<Reading, String> {
        if let Some(broken) = &self.broken {
            return Err(format!("the answer is not whole: {broken}\n{}", self.tail()));
        }
        if self.status != 200 {
            return Err(format!("status {}: {}", self.status, self.text()));
        }
        grammar::check(dialect, &self.body).map_err(|illegal| format!("{illegal}\n{}", self.tail()))
    }

    /// The stream ended well.
    pub fn finished(&self, dialect: grammar::Dialect) -> Result<Reading, String> {
        let reading = self.read(dialect)?;
        match &reading.end {
            End::Finished => Ok(reading),
            error => Err(format!("it ended with {error:?}\n{}", self.tail())),
        }
    }
}
