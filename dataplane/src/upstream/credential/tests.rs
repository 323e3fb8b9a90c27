use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use weir_shared::draft::{CredentialDraft, Draft, Sourced, VendorDraft};
use weir_shared::snapshot::Snapshot;

use super::*;
use crate::secret::{Pieces, Unsigned};

fn vendor(lines: VendorDraft) -> Vendor {
    let credential = CredentialDraft { name: "main".into(), env: Some("X".into()), ..CredentialDraft::default() };
    let is = VendorDraft {
        name: "v".into(),
        dialect: "openai".into(),
        base_url: "https://vendor.example/v1".into(),
        credentials: vec![credential],
        ..lines
    };
    let draft = Draft { vendors: vec![Sourced { is, ..Sourced::default() }], ..Draft::default() };
    let snapshot = Snapshot::compile(1, &draft).unwrap_or_else(|faults| panic!("{faults:?}"));
    snapshot.catalog.vendors[0].clone()
}

fn by(auth: AuthScheme) -> Vendor {
    vendor(VendorDraft { auth: Some(auth.name().into()), region: Some("us-east-1".into()), ..VendorDraft::default() })
}

struct Whole(&'static [u8]);

impl Pieces for Whole {
    fn each(&self, take: &mut dyn FnMut(&[u8])) {
        self.0.chunks(3).for_each(take);
    }
}

fn shown(found: &Found) -> (String, String) {
    let Found::Badge(badge) = found else { panic!("no badge") };
    let unsigned = Unsigned {
        method: "POST",
        target: 0..21,
        authority: b"host.example",
        content_type: Some(b"application/json"),
        body: Some(&Whole(b"{}")),
        wall_seconds: 1_440_938_160,
    };
    let mut head = b"/model/m%3A0/converse".to_vec();
    badge.sign.fields(&unsigned, &mut head);
    (String::from_utf8(head.split_off(21)).unwrap(), String::from_utf8(badge.sign.query().to_vec()).unwrap())
}

#[test]
fn keys_stand_where_their_way_wants_them() {
    for (auth, field, query) in [
        (AuthScheme::Bearer, "authorization: Bearer k/1\r\n", ""),
        (AuthScheme::XApiKey, "x-api-key: k/1\r\n", ""),
        (AuthScheme::XGoogApiKey, "x-goog-api-key: k/1\r\n", ""),
        (AuthScheme::ApiKey, "api-key: k/1\r\n", ""),
        (AuthScheme::QueryKey, "", "key=k%2F1"),
    ] {
        let found = read(&by(auth), "k/1  \nmore\n").unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(shown(&found), (field.to_owned(), query.to_owned()));
        assert!(read(&by(auth), "\n").is_err() && read(&by(auth), "k\u{e9}").is_err());
    }
}

#[test]
fn amazons_keys_are_read_in_every_form() {
    let vendor = by(AuthScheme::AwsSigV4);
    for text in [
        "AKID:se/cr+et",
        r#"{"aws_access_key_id": "AKID", "aws_secret_access_key": "se/cr+et"}"#,
        "{\n\"Version\": 1, \"AccessKeyId\": \"AKID\", \"SecretAccessKey\": \"se/cr+et\"\n}",
    ] {
        let (fields, _) = shown(&read(&vendor, text).unwrap_or_else(|why| panic!("{text}: {why}")));
        assert!(fields.contains("Credential=AKID/20150830/us-east-1/bedrock/aws4_request, "), "{fields}");
        assert!(fields.contains("x-amz-date: 20150830T123600Z\r\n") && !fields.contains("security-token"), "{fields}");
        assert!(!fields.contains("se/cr+et"), "{fields}");
    }
    let (fields, _) = shown(&read(&vendor, "AKID:secret:tok:en").unwrap_or_else(|why| panic!("{why}")));
    assert!(fields.contains("x-amz-security-token: tok:en\r\n"), "{fields}");
    assert!(fields.contains("SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"));
    for wrong in ["", "AKID", ":x", "AKID:", "{}", "{\"AccessKeyId\": 7}", "AK ID:secret"] {
        assert!(read(&vendor, wrong).is_err(), "{wrong}");
    }
}

fn token(found: Result<Found, Unusable>) -> Token {
    match found.unwrap_or_else(|why| panic!("{why}")) {
        Found::Token(token) => token,
        Found::Badge(_) => panic!("a badge"),
    }
}

#[test]
fn entra_is_asked_as_its_documentation_says() {
    let vendor = by(AuthScheme::AzureEntra);
    for text in [
        "8eaef023.onmicrosoft.com:app-1:s~e:c r&t".replace(' ', "_"),
        r#"{"tenant":"8eaef023.onmicrosoft.com","appId":"app-1","password":"s~e:c_r&t"}"#.into(),
        r#"{"tenant_id":"8eaef023.onmicrosoft.com","client_id":"app-1","client_secret":"s~e:c_r&t"}"#.into(),
    ] {
        let token = token(read(&vendor, &text));
        assert_eq!((&*token.url.host, token.url.tls), ("login.microsoftonline.com", true));
        assert_eq!(&*token.url.path, "/8eaef023.onmicrosoft.com/oauth2/v2.0/token");
        let form = String::from_utf8(token.form(0).unwrap()).unwrap();
        assert_eq!(
            form,
            "grant_type=client_credentials&client_id=app-1&client_secret=s~e%3Ac_r%26t\
             &scope=https%3A%2F%2Fcognitiveservices.azure.com%2F.default"
        );
    }
    for wrong in ["", "a:b", "../x:b:c", "t:b:", "{}"] {
        assert!(read(&vendor, wrong).is_err(), "{wrong}");
    }
}

/// A service account's file with a key of its own.
fn account(key: &KeyPair, token_uri: &str) -> String {
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let base64 = base64(der.as_ref());
    let lines: Vec<_> = base64.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    serde_json::json!({
        "type": "service_account", "project_id": "p", "private_key_id": "k1", "private_key": pem,
        "client_email": "weir@p.iam.gserviceaccount.com", "token_uri": token_uri,
    })
    .to_string()
}

fn base64(bytes: &[u8]) -> String {
    let text = weir_shared::key::base64url(bytes).replace('-', "+").replace('_', "/");
    let padding = (4 - text.len() % 4) % 4;
    text + &"=".repeat(padding)
}

fn unbase64url(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = Vec::new();
    for chunk in text.as_bytes().chunks(4) {
        let digit = |byte: &u8| DIGITS.iter().position(|known| known == byte).unwrap() as u32;
        let word = chunk.iter().fold(0, |word, byte| word << 6 | digit(byte)) << (6 * (4 - chunk.len()));
        out.extend_from_slice(&word.to_be_bytes()[1..chunk.len()]);
    }
    out
}

#[test]
fn a_service_accounts_assertion_is_signed_by_its_key() {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let token = token(read(&by(AuthScheme::GoogleServiceAccount), &account(&key, "https://oauth2.example/token")));
    let form = String::from_utf8(token.form(1_700_000_000).unwrap()).unwrap();
    let assertion = form
        .strip_prefix("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=")
        .unwrap_or_else(|| panic!("{form}"));
    let (said, signature) = assertion.rsplit_once('.').unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key());
    public.verify(said.as_bytes(), &unbase64url(signature)).expect("the public key takes it");
    assert!(public.verify(b"something else", &unbase64url(signature)).is_err());
    let parts: Vec<serde_json::Value> =
        said.split('.').map(|part| serde_json::from_slice(&unbase64url(part)).unwrap()).collect();
    assert_eq!(parts[0], serde_json::json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
    assert_eq!(
        parts[1],
        serde_json::json!({
            "iss": "weir@p.iam.gserviceaccount.com", "scope": "https://www.googleapis.com/auth/cloud-platform",
            "aud": "https://oauth2.example/token", "iat": 1_700_000_000, "exp": 1_700_003_600,
        })
    );
}

#[test]
fn a_service_accounts_file_is_judged() {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let vendor = by(AuthScheme::GoogleServiceAccount);
    let good = account(&key, "https://oauth2.example/token");
    for wrong in [
        good.replace("service_account", "authorized_user"),
        good.replace("https://", "http://"),
        good.replace("BEGIN PRIVATE", "BEGIN PUBLIC"),
        good.replace("MII", "AAA"),
        "{}".into(),
        "AKID:secret".into(),
    ] {
        assert!(read(&vendor, &wrong).is_err(), "{}", &wrong[..60.min(wrong.len())]);
    }
}

#[test]
fn answers_of_token_servers_are_read() {
    let read = |status, body: &str| {
        let granted = read_answer(status, body.as_bytes(), 1_000_000)?;
        Ok::<_, String>((granted.badge.until_ms.unwrap(), granted.seconds))
    };
    assert_eq!(
        read(200, r#"{"access_token":"a.b-c","expires_in":3599,"token_type":"Bearer"}"#),
        Ok((4_594_000, 3_599))
    );
    assert_eq!(read(200, r#"{"access_token":"a","expires_in":"60"}"#), Ok((1_055_000, 60)));
    assert_eq!(read(200, r#"{"access_token":"a","expires_in":3}"#), Ok((1_002_700, 3)));
    assert_eq!(read(200, r#"{"access_token":"a"}"#), Ok((1_295_000, 300)));
    assert_eq!(read(200, r#"{"access_token":"a","expires_in":18446744073709551615}"#).unwrap().1, 86_400);
    for wrong in [r#"{"access_token":""}"#, r#"{"access_token":"a\r\nx: y"}"#, r#"{"id_token":"a"}"#, "<html>", ""] {
        assert!(read(200, wrong).is_err(), "{wrong}");
    }
    assert!(read(200, r#"{"access_token":"a","expires_in":0}"#).is_err());
    let refused =
        r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret 'abc' provided."}"#;
    assert_eq!(read(401, refused), Err("status 401: invalid_client AADSTS7000215".into()));
    assert_eq!(read(503, "busy"), Err("status 503".into()));
    assert_eq!(read(302, r#"{"access_token":"a"}"#), Err("status 302".into()));
}
