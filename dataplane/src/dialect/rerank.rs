//! Documents in the order in which they answer a question. Callers ask as Cohere's SDKs do, in its second or its first form;
//! vendors take Cohere's form or one of its kin, which differ in a few names and in what they bill.

use weir_shared::catalog::Rerank;
use weir_shared::usage::{Class, Usage};

use super::given::{given, list, string};
use super::speech::{Malformed, Unreadable};
use super::text::Text;
use super::{AnswerKind, BodyKind, Endpoint, InvalidUsage, Reading, StreamWhen, number};
use crate::wire::http1::Method;
use crate::wire::json;

/// Which of Cohere's forms the caller speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    First,
    Second,
}

impl Form {
    pub fn of(path: &str) -> Option<Self> {
        match path {
            "v1/rerank" => Some(Self::First),
            "v2/rerank" => Some(Self::Second),
            _ => None,
        }
    }

    fn version(self) -> &'static str {
        match self {
            Self::First => "1",
            Self::Second => "2",
        }
    }
}

/// Where a vendor of OpenAI's dialect is asked. No language has these endpoints, so no caller finds them.
pub fn endpoint(form: Rerank) -> &'static Endpoint {
    const fn post(path: &'static str) -> Endpoint {
        let (body, answer) = (BodyKind::ModelInJson, AnswerKind::Json);
        Endpoint { path, methods: &[Method::Post], body, answer, stream: StreamWhen::Never }
    }
    const RERANK: Endpoint = post("rerank");
    const RERANKING: Endpoint = post("reranking");
    match form {
        Rerank::Jina | Rerank::Voyage => &RERANK,
        Rerank::Mixedbread => &RERANKING,
    }
}

/// What the caller wants ranked.
pub struct Question<'b> {
    form: Form,
    query: Text<'b>,
    documents: Vec<Text<'b>>,
    /// How many of them come back.
    top: Option<u64>,
    with_documents: bool,
    /// Members that no kin of Cohere's has a word for.
    pub unmapped: Vec<String>,
}

/// Cohere takes a thousand; its kin take less, and say so themselves.
const DOCUMENTS_MAX: usize = 10_000;

pub fn read_call(form: Form, body: &[u8]) -> Result<Question<'_>, Unreadable> {
    let mut query = None;
    let mut question = Question {
        form,
        query: Text::default(),
        documents: Vec::new(),
        top: None,
        with_documents: false,
        unmapped: Vec::new(),
    };
    for (key, value) in given(body) {
        match key {
            b"model" => {}
            b"query" => query = Some(string(value, "query")?),
            b"documents" => {
                for document in list(value, "documents")? {
                    let document = read_document(document, &mut question.unmapped)?;
                    question.documents.push(document);
                    if question.documents.len() > DOCUMENTS_MAX {
                        return Err(Unreadable(format!("documents has more than {DOCUMENTS_MAX} items")));
                    }
                }
            }
            b"top_n" => {
                let top = number(value).ok().filter(|top| *top > 0);
                question.top = Some(top.ok_or_else(|| Unreadable("top_n must be a positive number".into()))?);
            }
            b"return_documents" if value == b"true" || value == b"false" => question.with_documents = value == b"true",
            b"return_documents" => return Err(Unreadable("return_documents must be true or false".into())),
            // Fields of documents, of which only text is left to rank by.
            b"rank_fields" if value == b"[\"text\"]" || value == b"[]" => {}
            _ => question.unmapped.push(String::from_utf8_lossy(key).into_owned()),
        }
    }
    question.query = query.ok_or_else(|| Unreadable("query is missing".into()))?;
    if question.documents.is_empty() {
        return Err(Unreadable("there are no documents to rank".into()));
    }
    Ok(question)
}

/// A string, or an object whose `text` it is.
fn read_document<'b>(value: &'b [u8], unmapped: &mut Vec<String>) -> Result<Text<'b>, Unreadable> {
    if !value.starts_with(b"{") {
        return string(value, "documents[]");
    }
    for (key, _) in given(value).filter(|(key, _)| *key != b"text") {
        unmapped.push(format!("documents[].{}", String::from_utf8_lossy(key)));
    }
    string(json::get(value, "text").unwrap_or_default(), "documents[].text")
}

