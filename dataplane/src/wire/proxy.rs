//! The PROXY protocol, version 2: what a balancer says of a connection before its first byte.
//!
//! Only where the caller is, is taken from it. It is never read from somebody who is not trusted, and never guessed: a
//! header that is not exactly one ends the connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the first bytes of a connection are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Said {
    /// No header, or its beginning: so many bytes more are needed to go on, and they belong to it if it is one.
    More(usize),
    /// No header: the connection begins with these bytes.
    Nothing,
    /// A header of so many bytes. `None`: it is the balancer's own connection, or it does not know whose.
    Here { bytes: usize, source: Option<IpAddr> },
}

/// A header that is broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadProxy;

/// No request and no handshake starts like this.
pub const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const FIXED_BYTES: usize = 16;
/// Addresses, and what balancers add: names, certificates' subjects, checksums.
const REST_BYTES_MAX: usize = 4 << 10;

pub fn read(bytes: &[u8]) -> Result<Said, BadProxy> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes[..known] != SIGNATURE[..known] {
        return Ok(Said::Nothing);
    }
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        return Ok(Said::More(FIXED_BYTES - bytes.len()));
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > REST_BYTES_MAX || !matches!(command, LOCAL | PROXY) {
        return Err(BadProxy);
    }
    let Some(rest) = rest.get(..length) else { return Ok(Said::More(length - rest.len())) };
    let source = match (command, family) {
        (LOCAL, _) => None,
        (_, TCP4) => {
            let (addresses, _) = rest.split_first_chunk::<12>().ok_or(BadProxy)?;
            let [a, b, c, d, ..] = *addresses;
            Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        (_, TCP6) => {
            let (addresses, _) = rest.split_first_chunk::<36>().ok_or(BadProxy)?;
            let (source, _) = addresses.split_first_chunk::<16>().ok_or(BadProxy)?;
            Some(IpAddr::V6(Ipv6Addr::from(*source)).to_canonical())
        }
        // Not known, or a socket of the balancer's own machine.
        (_, UNSPECIFIED | UNIX) => None,
        _ => return Err(BadProxy),
    };
    Ok(Said::Here { bytes: FIXED_BYTES + length, source })
}

/// Version and command.
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
/// Family and transport.
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        [&SIGNATURE[..], &[command, family], &(rest.len() as u16).to_be_bytes(), rest].concat()
    }

    #[test]
    fn a_source_is_read_and_everything_else_passed_over() {
        let v4 = [192, 0, 2, 9, 10, 0, 0, 1, 0, 1, 0, 2];
        let bytes = header(PROXY, TCP4, &[&v4[..], b"more"].concat());
        let source = Some(IpAddr::from([192, 0, 2, 9]));
        assert_eq!(read(&[&bytes[..], b"GET"].concat()), Ok(Said::Here { bytes: 32, source }));
        assert_eq!(read(&bytes[..20]), Ok(Said::More(12)));
        assert_eq!(read(b""), Ok(Said::More(16)));
        assert_eq!(read(b"\r\nGET"), Ok(Said::Nothing));
        assert_eq!(read(&header(LOCAL, TCP4, &v4)), Ok(Said::Here { bytes: 28, source: None }));
        for (command, family, rest) in
            [(0x22, TCP4, &v4[..]), (0x11, TCP4, &v4), (PROXY, 0x12, &v4), (PROXY, TCP4, &v4[1..])]
        {
            assert_eq!(read(&header(command, family, rest)), Err(BadProxy));
        }
    }
}
