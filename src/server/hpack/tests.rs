//! Header blocks, those of RFC 7541 appendix C among them.

use super::{DynamicTable, HeaderBlock, STATIC, decode};
use proptest::prelude::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

/// What a first block becomes; nothing if it stays or can't be read.
fn mend(block: &[u8]) -> Option<Vec<u8>> {
    DynamicTable::new().read(block)?.mended
}

#[test]
fn the_code_of_huffman_is_read() {
    // C.4.1, C.6.1
    assert_eq!(
        decode(&bytes("f1e3 c2e5 f23a 6ba0 ab90 f4ff")).unwrap(),
        b"www.example.com"
    );
    assert_eq!(decode(&bytes("aec3 771a 4b")).unwrap(), b"private");
    assert_eq!(decode(b"").unwrap(), b"");
    // Too many ones at the end, a zero there, and the end of all codes.
    assert!(decode(&bytes("aec3 771a 4bff")).is_none());
    assert!(decode(&bytes("aec3 771a 4a")).is_none());
    assert!(decode(&bytes("ffff fffc")).is_none());
}

#[test]
fn a_block_without_such_a_target_stays() {
    for block in [
        // C.3.1, C.4.1, C.3.2
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        // `/"` for the dynamic table; `"/"` in a field of another name; a target that is no path.
        "44 02 2f22",
        "10 01 78 03 222f22",
        "04 02 2a22",
        // Cut within an integer, within a string.
        "04 7f",
        "04 05 2f22",
        "ff ff ff ff ff ff",
    ] {
        assert_eq!(mend(&bytes(block)), None, "{block}");
    }
}

#[test]
fn a_literal_target_is_mended_and_nothing_else() {
    for (block, mended) in [
        ("04 02 2f22", "04 04 2f253232"),
        ("15 02 2f3c 82", "15 04 2f253343 82"),
        (
            "82 04 02 2f22 10 01 78 03 222f22",
            "82 04 04 2f253232 10 01 78 03 222f22",
        ),
        (
            "3f e1 1f 41 01 78 04 02 2f22",
            "3f e1 1f 41 01 78 04 04 2f253232",
        ),
        // `/a?k="x"` in Huffman's code.
        (
            "82 04 88 607fe7583f9f3fcf",
            "82 04 0c 2f613f6b3d25323278253232",
        ),
        // The name as a literal, too.
        ("00 05 3a70617468 02 2f22", "00 05 3a70617468 04 2f253232"),
    ] {
        assert_eq!(mend(&bytes(block)), Some(bytes(mended)), "{block}");
    }
}

#[test]
fn long_targets_are_written_with_long_lengths() {
    let path = format!("/{}\"", "a".repeat(400));
    // 402 - 127 = 275, 404 - 127 = 277: in seven bits each.
    let block = [b"\x04\x7f\x93\x02", path.as_bytes()].concat();
    let mended = mend(&block).unwrap();
    let expected = [b"\x04\x7f\x95\x02", path.replace('"', "%22").as_bytes()].concat();
    assert_eq!(mended, expected);
}

proptest! {
    /// What is mended needs no mending, and no block makes trouble.
    #[test]
    fn mending_ends(block in prop::collection::vec(any::<u8>(), 0..40)) {
        if let Some(mended) = mend(&block) {
            prop_assert_eq!(mend(&mended), None);
        }
    }
}

/// Reads blocks of one connection.
fn read(blocks: &[&str]) -> Vec<Option<HeaderBlock>> {
    let mut table = DynamicTable::new();
    let read = |block: &&str| table.read(&bytes(block));
    blocks.iter().map(read).collect()
}

/// Whether each has pseudo-header fields, and a target with a fragment.
fn found(blocks: &[&str]) -> Vec<(bool, bool)> {
    let found = read(blocks).into_iter().map(Option::unwrap);
    found
        .map(|block| (block.has_pseudo, block.has_fragment))
        .collect()
}

#[test]
fn the_table_is_followed_entry_by_entry() {
    let mut table = DynamicTable::new();
    // C.3
    for (block, size) in [
        ("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", 57),
        ("8286 84be 5808 6e6f 2d63 6163 6865", 110),
        (
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            164,
        ),
    ] {
        table.read(&bytes(block)).unwrap();
        assert_eq!(table.size, size, "{block}");
    }
    let mut table = DynamicTable::new();
    // C.4
    for (block, size) in [
        ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", 57),
        ("8286 84be 5886 a8eb 1064 9cbf", 110),
        (
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            164,
        ),
    ] {
        table.read(&bytes(block)).unwrap();
        assert_eq!(table.size, size, "{block}");
    }
    assert_eq!(STATIC.len(), 61);
    assert_eq!(STATIC[60], "www-authenticate");
}

#[test]
fn a_fragment_is_seen_in_every_spelling() {
    for block in [
        "04 03 2f2378",
        "05 03 2f2378",
        "14 03 2f2378",
        "44 03 2f2378",
        "00 05 3a70617468 03 2f2378",
        "40 05 3a70617468 03 2f2378",
        // The name, and the target, in Huffman's code (`:path`, `/#`).
        "00 84 b958d33f 02 2f23",
        "44 83 63febf",
        // A target that is mended, too; one that is no path.
        "04 04 2f222378",
        "04 01 23",
    ] {
        assert_eq!(found(&[block]), [(true, true)], "{block}");
    }
    // `#` in another field.
    assert_eq!(found(&["0f 24 01 23"]), [(false, false)]);
}

#[test]
fn what_the_table_holds_is_seen_again() {
    // A target with a fragment, then by its index; then behind another entry; then its name alone.
    let blocks = [
        "44 03 2f2378",
        "be",
        "40 01 78 01 79 bf",
        "7f 00 01 2f",
        "be",
    ];
    let (yes, no) = ((true, true), (true, false));
    assert_eq!(found(&blocks), [yes, yes, yes, no, no]);
    // The table is emptied, so there is nothing to name.
    assert_eq!(read(&["44 01 2f", "20 be"])[1], None);
    assert_eq!(read(&["44 01 2f", "20", "be"])[2], None);
    // It can't be longer than we have allowed.
    assert_eq!(read(&["3f e2 1f"]), [None]);
    assert_eq!(found(&["3f e1 1f"]), [(false, false)]);
    // An entry that does not fit empties it.
    let long = format!("41 7f a1 1f {}", "61".repeat(4_128));
    assert_eq!(read(&["44 01 2f", &long, "be"])[2], None);
}

#[test]
fn a_block_that_can_not_be_read_is_none() {
    for block in [
        "80",
        "be",
        "04 7f",
        "04 05 2f22",
        "ff ff ff ff ff ff",
        "7e 01 61",
        "44 83 ffffff",
    ] {
        assert_eq!(read(&[block]), [None], "{block}");
    }
}
