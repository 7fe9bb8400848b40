//! Everything that can be read in an answer: head and body, inflated, decoded and unescaped, over and over.

use std::collections::HashSet;
use std::io::Read as _;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::support::Answer;

/// Encodings lie in each other: an attachment is base64 in JSON in a gzipped part.
const DEPTH: usize = 4;

/// All texts that can be read in an answer.
pub(super) fn readings(answer: &Answer) -> Vec<Vec<u8>> {
    let mut whole = format!("{}\n", answer.status).into_bytes();
    for (name, value) in &answer.headers {
        whole.extend_from_slice(name.as_str().as_bytes());
        whole.extend_from_slice(b": ");
        whole.extend_from_slice(value.as_bytes());
        whole.push(b'\n');
    }
    // The head and the body apart, so that no text is made of both.
    let mut fresh = vec![whole, answer.body.to_vec()];
    let mut known: HashSet<Vec<u8>> = fresh.iter().cloned().collect();
    for _ in 0..DEPTH {
        let next: Vec<Vec<u8>> = fresh.iter().flat_map(|text| decoded(text)).collect();
        fresh = next
            .into_iter()
            .filter(|text| known.insert(text.clone()))
            .collect();
    }
    known.into_iter().collect()
}

fn decoded(text: &[u8]) -> Vec<Vec<u8>> {
    let mut found = inflated(text);
    found.extend(from_base64(text));
    for unescape in [percent as fn(&[u8]) -> Vec<u8>, backslash, hexadecimal] {
        let plain = unescape(text);
        if plain != text && !plain.is_empty() {
            found.push(plain);
        }
    }
    found
}

/// What is gzip, wherever it begins: the whole body, or a part of a multipart one.
fn inflated(text: &[u8]) -> Vec<Vec<u8>> {
    let begins = text
        .windows(3)
        .enumerate()
        .filter(|(_, window)| *window == [0x1f, 0x8b, 0x08]);
    begins
        .filter_map(|(at, _)| {
            let mut plain = Vec::new();
            // What follows the last member is not gzip any more; what came out before stands.
            let _ = flate2::read::GzDecoder::new(&text[at..]).read_to_end(&mut plain);
            Some(plain).filter(|plain| !plain.is_empty())
        })
        .collect()
}

/// Runs of base64 letters, each from its four possible beginnings.
fn from_base64(text: &[u8]) -> Vec<Vec<u8>> {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    let lenient = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let mut found = Vec::new();
    for run in text
        .split(|byte| !letter(byte))
        .filter(|run| run.len() >= 24)
    {
        let run: Vec<u8> = run
            .iter()
            .map(|byte| match byte {
                b'-' => b'+',
                b'_' => b'/',
                other => *other,
            })
            .collect();
        for start in 0..4 {
            let rest = &run[start..];
            // One letter alone is no byte.
            let rest = &rest[..rest.len() - usize::from(rest.len() % 4 == 1)];
            found.extend(lenient.decode(rest));
        }
    }
    found
}

fn percent(text: &[u8]) -> Vec<u8> {
    escaped(text, b"%", 2)
}

fn backslash(text: &[u8]) -> Vec<u8> {
    let plain = escaped(text, b"\\u", 4);
    if memchr::memchr(b'\\', &plain).is_none() {
        return plain;
    }
    let mut bytes = plain.iter().copied().peekable();
    let mut found = Vec::with_capacity(plain.len());
    while let Some(byte) = bytes.next() {
        if byte == b'\\' && bytes.peek().is_some() {
            continue;
        }
        found.push(byte);
    }
    found
}

/// Replaces each `mark` with hexadecimal digits by the byte they name.
fn escaped(text: &[u8], mark: &[u8], digits: usize) -> Vec<u8> {
    if memchr::memmem::find(text, mark).is_none() {
        return text.to_vec();
    }
    let mut found = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, others)) = rest.split_first() {
        let code = rest
            .strip_prefix(mark)
            .and_then(|rest| rest.get(..digits))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u32::from_str_radix(digits, 16).ok())
            .and_then(char::from_u32);
        if let Some(code) = code {
            let one = u8::try_from(u32::from(code));
            match one {
                Ok(byte) => found.push(byte),
                Err(_) => found.extend_from_slice(code.to_string().as_bytes()),
            }
            rest = &rest[mark.len() + digits..];
        } else {
            found.push(*first);
            rest = others;
        }
    }
    found
}

/// A text that was written as the hexadecimal numbers of its bytes.
fn hexadecimal(text: &[u8]) -> Vec<u8> {
    let mut found = Vec::new();
    for run in text
        .split(|byte| !byte.is_ascii_hexdigit())
        .filter(|run| run.len() >= 48)
    {
        for run in [run, &run[1..]] {
            let bytes = run
                .chunks_exact(2)
                .filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
            found.extend(bytes);
            found.push(b'\n');
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    fn answer(body: impl Into<Vec<u8>>) -> Answer {
        Answer {
            status: 200,
            headers: http::HeaderMap::new(),
            body: body.into().into(),
            cut: false,
        }
    }

    #[test]
    fn a_text_is_found_in_whatever_it_is_wrapped() {
        let secret = "ca11ab1e0123456789abcdef01234567";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(format!("before {secret} after").as_bytes())
            .unwrap();
        let gzip = gzip.finish().unwrap();
        let part = [
            b"--x\r\ncontent-encoding: gzip\r\n\r\n",
            &gzip[..],
            b"\r\n--x--",
        ]
        .concat();
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let percent: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let escaped: String = secret
            .bytes()
            .map(|byte| format!("\\u{byte:04x}"))
            .collect();
        let wrapped = [
            secret.as_bytes().to_vec(),
            gzip.clone(),
            part,
            format!(
                "{{\"data\":\"{}\"}}",
                STANDARD.encode(format!("a{secret}b"))
            )
            .into_bytes(),
            format!("{{\"data\":\"{}\"}}", STANDARD.encode(&gzip)).into_bytes(),
            format!("bookmark={}", URL_SAFE_NO_PAD.encode(format!("xx{secret}"))).into_bytes(),
            percent.into_bytes(),
            escaped.into_bytes(),
            hex.into_bytes(),
        ];
        for body in wrapped {
            let shown = String::from_utf8_lossy(&body).into_owned();
            let found = readings(&answer(body)).iter().any(|text| {
                text.windows(secret.len())
                    .any(|window| window == secret.as_bytes())
            });
            assert!(found, "{shown}");
        }
    }
}
