//! Embeddings between languages: texts in, vectors out. Small enough that a call and an answer are all there is to it.

mod cohere;
mod gemini;
mod openai;
mod titan;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::speech::{Lost, Malformed, Unreadable};
use super::text::{Json, Text};
use crate::wire::json;

/// The ways in which vendors are asked for embeddings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Manner {
    OpenAi,
    /// One text: `embedContent`.
    Gemini,
    /// Several: `batchEmbedContents`.
    GeminiBatch,
    Cohere,
    /// Amazon's own models on Bedrock.
    Titan,
    /// Cohere's models on Bedrock.
    CohereOnBedrock,
}

impl Manner {
    pub const ALL: &[Self] =
        &[Self::OpenAi, Self::Gemini, Self::GeminiBatch, Self::Cohere, Self::Titan, Self::CohereOnBedrock];

    /// As the language's endpoint is written down.
    pub fn path(self) -> &'static str {
        match self {
            Self::OpenAi => "embeddings",
            Self::Gemini => "models/{model}:embedContent",
            Self::GeminiBatch => "models/{model}:batchEmbedContents",
            Self::Cohere => "v2/embed",
            Self::Titan | Self::CohereOnBedrock => "model/{model}/invoke",
        }
    }

    pub fn read_call<'a>(self, body: &'a [u8]) -> Result<Wish<'a>, Unreadable> {
        let wish = match self {
            Self::OpenAi => openai::read_call(body),
            Self::Gemini => gemini::read_call(body),
            Self::GeminiBatch => gemini::read_batch(body),
            Self::Cohere | Self::CohereOnBedrock => cohere::read_call(body),
            Self::Titan => titan::read_call(body),
        }?;
        if wish.texts.is_empty() {
            return Err(Unreadable("there is no text to embed".into()));
        }
        Ok(wish)
    }

    pub fn write_call(self, wish: &Wish<'_>, model: &str, lost: &mut Vec<Lost>, out: &mut Vec<u8>) {
        if wish.user.is_some() && self != Self::OpenAi {
            lost.push(Lost::Hint("user"));
        }
        if wish.purpose.is_some() && matches!(self, Self::OpenAi | Self::Titan) {
            lost.push(Lost::Hint("what the vectors are for"));
        }
        match self {
            Self::OpenAi => openai::write_call(wish, model, lost, out),
            Self::Gemini => gemini::write_call(wish, model, lost, out),
            Self::GeminiBatch => gemini::write_batch(wish, model, lost, out),
            Self::Cohere => cohere::write_call(wish, Some(model), lost, out),
            Self::CohereOnBedrock => cohere::write_call(wish, None, lost, out),
            Self::Titan => titan::write_call(wish, lost, out),
        }
    }

    pub fn read_answer<'a>(self, body: &'a [u8]) -> Result<Vec<Vector<'a>>, Malformed> {
        json::validate(body)?;
        let vectors = match self {
            Self::OpenAi => openai::read_answer(body),
            Self::Gemini => gemini::read_answer(body),
            Self::GeminiBatch => gemini::read_batch_answer(body),
            Self::Cohere | Self::CohereOnBedrock => cohere::read_answer(body),
            Self::Titan => titan::read_answer(body),
        };
        if vectors.is_empty() { Err(Malformed("no vector in it")) } else { Ok(vectors) }
    }

    pub fn write_answer(self, vectors: &[Vector<'_>], told: &Told<'_>, out: &mut Vec<u8>) -> Result<(), Malformed> {
        match self {
            Self::OpenAi => openai::write_answer(vectors, told, out),
            Self::Gemini => gemini::write_answer(vectors, told, out),
            Self::GeminiBatch => gemini::write_batch_answer(vectors, told, out),
            Self::Cohere | Self::CohereOnBedrock => cohere::write_answer(vectors, told, out),
            Self::Titan => titan::write_answer(vectors, told, out),
        }
    }
}

/// What a caller wants embedded.
#[derive(Clone, Default, Debug)]
pub struct Wish<'a> {
    pub texts: Vec<Text<'a>>,
    pub dimensions: Option<Json<'a>>,
    pub purpose: Option<Purpose>,
    /// Base64 of little-endian floats instead of numbers.
    pub base64: bool,
    pub user: Option<Text<'a>>,
    /// What the middle has no word for, by the caller's paths.
    pub unmapped: Vec<String>,
}

/// What the vectors are for, where a vendor's model cares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    Query,
    Document,
    Classification,
    Clustering,
    Similarity,
}

/// One vector as its vendor wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Vector<'a> {
    /// A JSON array of numbers.
    Numbers(&'a [u8]),
    Base64(Text<'a>),
}

/// What an answer tells beside its vectors.
#[derive(Debug)]
pub struct Told<'t> {
    pub id: &'t str,
    pub model: &'t str,
    pub prompt_tokens: u64,
    /// The caller's own wish: its form, and its texts where they are repeated.
    pub wish: &'t Wish<'t>,
}

impl Vector<'_> {
    pub fn write_numbers(&self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let Self::Base64(text) = self else {
            if let Self::Numbers(numbers) = self {
                out.extend_from_slice(numbers);
            }
            return Ok(());
        };
        let bytes = STANDARD.decode(text.plain().as_bytes()).map_err(|_| Malformed("a vector that is no base64"))?;
        out.push(b'[');
        for (place, four) in bytes.chunks_exact(4).enumerate() {
            if place > 0 {
                out.push(b',');
            }
            let number = f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
            // JSON has no word for the others.
            let number = if number.is_finite() { number } else { 0.0 };
            out.extend_from_slice(number.to_string().as_bytes());
        }
        out.push(b']');
        Ok(())
    }

    /// As a JSON string of base64.
    pub fn write_base64(&self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        out.push(b'"');
        match self {
            Self::Base64(text) => out.extend_from_slice(text.raw()),
            Self::Numbers(numbers) => {
                let mut bytes = Vec::new();
                for number in json::elements(numbers) {
                    let number = std::str::from_utf8(number).ok().and_then(|number| number.parse::<f32>().ok());
                    bytes.extend_from_slice(&number.ok_or(Malformed("a vector with something else"))?.to_le_bytes());
                }
                out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            }
        }
        out.push(b'"');
        Ok(())
    }

    pub fn write(&self, base64: bool, out: &mut Vec<u8>) -> Result<(), Malformed> {
        if base64 { self.write_base64(out) } else { self.write_numbers(out) }
    }
}

