//! An upstream for `peers.sh` and `memory.sh`: speaks just enough of CouchDB to stand behind a proxy, and costs next to
//! no time itself. It serves one user, his session, one document of 1 kB under any name, and a view of 1 GiB.
//!
//! `stub --listen ADDRESS` serves until it is ended; without arguments, as in `cargo bench`, it does nothing.
#![expect(
    clippy::print_stderr,
    reason = "a program of the benches tells what is wrong with it"
)]

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// `ann:secret`: the one user who can log in. Everybody else is the service account.
const ANN: &str = "Basic YW5uOnNlY3JldA==";
/// Rows of the big view, 700 bytes each with their line ends: 1 GiB, and a little.
const ROWS: usize = 1_533_960;
/// Rows that are written at once: about 64 KiB.
const AT_ONCE: usize = 90;

/// What is answered, made once.
struct Answers {
    document: Vec<u8>,
    rows: Vec<u8>,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ["--listen", address] = *arguments.iter().map(String::as_str).collect::<Vec<_>>() else {
        eprintln!("stub: an upstream for peers.sh and memory.sh; nothing is measured here");
        return Ok(());
    };
    let answers = Arc::new(Answers {
        document: document(),
        rows: rows(),
    });
    for connection in TcpListener::bind(address)?.incoming() {
        let (connection, answers) = (connection?, Arc::clone(&answers));
        thread::spawn(move || {
            // A proxy may close whenever it likes.
            let _ = serve(&connection, &answers);
        });
    }
    Ok(())
}

/// Answers one connection's requests, none of which has a body.
fn serve(connection: &TcpStream, answers: &Answers) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut ann = false;
        while line.trim_end() != "" {
            line.clear();
            reader.read_line(&mut line)?;
            ann |= line.contains(ANN);
        }
        answer(connection, &path, ann, answers)?;
    }
}

fn answer(mut connection: &TcpStream, path: &str, ann: bool, answers: &Answers) -> io::Result<()> {
    let name = if ann { "ann" } else { "warden" };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let text = match path {
        "/_session" => format!(
            "{{\"ok\":true,\"userCtx\":{{\"name\":\"{name}\",\"roles\":[\"reader\"]}},\"info\":{{}}}}\n"
        ),
        "/_users/_changes" => {
            if query.contains("longpoll") {
                thread::sleep(Duration::from_secs(30));
            }
            "{\"results\":[],\"last_seq\":\"1-x\",\"pending\":0}\n".to_owned()
        }
        "/lens/_design/bench" => {
            "{\"_id\":\"_design/bench\",\"_rev\":\"1-x\",\"views\":{\"rows\":{\"map\":\"\"}}}\n".to_owned()
        }
        "/lens/_design/bench/_view/rows" => return view(connection, &answers.rows),
        _ if path.starts_with("/_users/org.couchdb.user") => concat!(
            r#"{"_id":"org.couchdb.user:ann","_rev":"1-x","name":"ann","type":"user","roles":["reader","staff","#,
            r#""number:+4930100"],"password_scheme":"pbkdf2","iterations":10,"salt":"5a","derived_key":"01"}"#
        )
        .to_owned(),
        _ => return connection.write_all(&answers.document),
    };
    connection.write_all(&whole(&text))
}

/// A whole answer with CouchDB's headers.
fn whole(body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nCache-Control: must-revalidate\r\nContent-Length: {length}\r\nContent-Type: application/json\r\n\
         Date: Sun, 22 Nov 2026 04:00:00 GMT\r\nETag: \"1-967a00dff5e02add41819138abb3284d\"\r\n\
         Server: CouchDB/3.5.0 (Erlang OTP/26)\r\nX-Couch-Request-ID: 5f2a8c1b7d\r\nX-CouchDB-Body-Time: 0\r\n\r\n{body}"
    )
    .into_bytes()
}

/// A call of 1 kB; the lens hides its passwords.
fn document() -> Vec<u8> {
    let legs: Vec<String> = (0..6)
        .map(|leg| {
            format!(r#"{{"uuid":"0a1b2c3d-{leg:04}","ip":"192.0.2.{leg}","codec":"PCMA","password":"pw-{leg}","lost":0.0{leg}}}"#)
        })
        .collect();
    let mut text = format!(
        concat!(
            r#"{{"_id":"doc","_rev":"1-967a00dff5e02add41819138abb3284d","type":"call","caller":"+4930100200","callee":"+4989300400","#,
            r#""start":"2026-11-21T10:11:12Z","duration":73,"registrant":"sip:100@example.org","password":"secret","#,
            r#""hangup":{{"cause":16,"side":"caller","text":"normal clearing"}},"legs":[{legs}],"note":""#
        ),
        legs = legs.join(",")
    );
    let missing = 1022_usize.saturating_sub(text.len());
    text.push_str(&"n".repeat(missing));
    text.push_str("\"}\n");
    whole(&text)
}

/// Some rows of the view, each followed by a comma and CRLF: every tenth is not to be shown, each has two passwords.
fn rows() -> Vec<u8> {
    let mut rows = String::new();
    for n in 0..AT_ONCE {
        let shown = n % 10 != 9;
        let mut row = format!(
            concat!(
                r#"{{"id":"call-{n:010}","key":["493010{n:04}","2026-11-21T10:11:12Z"],"value":{{"type":"call","shown":{shown},"#,
                r#""caller":"+493010{n:04}","callee":"+498930{n:04}","start":"2026-11-21T10:11:12Z","duration":{n},"password":"pw-{n:04}","#,
                r#""hangup":{{"cause":16,"side":"caller","text":"normal clearing"}},"registrant":{{"user":"sip:{n}@example.org","#,
                r#""password":"secret-{n:04}"}},"codec":["PCMA","G722","opus"],"answered":true,"trunk":"trunk-7","cost":0.25,"note":""#
            ),
            n = n,
            shown = shown
        );
        let missing = 700_usize.saturating_sub(row.len() + "\"}},\r\n".len());
        row.push_str(&"n".repeat(missing));
        row.push_str("\"}},\r\n");
        rows.push_str(&row);
    }
    rows.into_bytes()
}

/// The view, in chunks, in CouchDB's layout.
fn view(mut connection: &TcpStream, rows: &[u8]) -> io::Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: CouchDB/3.5.0 (Erlang OTP/26)\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    connection.write_all(head.as_bytes())?;
    connection.write_all(&chunk(
        format!("{{\"total_rows\":{ROWS},\"offset\":0,\"rows\":[\r\n").as_bytes(),
    ))?;
    let many = chunk(rows);
    for _ in 1..ROWS.div_ceil(AT_ONCE) {
        connection.write_all(&many)?;
    }
    connection.write_all(&chunk(rows.strip_suffix(b",\r\n").unwrap_or(rows)))?;
    connection.write_all(&chunk(b"\r\n]}\n"))?;
    connection.write_all(b"0\r\n\r\n")
}

fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}
