//! Files that are no text: of what kind they are, and who can open them.

use crate::dialect::call::MediaKind;

pub fn kind_of(mime: &str) -> MediaKind {
    let family = mime.split('/').next().unwrap_or_default();
    match family.to_ascii_lowercase().as_str() {
        "image" => MediaKind::Image,
        "audio" => MediaKind::Audio,
        "video" => MediaKind::Video,
        _ => MediaKind::Document,
    }
}

/// Files that only Google can open.
pub fn is_kept_by_google(uri: &str) -> bool {
    uri.starts_with("gs://")
        || uri.starts_with("files/")
        || uri.starts_with("https://generativelanguage.googleapis.com/")
}

/// Google wants to be told what it will find.
pub fn mime_of(url: &str, kind: MediaKind) -> Option<&'static str> {
    const KNOWN: &[(&str, &str)] = &[
        (".png", "image/png"),
        (".jpg", "image/jpeg"),
        (".jpeg", "image/jpeg"),
        (".webp", "image/webp"),
        (".gif", "image/gif"),
        (".heic", "image/heic"),
        (".pdf", "application/pdf"),
        (".txt", "text/plain"),
        (".mp3", "audio/mpeg"),
        (".wav", "audio/wav"),
        (".mp4", "video/mp4"),
        (".mov", "video/quicktime"),
        (".webm", "video/webm"),
    ];
    let path = url.split(['?', '#']).next().unwrap_or_default().to_ascii_lowercase();
    let known = KNOWN.iter().find(|(ending, _)| path.ends_with(ending)).map(|(_, mime)| *mime);
    known.or(match kind {
        MediaKind::Image => Some("image/jpeg"),
        MediaKind::Document => Some("application/pdf"),
        MediaKind::Audio | MediaKind::Video => None,
    })
}
