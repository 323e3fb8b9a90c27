//! Two ends in one test: a certificate authority, both configurations, and a wire that is a vector.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{env, fs, process};

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig, SupportedProtocolVersion};

use super::{CertStore, Fed, KeyPairFiles, Roots, Session, TlsFault, client_config, server_config};

/// A folder of this test's, with a CA in it. It goes when the test does.
pub struct Ca {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = env::temp_dir().join(format!("weir-tls-{}-{number}", process::id()));
        fs::create_dir_all(&folder).unwrap();

        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("test CA {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        fs::write(folder.join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Write `name.pem` and `name.key` for these host names.
    pub fn issue(&self, name: &str, hosts: &[&str]) -> KeyPairFiles {
        self.issue_with(name, hosts, |_| {})
    }

    pub fn issue_expired(&self, name: &str, hosts: &[&str]) -> KeyPairFiles {
        self.issue_with(name, hosts, |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        })
    }

    pub fn issue_with(&self, name: &str, hosts: &[&str], change: impl FnOnce(&mut CertificateParams)) -> KeyPairFiles {
        let key = KeyPair::generate().unwrap();
        let hosts: Vec<String> = hosts.iter().map(|host| host.to_string()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        change(&mut params);
        let files =
            KeyPairFiles { certificate: self.path(&format!("{name}.pem")), key: self.path(&format!("{name}.key")) };
        fs::write(&files.certificate, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    pub fn server(&self, files: KeyPairFiles) -> Arc<ServerConfig> {
        server_config(CertStore::open(vec![files]).unwrap()).unwrap()
    }

    pub fn client(&self) -> Arc<ClientConfig> {
        client_config(&Roots::File(self.path("ca.pem"))).unwrap()
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A session and what lies in front of it.
pub struct End {
    pub session: Session,
    /// Ciphertext that came in and was not consumed.
    pub cipher: Vec<u8>,
    pub plain: Vec<u8>,
    pub last: Option<Fed>,
}

impl End {
    pub fn new(session: Session) -> Self {
        Self { session, cipher: Vec::new(), plain: Vec::new(), last: None }
    }

    pub fn take(&mut self, bytes: &[u8]) -> Result<Fed, TlsFault> {
        self.cipher.extend_from_slice(bytes);
        let before = self.plain.len();
        let fed = self.session.feed(&mut self.cipher, &mut self.plain)?;
        assert!(self.plain.len() - before <= fed.consumed);
        self.cipher.drain(..fed.consumed);
        self.last = Some(fed);
        Ok(fed)
    }

    pub fn pending(&mut self) -> Vec<u8> {
        let mut cipher = Vec::new();
        self.session.pending(&mut cipher);
        cipher
    }

    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut cipher = Vec::new();
        self.session.seal(plain, &mut cipher).unwrap();
        cipher
    }

    pub fn close(&mut self) -> Vec<u8> {
        let mut cipher = Vec::new();
        self.session.close(&mut cipher);
        cipher
    }
}

pub struct Pair {
    pub client: End,
    pub server: End,
}

impl Pair {
    pub fn new(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, host: &str) -> Self {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        Self {
            client: End::new(Session::client(client.clone(), name).unwrap()),
            server: End::new(Session::server(server.clone()).unwrap()),
        }
    }

    /// Carry bytes both ways until nobody wants to write, in pieces of at most `piece` bytes.
    pub fn shake(&mut self, piece: usize) -> Result<(), TlsFault> {
        loop {
            let to_server = self.client.pending();
            let to_client = self.server.pending();
            if to_server.is_empty() && to_client.is_empty() {
                return Ok(());
            }
            for bytes in to_server.chunks(piece) {
                self.server.take(bytes)?;
            }
            for bytes in to_client.chunks(piece) {
                self.client.take(bytes)?;
            }
        }
    }

    pub fn ready(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Self {
        let mut pair = Self::new(client, server, "localhost");
        pair.shake(usize::MAX).unwrap();
        assert!(pair.client.session.is_ready() && pair.server.session.is_ready());
        pair
    }
}

/// A client that knows one version only, otherwise ours.
pub fn client_of(version: &'static SupportedProtocolVersion, ca: &Ca) -> Arc<ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for root in super::pem::certificates(&ca.path("ca.pem"), &fs::read(ca.path("ca.pem")).unwrap()).unwrap() {
        roots.add(root).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

/// xorshift64*: the same numbers in every run.
pub struct Seeded(pub u64);

impl Seeded {
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        high as usize % bound
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}
