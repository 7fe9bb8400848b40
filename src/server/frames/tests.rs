//! Frames, whole and cut.

use super::Frames;
use proptest::prelude::*;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame_of(1, kind, flags, payload)
}

fn frame_of(stream: u8, kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
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
        frame_of(
            3,
            1,
            0x25,
            &[&dependency, b"\x04\x02/\"".as_slice()].concat(),
        ),
        frame(0, 0x1, b"\x04\x02/\""),
    ];
    let meant = [
        frame(4, 0, &[]),
        frame(1, 0x5, b"\x82\x04\x04/%22"),
        frame_of(
            3,
            1,
            0x25,
            &[&dependency, b"\x04\x04/%22".as_slice()].concat(),
        ),
        frame(0, 0x1, b"\x04\x02/\""),
    ];
    assert_eq!(mended(&[&after_preface(&sent)]), after_preface(&meant));
}

#[test]
fn other_frames_stay() {
    let sent = [
        frame(0, 0, b"\x04\x02/\""),
        frame(1, 0x4, b"\x04\x01/"),
        frame(0, 0x1, b"\x04\x02/#"),
        // Padded; in two frames; of nothing.
        frame(1, 0xD, b"\x01\x0f\x00\x01x\0"),
        frame(1, 0x1, b"\x0f\x00\x01"),
        frame(9, 0x4, b"x"),
        frame(1, 0x5, b""),
        frame(0x50, 0xff, b"\x04\x02/\""),
    ];
    let sent = after_preface(&sent);
    assert_eq!(mended(&[&sent]), sent);
}

#[test]
fn a_block_is_mended_in_however_many_frames_it_is() {
    let long = [b"\x04\x02/\"".as_slice(), &[0x82; 16_380]].concat();
    let meant = [b"\x04\x04/%22".as_slice(), &[0x82; 16_380]].concat();
    let sent = [
        frame(1, 0xD, b"\x01\x04\x02/\"\0"),
        frame_of(3, 1, 0x1, b"\x04"),
        frame_of(3, 9, 0, b"\x02/"),
        frame_of(3, 9, 0, b""),
        frame_of(3, 9, 0x4, b"\""),
        frame_of(5, 1, 0x5, &long),
    ];
    let meant = [
        frame(1, 0x5, b"\x04\x04/%22"),
        frame_of(3, 1, 0x5, b"\x04\x04/%22"),
        frame_of(5, 1, 0x1, &meant[..16_384]),
        frame_of(5, 9, 0x4, &meant[16_384..]),
    ];
    assert_eq!(mended(&[&after_preface(&sent)]), after_preface(&meant));
}

const MALFORMED: &[u8] = b"\x00\x0aconnection\x00";

#[test]
fn what_means_nothing_becomes_malformed() {
    let fragment = b"\x44\x03/#x";
    let sent = [
        frame(1, 0x4, fragment),
        // Trailers: pseudo-header fields of both tables, and none.
        frame(1, 0x5, b"\x82"),
        frame(1, 0x5, b"\xbe"),
        frame(1, 0x1, b"\x00\x07:status"),
        frame(9, 0x4, b"\x01x"),
        frame(1, 0x5, b"\x00\x01x\x01y"),
    ];
    let meant = [
        frame(1, 0x4, &[fragment, MALFORMED].concat()),
        frame(1, 0x5, &[b"\x82", MALFORMED].concat()),
        frame(1, 0x5, &[b"\xbe", MALFORMED].concat()),
        frame(1, 0x5, &[b"\x00\x07:status\x01x", MALFORMED].concat()),
        frame(1, 0x5, b"\x00\x01x\x01y"),
    ];
    assert_eq!(mended(&[&after_preface(&sent)]), after_preface(&meant));
}

#[test]
fn a_block_that_can_not_be_read_ends_the_connection() {
    let long = frame(9, 0, &[0; 16_384]);
    for sent in [
        vec![frame(1, 0x5, b"\x80")],
        vec![frame(1, 0x5, b"\xbe")],
        vec![frame(1, 0xD, b"\x02\x82")],
        vec![frame(1, 0x25, b"\0\0\0\0")],
        // A stream that depends on itself, headers of none, a promise, a frame that is too long.
        vec![frame(1, 0x25, b"\x80\0\0\x01\x10\x82")],
        vec![frame_of(0, 1, 0x5, b"\x82")],
        vec![frame(5, 0x4, b"\0\0\0\x02\x82")],
        vec![frame(1, 0x5, &[0x82; 16_385])],
        // Blocks that end with another frame, or in that of another stream; that begin with their end; without an end.
        vec![frame(1, 0x1, b"\x82"), frame(0, 0, b"x")],
        vec![frame(1, 0x1, b"\x82"), frame(1, 0x4, b"\x82")],
        vec![frame(1, 0x1, b"\x82"), frame_of(3, 9, 0x4, b"\x82")],
        vec![frame(9, 0x4, b"\x82")],
        vec![
            frame(1, 0, b""),
            long.clone(),
            long.clone(),
            long.clone(),
            long,
        ],
    ] {
        let all = after_preface(&[sent.concat(), frame(1, 0x4, b"\x82")]);
        let mut frames = Frames::new();
        let meant = after_preface(&[frame_of(0, 1, 0x4, b"")]);
        assert_eq!(frames.follow(&all), Some(meant), "{sent:?}");
        assert_eq!(frames.follow(b"more"), Some(Vec::new()));
    }
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
