//! Which call of which vendor a path is. Only asked when an answer is composed for the first time; then it is kept.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
    Cohere,
    /// Bedrock's Converse.
    Bedrock,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Chat,
    Completions,
    Responses,
    Embeddings,
    Moderations,
    Images,
    Speech,
    Transcription,
    Messages,
    CountMessageTokens,
    Generate {
        model: String,
    },
    StreamGenerate {
        model: String,
        sse: bool,
    },
    CountTokens {
        model: String,
    },
    EmbedContent {
        model: String,
        batch: bool,
    },
    CohereChat,
    Rerank(Ranks),
    Converse {
        model: String,
        stream: bool,
    },
    Models,
    Model(String),
    /// Things that stay with the vendor and have an id.
    Create(Kind),
    List(Kind),
    Get(Kind, String),
    Delete(Kind, String),
    Content(Kind, String),
    Cancel(Kind, String),
    ResponseItems(String),
    /// `HEAD /` and `GET /`, with which some callers knock.
    Root,
}

/// Whose form of ranking documents it is. Those of OpenAI's dialect have the same path, and are told apart by a segment
/// in front of the version: `/voyage/v1/rerank`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranks {
    Cohere,
    Jina,
    Voyage,
    Mixedbread,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Response,
    File,
    Batch,
    Video,
}

