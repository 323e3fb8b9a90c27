//! The promises of the TLS core, both sides against each other, without a socket.

use std::sync::Arc;

use rustls::{AlertDescription, ProtocolVersion};

use super::pair::{Ca, End, Pair, Seeded, VERSIONS, client_of};
use super::{
    HANDSHAKE_BYTES_MAX, RECORD_BYTES_MAX, RECORD_PLAIN_MAX, Roots, Session, TlsFault, client_config, sealed_len_max,
};

#[test]
fn a_handshake_and_an_exchange_in_both_versions() {
    let ca = Ca::new();
    let server = ca.server(ca.issue("a", &["localhost"]));
    for version in VERSIONS {
        let mut pair = Pair::ready(&client_of(version, &ca), &server);
        assert_eq!(pair.client.session.version(), Some(version.version));
        assert_eq!(pair.client.session.alpn(), Some(&b"http/1.1"[..]));
        assert_eq!(pair.server.session.alpn(), Some(&b"http/1.1"[..]));
        assert_eq!(pair.server.session.server_name(), Some("localhost"));
        assert_eq!(pair.client.session.server_name(), None);

        let asked = pair.client.seal(b"question");
        assert!(pair.server.take(&asked).unwrap().ready);
        assert_eq!(pair.server.plain, b"question");
        let answered = pair.server.seal(b"answer");
        pair.client.take(&answered).unwrap();
        assert_eq!(pair.client.plain, b"answer");
        assert!(pair.client.cipher.is_empty() && pair.server.cipher.is_empty());
    }
}

#[test]
fn a_tls13_servers_tickets_wait_and_nothing_else_does() {
    let ca = Ca::new();
    let server = ca.server(ca.issue("a", &["localhost"]));
    for version in VERSIONS {
        let mut pair = Pair::new(&client_of(version, &ca), &server, "localhost");
        let hello = pair.client.pending();
        assert!(pair.server.take(&hello).unwrap().write_now);
        let flight = pair.server.pending();
        assert!(pair.client.take(&flight).unwrap().write_now);
        let finished = pair.client.pending();
        let fed = pair.server.take(&finished).unwrap();
        assert!(fed.ready && pair.server.session.has_pending());
        assert_eq!(fed.write_now, version.version == ProtocolVersion::TLSv1_2);

        // What waited leaves with the first write, in one piece with it.
        let answer = pair.server.seal(b"answer");
        assert!(!pair.server.session.has_pending());
        assert!(pair.client.take(&answer).unwrap().ready);
        assert_eq!(pair.client.plain, b"answer");
    }
}

#[test]
fn a_clients_request_rides_with_the_end_of_its_handshake() {
    let ca = Ca::new();
    let mut pair = Pair::new(&ca.client(), &ca.server(ca.issue("a", &["localhost"])), "localhost");
    let hello = pair.client.pending();
    pair.server.take(&hello).unwrap();
    let flight = pair.server.pending();
    assert!(pair.client.take(&flight).unwrap().ready);
    let both = pair.client.seal(b"question");
    pair.server.take(&both).unwrap();
    assert_eq!(pair.server.plain, b"question");
}

#[test]
fn nothing_is_sealed_before_the_handshake_is_done() {
    let ca = Ca::new();
    let mut pair = Pair::new(&ca.client(), &ca.server(ca.issue("a", &["localhost"])), "localhost");
    let mut cipher = Vec::new();
    assert_eq!(pair.client.session.seal(b"x", &mut cipher), Err(TlsFault::NotReady));
    assert!(cipher.is_empty() && pair.client.session.has_pending());
    pair.shake(usize::MAX).unwrap();
    assert!(pair.client.session.is_ready());
}