/// A string, or an array of strings.
fn texts<'a>(value: &'a [u8], name: &str) -> Result<Vec<Text<'a>>, Unreadable> {
    if let Some(text) = Text::of_value(value) {
        return Ok(vec![text]);
    }
    if !value.starts_with(b"[") {
        return Err(Unreadable(format!("'{name}' must be a text or a list of texts")));
    }
    let texts: Option<Vec<_>> = json::elements(value).map(Text::of_value).collect();
    texts.ok_or_else(|| Unreadable(format!("'{name}' must hold texts only")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_base64_are_two_forms_of_one_vector() {
        let numbers = Vector::Numbers(b"[0.5, -1, 3.25e0]");
        let mut out = Vec::new();
        numbers.write_base64(&mut out).unwrap();
        assert_eq!(out, b"\"AAAAPwAAgL8AAFBA\"");
        let inner = out[1..out.len() - 1].to_vec();
        let mut back = Vec::new();
        Vector::Base64(Text::of_raw(&inner)).write_numbers(&mut back).unwrap();
        assert_eq!(back, b"[0.5,-1,3.25]");
        assert!(Vector::Numbers(b"[null]").write_base64(&mut Vec::new()).is_err());
        assert!(Vector::Base64(Text::of_raw(b"%")).write_numbers(&mut Vec::new()).is_err());
    }

    /// A wish of each manner reaches each other one with its texts, and the vectors come back.
    #[test]
    fn every_manner_meets_every_other() {
        let calls: &[(Manner, &str)] = &[
            (Manner::OpenAi, r#"{"model":"m","input":["a\n\u00e9"],"dimensions":2,"encoding_format":"base64"}"#),
            (Manner::Gemini, r#"{"content":{"parts":[{"text":"a\n\u00e9"}]},"outputDimensionality":2}"#),
            (
                Manner::GeminiBatch,
                r#"{"requests":[{"model":"models/m","content":{"parts":[{"text":"a\n\u00e9"}]},"outputDimensionality":2}]}"#,
            ),
            (Manner::Cohere, r#"{"model":"m","texts":["a\n\u00e9"],"input_type":"search_query","output_dimension":2}"#),
            (Manner::CohereOnBedrock, r#"{"texts":["a\n\u00e9"],"input_type":"search_query","output_dimension":2}"#),
            (Manner::Titan, r#"{"inputText":"a\n\u00e9","dimensions":2}"#),
        ];
        for (from, body) in calls {
            let wish = from.read_call(body.as_bytes()).unwrap();
            assert!(wish.unmapped.is_empty(), "{from:?}: {:?}", wish.unmapped);
            for to in Manner::ALL {
                let (mut lost, mut out) = (Vec::new(), Vec::new());
                to.write_call(&wish, "m", &mut lost, &mut out);
                assert!(lost.iter().all(Lost::is_hint), "{from:?} {to:?} {lost:?}");
                let again = to.read_call(&out).unwrap();
                assert_eq!(again.texts, wish.texts, "{from:?} {to:?}");
                assert_eq!(again.dimensions, wish.dimensions, "{from:?} {to:?}");
                let told = Told { id: "i", model: "m", prompt_tokens: 3, wish: &again };
                let mut answer = Vec::new();
                to.write_answer(&[Vector::Numbers(b"[1,2.5]")], &told, &mut answer).unwrap();
                let vectors = to.read_answer(&answer).unwrap();
                let told = Told { id: "i", model: "m", prompt_tokens: 3, wish: &wish };
                let mut back = Vec::new();
                from.write_answer(&vectors, &told, &mut back).unwrap();
                json::validate(&back).unwrap();
                let mut numbers = Vec::new();
                from.read_answer(&back).unwrap()[0].write_numbers(&mut numbers).unwrap();
                assert_eq!(numbers, b"[1,2.5]", "{from:?} {to:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_or_said_is_told() {
        for (manner, body) in [
            (Manner::OpenAi, r#"{"input":[]}"#),
            (Manner::OpenAi, r#"{"input":[[1,2]]}"#),
            (Manner::OpenAi, r#"{"model":"m"}"#),
            (Manner::Gemini, r#"{"content":{"parts":[]}}"#),
            (Manner::Cohere, r#"{"texts":"a"}"#),
            (Manner::Titan, r#"{"inputText":1}"#),
        ] {
            assert!(manner.read_call(body.as_bytes()).is_err(), "{manner:?} {body}");
        }
        let two = Manner::OpenAi.read_call(br#"{"input":["a","b"],"unknown":1}"#).unwrap();
        assert_eq!(two.unmapped, ["unknown"]);
        for one_only in [Manner::Titan, Manner::Gemini] {
            let mut lost = Vec::new();
            one_only.write_call(&two, "m", &mut lost, &mut Vec::new());
            assert_eq!(lost, [Lost::Thing("several texts at once")]);
        }
        assert!(Manner::OpenAi.read_answer(b"{}").is_err() && Manner::OpenAi.read_answer(b"{").is_err());
    }
}
