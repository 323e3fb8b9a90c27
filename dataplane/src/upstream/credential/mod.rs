//! The ways to show a vendor who pays: one file each, one line in [`read`].

mod field;
mod query;
mod sigv4;
#[cfg(test)]
mod tests;
mod token;

pub use token::{Granted, Token, read_answer};

use weir_shared::catalog::{AuthScheme, Vendor};

use crate::secret::Badge;

/// What an operator's secret turned out to be.
pub enum Found {
    /// It is shown as it is, or signs by itself.
    Badge(Badge),
    /// It is exchanged for tokens.
    Token(Token),
}

/// Why a secret is of no use. It says nothing of what stands in it.
pub type Unusable = &'static str;

/// A secret's text, read as its vendor's way wants it.
pub fn read(vendor: &Vendor, text: &str) -> Result<Found, Unusable> {
    if text.len() > SECRET_BYTES_MAX {
        return Err("is longer than 64 KiB");
    }
    let badge = match vendor.auth {
        AuthScheme::Bearer => field::bearer(one_word(text)?),
        AuthScheme::XApiKey => field::named("x-api-key", one_word(text)?),
        AuthScheme::XGoogApiKey => field::named("x-goog-api-key", one_word(text)?),
        AuthScheme::ApiKey => field::named("api-key", one_word(text)?),
        AuthScheme::QueryKey => query::key(one_word(text)?),
        AuthScheme::AwsSigV4 => sigv4::keys(text, &vendor.signing)?,
        AuthScheme::AzureEntra => return token::entra(text, vendor).map(Found::Token),
        AuthScheme::GoogleServiceAccount => return token::service_account(text, vendor).map(Found::Token),
    };
    Ok(Found::Badge(Badge { sign: badge, until_ms: None }))
}

/// A service account's file with room to spare.
const SECRET_BYTES_MAX: usize = 64 << 10;

/// A key stands alone on the first line.
fn one_word(text: &str) -> Result<&str, Unusable> {
    graphic(text.lines().next().unwrap_or_default().trim())
}

fn graphic(word: &str) -> Result<&str, Unusable> {
    match word {
        "" => Err("is empty on this node"),
        word if word.len() > 8 << 10 => Err("is longer than 8 KiB"),
        word if !word.bytes().all(|byte| byte.is_ascii_graphic()) => Err("holds a character that no header may hold"),
        word => Ok(word),
    }
}
