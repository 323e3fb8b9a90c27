//! AWS Signature Version 4: each request is signed, and the secret itself never travels.
//!
//! The rules are AWS's: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html. Signed are
//! the method, the path (encoded once more than it is sent, which holds for every service but S3), the query in order,
//! the content type, the host, our `x-amz-` fields, and the hash of the body as it leaves.

use std::sync::{Mutex, PoisonError};

use aws_lc_rs::{digest, hmac};
use serde::Deserialize;
use weir_shared::id::percent_encode;
use weir_shared::reach::Signing;

use super::{Unusable, graphic};
use crate::clock;
use crate::secret::{Sign, Unsigned};

struct Keys {
    id: String,
    secret: String,
    session: Option<String>,
    region: String,
    service: String,
    /// The signing key of the last day that something was signed on.
    of_day: Mutex<Option<(u64, hmac::Key)>>,
    hidden: Vec<Box<[u8]>>,
}

/// `id:secret`, `id:secret:session`, or the JSON that AWS's own tools write.
pub fn keys(text: &str, signing: &Signing) -> Result<Box<dyn Sign>, Unusable> {
    let text = text.trim();
    let (id, secret, session) = if text.starts_with('{') {
        // The file's own error would quote it.
        let written: Written = serde_json::from_str(text).map_err(|_| "is no JSON with an access key's members")?;
        (written.id, written.secret, written.session)
    } else {
        let mut words = text.lines().next().unwrap_or_default().trim().splitn(3, ':').map(str::to_owned);
        let (Some(id), Some(secret)) = (words.next(), words.next()) else {
            return Err("is neither id:secret nor id:secret:session nor JSON");
        };
        (id, secret, words.next())
    };
    let session = session.filter(|session| !session.is_empty());
    graphic(&id)?;
    graphic(&secret)?;
    session.as_deref().map_or(Ok(""), graphic)?;
    let hidden = [Some(&secret), session.as_ref(), Some(&id)].into_iter().flatten();
    Ok(Box::new(Keys {
        hidden: hidden.map(|text| text.as_bytes().into()).collect(),
        id,
        secret,
        session,
        region: signing.region.as_deref().unwrap_or_default().to_owned(),
        service: signing.service.as_deref().unwrap_or("bedrock").to_owned(),
        of_day: Mutex::default(),
    }))
}

/// As `aws sts` and `credential_process` write it, or as it stands in configuration files.
#[derive(Deserialize)]
struct Written {
    #[serde(rename = "AccessKeyId", alias = "aws_access_key_id")]
    id: String,
    #[serde(rename = "SecretAccessKey", alias = "aws_secret_access_key")]
    secret: String,
    #[serde(rename = "SessionToken", alias = "aws_session_token", alias = "Token", default)]
    session: Option<String>,
}

impl Sign for Keys {
    fn fields(&self, unsigned: &Unsigned<'_>, head: &mut Vec<u8>) {
        let stamp = stamp(unsigned.wall_seconds);
        let body = payload_hash(unsigned);
        let mut fields: Vec<(&str, &[u8])> = Vec::with_capacity(5);
        fields.extend(unsigned.content_type.map(|value| ("content-type", value)));
        fields.push(("host", unsigned.authority));
        fields.push(("x-amz-content-sha256", body.as_bytes()));
        fields.push(("x-amz-date", stamp.as_bytes()));
        fields.extend(self.session.as_ref().map(|session| ("x-amz-security-token", session.as_bytes())));
        let target = &head[unsigned.target.clone()];
        let authorization = self.authorization(unsigned, target, &fields, &body, &stamp);
        for (name, value) in fields.iter().filter(|(name, _)| name.starts_with("x-amz-")) {
            for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        head.extend_from_slice(authorization.as_bytes());
    }

    fn hidden(&self) -> &[Box<[u8]>] {
        &self.hidden
    }
}

impl Keys {
    /// The field that proves the others, with its line end. `fields` are in the order of their names.
    fn authorization(
        &self,
        unsigned: &Unsigned<'_>,
        target: &[u8],
        fields: &[(&str, &[u8])],
        body: &str,
        stamp: &str,
    ) -> String {
        let names = fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let scope = format!("{}/{}/{}/aws4_request", &stamp[..8], self.region, self.service);
        let canonical =
            hex(digest::digest(&digest::SHA256, &canonical(unsigned.method, target, fields, &names, body)).as_ref());
        let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{canonical}");
        let key = self.key_of(unsigned.wall_seconds / 86_400, &stamp[..8]);
        let signature = hex(hmac::sign(&key, to_sign.as_bytes()).as_ref());
        format!(
            "authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}\r\n",
            self.id
        )
    }

    /// Four hashes a day instead of four a request.
    fn key_of(&self, day: u64, date: &str) -> hmac::Key {
        let mut of_day = self.of_day.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, key)) = &*of_day
            && *known == day
        {
            return key.clone();
        }
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, format!("AWS4{}", self.secret).as_bytes());
        for part in [date, &self.region, &self.service, "aws4_request"] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        *of_day = Some((day, key.clone()));
        key
    }
}

/// `20150830T123600Z`
fn stamp(wall_seconds: u64) -> String {
    clock::rfc3339(wall_seconds).replace(['-', ':'], "")
}

fn payload_hash(unsigned: &Unsigned<'_>) -> String {
    let Some(body) = unsigned.body else { return "UNSIGNED-PAYLOAD".into() };
    let mut hash = digest::Context::new(&digest::SHA256);
    body.each(&mut |piece| hash.update(piece));
    hex(hash.finish().as_ref())
}