#[test]
fn every_cut_of_the_ciphertext_gives_the_same_plaintext() {
    let ca = Ca::new();
    let server = ca.server(ca.issue("a", &["localhost"]));
    let mut seeded = Seeded(7);
    let parts: Vec<Vec<u8>> = [1, 700, 0, 16_384, 3, 20_000].into_iter().map(|len| seeded.bytes(len)).collect();
    let sent = parts.concat();

    for version in VERSIONS {
        let config = client_of(version, &ca);
        let check = |next_len: &mut dyn FnMut() -> usize| {
            let mut pair = Pair::new(&config, &server, "localhost");
            let piece = next_len().max(1);
            pair.shake(piece).unwrap();
            let mut wire = Vec::new();
            for part in &parts {
                pair.server.session.seal(part, &mut wire).unwrap();
            }
            pair.server.session.close(&mut wire);
            let mut rest = &wire[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(next_len().clamp(1, rest.len()));
                let fed = pair.client.take(now).unwrap();
                // The buffer never holds more than the record that is arriving.
                assert!(pair.client.cipher.len() < RECORD_BYTES_MAX);
                assert!(fed.missing == 0 || fed.missing + pair.client.cipher.len() <= RECORD_BYTES_MAX);
                assert_eq!(fed.missing == 0, pair.client.cipher.is_empty());
                rest = later;
            }
            assert!(pair.client.plain == sent);
            assert!(pair.client.last.unwrap().peer_closed);
            assert_eq!(pair.client.session.end_of_file(), Ok(()));
        };
        check(&mut || 1);
        check(&mut || usize::MAX);
        for bound in [2, 10, 600, 5_000, 40_000] {
            for _ in 0..5 {
                check(&mut || 1 + seeded.below(bound));
            }
        }
    }
}

#[test]
fn handshakes_in_the_smallest_records_survive_every_cut() {
    let ca = Ca::new();
    let mut server = (*ca.server(ca.issue("a", &["localhost"]))).clone();
    server.max_fragment_size = Some(32);
    let server = Arc::new(server);
    for version in VERSIONS {
        let mut client = (*client_of(version, &ca)).clone();
        client.max_fragment_size = Some(32);
        let client = Arc::new(client);
        for piece in [1, 2, 7, 33, 64, 1000] {
            let mut pair = Pair::new(&client, &server, "localhost");
            pair.shake(piece).unwrap();
            let asked = pair.client.seal(&[b'q'; 100]);
            for bytes in asked.chunks(piece) {
                pair.server.take(bytes).unwrap();
            }
            assert_eq!(pair.server.plain, [b'q'; 100]);
        }
    }
}

/// rustls remembers offsets into ciphertext it has seen; a write in between used to be a slice out of range.
#[test]
fn a_write_between_the_parts_of_a_message_is_safe() {
    let ca = Ca::new();
    let mut server = (*ca.server(ca.issue("a", &["localhost"]))).clone();
    server.max_fragment_size = Some(32);
    let mut pair = Pair::new(&ca.client(), &Arc::new(server), "localhost");
    let hello = pair.client.pending();
    pair.server.take(&hello).unwrap();
    let flight = pair.server.pending();
    pair.client.take(&flight).unwrap();
    let finished = pair.client.pending();
    pair.server.take(&finished).unwrap();

    // Tickets in pieces, and a write after each of them.
    let tickets = pair.server.seal(b"answer");
    for bytes in tickets.chunks(20) {
        pair.client.take(bytes).unwrap();
        let asked = pair.client.seal(b"q");
        pair.server.take(&asked).unwrap();
    }
    assert_eq!(pair.client.plain, b"answer");
    assert_eq!(pair.server.plain.len(), tickets.chunks(20).count());

    // And an alert.
    let mut cut = Pair::ready(&ca.client(), &ca.server(ca.issue("b", &["localhost"])));
    let mut noise = cut.server.seal(b"x");
    noise[7] ^= 1;
    assert_eq!(cut.client.take(&noise), Err(TlsFault::Corrupt));
    assert!(!cut.client.pending().is_empty());
}

#[test]
fn sessions_resume() {
    let ca = Ca::new();
    let server = ca.server(ca.issue("a", &["localhost"]));
    for version in VERSIONS {
        let client = client_of(version, &ca);
        assert!(!Pair::ready(&client, &server).client.session.is_resumed());
        let second = Pair::ready(&client, &server);
        assert!(second.client.session.is_resumed() && second.server.session.is_resumed());
        assert_eq!(second.server.session.server_name(), Some("localhost"));
    }
}

