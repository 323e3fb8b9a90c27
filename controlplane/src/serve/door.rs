//! TLS of the admin API: its certificate, and whose clients' certificates are believed.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;
use weir_shared::fault::Exit;

use super::Options;
use crate::failure::Failure;

pub fn tls(options: &Options) -> Result<Option<TlsAcceptor>, Failure> {
    let (Some(certificate), Some(key)) = (&options.certificate, &options.key) else { return Ok(None) };
    let wrong = |path: &Path, why: String| {
        Failure::new(Exit::Usage, format!("{}: {why}", path.display()))
            .next("name PEM files, the chain first and its key second")
    };
    let chain = certificates(certificate)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(certificate, error.to_string()))?;
    let builder = match &options.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(path)? {
                roots.add(root).map_err(|error| wrong(path, error.to_string()))?;
            }
            // Who shows none may have a token.
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated();
            builder.with_client_cert_verifier(verifier.build().map_err(|error| wrong(path, error.to_string()))?)
        }
    };
    let mut config = builder.with_single_cert(chain, private).map_err(|error| wrong(certificate, error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// The certificates of a PEM file; at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let wrong = |why: String| Failure::new(Exit::Usage, format!("{}: {why}", path.display())).next("name a PEM file");
    let all = CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
    let all: Vec<_> = all.collect::<Result<_, _>>().map_err(|error| wrong(error.to_string()))?;
    if all.is_empty() { Err(wrong("there is no certificate in it".into())) } else { Ok(all) }
}
