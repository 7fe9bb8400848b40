//! Frames, whole and cut.

use super::Frames;
use proptest::prelude::*;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn mended(pieces: &[&[u8]]) -> Vec<u8> {
    let mut frames = Frames::new();
    let follow = |piece: &&[u8]| frames.follow(piece).unwrap_or_else(|| piece.to_vec());
    pieces.iter().flat_map(follow).collect()
}

fn after_preface(frames: &[Vec<u8>]) -> Vec<u8> {
    [PREFACE, &frames.concat()].concat()
}

#[test]
fn a_block_is_mended_in_a_frame_of_its_own_length() {
    let dependency = [0, 0, 0, 0, 16];
    let sent = [
        frame(4, 0, &[]),
        frame(1, 0x5, b"\x82\x04\x02/\""),
        frame(1, 0x25, &[&dependency, b"\x04\x02/\"".as_slice()].concat()),
        frame(0, 0x1, b"\x04\x02/\""),
    ];
    let meant = [
        frame(4, 0, &[]),
        frame(1, 0x5, b"\x82\x04\x04/%22"),
        frame(1, 0x25, &[&dependency, b"\x04\x04/%22".as_slice()].concat()),
        frame(0, 0x1, b"\x04\x02/\""),
    ];
    assert_eq!(mended(&[&after_preface(&sent)]), after_preface(&meant));
}

#[test]
fn other_frames_stay() {
    let long = [b"\x04\x02/\"".as_slice(), &[0x82; 16_380]].concat();
    let sent = [
        // Padded, continued, a continuation, too long to grow, too long at all.
        frame(1, 0xD, b"\x01\x04\x02/\"\0"),
        frame(1, 0x1, b"\x04\x02/\""),
        frame(9, 0x4, b"\x04\x02/\""),
        frame(1, 0x5, &long),
        frame(1, 0x5, &[long.as_slice(), b"\x82"].concat()),
        frame(1, 0x5, b""),
    ];
    let sent = after_preface(&sent);
    assert_eq!(mended(&[&sent]), sent);
}

proptest! {
    #[test]
    fn cuts_do_not_matter(
        frames in prop::collection::vec(
            (0..3_u8, prop_oneof![Just(0x4), Just(0x24), Just(0)], prop::collection::vec(any::<u8>(), 0..30)),
            0..5,
        ),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let block = |(kind, flags, rest): &(u8, u8, Vec<u8>)| {
            frame(*kind, *flags, &[b"\x04\x03/\">".as_slice(), rest].concat())
        };
        let sent = after_preface(&frames.iter().map(block).collect::<Vec<_>>());
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(sent.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().chain([sent.len()]) {
            pieces.push(&sent[from..cut]);
            from = cut;
        }
        prop_assert_eq!(mended(&pieces), mended(&[&sent]));
    }
}
