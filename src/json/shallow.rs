//! What nests too deeply is taken out of a text, so that the rest of it can be read.

/// The text, with `null` in the places of arrays and objects that nest deeper than `most`. Of a text that is no JSON,
/// nothing is proven.
pub fn shallow(text: &[u8], most: usize) -> Vec<u8> {
    let mut kept = Vec::with_capacity(text.len());
    let mut depth = 0_usize;
    let (mut inside_string, mut escaped) = (false, false);
    for byte in text {
        let mut keeps = depth <= most;
        if inside_string {
            inside_string = escaped || *byte != b'"';
            escaped = *byte == b'\\' && !escaped;
        } else {
            match byte {
                b'"' => inside_string = true,
                b'{' | b'[' => {
                    if depth == most {
                        kept.extend_from_slice(b"null");
                        keeps = false;
                    }
                    depth = depth.saturating_add(1);
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        if keeps {
            kept.push(*byte);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::shallow;

    #[test]
    fn what_nests_too_deeply_is_taken_out() {
        let flat = r#"{"a":[1,{"b":"[[[,{\"[["}]}"#;
        for (text, most, expected) in [
            (flat, 3, flat),
            (flat, 2, r#"{"a":[1,null]}"#),
            (
                r#"{"w":[1,2],"docs":[{"a":[],"b":{"c":[]}},{},{"x":[[{"y":","}]]}]}"#,
                3,
                r#"{"w":[1,2],"docs":[{"a":null,"b":null},{},{"x":null}]}"#,
            ),
        ] {
            let kept = String::from_utf8(shallow(text.as_bytes(), most));
            assert_eq!(kept.as_deref(), Ok(expected));
        }
    }
}
