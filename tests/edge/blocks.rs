//! Header blocks of HTTP/2 that mean nothing, in every way that they can be written.

use std::time::Duration;

use tokio::time::timeout;

use crate::frames::{
    DATA, END_HEADERS, END_STREAM, HEADERS, Outcome, block, greet, outcome, write,
};
use crate::proxy::Proxy;
use crate::upstream::Upstream;

const PADDED: u8 = 8;
const CONTINUATION: u8 = 9;
/// Long enough for every limit of the proxy; reached only by a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// `:method`, `:scheme` and `:authority`, then the target as it is given.
fn request(method: u8, target: &[u8]) -> Vec<u8> {
    [&[method, 0x87], b"\x01\x09localhost".as_slice(), target].concat()
}

fn get(target: &[u8]) -> Vec<u8> {
    request(0x82, target)
}

/// One frame: type, flags and payload.
type Sent = (u8, u8, Vec<u8>);

fn whole(block: Vec<u8>) -> Vec<Sent> {
    vec![(HEADERS, END_HEADERS | END_STREAM, block)]
}

fn with_trailers(trailers: &[Sent]) -> Vec<Sent> {
    let body = (DATA, 0, b"{}".to_vec());
    let head = (HEADERS, END_HEADERS, request(0x83, b"\x04\x03/db"));
    [&[head, body], trailers].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::too_many_lines, reason = "a row for each case")]
async fn a_block_that_means_nothing_resets_its_stream_and_no_other() {
    let (upstream, address) = Upstream::start().await;
    let proxy = Proxy::forwarding(address).await;
    let mut io = proxy.connect(b"h2").await;
    greet(&mut io, &[]).await;
    let status = block(&[(b":status".to_vec(), b"200".to_vec())]);
    let own = block(&[(b"x".to_vec(), b"y".to_vec())]);
    let ends = END_HEADERS | END_STREAM;
    let cases = [
        ("plain", whole(get(b"\x04\x03/db")), true),
        ("for the table", whole(get(b"\x44\x05/db#x")), false),
        ("out of the table", whole(get(b"\xbe")), false),
        (
            "behind another entry",
            whole(get(b"\x40\x01x\x01y\xbf")),
            false,
        ),
        // Its name only, and another value.
        ("by its name", whole(get(b"\x0f\x30\x03/db")), true),
        (
            "its name as a text",
            whole(get(b"\x00\x05:path\x05/db#x")),
            false,
        ),
        (
            "in Huffman's code",
            whole(get(b"\x04\x83\x63\xfe\xbf")),
            false,
        ),
        ("with what is mended", whole(get(b"\x04\x06/db\"#x")), false),
        (
            "padded",
            vec![(
                HEADERS,
                ends | PADDED,
                [b"\x01".as_slice(), &get(b"\x04\x05/db#x"), b"\0"].concat(),
            )],
            false,
        ),
        (
            "in two frames",
            vec![
                (HEADERS, END_STREAM, get(b"\x04\x05/db")),
                (CONTINUATION, END_HEADERS, b"#x".to_vec()),
            ],
            false,
        ),
        (
            "in two frames, and mended",
            vec![
                (HEADERS, END_STREAM, get(b"\x04\x07/db?k=")),
                (CONTINUATION, END_HEADERS, b"\"".to_vec()),
            ],
            true,
        ),
        ("trailers", with_trailers(&[(HEADERS, ends, own)]), true),
        (
            "trailers with a status",
            with_trailers(&[(HEADERS, ends, status)]),
            false,
        ),
        (
            "trailers with a method of the static table",
            with_trailers(&[(HEADERS, ends, vec![0x82])]),
            false,
        ),
        (
            "trailers with a target of the table",
            with_trailers(&[(HEADERS, ends, vec![0xbf])]),
            false,
        ),
        (
            "trailers in two frames",
            with_trailers(&[
                (HEADERS, END_STREAM, b"\x00\x05:pa".to_vec()),
                (CONTINUATION, END_HEADERS, b"th\x01/".to_vec()),
            ]),
            false,
        ),
        ("plain again", whole(get(b"\x04\x03/db")), true),
    ];
    let mut passed = 0;
    for (stream, (what, frames, passes)) in (1..).step_by(2).zip(cases) {
        for (kind, flags, payload) in frames {
            write(&mut io, kind, flags, stream, &payload).await;
        }
        let told = timeout(PATIENCE, outcome(&mut io)).await.expect(what);
        match passes {
            true => assert_eq!(told, Outcome::Status("200".to_owned()), "{what}"),
            false => assert_eq!(told, Outcome::Reset, "{what}"),
        }
        passed += usize::from(passes);
        assert_eq!(upstream.captured().len(), passed, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_can_not_be_read_ends_its_connection() {
    let depends_on_itself = [b"\0\0\0\x01\x10".as_slice(), &get(b"\x44\x03/db")].concat();
    for (what, kind, flags, payload) in [
        (
            "of no entry",
            HEADERS,
            END_HEADERS | END_STREAM,
            get(b"\xbe"),
        ),
        (
            "that depends on itself",
            HEADERS,
            END_HEADERS | END_STREAM | 0x20,
            depends_on_itself,
        ),
        (
            "of a promise",
            5,
            END_HEADERS,
            [b"\0\0\0\x02".as_slice(), &get(b"\x04\x03/db")].concat(),
        ),
        (
            "without a beginning",
            CONTINUATION,
            END_HEADERS,
            get(b"\x04\x03/db"),
        ),
    ] {
        let (upstream, address) = Upstream::start().await;
        let proxy = Proxy::forwarding(address).await;
        let mut io = proxy.connect(b"h2").await;
        greet(&mut io, &[]).await;
        write(&mut io, kind, flags, 1, &payload).await;
        write(
            &mut io,
            HEADERS,
            END_HEADERS | END_STREAM,
            3,
            &get(b"\x04\x03/db"),
        )
        .await;
        let told = timeout(PATIENCE, outcome(&mut io)).await.expect(what);
        assert_eq!(told, Outcome::Reset, "{what}");
        assert_eq!(upstream.captured().len(), 0, "{what}");
    }
}
