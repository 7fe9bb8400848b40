//! The format of the case files.
//!
//! Comment lines first: `# key: value`, where a key may occur more than once. Then the bytes: line ends of
//! the file count for nothing, `\r \n \t \0 \\ \xHH` are bytes, and `\{a*1000}` is a thousand times `a`.

use std::path::{Path, PathBuf};

pub(crate) struct Case {
    pub(crate) name: String,
    notes: Vec<(String, String)>,
    pub(crate) lines: Vec<Vec<u8>>,
}

impl Case {
    /// All cases with this extension, by name.
    pub(crate) fn all(extension: &str) -> Vec<Self> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/raw");
        let mut paths: Vec<PathBuf> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .collect();
        paths.sort();
        assert!(!paths.is_empty());
        paths.iter().map(|path| Self::read(path)).collect()
    }

    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let mut notes = Vec::new();
        let mut lines = Vec::new();
        for line in text.lines() {
            if let Some(note) = line.strip_prefix("# ") {
                let (key, value) = note.split_once(": ").unwrap();
                notes.push((key.to_owned(), value.to_owned()));
            } else if !line.is_empty() {
                lines.push(unescape(line));
            }
        }
        Self {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            notes,
            lines,
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.lines.concat()
    }

    pub(crate) fn notes(&self, key: &str) -> Vec<&str> {
        let notes = self.notes.iter().filter(|(known, _)| known == key);
        notes.map(|(_, value)| value.as_str()).collect()
    }

    pub(crate) fn note(&self, key: &str) -> &str {
        let notes = self.notes(key);
        assert_eq!(notes.len(), 1, "{}: one `{key}`", self.name);
        notes[0]
    }
}

fn unescape(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line;
    while let Some(index) = rest.find('\\') {
        bytes.extend(&rest.as_bytes()[..index]);
        let escape = &rest[index + 1..];
        rest = &escape[1..];
        match escape.as_bytes()[0] {
            b'r' => bytes.push(b'\r'),
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b'0' => bytes.push(0),
            b'\\' => bytes.push(b'\\'),
            b'x' => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            b'{' => {
                let (repeat, after) = rest.split_once('}').unwrap();
                let (piece, times) = repeat.rsplit_once('*').unwrap();
                bytes.extend(unescape(piece).repeat(times.parse().unwrap()));
                rest = after;
            }
            other => panic!("unknown escape {other} in {line}"),
        }
    }
    bytes.extend(rest.as_bytes());
    bytes
}