#[test]
fn a_certificate_that_is_not_good_is_named_and_refused() {
    let ca = Ca::new();
    let stranger = Ca::new();
    let good = ca.issue("a", &["localhost"]);
    let expired = ca.issue_expired("b", &["localhost"]);
    let other = ca.issue("c", &["elsewhere.example"]);
    let foreign = stranger.issue("d", &["localhost"]);
    for version in VERSIONS {
        for (files, fault, alert) in [
            (&expired, TlsFault::Expired, AlertDescription::CertificateExpired),
            (&other, TlsFault::WrongHost, AlertDescription::BadCertificate),
            (&foreign, TlsFault::Untrusted, AlertDescription::UnknownCA),
        ] {
            let mut pair = Pair::new(&client_of(version, &ca), &ca.server(files.clone()), "localhost");
            assert_eq!(pair.shake(usize::MAX), Err(fault), "{files:?}");
            // Not one byte of a request can leave after this.
            let mut cipher = Vec::new();
            assert_eq!(pair.client.session.seal(b"secret", &mut cipher), Err(fault));
            assert!(cipher.is_empty());
            // The alert goes out once more, and tells the server.
            let alerted = pair.client.pending();
            assert!(!alerted.is_empty());
            let refused = pair.server.take(&alerted).unwrap_err();
            assert_eq!(refused, TlsFault::Refused(alert));
            assert_eq!(refused.reason(), "refused");
        }
        let mut pair = Pair::new(&client_of(version, &ca), &ca.server(good.clone()), "localhost");
        assert_eq!(pair.shake(usize::MAX), Ok(()));
    }
    // The bundled and the system's roots do not know the test's CA.
    let mut pair = Pair::new(&client_config(&Roots::Bundled).unwrap(), &ca.server(good), "localhost");
    assert_eq!(pair.shake(usize::MAX), Err(TlsFault::Untrusted));
}

#[test]
fn faults_show_no_names() {
    let ca = Ca::new();
    let mut pair = Pair::new(&ca.client(), &ca.server(ca.issue("a", &["elsewhere.example"])), "localhost");
    let shown = pair.shake(usize::MAX).unwrap_err().to_string();
    assert!(!shown.contains("localhost") && !shown.contains("example"), "{shown}");
}

#[test]
fn an_end_is_clean_only_after_close_notify() {
    let ca = Ca::new();
    let server = ca.server(ca.issue("a", &["localhost"]));
    for version in VERSIONS {
        let mut pair = Pair::new(&client_of(version, &ca), &server, "localhost");
        assert_eq!(pair.client.session.end_of_file(), Err(TlsFault::Truncated));
        pair.shake(usize::MAX).unwrap();
        assert_eq!(pair.client.session.end_of_file(), Err(TlsFault::Truncated));

        let mut last = pair.server.seal(b"whole");
        let full = last.len();
        last.extend(pair.server.close());
        pair.client.take(&last[..full]).unwrap();
        assert_eq!(pair.client.session.end_of_file(), Err(TlsFault::Truncated));
        let fed = pair.client.take(&last[full..]).unwrap();
        assert!(fed.peer_closed);
        assert_eq!(pair.client.session.end_of_file(), Ok(()));

        // The other direction still stands: a half-closed peer may read.
        let asked = pair.client.seal(b"still");
        assert_eq!(pair.server.take(&asked).unwrap().consumed, asked.len());
        assert!(pair.server.plain.is_empty(), "nobody listens after our own close");
        let mut cipher = Vec::new();
        assert_eq!(pair.server.session.seal(b"late", &mut cipher), Err(TlsFault::Closed));

        assert!(!pair.client.close().is_empty());
        assert!(pair.client.close().is_empty(), "said once");
    }
}

#[test]
fn what_trails_the_peers_close_is_cleared() {
    let ca = Ca::new();
    let mut seeded = Seeded(3);
    for cut in [false, true] {
        let mut pair = Pair::ready(&ca.client(), &ca.server(ca.issue("a", &["localhost"])));
        let mut bytes = pair.server.seal(b"whole");
        bytes.extend(pair.server.close());
        let behind = bytes.len();
        bytes.extend(seeded.bytes(5_000));
        let (now, later) = bytes.split_at(if cut { behind + 3 } else { bytes.len() });
        for part in [now, later] {
            let fed = pair.client.take(part).unwrap();
            assert!(fed.peer_closed && fed.missing == 0);
            assert!(pair.client.cipher.is_empty());
        }
        assert_eq!(pair.client.plain, b"whole");
    }
}

