//! A certificate authority made at start, a leaf for localhost and 127.0.0.1, and leaves that no client should accept.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// What is wrong with the leaf.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Leaf {
    #[default]
    Good,
    /// Signed by an authority that is in no file.
    Untrusted,
    Expired,
    /// Good, but for another name.
    WrongHost,
}

/// The server's side of TLS, and where its files are.
pub struct Identity {
    pub config: Arc<rustls::ServerConfig>,
    pub ca_pem: String,
    pub cert_pem: String,
    pub key_pem: String,
}

pub fn identity(leaf: Leaf) -> io::Result<Identity> {
    make(leaf).map_err(io::Error::other)
}

impl Identity {
    /// Writes ca.pem, cert.pem and key.pem.
    pub fn write(&self, folder: &Path) -> io::Result<PathBuf> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("cert.pem"), &self.cert_pem)?;
        std::fs::write(folder.join("key.pem"), &self.key_pem)?;
        let ca = folder.join("ca.pem");
        std::fs::write(&ca, &self.ca_pem)?;
        Ok(ca)
    }
}

fn make(leaf: Leaf) -> Result<Identity, Box<dyn std::error::Error + Send + Sync>> {
    let (ca_pem, issuer) = authority("weirbench test authority")?;
    let (_, stranger) = authority("an authority that nobody knows")?;
    let names = if leaf == Leaf::WrongHost {
        vec!["elsewhere.invalid".to_owned()]
    } else {
        vec!["localhost".to_owned(), "127.0.0.1".to_owned()]
    };
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "weirbench");
    if leaf == Leaf::Expired {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }
    let key = KeyPair::generate()?;
    let cert = params.signed_by(&key, if leaf == Leaf::Untrusted { &stranger } else { &issuer })?;
    let chain = vec![cert.der().clone()];
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der())?;
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, private)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Identity { config: Arc::new(config), ca_pem, cert_pem: cert.pem(), key_pem: key.serialize_pem() })
}

fn authority(name: &str) -> Result<(String, Issuer<'static, KeyPair>), rcgen::Error> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let cert = params.self_signed(&key)?;
    Ok((cert.pem(), Issuer::new(params, key)))
}
