//! Header blocks, those of RFC 7541 appendix C among them.

use super::{decode, mend};
use proptest::prelude::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
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