impl Kind {
    pub fn prefix(self) -> &'static str {
        match self {
            Kind::Response => "resp_",
            Kind::File => "file-",
            Kind::Batch => "batch_",
            Kind::Video => "video_",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub dialect: Dialect,
    pub endpoint: Endpoint,
}

/// `path` without scenario; `hint` is the dialect that the headers speak for, where a path is shared.
pub fn route(method: &str, path: &str, query: &str, hint: Dialect) -> Option<Route> {
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    match (method, &segments[..]) {
        ("POST", [.., "v2", "chat"]) => {
            return Some(Route { dialect: Dialect::Cohere, endpoint: Endpoint::CohereChat });
        }
        ("POST", [.., "jina", "v1", "rerank"]) => {
            return Some(Route { dialect: Dialect::OpenAi, endpoint: Endpoint::Rerank(Ranks::Jina) });
        }
        ("POST", [.., "voyage", "v1", "rerank"]) => {
            return Some(Route { dialect: Dialect::OpenAi, endpoint: Endpoint::Rerank(Ranks::Voyage) });
        }
        ("POST", [.., "v1", "reranking"]) => {
            return Some(Route { dialect: Dialect::OpenAi, endpoint: Endpoint::Rerank(Ranks::Mixedbread) });
        }
        ("POST", [.., "v1" | "v2", "rerank"]) => {
            return Some(Route { dialect: Dialect::Cohere, endpoint: Endpoint::Rerank(Ranks::Cohere) });
        }
        ("POST", [.., "model", model, call @ ("converse" | "converse-stream")]) => {
            let endpoint = Endpoint::Converse { model: super::worker_decode(model), stream: *call != "converse" };
            return Some(Route { dialect: Dialect::Bedrock, endpoint });
        }
        _ => {}
    }
    let version = segments.iter().position(|s| matches!(*s, "v1" | "v1beta" | "v1alpha" | "v1beta1"));
    let (beta, rest) = match version {
        Some(at) => (segments[at] != "v1", &segments[at + 1..]),
        None => (false, &segments[..]),
    };
    let openai = |endpoint| Some(Route { dialect: Dialect::OpenAi, endpoint });
    let anthropic = |endpoint| Some(Route { dialect: Dialect::Anthropic, endpoint });
    let shared = if beta { Dialect::Gemini } else { hint };
    let get = matches!(method, "GET" | "HEAD");
    match (method, rest) {
        (_, []) if get => openai(Endpoint::Root),
        ("POST", ["chat", "completions"]) => openai(Endpoint::Chat),
        ("POST", ["completions"]) => openai(Endpoint::Completions),
        ("POST", ["embeddings"]) => openai(Endpoint::Embeddings),
        ("POST", ["moderations"]) => openai(Endpoint::Moderations),
        ("POST", ["images", "generations" | "edits" | "variations"]) => openai(Endpoint::Images),
        ("POST", ["audio", "speech"]) => openai(Endpoint::Speech),
        ("POST", ["audio", "transcriptions" | "translations"]) => openai(Endpoint::Transcription),
        ("POST", ["messages"]) => anthropic(Endpoint::Messages),
        ("POST", ["messages", "count_tokens"]) => anthropic(Endpoint::CountMessageTokens),
        (_, ["models"]) if get => Some(Route { dialect: shared, endpoint: Endpoint::Models }),
        ("POST", ["responses"]) => openai(Endpoint::Responses),
        (_, ["responses", id, "input_items"]) if get => openai(Endpoint::ResponseItems((*id).to_owned())),
        ("POST", ["models", call @ ..]) => gemini(&call.join("/"), query),
        (_, ["models", model @ ..]) if get => {
            Some(Route { dialect: shared, endpoint: Endpoint::Model(model.join("/")) })
        }
        (_, [family @ ("responses" | "files" | "batches" | "videos"), tail @ ..]) => {
            let kind = match *family {
                "responses" => Kind::Response,
                "files" => Kind::File,
                "batches" => Kind::Batch,
                _ => Kind::Video,
            };
            match (method, tail) {
                ("POST", []) => openai(Endpoint::Create(kind)),
                (_, []) if get => openai(Endpoint::List(kind)),
                (_, [id]) if get => openai(Endpoint::Get(kind, (*id).to_owned())),
                ("DELETE", [id]) => openai(Endpoint::Delete(kind, (*id).to_owned())),
                (_, [id, "content"]) if get => openai(Endpoint::Content(kind, (*id).to_owned())),
                ("POST", [id, "cancel"]) => openai(Endpoint::Cancel(kind, (*id).to_owned())),
                ("POST", [_, "remix"]) => openai(Endpoint::Create(kind)),
                _ => None,
            }
        }
        _ => None,
    }
}

fn gemini(call: &str, query: &str) -> Option<Route> {
    let (model, verb) =
        call.rsplit_once(':').or_else(|| call.rsplit_once("%3A")).or_else(|| call.rsplit_once("%3a"))?;
    let model = model.to_owned();
    let endpoint = match verb {
        "generateContent" => Endpoint::Generate { model },
        "streamGenerateContent" => {
            Endpoint::StreamGenerate { model, sse: query.split('&').any(|pair| pair == "alt=sse") }
        }
        "countTokens" => Endpoint::CountTokens { model },
        "embedContent" => Endpoint::EmbedContent { model, batch: false },
        "batchEmbedContents" => Endpoint::EmbedContent { model, batch: true },
        _ => return None,
    };
    Some(Route { dialect: Dialect::Gemini, endpoint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_all_vendors() {
        let find = |method, path| route(method, path, "alt=sse", Dialect::OpenAi).map(|r| (r.dialect, r.endpoint));
        assert_eq!(find("POST", "/v1/chat/completions"), Some((Dialect::OpenAi, Endpoint::Chat)));
        assert_eq!(find("POST", "/openai/v1/chat/completions/"), Some((Dialect::OpenAi, Endpoint::Chat)));
        assert_eq!(find("POST", "/v1/messages"), Some((Dialect::Anthropic, Endpoint::Messages)));
        assert_eq!(
            find("POST", "/v1beta/models/gemini-2.5-flash%3AstreamGenerateContent"),
            Some((Dialect::Gemini, Endpoint::StreamGenerate { model: "gemini-2.5-flash".into(), sse: true }))
        );
        assert_eq!(find("GET", "/v1beta/models"), Some((Dialect::Gemini, Endpoint::Models)));
        assert_eq!(find("GET", "/v1/models"), Some((Dialect::OpenAi, Endpoint::Models)));
        assert_eq!(
            find("DELETE", "/v1/responses/resp_1"),
            Some((Dialect::OpenAi, Endpoint::Delete(Kind::Response, "resp_1".into())))
        );
        assert_eq!(
            find("GET", "/v1/files/file-1/content"),
            Some((Dialect::OpenAi, Endpoint::Content(Kind::File, "file-1".into())))
        );
        assert_eq!(find("POST", "/v2/chat"), Some((Dialect::Cohere, Endpoint::CohereChat)));
        assert_eq!(
            find("POST", "/model/us.amazon.nova-micro-v1%3A0/converse-stream"),
            Some((Dialect::Bedrock, Endpoint::Converse { model: "us.amazon.nova-micro-v1:0".into(), stream: true }))
        );
        assert_eq!(find("POST", "/v1/nothing"), None);
        assert_eq!(find("POST", "/v1/models/x:unknownVerb"), None);
    }
}
