//! What is asked of vendors that rank documents: each knows its own names and no other's.

use serde_json::Value;

use super::shape::{Field, Shape, fits, may, must};
use crate::provider::route::Ranks;

pub fn judge(form: Ranks, body: &Value) -> Result<(), String> {
    let members = match form {
        Ranks::Cohere => COHERE,
        Ranks::Jina => JINA,
        Ranks::Voyage => VOYAGE,
        Ranks::Mixedbread => MIXEDBREAD,
    };
    fits(body, &Shape::Fields(members), "")
}

const DOCUMENTS: Shape = Shape::Some(&Shape::Text);

const COHERE: &[Field] = &[
    must("model", Shape::Said),
    must("query", Shape::Text),
    must("documents", Shape::Some(&Shape::Any)),
    may("top_n", Shape::Whole(1)),
    may("max_tokens_per_doc", Shape::Whole(1)),
    may("max_chunks_per_doc", Shape::Whole(1)),
    may("return_documents", Shape::Flag),
    may("rank_fields", Shape::List(&Shape::Text)),
    may("priority", Shape::Whole(0)),
];

const JINA: &[Field] = &[
    must("model", Shape::Said),
    must("query", Shape::Text),
    must("documents", DOCUMENTS),
    may("top_n", Shape::Whole(1)),
    may("return_documents", Shape::Flag),
];

const VOYAGE: &[Field] = &[
    must("model", Shape::Said),
    must("query", Shape::Text),
    must("documents", DOCUMENTS),
    may("top_k", Shape::Whole(1)),
    may("return_documents", Shape::Flag),
    may("truncation", Shape::Flag),
];

const MIXEDBREAD: &[Field] = &[
    must("model", Shape::Said),
    must("query", Shape::Text),
    must("input", DOCUMENTS),
    may("top_k", Shape::Whole(1)),
    may("return_input", Shape::Flag),
    may("rank_fields", Shape::List(&Shape::Text)),
];
