//! Which tokens are believed, and what they tell.

use super::{Bearer, read};
use crate::config;
use crate::config::{TokenKey, TokenRules, TokenVoucher};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::io::Write as _;
use std::time::Duration;

const NOW: u64 = 1_000_000;

/// Two shared keys, `a` and `b`, of thirty-two bytes each.
fn keys() -> Vec<TokenKey> {
    let key = |id: &str| {
        let secret = URL_SAFE_NO_PAD.encode(id.repeat(32));
        format!(r#"{{"kty":"oct","kid":"{id}","k":"{secret}"}}"#)
    };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    write!(file, r#"{{"keys":[{},{}]}}"#, key("a"), key("b")).unwrap();
    let path = file.path().display();
    let text = format!(
        "[listen]\naddress='127.0.0.1:0'\n[couchdb]\nnodes=['http://127.0.0.1:1']\nuser='u'\npassword='p'\n\
         present='service'\n[identity]\nsession={{secret='0123456789abcdef'}}\n[identity.tokens]\nkeys='{path}'\n\
         [policies]\ndirectory='p'\n"
    );
    let config = config::Config::parse(&text, file.path()).unwrap();
    match config.identity.tokens.unwrap().voucher {
        TokenVoucher::Keys(keys) => keys,
        TokenVoucher::CouchDb => panic!("these are keys"),
    }
}

fn rules(issuer: Option<&str>, audience: Option<&str>) -> TokenRules {
    TokenRules {
        voucher: TokenVoucher::CouchDb,
        issuer: issuer.map(str::to_owned),
        audience: audience.map(str::to_owned),
        roles: vec!["realm".into(), "roles".into()],
        leeway: Duration::from_secs(60),
    }
}

fn token(head: &str, payload: &str, key: &str) -> String {
    let signed = [head, payload]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".");
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.repeat(32).as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

const HEAD: &str = r#"{"alg":"HS256","kid":"a"}"#;

fn told(payload: &str) -> Result<Bearer, &'static str> {
    read(&rules(None, None), &keys(), &token(HEAD, payload, "a"), NOW)
}

#[test]
fn a_token_tells_name_roles_and_claims() {
    let bearer = told(
        r#"{"sub":"ann","exp":1000001,"realm":{"roles":["a","_admin","b"]},"site":"x","n":[1,"2",true,null,{}]}"#,
    )
    .unwrap();
    assert_eq!(bearer.name.as_str(), "ann");
    let roles: Vec<&str> = bearer.roles.iter().map(|role| role.as_str()).collect();
    assert_eq!(roles, ["a", "b"]);
    let claim = |name: &str| {
        let claims = bearer.claims.iter().filter(|(own, _)| own == name);
        claims.map(|(_, text)| text.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(claim("site"), ["x"]);
    assert_eq!(claim("n"), ["1", "2", "true"]);
    assert!(claim("realm").is_empty());
}

#[test]
fn a_token_has_its_time() {
    let with = |times: &str| told(&format!(r#"{{"sub":"ann"{times}}}"#)).is_ok();
    assert!(with(r#","exp":1000000"#));
    assert!(with(r#","exp":999941"#));
    assert!(with(r#","exp":1000000.5,"nbf":1000060"#));
    for times in [
        "",
        r#","exp":999940"#,
        r#","exp":"1000000""#,
        r#","exp":-1"#,
        r#","exp":null"#,
        r#","exp":1000000,"nbf":1000061"#,
        r#","exp":1000000,"nbf":"0""#,
        r#","exp":1000000,"exp":2000000"#,
    ] {
        assert!(!with(times), "{times}");
    }
}

#[test]
fn what_can_not_be_a_name_or_a_role_is_refused() {
    let with = |rest: &str| told(&format!(r#"{{"exp":1000000,{rest}}}"#)).is_ok();
    assert!(with(r#""sub":"ann""#));
    for rest in [
        r#""sub":"""#,
        r#""sub":null"#,
        r#""sub":1"#,
        r#""name":"ann""#,
        r#""sub":"ann\u0000""#,
        r#""sub":"a\u00adnn""#,
        r#""sub":"ann","realm":{"roles":"a"}"#,
        r#""sub":"ann","realm":{"roles":[1]}"#,
        r#""sub":"ann","realm":{"roles":["a,b"]}"#,
    ] {
        assert!(!with(rest), "{rest}");
    }
}

#[test]
fn the_key_decides_how_a_token_is_signed() {
    let payload = r#"{"sub":"ann","exp":1000000}"#;
    let believed = |head: &str, key| {
        read(&rules(None, None), &keys(), &token(head, payload, key), NOW).is_ok()
    };
    assert!(believed(HEAD, "a"));
    assert!(believed(
        r#"{"typ":"JWT","alg":"HS256","kid":"b","jwk":{}}"#,
        "b"
    ));
    for (head, key) in [
        (HEAD, "b"),
        (r#"{"alg":"HS256","kid":"b"}"#, "a"),
        (r#"{"alg":"HS256","kid":"c"}"#, "a"),
        (r#"{"alg":"HS256","kid":null}"#, "a"),
        // Either key could be meant.
        (r#"{"alg":"HS256"}"#, "a"),
        (r#"{"alg":"HS512","kid":"a"}"#, "a"),
        (r#"{"alg":"RS256","kid":"a"}"#, "a"),
        (r#"{"alg":"none","kid":"a"}"#, "a"),
        (r#"{"alg":"hs256","kid":"a"}"#, "a"),
        (r#"{"kid":"a"}"#, "a"),
        (r#"{"alg":"HS256","kid":"a","crit":["exp"]}"#, "a"),
        (r#"{"alg":"HS256","alg":"HS256","kid":"a"}"#, "a"),
    ] {
        assert!(!believed(head, key), "{head} {key}");
    }
}

#[test]
fn what_is_not_three_parts_is_refused() {
    let whole = token(HEAD, r#"{"sub":"ann","exp":1000000}"#, "a");
    let (signed, signature) = whole.rsplit_once('.').unwrap();
    for text in [
        String::new(),
        ".".into(),
        "..".into(),
        format!("{signed}."),
        signed.into(),
        format!("{whole}."),
        format!(".{whole}"),
        format!("{whole}="),
        format!("{signed}.{}", signature.to_ascii_lowercase()),
    ] {
        assert!(
            read(&rules(None, None), &keys(), &text, NOW).is_err(),
            "{text}"
        );
    }
}

#[test]
fn a_token_for_others_is_refused() {
    let believed = |issuer, audience, claims: &str| {
        let payload = format!(r#"{{"sub":"ann","exp":1000000{claims}}}"#);
        let token = token(HEAD, &payload, "a");
        read(&rules(issuer, audience), &keys(), &token, NOW).is_ok()
    };
    assert!(believed(Some("i"), Some("us"), r#","iss":"i","aud":"us""#));
    assert!(believed(
        None,
        Some("us"),
        r#","iss":"i","aud":["them","us"]"#
    ));
    assert!(!believed(Some("i"), None, ""));
    assert!(!believed(Some("i"), None, r#","iss":"j""#));
    assert!(!believed(None, Some("us"), ""));
    assert!(!believed(None, Some("us"), r#","aud":"them""#));
    assert!(!believed(None, Some("us"), r#","aud":["them"]"#));
    assert!(!believed(None, None, r#","aud":"them""#));
}
