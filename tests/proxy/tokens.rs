//! `Authorization: Bearer`: signed tokens of others.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{Client, World};

const SECRET: &[u8; 32] = b"thirty-two bytes that nobody has";

const BY_CLAIM: &str = r#"
[[rule]]
name = "own-site"
databases = ["@notes"]
callers = { roles = ["reader"] }
permit = ["read"]
[rule.documents]
site = "{claim:site}"
"#;

async fn filled() -> World {
    let mut keys = tempfile::NamedTempFile::new().unwrap();
    let key =
        json!({ "kty": "oct", "alg": "HS256", "kid": "k", "k": URL_SAFE_NO_PAD.encode(SECRET) });
    write!(keys, "{}", json!({ "keys": [key] })).unwrap();
    let section = format!(
        "[identity.tokens]\nkeys = \"{}\"\naudience = \"us\"\nroles = [\"realm\", \"roles\"]\n",
        keys.path().display()
    );
    let world = World::with(BY_CLAIM, &section).await;
    let documents = json!([{ "_id": "a", "site": "1" }, { "_id": "b", "site": "2" }]);
    world.database("notes", documents).await;
    world
}

fn token(claims: &Value) -> String {
    let head = json!({ "typ": "JWT", "alg": "HS256", "kid": "k" });
    let parts = [&head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = parts.join(".");
    let signature = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, SECRET),
        signed.as_bytes(),
    );
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn claims(name: &str, roles: &[&str], site: &str) -> Value {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    json!({ "sub": name, "aud": "us", "exp": now + 60, "site": site, "realm": { "roles": roles } })
}

fn bearer(world: &World, claims: &Value) -> Client {
    let header = format!("Bearer {}", token(claims));
    world.anonymous().with_header("authorization", &header)
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_and_claims_of_a_token_open_what_rules_permit() {
    let world = filled().await;
    let client = bearer(&world, &claims("token-bearer", &["reader"], "1"));
    client.get("/@notes/a").await.yes();
    client.get("/@notes/b").await.no(404, "not_found");
    let session = client.get("/_session").await.yes();
    assert_eq!(
        session["userCtx"],
        json!({ "name": "token-bearer", "roles": ["reader"] })
    );
    assert_eq!(session["info"]["authenticated"], "jwt");
    let other = bearer(&world, &claims("token-bearer", &[], "1"));
    other.get("/@notes/a").await.no(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_not_believed_is_a_401_everywhere() {
    let world = filled().await;
    let mut expired = claims("x", &["reader"], "1");
    expired["exp"] = json!(1);
    let mut elsewhere = claims("x", &["reader"], "1");
    elsewhere["aud"] = json!("them");
    let administrator = claims(&world.name("ops"), &["_admin"], "1");
    for claims in [expired, elsewhere, administrator] {
        let client = bearer(&world, &claims);
        for path in ["/@notes/a", "/", "/_session"] {
            client.get(path).await.no(401, "unauthorized");
        }
    }
}