pub fn write_call(question: &Question<'_>, to: Rerank, model: &str, out: &mut Vec<u8>) {
    let (documents, top, echo) = match to {
        Rerank::Jina => ("documents", "top_n", "return_documents"),
        Rerank::Voyage => ("documents", "top_k", "return_documents"),
        Rerank::Mixedbread => ("input", "top_k", "return_input"),
    };
    out.extend_from_slice(b"{\"model\":\"");
    json::escape_into(out, model);
    out.extend_from_slice(b"\",\"query\":\"");
    out.extend_from_slice(question.query.raw());
    out.extend_from_slice(format!("\",\"{documents}\":[").as_bytes());
    for (place, document) in question.documents.iter().enumerate() {
        out.extend_from_slice(if place > 0 { b",\"" } else { b"\"" });
        out.extend_from_slice(document.raw());
        out.push(b'"');
    }
    out.push(b']');
    if let Some(count) = question.top {
        out.extend_from_slice(format!(",\"{top}\":{count}").as_bytes());
    }
    // Nobody has to send back what is here already; some do unless they are told.
    out.extend_from_slice(format!(",\"{echo}\":false}}").as_bytes());
}

/// The place of a document in the question, and its score as the vendor writes it.
pub struct Rank<'a> {
    index: usize,
    score: &'a [u8],
}

pub fn read_answer<'a>(
    question: &Question<'_>,
    body: &'a [u8],
    reading: &mut Reading,
) -> Result<Vec<Rank<'a>>, Malformed> {
    json::validate(body)?;
    let results =
        ["results", "data"].iter().find_map(|name| json::get(body, name)).filter(|list| list.starts_with(b"["));
    let results = results.ok_or(Malformed("an answer without ranks"))?;
    let mut ranks = Vec::new();
    let mut seen = vec![false; question.documents.len()];
    for result in json::elements(results) {
        let index = json::get(result, "index").and_then(|index| number(index).ok()).map(|index| index as usize);
        let index = index.filter(|index| seen.get(*index) == Some(&false)).ok_or(Malformed("a rank of no document"))?;
        let score = ["relevance_score", "score"].iter().find_map(|name| json::get(result, name));
        let score = score.filter(|score| score.first().is_some_and(|byte| byte.is_ascii_digit() || *byte == b'-'));
        ranks.push(Rank { index, score: score.ok_or(Malformed("a rank without a score"))? });
        seen[index] = true;
    }
    reading.finished = true;
    if let Some(usage) = read_usage(body) {
        reading.take_usage(usage);
    }
    Ok(ranks)
}

/// What is billed: searches where a vendor counts them, all tokens otherwise. One or the other, never both.
fn read_usage(body: &[u8]) -> Option<Result<Usage, InvalidUsage>> {
    let object = |of: &'_ [u8], name: &str| json::get(of, name).filter(|it| it.starts_with(b"{")).map(<[u8]>::to_vec);
    let of = |class: Class, counted: &[u8]| number(counted).map(|count| Usage::NONE.with(class, count));
    let meta = object(body, "meta").unwrap_or_default();
    let billed = object(&meta, "billed_units").unwrap_or_default();
    if let Some(units) = json::get(&billed, "search_units") {
        return Some(of(Class::Request, units.strip_suffix(b".0").unwrap_or(units)));
    }
    let tokens = object(&meta, "tokens").unwrap_or_default();
    let usage = object(body, "usage").unwrap_or_default();
    let places =
        [(&usage, "total_tokens"), (&usage, "prompt_tokens"), (&billed, "input_tokens"), (&tokens, "input_tokens")];
    places.iter().find_map(|(of, name)| json::get(of, name)).map(|counted| of(Class::Input, counted))
}

