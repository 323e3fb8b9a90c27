//! Documents in an order, as Cohere and its kin tell it: the second document is the better one.

use super::Saying;
use crate::provider::route::Ranks;

pub fn unary(form: Ranks, saying: &Saying) -> String {
    let (list, score) = match form {
        Ranks::Cohere | Ranks::Jina => ("results", "relevance_score"),
        Ranks::Voyage => ("data", "relevance_score"),
        Ranks::Mixedbread => ("data", "score"),
    };
    let ranks = format!(r#""{list}":[{{"index":1,"{score}":0.9423}},{{"index":0,"{score}":1.5e-2}}]"#);
    let (model, tokens) = (super::quote(&saying.model), saying.tokens.write(saying.tokens.fresh));
    match form {
        Ranks::Cohere => {
            let id = saying.ids.id("", 1);
            format!(
                r#"{{"id":"{id}",{ranks},"meta":{{"api_version":{{"version":"2"}},"billed_units":{{"search_units":1}}}}}}"#
            )
        }
        Ranks::Jina => format!(
            r#"{{"model":{model},"object":"list","usage":{{"total_tokens":{tokens},"prompt_tokens":{tokens}}},{ranks}}}"#
        ),
        Ranks::Voyage => {
            format!(r#"{{"object":"list",{ranks},"model":{model},"usage":{{"total_tokens":{tokens}}}}}"#)
        }
        Ranks::Mixedbread => format!(
            r#"{{"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}},"model":{model},{ranks},"object":"list","top_k":2,"return_input":false}}"#
        ),
    }
}
