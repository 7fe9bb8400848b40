//! The structure proof against a model that goes byte by byte.

use super::*;
use proptest::prelude::*;

/// The same, byte by byte.
fn model(bytes: &[u8]) -> Result<Option<usize>, ()> {
    let (mut stack, mut string, mut escaped) = (Vec::new(), false, false);
    for (at, byte) in bytes.iter().enumerate() {
        if string {
            match byte {
                _ if *byte < 0x20 => return Err(()),
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => string = false,
                _ => (),
            }
            continue;
        }
        match byte {
            b'"' => string = true,
            b'\\' => return Err(()),
            b'{' | b'[' if stack.len() == MAX_DEPTH => return Err(()),
            b'{' | b'[' => stack.push(byte + 2),
            b'}' | b']' if stack.pop() != Some(*byte) => return Err(()),
            b'}' | b']' if stack.is_empty() => return Ok(Some(at + 1)),
            _ => (),
        }
    }
    Ok(None)
}

fn run(pieces: &[&[u8]]) -> Result<Option<usize>, ()> {
    let (mut balance, mut before) = (Balance::new(0), 0);
    for piece in pieces {
        if let Some(end) = balance.feed(piece).map_err(|_| ())? {
            return Ok(Some(before + end));
        }
        before += piece.len();
    }
    Ok(None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn blocks_agree_with_the_byte_by_byte_model(text in r#"[{\[]([a-d\\"\[\]{},\n]|"[a-z]*"|\\\\"){0,300}"#, cut: prop::sample::Index) {
        let bytes = text.as_bytes();
        let expected = model(bytes);
        prop_assert_eq!(run(&[bytes]), expected);
        let (left, right) = bytes.split_at(cut.index(bytes.len() + 1));
        prop_assert_eq!(run(&[left, right]), expected);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(run(&single), expected);
    }
}