pub fn write_answer(question: &Question<'_>, ranks: &[Rank<'_>], id: &str, reading: &Reading, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":\"");
    json::escape_into(out, id);
    out.extend_from_slice(b"\",\"results\":[");
    for (place, Rank { index, score }) in ranks.iter().enumerate() {
        out.extend_from_slice(if place > 0 { b"," } else { b"" });
        out.extend_from_slice(format!("{{\"index\":{index},\"relevance_score\":").as_bytes());
        out.extend_from_slice(score);
        if question.with_documents {
            out.extend_from_slice(b",\"document\":{\"text\":\"");
            out.extend_from_slice(question.documents[*index].raw());
            out.extend_from_slice(b"\"}");
        }
        out.push(b'}');
    }
    let version = question.form.version();
    out.extend_from_slice(format!("],\"meta\":{{\"api_version\":{{\"version\":\"{version}\"}}").as_bytes());
    let used = |class: Class| reading.usage.map_or(0, |usage| usage.of(class));
    let billed = match (used(Class::Request), used(Class::Input)) {
        (0, 0) => String::new(),
        (0, tokens) => format!(",\"billed_units\":{{\"input_tokens\":{tokens}}}"),
        (units, _) => format!(",\"billed_units\":{{\"search_units\":{units}}}"),
    };
    out.extend_from_slice(billed.as_bytes());
    out.extend_from_slice(b"}}");
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &[u8] = br#"{"model":"m","query":"wh\u00e4t \"now\"?","documents":["a","b\n",{"text":"c"}],"top_n":2,"return_documents":true}"#;

    fn written(to: Rerank) -> String {
        let mut out = Vec::new();
        write_call(&read_call(Form::First, ASKED).unwrap(), to, "v/m", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_question_is_asked_in_each_vendors_words() {
        let query = r#""query":"wh\u00e4t \"now\"?""#;
        assert_eq!(
            written(Rerank::Jina),
            format!(r#"{{"model":"v/m",{query},"documents":["a","b\n","c"],"top_n":2,"return_documents":false}}"#)
        );
        assert_eq!(
            written(Rerank::Voyage),
            format!(r#"{{"model":"v/m",{query},"documents":["a","b\n","c"],"top_k":2,"return_documents":false}}"#)
        );
        assert_eq!(
            written(Rerank::Mixedbread),
            format!(r#"{{"model":"v/m",{query},"input":["a","b\n","c"],"top_k":2,"return_input":false}}"#)
        );
    }

    #[test]
    fn what_cannot_be_asked_is_named() {
        let body = br#"{"query":"q","documents":["a",{"text":"b","title":"t"}],"max_tokens_per_doc":5,"rank_fields":["title"]}"#;
        let question = read_call(Form::Second, body).unwrap();
        assert_eq!(question.unmapped, ["documents[].title", "max_tokens_per_doc", "rank_fields"]);
        for (body, why) in [
            (r#"{"documents":["a"]}"#, "query is missing"),
            (r#"{"query":"q","documents":[]}"#, "no documents"),
            (r#"{"query":"q","documents":[7]}"#, "documents[] must be a string"),
            (r#"{"query":"q","documents":["a"],"top_n":0}"#, "top_n must be"),
            (r#"{"query":"q","documents":"a"}"#, "documents must be a list"),
        ] {
            let Err(Unreadable(told)) = read_call(Form::Second, body.as_bytes()) else { panic!("{body}") };
            assert!(told.contains(why), "{told}");
        }
    }

    fn answered(body: &str) -> Result<(String, Reading), Malformed> {
        let question = read_call(Form::First, ASKED).unwrap();
        let (mut reading, mut out) = (Reading::default(), Vec::new());
        let ranks = read_answer(&question, body.as_bytes(), &mut reading)?;
        write_answer(&question, &ranks, "i", &reading, &mut out);
        json::validate(&out).unwrap();
        Ok((String::from_utf8(out).unwrap(), reading))
    }

    #[test]
    fn each_vendors_ranks_are_coheres_and_billed_once() {
        let results = r#""results":[{"index":2,"relevance_score":0.9810,"document":{"text":"c"}},{"index":0,"relevance_score":-1e-3}]"#;
        let data = results.replace("results", "data").replace("relevance_score", "score");
        let ranks = r#"{"id":"i","results":[{"index":2,"relevance_score":0.9810,"document":{"text":"c"}},{"index":0,"relevance_score":-1e-3,"document":{"text":"a"}}],"meta":{"api_version":{"version":"1"},"billed_units":{"#;
        for (body, billed, class, count) in [
            (
                format!(r#"{{"model":"m",{results},"usage":{{"total_tokens":815,"prompt_tokens":815}}}}"#),
                "\"input_tokens\":815",
                Class::Input,
                815,
            ),
            (
                format!(r#"{{"object":"list",{data},"usage":{{"total_tokens":26}}}}"#),
                "\"input_tokens\":26",
                Class::Input,
                26,
            ),
            (
                format!(r#"{{{results},"meta":{{"tokens":{{"input_tokens":7,"output_tokens":0}}}}}}"#),
                "\"input_tokens\":7",
                Class::Input,
                7,
            ),
            (
                format!(r#"{{{results},"meta":{{"billed_units":{{"search_units":1.0,"input_tokens":9}}}}}}"#),
                "\"search_units\":1",
                Class::Request,
                1,
            ),
        ] {
            let (told, reading) = answered(&body).unwrap();
            assert_eq!(told, format!("{ranks}{billed}}}}}}}"), "{body}");
            let usage = reading.usage.unwrap();
            assert_eq!(usage.each().collect::<Vec<_>>(), [(class, count)]);
        }
    }

    #[test]
    fn ranks_of_nothing_are_malformed() {
        for body in [
            "[]",
            "{}",
            r#"{"results":[{"index":3,"relevance_score":1}]}"#,
            r#"{"results":[{"index":0,"relevance_score":1},{"index":0,"relevance_score":1}]}"#,
            r#"{"results":[{"index":0}]}"#,
            r#"{"results":[{"index":0,"relevance_score":"1"}]}"#,
            r#"{"results":[{"index":-1,"relevance_score":1}]}"#,
        ] {
            assert!(answered(body).is_err(), "{body}");
        }
        let (_, reading) = answered(r#"{"results":[],"usage":{"total_tokens":-5}}"#).unwrap();
        assert!(reading.usage_invalid);
    }
}
