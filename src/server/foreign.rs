//! Bytes that no request target may hold, percent-encoded.

/// What RFC 3986 has no place for in a target, hyper refuses, and can't mean anything but itself.
/// (`#`, spaces and control characters can.)
pub(super) fn is_foreign(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'`' | 0x80..)
}

/// A path with the bytes encoded that need it; nothing if there are none, or if it is no path.
pub(super) fn encoded_path(path: &[u8]) -> Option<Vec<u8>> {
    let places = path
        .iter()
        .enumerate()
        .filter(|(_, byte)| is_foreign(**byte));
    let places: Vec<usize> = places.map(|(place, _)| place).collect();
    (path.starts_with(b"/") && !places.is_empty()).then(|| encoded(path, &places))
}

/// The bytes, with those at these places percent-encoded; a `#` becomes what makes a request line malformed.
pub(super) fn encoded(bytes: &[u8], places: &[usize]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(bytes.len() + 2 * places.len());
    let mut places = places.iter().copied().peekable();
    for (index, byte) in bytes.iter().enumerate() {
        match places.next_if_eq(&index) {
            Some(_) if *byte == b'#' => encoded.push(0),
            Some(_) => encoded.extend(format!("%{byte:02X}").into_bytes()),
            None => encoded.push(*byte),
        }
    }
    encoded
}
