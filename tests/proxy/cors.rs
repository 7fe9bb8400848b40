//! Browsers: pages of the configured origins may use couchwarden with credentials, and no others.

use serde_json::json;

use crate::support::World;

const RULES: &str = r#"
[[rule]]
name = "all"
databases = ["@notes"]
callers = { roles = ["writer"] }
permit = ["replicate"]
"#;

const HOME: &str = "https://dashboard.example.com";

async fn filled() -> World {
    let world = World::with(
        RULES,
        "[cors]\norigins = [\"https://dashboard.example.com\"]\n",
    )
    .await;
    world.database("notes", json!([{ "_id": "a" }])).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_is_answered_without_asking_who() {
    let world = filled().await;
    let ask = [
        ("origin", HOME),
        ("access-control-request-method", "PUT"),
        (
            "access-control-request-headers",
            "authorization,content-type",
        ),
    ];
    let answer = world
        .anonymous()
        .ask("OPTIONS", "/@notes/a", &ask, "")
        .await;
    assert_eq!(answer.status, 204, "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some(HOME));
    assert_eq!(
        answer.header("access-control-allow-credentials"),
        Some("true")
    );
    assert!(
        answer
            .header("access-control-allow-methods")
            .unwrap()
            .contains("PUT")
    );
    assert!(
        answer
            .header("access-control-allow-headers")
            .unwrap()
            .to_lowercase()
            .contains("authorization")
    );
    let evil = [
        ("origin", "https://evil.example"),
        ("access-control-request-method", "PUT"),
    ];
    let answer = world
        .anonymous()
        .ask("OPTIONS", "/@notes/a", &evil, "")
        .await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_to_a_known_origin_says_so() {
    let world = filled().await;
    let walt = world.as_("walt");
    for (client, path, status) in [
        (&walt, "/@notes/a", 200),
        (&walt, "/@notes/none", 404),
        (&world.anonymous(), "/@notes/a", 401),
        (&walt, "/@notes/_changes", 200),
    ] {
        let answer = client.ask("GET", path, &[("origin", HOME)], "").await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some(HOME),
            "{path}"
        );
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            Some("true"),
            "{path}"
        );
        assert!(
            answer
                .header("vary")
                .unwrap_or_default()
                .to_lowercase()
                .contains("origin"),
            "{path}"
        );
        assert_eq!(answer.header("www-authenticate"), None, "{path}");
        let foreign = client
            .ask("GET", path, &[("origin", "https://evil.example")], "")
            .await;
        assert_eq!(
            foreign.header("access-control-allow-origin"),
            None,
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_cannot_write_with_the_cookie() {
    let world = filled().await;
    let (name, password) = world.as_("walt").login.unwrap();
    let opened = world
        .anonymous()
        .post("/_session", json!({ "name": name, "password": password }))
        .await;
    let cookie = opened
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let browser = world.anonymous().with_header("cookie", &cookie);
    let write = |origin: &'static str, id: &'static str| {
        let browser = browser.clone().with_header("origin", origin);
        async move { browser.put(&format!("/@notes/{id}"), json!({})).await }
    };
    write("https://evil.example", "x")
        .await
        .no(403, "forbidden");
    assert_eq!(write(HOME, "y").await.status, 201);
    let answer = browser
        .clone()
        .with_header("sec-fetch-site", "cross-site")
        .put("/@notes/z", json!({}))
        .await;
    assert_eq!(answer.status, 403, "{answer:?}");
    assert_eq!(world.backend().get("/@notes/_all_docs").await.ids(), "a y");
    // Functions of design documents may write by any method.
    for path in ["_rewrite/x", "_update/f", "_update/f/a"] {
        let path = format!("/@notes/_design/d/{path}");
        let evil = browser
            .clone()
            .with_header("origin", "https://evil.example");
        let answer = evil.get(&path).await;
        assert!(
            answer.text().contains("origin") && answer.status == 403,
            "{answer:?}"
        );
        let answer = browser.get(&path).await;
        assert!(!answer.text().contains("origin"), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_page_logs_nobody_in_or_out() {
    let world = filled().await;
    let (name, password) = world.as_("walt").login.unwrap();
    let login = json!({ "name": name, "password": password });
    let foreign = [
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ];
    for (header, value) in foreign {
        let page = world.anonymous().with_header(header, value);
        for (method, path) in [
            ("POST", "/_session"),
            ("POST", "/session"),
            ("PUT", "/session"),
        ] {
            let answer = page.send(method, path, login.clone()).await;
            answer.no(403, "forbidden");
            assert_eq!(
                answer.header("set-cookie"),
                None,
                "{method} {path} {answer:?}"
            );
        }
    }
    let opened = world
        .anonymous()
        .with_header("origin", HOME)
        .post("/_session", login)
        .await;
    assert_eq!(opened.status, 200, "{opened:?}");
    let cookie = opened
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap();
    let browser = world.anonymous().with_header("cookie", cookie);
    for (header, value) in foreign {
        let page = browser.clone().with_header(header, value);
        for path in ["/_session", "/session"] {
            page.delete(path).await.no(403, "forbidden");
        }
    }
    let session = browser.get("/_session").await.yes();
    assert_eq!(session["userCtx"]["name"], json!(name));
}

/// A page sees nothing of an answer without these fields, and PouchDB then tries again for ever.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_before_it_is_read_says_so_to_a_known_origin() {
    let world = filled().await;
    let walt = world.as_("walt");
    let long = format!("/@notes/{}", "a".repeat(20_000));
    for (method, path, field, status) in [
        ("TRACE", "/@notes/a", ("accept", "*/*"), 405),
        ("GET", long.as_str(), ("accept", "*/*"), 414),
        ("PUT", "/@notes/b", ("content-encoding", "br"), 415),
        ("GET", "/@notes/a%zz", ("accept", "*/*"), 400),
    ] {
        for (origin, told) in [(HOME, Some(HOME)), ("https://evil.example", None)] {
            let answer = walt
                .ask(method, path, &[("origin", origin), field], "{}")
                .await;
            assert_eq!(answer.status, status, "{method} {path} {answer:?}");
            let allowed = answer.header("access-control-allow-origin");
            assert_eq!(allowed, told, "{method} {status}");
        }
    }
}