#[test]
fn large_bodies_pass_in_full_records() {
    let ca = Ca::new();
    let server = ca.server(ca.issue("a", &["localhost"]));
    let body = Seeded(11).bytes(1 << 20);
    for version in VERSIONS {
        let mut pair = Pair::ready(&client_of(version, &ca), &server);
        let cipher = pair.client.seal(&body);
        assert!(cipher.len() <= sealed_len_max(body.len()));
        for bytes in cipher.chunks(65_536) {
            pair.server.take(bytes).unwrap();
        }
        assert!(pair.server.plain == body);
        assert_eq!(pair.server.session.held_bytes(), 0);
    }
}

#[test]
fn parts_are_sealed_as_one() {
    let ca = Ca::new();
    let server = ca.server(ca.issue("a", &["localhost"]));
    let mut seeded = Seeded(5);
    for lens in [
        &[][..],
        &[0, 0],
        &[5],
        &[300, 4_000],
        &[100, RECORD_PLAIN_MAX, 100],
        &[RECORD_PLAIN_MAX, 1],
        &[40_000, 40_000, 3],
    ] {
        let parts: Vec<Vec<u8>> = lens.iter().map(|len| seeded.bytes(*len)).collect();
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let total: usize = lens.iter().sum();

        let mut pair = Pair::ready(&ca.client(), &server);
        let mut cipher = Vec::new();
        pair.client.session.seal_parts(&slices, &mut cipher).unwrap();
        let overhead = cipher.len() - total;
        assert_eq!(overhead, total.div_ceil(RECORD_PLAIN_MAX) * 22, "{lens:?}");
        pair.server.take(&cipher).unwrap();
        assert!(pair.server.plain == parts.concat());
    }
}

#[test]
fn a_record_of_a_unit_never_grows_its_buffer() {
    let ca = Ca::new();
    let server = ca.server(ca.issue("a", &["localhost"]));
    for version in VERSIONS {
        let mut pair = Pair::ready(&client_of(version, &ca), &server);
        let mut cipher = Vec::with_capacity(RECORD_BYTES_MAX);
        pair.client.session.seal(&[b'x'; RECORD_PLAIN_MAX], &mut cipher).unwrap();
        assert_eq!(cipher.capacity(), RECORD_BYTES_MAX);
        pair.server.take(&cipher).unwrap();
        assert_eq!(pair.server.plain.len(), RECORD_PLAIN_MAX);
    }
}

#[test]
fn keys_are_updated_with_the_next_write() {
    let ca = Ca::new();
    let mut pair = Pair::ready(&ca.client(), &ca.server(ca.issue("a", &["localhost"])));
    for round in 0..40_u8 {
        pair.client.session.rekey();
        let asked = pair.client.seal(&[round; 10]);
        let fed = pair.server.take(&asked).unwrap();
        // The server owes an update of its own; it costs no write.
        assert!(!fed.write_now);
        let answered = pair.server.seal(&[round; 20]);
        pair.client.take(&answered).unwrap();
    }
    assert_eq!(pair.server.plain.len(), 400);
    assert_eq!(pair.client.plain.len(), 800);

    // Between two reads a peer may ask a few times, not endlessly.
    let mut flood = Vec::new();
    for _ in 0..40 {
        pair.client.session.rekey();
        pair.client.session.seal(b"", &mut flood).unwrap();
    }
    assert_eq!(pair.server.take(&flood), Err(TlsFault::Corrupt));
}

#[test]
fn a_corrupt_record_ends_the_session_with_an_alert() {
    let ca = Ca::new();
    let server = ca.server(ca.issue("a", &["localhost"]));
    for version in VERSIONS {
        let mut pair = Pair::ready(&client_of(version, &ca), &server);
        let mut bytes = pair.client.seal(b"good");
        let start = bytes.len();
        pair.client.session.seal(b"bad", &mut bytes).unwrap();
        pair.client.session.seal(b"never read", &mut bytes).unwrap();
        bytes[start + 9] ^= 0x40;

        assert_eq!(pair.server.take(&bytes), Err(TlsFault::Corrupt));
        assert_eq!(pair.server.plain, b"good");
        assert_eq!(pair.server.take(&bytes), Err(TlsFault::Corrupt), "a fault stays");
        assert_eq!(pair.server.session.end_of_file(), Err(TlsFault::Corrupt));
        let alert = pair.server.pending();
        assert_eq!(pair.client.take(&alert), Err(TlsFault::Refused(AlertDescription::BadRecordMac)));
        assert!(pair.server.pending().is_empty() && pair.server.close().is_empty(), "said once");
    }
}

