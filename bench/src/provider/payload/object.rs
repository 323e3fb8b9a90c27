//! Things that stay with the vendor: files, batches, videos. The vendor keeps no memory: an id says whose it is, so that
//! an object asked for with another credential is not found, as it would be with a real account.

use super::quote;
use crate::provider::route::Kind;

/// The id of an object that this credential made.
pub fn id(kind: Kind, prefix: &str, owner: u64, serial: u64) -> String {
    format!("{}{prefix}{:08x}{serial:016x}", kind.prefix(), owner as u32)
}

/// Does this id name an object of this kind that this credential made?
pub fn owned(kind: Kind, id: &str, owner: u64) -> bool {
    let Some(tail) = id.strip_prefix(kind.prefix()) else { return false };
    tail.is_ascii() && tail.len() >= 24 && tail[tail.len() - 24..tail.len() - 16] == format!("{:08x}", owner as u32)
}

pub fn describe(kind: Kind, id: &str, created: u64, model: &str, cancelled: bool) -> String {
    let model = quote(model);
    match kind {
        Kind::File => format!(
            "{{\"id\":\"{id}\",\"object\":\"file\",\"bytes\":120,\"created_at\":{created},\"expires_at\":null,\"filename\":\"input.jsonl\",\"purpose\":\"batch\",\"status\":\"processed\"}}"
        ),
        Kind::Batch => format!(
            "{{\"id\":\"{id}\",\"object\":\"batch\",\"endpoint\":\"/v1/chat/completions\",\"errors\":null,\"input_file_id\":\"{}\",\"completion_window\":\"24h\",\"status\":\"{}\",\"output_file_id\":null,\"error_file_id\":null,\"created_at\":{created},\"request_counts\":{{\"total\":2,\"completed\":0,\"failed\":0}},\"metadata\":null}}",
            id.replacen(Kind::Batch.prefix(), Kind::File.prefix(), 1),
            if cancelled { "cancelling" } else { "validating" }
        ),
        Kind::Video => format!(
            "{{\"id\":\"{id}\",\"object\":\"video\",\"model\":{model},\"status\":\"completed\",\"progress\":100,\"created_at\":{created},\"size\":\"1280x720\",\"seconds\":\"4\"}}"
        ),
        Kind::Response => format!(
            "{{\"id\":\"{id}\",\"object\":\"response\",\"created_at\":{created},\"status\":\"{}\",\"model\":{model},\"output\":[]}}",
            if cancelled { "cancelled" } else { "completed" }
        ),
    }
}

pub fn deleted(kind: Kind, id: &str) -> String {
    let object = match kind {
        Kind::Response => "response",
        Kind::File => "file",
        Kind::Batch => "batch",
        Kind::Video => "video.deleted",
    };
    format!("{{\"id\":\"{id}\",\"object\":\"{object}\",\"deleted\":true}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_owner() {
        let made = id(Kind::File, "eu-", 77, 3);
        assert!(owned(Kind::File, &made, 77));
        assert!(!owned(Kind::File, &made, 78));
        assert!(!owned(Kind::Batch, &made, 77));
        assert!(!owned(Kind::File, "file-", 77));
    }
}