fn canonical(method: &str, target: &[u8], fields: &[(&str, &[u8])], names: &str, body: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let mut halves = target.splitn(2, |byte| *byte == b'?');
    let (path, query) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    out.extend_from_slice(method.as_bytes());
    out.push(b'\n');
    for (place, segment) in path.split(|byte| *byte == b'/').enumerate() {
        if place > 0 {
            out.push(b'/');
        }
        percent_encode(segment, &mut out);
    }
    out.push(b'\n');
    canonical_query(query, &mut out);
    out.push(b'\n');
    for (name, value) in fields {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        canonical_value(value, &mut out);
        out.push(b'\n');
    }
    for part in ["\n", names, "\n", body] {
        out.extend_from_slice(part.as_bytes());
    }
    out
}

/// Pairs in the order of their encoded names, then values.
fn canonical_query(query: &[u8], out: &mut Vec<u8>) {
    let once = |part: &[u8]| {
        let mut encoded = Vec::with_capacity(part.len());
        percent_encode(&decoded(part), &mut encoded);
        encoded
    };
    let pair = |pair: &[u8]| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        (once(halves.next().unwrap_or_default()), once(halves.next().unwrap_or_default()))
    };
    let mut pairs: Vec<_> = query.split(|byte| *byte == b'&').filter(|part| !part.is_empty()).map(pair).collect();
    pairs.sort();
    for (place, (name, value)) in pairs.iter().enumerate() {
        if place > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(name);
        out.push(b'=');
        out.extend_from_slice(value);
    }
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let mut one = [0];
        if byte == b'%' && tail.get(..2).is_some_and(|code| weir_shared::id::decode_hex(code, &mut one)) {
            out.push(one[0]);
            rest = &tail[2..];
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    out
}

/// Without space at its ends, and with one space where there were several.
fn canonical_value(value: &[u8], out: &mut Vec<u8>) {
    let words = value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    for (place, word) in words.enumerate() {
        if place > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or_default());
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Pieces;

    struct Whole(&'static str);

    impl Pieces for Whole {
        fn each(&self, take: &mut dyn FnMut(&[u8])) {
            self.0.as_bytes().chunks(5).for_each(take);
        }
    }

    /// 2015-08-30T12:36:00Z
    const THEN: u64 = 1_440_938_160;

    fn keys_for(service: &str, session: Option<&str>) -> Keys {
        Keys {
            id: "AKIDEXAMPLE".into(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            session: session.map(str::to_owned),
            region: "us-east-1".into(),
            service: service.into(),
            of_day: Mutex::default(),
            hidden: Vec::new(),
        }
    }

    fn signature(method: &str, target: &str, fields: &[(&str, &str)], body: &'static str) -> String {
        let unsigned = Unsigned {
            method,
            target: 0..0,
            authority: b"",
            content_type: None,
            body: Some(&Whole(body)),
            wall_seconds: THEN,
        };
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let service = if fields.iter().any(|(_, value)| *value == b"iam.amazonaws.com") { "iam" } else { "service" };
        let line = keys_for(service, None).authorization(
            &unsigned,
            target.as_bytes(),
            &fields,
            &payload_hash(&unsigned),
            &stamp(THEN),
        );
        line.trim_end().rsplit_once("Signature=").map(|(_, signature)| signature.to_owned()).unwrap_or_default()
    }

    /// AWS's published test suite for signature version 4: the request, and the signature that it must have.
    #[test]
    fn signatures_are_those_of_amazons_test_suite() {
        const HOST: (&str, &str) = ("host", "example.amazonaws.com");
        const DATE: (&str, &str) = ("x-amz-date", "20150830T123600Z");
        let plain: &[_] = &[HOST, DATE];
        for (method, target, fields, body, expected) in [
            ("GET", "/", plain, "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
            ("POST", "/", plain, "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "GET",
                "/?Param2=value2&Param1=value1",
                plain,
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            ("GET", "/\u{1234}", plain, "", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
            (
                "GET",
                "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
                plain,
                "",
                "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
            ),
            (
                "GET",
                "/",
                &[HOST, ("my-header1", " value1 "), ("my-header2", " \"a   b   c\" "), DATE],
                "",
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
            (
                "POST",
                "/",
                &[("content-type", "application/x-www-form-urlencoded"), HOST, DATE],
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                "GET",
                "/?Action=ListUsers&Version=2010-05-08",
                &[
                    ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
                    ("host", "iam.amazonaws.com"),
                    DATE,
                ],
                "",
                "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
            ),
        ] {
            assert_eq!(signature(method, target, fields, body), expected, "{method} {target}");
        }
    }

    #[test]
    fn the_key_of_another_day_is_another_one() {
        let keys = keys_for("bedrock", None);
        let of = |wall_seconds| {
            let unsigned = Unsigned {
                method: "POST",
                target: 0..1,
                authority: b"h",
                content_type: None,
                body: None,
                wall_seconds,
            };
            let mut out = b"/".to_vec();
            keys.fields(&unsigned, &mut out);
            String::from_utf8(out).unwrap()
        };
        let (first, next) = (of(THEN), of(THEN + 86_400));
        assert!(first.contains("/20150830/") && next.contains("/20150831/"));
        assert_eq!(of(THEN), first);
        assert!(first.contains("x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n"));
    }
}
