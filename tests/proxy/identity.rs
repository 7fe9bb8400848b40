//! Who asks: passwords, cookies, roles; and what CouchDB is told about it.

use serde_json::{Value, json};

use crate::support::{Fake, Step, World, plain};

const OPEN: &str = r#"
[[rule]]
name = "readers"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["read"]
"#;

async fn filled() -> World {
    let world = World::start(OPEN).await;
    world
        .database("notes", json!([{ "_id": "a", "n": 1 }]))
        .await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_opens_what_the_roles_permit() {
    let world = filled().await;
    assert_eq!(world.as_("rita").get("/@notes/a").await.yes()["n"], 1);
    world.as_("tom").get("/@notes/a").await.no(404, "not_found");
    world
        .anonymous()
        .get("/@notes/a")
        .await
        .no(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_never_anonymous() {
    let world = World::start(
        r#"
[[rule]]
name = "everyone"
databases = ["@notes"]
callers = { everyone = true }
permit = ["read"]
"#,
    )
    .await;
    world.database("notes", json!([{ "_id": "a" }])).await;
    assert_eq!(world.anonymous().get("/@notes/a").await.status, 200);
    let name = world.name("rita");
    for (login, password) in [
        (name.as_str(), "wrong"),
        ("nobody-at-all", "x"),
        ("", ""),
        (name.as_str(), ""),
    ] {
        world
            .anonymous()
            .with_login(login, password)
            .get("/@notes/a")
            .await
            .no(401, "unauthorized");
    }
    for broken in ["Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Bearer abc"] {
        let answer = world
            .anonymous()
            .with_header("authorization", broken)
            .get("/@notes/a")
            .await;
        // CouchDB says 400 to what is no Basic at all.
        assert!([400, 401].contains(&answer.status), "{broken}: {answer:?}");
    }
    world
        .anonymous()
        .with_header("cookie", "AuthSession=forged")
        .get("/@notes/a")
        .await
        .no(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_opened_by_json_and_by_form() {
    let world = filled().await;
    let (name, password) = world.as_("rita").login.unwrap();
    let form = format!("name={name}&password={}", password.replace(' ', "+"));
    let json = json!({ "name": name, "password": password }).to_string();
    for (kind, body) in [
        ("application/json", json),
        ("application/x-www-form-urlencoded", form),
    ] {
        let opened = world
            .anonymous()
            .ask("POST", "/_session", &[("content-type", kind)], body)
            .await;
        let told = opened.yes();
        assert_eq!(
            (&told["ok"], &told["name"]),
            (&json!(true), &json!(name)),
            "{kind}: {told}"
        );
        assert_eq!(told["roles"], json!(["reader"]), "{kind}");
        let cookie = opened.header("set-cookie").unwrap().to_owned();
        for word in ["AuthSession=", "HttpOnly", "Secure", "SameSite"] {
            assert!(cookie.contains(word), "{cookie}");
        }
        let cookie = cookie.split(';').next().unwrap();
        let with_cookie = world.anonymous().with_header("cookie", cookie);
        assert_eq!(with_cookie.get("/@notes/a").await.status, 200, "{kind}");
        let session = with_cookie.get("/_session").await.yes();
        assert_eq!(
            session["userCtx"],
            json!({ "name": name, "roles": ["reader"] })
        );
        // Changed in its last letters, it is nobody's.
        let (kept, last) = cookie.split_at(cookie.len() - 2);
        let forged = format!("{kept}{}", if last == "xx" { "yy" } else { "xx" });
        world
            .anonymous()
            .with_header("cookie", &forged)
            .get("/@notes/a")
            .await
            .no(401, "unauthorized");
    }
    let closed = world.anonymous().delete("/_session").await;
    assert!(
        closed
            .header("set-cookie")
            .unwrap()
            .starts_with("AuthSession=;"),
        "{closed:?}"
    );
    let body = json!({ "name": name, "password": "wrong" });
    world
        .anonymous()
        .post("/_session", body)
        .await
        .no(401, "unauthorized");
    let nobody = world.anonymous().get("/_session").await.yes();
    assert_eq!(nobody["userCtx"], json!({ "name": null, "roles": [] }));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_becomes_an_administrator_but_by_configuration() {
    let world = filled().await;
    let sly = world.user("sly", &["reader", "administrator"]);
    assert_eq!(sly.get("/@notes/_security").await.status, 403);
    assert_eq!(sly.get("/_all_dbs").await.yes(), json!([world.db("notes")]));
    // A server administrator of CouchDB's own is nobody special here.
    let backend = world.backend().login.unwrap();
    let foreign = world.anonymous().with_login(&backend.0, &backend.1);
    assert_ne!(foreign.get("/@notes/a").await.status, 200);
    assert_eq!(world.as_("ops").get("/@notes/_security").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_headers_of_a_client_never_pass() {
    let fake = Fake::start(|_| plain(200, r#"{"_id":"a","_rev":"1-a"}"#)).await;
    let world = World::before(&fake, OPEN, "").await;
    for (name, value) in [
        ("x-auth-couchdb-username", "admin"),
        ("x-auth-couchdb-roles", "_admin"),
        ("x-auth-couchdb-token", "00"),
        ("X-Auth-CouchDB-Roles", "_admin"),
        ("x-http-method-override", "DELETE"),
        ("x-couchdb-requested-path", "/other"),
        ("x-forwarded-host", "evil.example"),
    ] {
        let answer = world
            .as_("rita")
            .with_header(name, value)
            .get("/notes/a")
            .await;
        assert!(
            [200, 400].contains(&answer.status),
            "{name}: {}",
            answer.status
        );
    }
    let seen = fake.seen();
    assert!(!seen.is_empty());
    for request in &seen {
        assert_eq!(request.method, "GET");
        let line = |name: &str| {
            request
                .head
                .lines()
                .filter(|line| line.starts_with(name))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let roles = line("x-auth-couchdb-roles:");
        let names = line("x-auth-couchdb-username:");
        if names.is_empty() {
            continue; // an errand of our own
        }
        assert_eq!(names, ["x-auth-couchdb-username: rita"]);
        assert_eq!(roles.len(), 1, "{roles:?}");
        assert!(
            !roles[0].contains("_admin")
                && roles[0].contains("reader")
                && roles[0].contains("warden"),
            "{roles:?}"
        );
        assert!(
            !request.head.contains("evil.example") && !request.head.contains("/other"),
            "{}",
            request.head
        );
        assert!(
            line("authorization:").is_empty() && line("cookie:").is_empty(),
            "{}",
            request.head
        );
    }
}

/// CouchDB serves a host of its `[vhosts]` another path than the one that was judged.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_chooses_a_virtual_host_of_couchdb() {
    let fake = Fake::start(|seen| {
        let host = seen.head.split_once("x-forwarded-host: ").unwrap().1;
        let host = host.split_once("\r\n").unwrap().0;
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: 25\r\nlocation: http://{host}/notes/a\r\n\r\n"
        );
        vec![Step::Send(
            [head.as_bytes(), br#"{"ok":true,"rev":"1-a"}  "#].concat(),
        )]
    })
    .await;
    let rules = OPEN.replace('@', "").replace("read\"]", "replicate\"]");
    let world = World::before(&fake, &rules, "").await;
    for who in ["rita", "ops"] {
        for method in ["GET", "PUT"] {
            let json = [("content-type", "application/json")];
            let body = if method == "PUT" { "{}" } else { "" };
            let answer = world.as_(who).ask(method, "/notes/a", &json, body).await;
            assert_eq!(answer.status, 200, "{who} {method}: {answer:?}");
            let seen = fake.seen().pop().unwrap();
            assert_eq!(seen.method, method, "{who}: {}", seen.head);
            let placeless = seen
                .head
                .contains("x-forwarded-host: couchwarden.invalid\r\n");
            assert!(
                placeless && !seen.head.contains("localhost"),
                "{}",
                seen.head
            );
            // And it names nothing but where the client has come from.
            let here = format!("https://localhost:{}/notes/a", world.address.port());
            assert_eq!(answer.header("location"), Some(&*here), "{who} {method}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strange_roles_give_nothing() {
    let world = World::start(
        r#"
[[rule]]
name = "captured"
databases = ["{db}"]
callers = { roles = ["user_database:{db}"] }
permit = ["read"]
"#,
    )
    .await;
    world.database("notes", json!([{ "_id": "a" }])).await;
    let role = format!("user_database:{}", world.db("notes"));
    assert_eq!(
        world.user("plain", &[&role]).get("/@notes/a").await.status,
        200
    );
    // A star in a role is a star, and not any text.
    world
        .user("star", &["user_database:*"])
        .get("/@notes/a")
        .await
        .no(404, "not_found");
    // CouchDB's own databases are never captured.
    let users = world.user("own", &["user_database:_users"]);
    assert_ne!(users.get("/_users/_all_docs").await.status, 200);
    // Proxy authentication separates roles by commas: one with a comma in it would become two.
    let comma = world.user("comma", &[&format!("x,{role}")]);
    assert_eq!(comma.get("/@notes/a").await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_taken_away_is_gone() {
    let world = filled().await;
    let user = world.user("brief", &["reader"]);
    assert_eq!(user.get("/@notes/a").await.status, 200);
    let name = user.login.clone().unwrap().0;
    let path = format!("/_users/org.couchdb.user:{name}");
    let mut document = world.backend().get(&path).await.yes();
    document["roles"] = Value::Array(Vec::new());
    world.backend().put(&path, document).await.yes();
    // The feed of `_users` brings it; asked often enough, the answer changes.
    for _ in 0..2000 {
        if user.get("/@notes/a").await.status == 404 {
            return;
        }
    }
    panic!("the role is still good");
}
