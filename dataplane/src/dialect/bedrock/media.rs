//! What Converse calls the formats of images, documents, sounds and videos.

use crate::dialect::call::MediaKind;

/// Format, media type. The first of several names for one is what is written.
const IMAGES: &[(&str, &str)] = &[
    ("png", "image/png"),
    ("jpeg", "image/jpeg"),
    ("jpeg", "image/jpg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
];
const DOCUMENTS: &[(&str, &str)] = &[
    ("pdf", "application/pdf"),
    ("csv", "text/csv"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("xls", "application/vnd.ms-excel"),
    ("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    ("html", "text/html"),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
];
const SOUNDS: &[(&str, &str)] = &[
    ("mp3", "audio/mpeg"),
    ("mp3", "audio/mp3"),
    ("wav", "audio/wav"),
    ("wav", "audio/x-wav"),
    ("wav", "audio/wave"),
    ("aac", "audio/aac"),
    ("flac", "audio/flac"),
    ("ogg", "audio/ogg"),
    ("opus", "audio/opus"),
    ("m4a", "audio/m4a"),
    ("mp4", "audio/mp4"),
    ("webm", "audio/webm"),
    ("pcm", "audio/pcm"),
    ("mka", "audio/x-matroska"),
    ("x-aac", "audio/x-aac"),
    ("mpga", "audio/mpga"),
];
const VIDEOS: &[(&str, &str)] = &[
    ("mp4", "video/mp4"),
    ("mov", "video/quicktime"),
    ("webm", "video/webm"),
    ("mkv", "video/x-matroska"),
    ("flv", "video/x-flv"),
    ("mpeg", "video/mpeg"),
    ("wmv", "video/x-ms-wmv"),
    ("three_gp", "video/3gpp"),
    ("mpg", "video/mpg"),
];

fn table(kind: MediaKind) -> &'static [(&'static str, &'static str)] {
    match kind {
        MediaKind::Image => IMAGES,
        MediaKind::Document => DOCUMENTS,
        MediaKind::Audio => SOUNDS,
        MediaKind::Video => VIDEOS,
    }
}

pub fn format(kind: MediaKind, mime: &str) -> Option<&'static str> {
    let mime = mime.split(';').next().unwrap_or_default().trim();
    table(kind).iter().find(|(_, known)| known.eq_ignore_ascii_case(mime)).map(|(format, _)| *format)
}

pub fn mime(kind: MediaKind, format: &str) -> Option<&'static str> {
    table(kind).iter().find(|(known, _)| *known == format).map(|(_, mime)| *mime)
}
