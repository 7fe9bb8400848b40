use super::*;
use crate::secret::Secret;

fn bookmarks() -> Bookmarks {
    let seal = Seal::new(&Secret::new(*b"secret"), "test");
    Bookmarks::new(Arc::new(seal), "db", b"rules", b"{}")
}

#[test]
fn a_bookmark_comes_back_as_it_was() {
    let bookmarks = bookmarks();
    let mut cursor = Position::start();
    for page in 0..10 {
        let opened = bookmarks.open(&bookmarks.seal(&cursor)).unwrap();
        assert_eq!(opened, cursor);
        for at in 0..30 {
            cursor.note_shown(&format!("{page}-{at}"));
        }
        let rows = cursor.rows.saturating_add(30);
        cursor.reach(Value::from(format!("end of {page}").as_str()), rows);
    }
}

/// However the last pages have ended, what was looked at last stands behind the bookmark that CouchDB is given.
#[test]
fn a_cursor_begins_behind_what_is_far_back_only() {
    for size in [1, 7, 25, 64] {
        let mut cursor = Position::start();
        for at in 1..2_000_u64 {
            cursor.note_shown(&at.to_string());
            if at % size != 0 {
                continue;
            }
            let rows = cursor.rows.saturating_add(size);
            cursor.reach(Value::Number(at.into()), rows);
            let begin = cursor
                .begin
                .as_number()
                .and_then(crate::json::Number::as_u64);
            assert_eq!(begin.unwrap_or(0), at - cursor.rows);
            assert!(begin.is_none() || cursor.rows >= OVERLAP, "{size} {at}");
            assert!(cursor.shown.len() <= MOST_SHOWN, "{size} {at}");
            let behind = (begin.unwrap_or(0)..at).map(|at| at + 1);
            assert!(behind.clone().all(|at| cursor.has_shown(&at.to_string())));
            assert_eq!(behind.count(), cursor.shown.len());
        }
    }
}

#[test]
fn the_length_of_a_bookmark_tells_nothing_of_what_was_shown() {
    let bookmarks = bookmarks();
    let mut cursor = Position::start();
    let first = bookmarks.seal(&cursor).len();
    for at in 0..MOST_SHOWN {
        cursor.note_shown(&at.to_string());
        cursor.rows = 1_000;
        assert_eq!(bookmarks.seal(&cursor).len(), first);
    }
}
