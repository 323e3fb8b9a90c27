//! Why a session ended. No name of a host, no path and no text of the peer's is in here: these go into metrics and
//! envelopes.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The peer's certificate does not lead to a root that we trust, or is unfit for its use.
    Untrusted,
    /// The peer's certificate is past its time, or before it.
    Expired,
    /// The peer's certificate is for another name.
    WrongHost,
    /// No application protocol in common (RFC 7301). We speak `http/1.1` only.
    NoProtocol,
    /// The two sides found no common version or suite, or the peer broke the rules of the handshake.
    Handshake,
    /// The peer sent a fatal alert: it refuses us. On a server, `UnknownCA` and `BadCertificate` speak of our
    /// certificate.
    Refused(AlertDescription),
    /// The first bytes were no TLS. Mostly plain HTTP on a TLS port, or a vendor's port without TLS.
    NotTls,
    /// A record that does not decrypt, or a message that breaks the rules, on a connection that stood.
    Corrupt,
    /// A handshake message beyond what we hold for one.
    TooLarge,
    /// The transport ended without close_notify.
    Truncated,
    /// A write after the close.
    Closed,
    /// A write before the handshake was done.
    NotReady,
    /// A key has sealed as much as it safely may. The alert says close_notify.
    Exhausted,
    /// A fault of ours: no certificate, no random numbers, no clock, or ciphertext that was not handed back.
    Internal,
}

/// How far a session was when rustls refused to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// No record of the peer's has been understood yet.
    Greeting,
    Handshaking,
    Established,
}

impl TlsFault {
    /// A word for metrics. It never changes once it is published.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Untrusted => "untrusted",
            Self::Expired => "expired",
            Self::WrongHost => "wrong_host",
            Self::NoProtocol => "no_protocol",
            Self::Handshake => "handshake",
            Self::Refused(_) => "refused",
            Self::NotTls => "not_tls",
            Self::Corrupt => "corrupt",
            Self::TooLarge => "too_large",
            Self::Truncated => "truncated",
            Self::Closed => "closed",
            Self::NotReady => "not_ready",
            Self::Exhausted => "exhausted",
            Self::Internal => "internal",
        }
    }

    pub(super) fn from_rustls(error: &Error, stage: Stage) -> Self {
        match error {
            Error::InvalidCertificate(why) => Self::from_certificate(why),
            Error::NoCertificatesPresented | Error::UnsupportedNameType => Self::Untrusted,
            Error::NoApplicationProtocol | Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
                Self::NoProtocol
            }
            Error::AlertReceived(alert) => Self::Refused(*alert),
            Error::InvalidMessage(InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion)
                if stage == Stage::Greeting =>
            {
                Self::NotTls
            }
            Error::DecryptError | Error::PeerSentOversizedRecord | Error::InvalidMessage(_) => Self::Corrupt,
            Error::FailedToGetCurrentTime | Error::FailedToGetRandomBytes | Error::EncryptError | Error::General(_) => {
                Self::Internal
            }
            _ if stage == Stage::Established => Self::Corrupt,
            _ => Self::Handshake,
        }
    }

    fn from_certificate(why: &CertificateError) -> Self {
        match why {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::Expired,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::WrongHost,
            _ => Self::Untrusted,
        }
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untrusted => "the peer's certificate is not trusted",
            Self::Expired => "the peer's certificate is not valid at this time",
            Self::WrongHost => "the peer's certificate is for another host",
            Self::NoProtocol => "the peer does not speak http/1.1 over TLS",
            Self::Handshake => "the TLS handshake failed",
            Self::Refused(alert) => return write!(f, "the peer refused the TLS connection: {alert:?}"),
            Self::NotTls => "the peer does not speak TLS",
            Self::Corrupt => "the peer sent corrupt TLS",
            Self::TooLarge => "the peer's TLS handshake is too large",
            Self::Truncated => "the TLS connection was cut",
            Self::Closed => "the TLS connection is closed",
            Self::NotReady => "the TLS handshake is not done",
            Self::Exhausted => "the TLS keys are used up",
            Self::Internal => "TLS failed on our side",
        })
    }
}

impl std::error::Error for TlsFault {}