#[test]
fn an_oversized_record_is_refused_at_its_header() {
    let ca = Ca::new();
    let server = ca.server(ca.issue("a", &["localhost"]));
    for (len, refused) in [(16_640_u16, false), (16_641, true), (18_432, true), (18_433, true), (u16::MAX, true)] {
        let mut pair = Pair::ready(&ca.client(), &server);
        let [high, low] = len.to_be_bytes();
        let fed = pair.server.take(&[0x17, 3, 3, high, low]);
        match refused {
            true => {
                assert_eq!(fed, Err(TlsFault::Corrupt), "{len}");
                assert!(!pair.server.pending().is_empty());
            }
            false => assert_eq!(fed.unwrap().missing, usize::from(len)),
        }
    }
}

#[test]
fn strangers_who_speak_no_tls_are_told_apart() {
    let ca = Ca::new();
    let config = ca.server(ca.issue("a", &["localhost"]));
    for greeting in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"SSH-2.0-x\r\n", &[0; 5]] {
        let mut server = End::new(Session::server(config.clone()).unwrap());
        assert_eq!(server.take(greeting), Err(TlsFault::NotTls));
        assert!(!server.pending().is_empty());
    }
    let mut pair = Pair::new(&ca.client(), &config, "localhost");
    assert_eq!(pair.client.take(b"HTTP/1.1 400 Bad Request\r\n\r\n"), Err(TlsFault::NotTls));
}

#[test]
fn a_caller_without_our_protocol_is_refused() {
    let ca = Ca::new();
    let server = ca.server(ca.issue("a", &["localhost"]));
    for version in VERSIONS {
        let with = |protocols: &[&[u8]]| {
            let mut client = (*client_of(version, &ca)).clone();
            client.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            let mut pair = Pair::new(&Arc::new(client), &server, "localhost");
            let shaken = pair.shake(usize::MAX);
            (pair, shaken)
        };
        let (mut only_h2, refused) = with(&[b"h2"]);
        assert_eq!(refused, Err(TlsFault::NoProtocol));
        let alert = only_h2.server.pending();
        assert_eq!(only_h2.client.take(&alert), Err(TlsFault::NoProtocol));

        let (both, fine) = with(&[b"h2", b"http/1.1"]);
        assert_eq!(fine, Ok(()));
        assert_eq!(both.client.session.alpn(), Some(&b"http/1.1"[..]));

        let (none, fine) = with(&[]);
        assert_eq!(fine, Ok(()));
        assert_eq!(none.client.session.alpn(), None);
    }
}

#[test]
fn a_stranger_cannot_make_a_server_hold_more_than_a_unit() {
    let ca = Ca::new();
    let config = ca.server(ca.issue("a", &["localhost"]));
    // A ClientHello that announces 60 000 bytes, in records of `each`.
    for each in [1_u16, 100, 16_384] {
        let mut server = End::new(Session::server(config.clone()).unwrap());
        let mut first = true;
        let fault = loop {
            let [high, low] = each.to_be_bytes();
            let mut record = vec![0x16, 3, 1, high, low];
            record.resize(5 + usize::from(each), 0);
            if std::mem::take(&mut first) {
                let header = [1, 0, 0xea, 0x60];
                let fits = header.len().min(usize::from(each));
                record[5..5 + fits].copy_from_slice(&header[..fits]);
            }
            match server.take(&record) {
                Ok(_) => assert!(server.cipher.len() <= RECORD_BYTES_MAX),
                Err(fault) => break fault,
            }
        };
        assert!(matches!(fault, TlsFault::TooLarge | TlsFault::Corrupt), "{each}: {fault}");
    }
}

