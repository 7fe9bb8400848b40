//! What nests too deeply is taken out of a text, so that the rest of it can be read.
//!
//! Invariant: what is taken out is told, so that nobody takes the rest for the whole.

/// A text without what nests too deeply, and where that stood.
#[derive(Debug, PartialEq, Eq)]
pub struct Shallow {
    /// The text, with `null` in the places of arrays and objects that nest too deeply.
    pub text: Vec<u8>,
    /// For each such place, which member of the outermost value it was in, and which element or member of that one.
    pub cut: Vec<(usize, usize)>,
}

impl Shallow {
    /// Takes out what nests deeper than `most`. Of a text that is no JSON, nothing is proven.
    pub fn of(text: &[u8], most: usize) -> Self {
        let mut shallow = Self {
            text: Vec::with_capacity(text.len()),
            cut: Vec::new(),
        };
        let (mut depth, mut place) = (0_usize, (0_usize, 0_usize));
        let (mut inside_string, mut escaped) = (false, false);
        for byte in text {
            let mut keeps = depth <= most;
            if inside_string {
                inside_string = escaped || *byte != b'"';
                escaped = *byte == b'\\' && !escaped;
            } else {
                match (byte, depth) {
                    (b'"', _) => inside_string = true,
                    (b'{' | b'[', _) => {
                        if depth == most {
                            shallow.text.extend_from_slice(b"null");
                            shallow.cut.push(place);
                            keeps = false;
                        }
                        depth = depth.saturating_add(1);
                    }
                    (b'}' | b']', _) => depth = depth.saturating_sub(1),
                    (b',', 1) => place = (place.0.saturating_add(1), 0),
                    (b',', 2) => place.1 = place.1.saturating_add(1),
                    (_, _) => {}
                }
            }
            if keeps {
                shallow.text.push(*byte);
            }
        }
        shallow
    }
}

#[cfg(test)]
mod tests {
    use super::Shallow;

    #[track_caller]
    fn shallow(text: &str, most: usize, expected: &str, cut: &[(usize, usize)]) {
        let shallow = Shallow::of(text.as_bytes(), most);
        assert_eq!(String::from_utf8(shallow.text).as_deref(), Ok(expected));
        assert_eq!(shallow.cut, cut);
    }

    #[test]
    fn what_nests_too_deeply_is_taken_out_and_told() {
        let flat = r#"{"a":[1,{"b":"[[[,{\"[["}]}"#;
        shallow(flat, 3, flat, &[]);
        shallow(flat, 2, r#"{"a":[1,null]}"#, &[(0, 1)]);
        shallow(
            r#"{"w":[1,2],"docs":[{"a":[],"b":{"c":[]}},{},{"x":[[{"y":","}]]}]}"#,
            3,
            r#"{"w":[1,2],"docs":[{"a":null,"b":null},{},{"x":null}]}"#,
            &[(1, 0), (1, 0), (1, 2)],
        );
    }
}
