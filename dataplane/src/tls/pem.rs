//! PEM files of the operator's: keys, certificates, roots. An error names the file and the way out.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Something that the operator has to set right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetupFault {
    pub what: String,
    pub fix: &'static str,
}

impl SetupFault {
    pub(super) fn of_file(path: &Path, what: impl fmt::Display, fix: &'static str) -> Self {
        Self { what: format!("{}: {what}", path.display()), fix }
    }
}

impl fmt::Display for SetupFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.fix)
    }
}

impl std::error::Error for SetupFault {}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, SetupFault> {
    let unreadable = |error| SetupFault::of_file(path, error, "name a file that this process may read");
    let mut pem = Vec::new();
    File::open(path).map_err(unreadable)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut pem).map_err(unreadable)?;
    if pem.len() as u64 > FILE_BYTES_MAX {
        return Err(SetupFault::of_file(path, "is larger than 4 MiB", "name a PEM file"));
    }
    Ok(pem)
}

/// All certificates of a file, at least one.
pub(super) fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, SetupFault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(SetupFault::of_file(path, "holds no certificate", "write it in PEM: -----BEGIN CERTIFICATE-----")),
        Err(error) => Err(SetupFault::of_file(path, error, "write the whole file again, in PEM")),
    }
}

/// The first private key of a file.
pub(super) fn private_key(path: &Path, pem: &[u8]) -> Result<PrivateKeyDer<'static>, SetupFault> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        let what = match error {
            rustls::pki_types::pem::Error::NoItemsFound => "holds no private key".to_owned(),
            error => error.to_string(),
        };
        SetupFault::of_file(path, what, "write the key in PEM, without a passphrase: -----BEGIN PRIVATE KEY-----")
    })
}

/// A system's whole bundle of roots is a quarter of a MiB.
const FILE_BYTES_MAX: u64 = 4 << 20;