#[test]
fn a_vendors_long_chain_fits() {
    let ca = Ca::new();
    // Names enough for a certificate of 40 KiB, which takes three records.
    let hosts: Vec<String> = (0..1_500).map(|i| format!("host-{i}.elsewhere.example")).collect();
    let mut hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    hosts.push("localhost");
    let server = ca.server(ca.issue("a", &hosts));
    for piece in [1_000, usize::MAX] {
        let mut pair = Pair::new(&ca.client(), &server, "localhost");
        pair.shake(piece).unwrap();
        assert!(pair.client.session.is_ready());
        assert!(pair.client.cipher.capacity() < 2 * HANDSHAKE_BYTES_MAX);
    }
}

#[test]
fn an_idle_session_holds_no_ciphertext() {
    let ca = Ca::new();
    let server = ca.server(ca.issue("a", &["localhost"]));
    for version in VERSIONS {
        let mut pair = Pair::ready(&client_of(version, &ca), &server);
        let asked = pair.client.seal(b"question");
        let fed = pair.server.take(&asked).unwrap();
        assert_eq!((fed.consumed, fed.missing), (asked.len(), 0));
        for end in [&pair.client, &pair.server] {
            assert_eq!(end.session.held_bytes(), 0);
            assert!(end.cipher.is_empty());
        }
    }
}

#[test]
fn bytes_that_were_not_handed_back_are_a_fault_and_no_panic() {
    let ca = Ca::new();
    let mut server = (*ca.server(ca.issue("a", &["localhost"]))).clone();
    server.max_fragment_size = Some(32);
    let mut pair = Pair::new(&ca.client(), &Arc::new(server), "localhost");
    let hello = pair.client.pending();
    pair.server.take(&hello).unwrap();
    let flight = pair.server.pending();
    pair.client.take(&flight[..50]).unwrap();
    assert!(!pair.client.cipher.is_empty());
    pair.client.cipher.clear();
    assert_eq!(pair.client.take(&[]), Err(TlsFault::Internal));
}

/// Garbage, and good ciphertext with a few bytes changed, cut and shuffled, at every stage of a connection.
#[test]
fn random_bytes_never_panic() {
    let ca = Ca::new();
    let server = ca.server(ca.issue("a", &["localhost"]));
    let clients = VERSIONS.map(|version| client_of(version, &ca));
    let mut seeded = Seeded(0x5eed);
    for round in 0..1_500 {
        let mut pair = Pair::new(&clients[round % 2], &server, "localhost");
        if seeded.below(3) == 0 {
            pair.shake(usize::MAX).unwrap();
        }
        let mut wire: [Vec<u8>; 2] = Default::default();
        for _ in 0..seeded.below(12) {
            let side = seeded.below(2);
            let (end, other) = match side {
                0 => (&mut pair.client, &mut pair.server),
                _ => (&mut pair.server, &mut pair.client),
            };
            let toward_end = std::mem::take(&mut wire[side]);
            let mut bytes = toward_end;
            match seeded.below(10) {
                0 => {
                    let len = 1 + seeded.below(60);
                    bytes = seeded.bytes(len);
                }
                1 => {
                    let kind = [0x14, 0x15, 0x16, 0x17][seeded.below(4)];
                    let len = seeded.below(50) as u8;
                    bytes.extend([kind, 3, 3, 0, len]);
                    bytes.extend(seeded.bytes(usize::from(len)));
                }
                2 if !bytes.is_empty() => {
                    let at = seeded.below(bytes.len());
                    bytes[at] ^= 1 << seeded.below(8);
                }
                3 if !bytes.is_empty() => {
                    let at = seeded.below(bytes.len());
                    bytes.truncate(at);
                }
                4 => bytes.extend_from_within(..),
                _ => {}
            }
            let _ = end.take(&bytes);
            let mut out = end.pending();
            match seeded.below(6) {
                0 => end.session.close(&mut out),
                1 | 2 => {
                    let _ = end.session.seal(b"some plaintext", &mut out);
                }
                3 if end.session.is_ready()
                    && !end.session.is_ended()
                    && end.session.version() == Some(ProtocolVersion::TLSv1_3) =>
                {
                    end.session.rekey();
                }
                _ => {}
            }
            let _ = end.session.end_of_file();
            let _ = other.session.has_pending();
            wire[1 - side].extend(out);
        }
    }
}
