//! What a configuration means, and that all its mistakes are told at once.

use super::raw::Reader;
use super::{Config, Network, Present, SentRoles, Signing, SigningKey, Voucher, meaning};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

const SMALLEST: &str = r#"
[listen]
address = "127.0.0.1:0"
[couchdb]
nodes = ["http://127.0.0.1:5984"]
user = "warden"
password = "errand"
proxy_secret = { env = "PROXY" }
[identity.session]
secret = "0123456789abcdef"
[policies]
directory = "policies"
"#;

fn read(text: &str) -> Result<Config, Vec<String>> {
    let environment = |name: &str| (name == "PROXY").then(|| "shared".to_owned());
    meaning::read(
        text,
        Path::new("/etc/warden/couchwarden.toml"),
        &environment,
    )
    .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

/// The mistakes, without the file name.
fn mistakes(text: &str) -> String {
    let mistakes = read(text).unwrap_err();
    mistakes
        .iter()
        .map(|mistake| mistake.replace("/etc/warden/couchwarden.toml:", ""))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn the_smallest_configuration_has_safe_defaults() {
    let config = read(SMALLEST).unwrap();
    assert!(!config.listen.insecure);
    assert_eq!(config.listen.certificates, Path::new("/etc/warden/certs"));
    assert_eq!(config.policies, Path::new("/etc/warden/policies"));
    assert_eq!(config.couchdb.role.of(None).unwrap(), "warden");
    assert_eq!(config.couchdb.roles, SentRoles::All);
    assert!(
        matches!(config.couchdb.present, Present::Proxy { ref secret, .. } if secret.matches(b"shared"))
    );
    assert_eq!(config.identity.vouchers, [Voucher::CouchDb]);
    assert_eq!(config.identity.session.lifetime, Duration::from_secs(600));
    assert_eq!(config.identity.session.longest, Duration::from_secs(43_200));
    assert!(config.cors.is_empty() && config.trusted.is_empty());
    assert!(!config.nodes.self_service && config.nodes.listing && config.nodes.creation);
    assert_eq!(config.limits.body, 64 << 20);
    assert_eq!(config.couchdb.nodes[0].to_string(), "http://127.0.0.1:5984");
}

#[test]
fn the_configuration_of_the_design_is_understood() {
    let text = r#"
[listen]
address      = "0.0.0.0:6984"
certificates = "certs"
names        = ["db.example.com"]
[operators]
address      = "127.0.0.1:9984"
[couchdb]
nodes        = ["http://127.0.0.1:5984", "http://[::1]:5985/"]
user         = "warden"
password     = "errand"
present      = "service"
role         = "warden"
[identity]
administrators = ["ops"]
vouchers       = ["nodes", "couchdb"]
session        = { secret = "0123456789abcdef", previous = "fedcba9876543210", lifetime = "10m", longest = "24h" }
[policies]
directory    = "policies"
[nodes]
database     = "catconf"
attributes   = ["customer.numbers"]
[cors]
origins      = ["https://dashboard.example.com", "http://localhost:8080"]
[limits]
body         = "64MiB"
write_idle   = "500ms"
[trusted]
proxies      = ["10.0.0.0/8", "::1"]
"#;
    let config = read(text).unwrap();
    assert_eq!(config.identity.vouchers, [Voucher::Nodes, Voucher::CouchDb]);
    assert_eq!(config.limits.write_idle, Duration::from_millis(500));
    assert_eq!(config.couchdb.nodes[1].authority(), "[::1]:5985");
    assert_eq!(config.trusted.len(), 2);
}

#[test]
fn all_mistakes_are_told_at_once_each_with_its_line() {
    let text = r#"
[listen]
address = "0.0.0.0:6984"
insecure = true
colour = "red"
[couchdb]
nodes = ["http://user@h", "https://db.example.com"]
user = 7
password = { env = "ABSENT" }
present = "magic"
[identity]
vouchers = ["nodes", "moon"]
session = { secret = "short", lifetime = "10 minutes" }
[cors]
origins = ["*", "https://a.example.com/"]
[limits]
body = "64 MB"
[nodes]
listing = "yes"
[surprise]
"#;
    insta::assert_snapshot!(mistakes(text), @r#"
    1: `policies.directory` is missing
    4: plain HTTP is served on a loopback address only, such as 127.0.0.1
    5: unknown key `listen.colour`
    7: a node is `http://host:port` or `https://host:port`, without user and path
    7: an https node is verified by `couchdb.ca`, which is missing
    8: `couchdb.user` must be a text
    9: `couchdb.password`: `ABSENT` is not set in the environment
    10: `magic` is none of `jwt`, `proxy` and `service`
    12: `moon` is neither `nodes` nor `couchdb`
    12: the voucher `nodes` needs `nodes.database`
    13: `identity.session.lifetime` must be a time such as "30s", "10m" or "500ms", not `10 minutes`
    13: a session secret has 16 bytes or more
    15: `*` can't be allowed: answers carry credentials
    15: `https://a.example.com/` is not `scheme://host[:port]`
    17: `limits.body` must be a size such as "64MiB" or "32KiB", not `64 MB`
    19: `nodes.listing` must be true or false
    20: unknown key `surprise`
    "#);
}

#[test]
fn a_session_lasts_no_shorter_than_its_cookie() {
    let text = |session: &str| {
        format!(
            "[listen]\naddress = \"127.0.0.1:0\"\n[couchdb]\nnodes = [\"http://h\"]\nuser = \"w\"\n\
             password = \"p\"\npresent = \"service\"\n[identity.session]\nsecret = \"0123456789abcdef\"\n{session}\n\
             [policies]\ndirectory = \"policies\"\n"
        )
    };
    assert_eq!(
        mistakes(&text("lifetime = \"2h\"\nlongest = \"1h\"")),
        "11: `identity.session.longest` is shorter than one `lifetime`"
    );
    for (session, hours) in [
        ("", 12),
        ("lifetime = \"2h\"", 12),
        ("lifetime = \"24h\"", 24),
    ] {
        let config = Config::parse(&text(session), Path::new("c.toml")).unwrap();
        let longest = config.identity.session.longest;
        assert_eq!(longest, Duration::from_secs(hours * 3600), "{session}");
    }
}

#[test]
fn the_database_of_couchwarden_is_for_nothing_else() {
    let text = r#"
[nodes]
database = "couchwarden"
[provisioning]
database = "couchwarden"
url = "https://h"
"#;
    let mistakes = mistakes(text);
    let own = "`couchwarden` is the database of couchwarden itself";
    assert_eq!(mistakes.matches(own).count(), 2, "{mistakes}");
}

#[test]
fn mistakes_of_syntax_come_alone_and_together() {
    insta::assert_snapshot!(mistakes("[listen]\naddress = \n[couchdb\nuser = 'x\n"), @r"
    2: string values must be quoted, expected literal string
    3: unclosed table, expected `]`
    ");
}

#[test]
fn a_repeated_key_is_a_mistake() {
    insta::assert_snapshot!(mistakes("[listen]\naddress = '127.0.0.1:1'\naddress = '127.0.0.1:2'\n"), @"3: duplicate key");
}

#[test]
fn a_mistake_never_shows_a_secret() {
    let text = SMALLEST.replace("0123456789abcdef", "canary");
    assert!(!mistakes(&text).contains("canary"));
    let text = SMALLEST.replace("\"errand\"", "[\"canary\"]");
    assert!(!mistakes(&text).contains("canary"));
}

#[test]
fn plain_http_is_allowed_on_loopback() {
    let text = SMALLEST.replace("[couchdb]", "insecure = true\n[couchdb]");
    assert!(read(&text).unwrap().listen.insecure);
}

#[test]
fn a_secret_comes_from_a_file_without_its_newline() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("secret"), "0123456789abcdef\n").unwrap();
    let text = SMALLEST.replace("\"0123456789abcdef\"", "{ file = \"secret\" }");
    let path = directory.path().join("couchwarden.toml");
    let environment = |_: &str| Some("shared".to_owned());
    let config = meaning::read(&text, &path, &environment).unwrap();
    assert!(config.identity.session.secret.matches(b"0123456789abcdef"));
}

#[test]
fn times_and_sizes_have_one_spelling() {
    let text = r#"
a = "30s"
b = "0s"
c = "1.5s"
d = "9999999999999999h"
e = "30"
f = "1GiB"
g = "1GB"
"#;
    let reader = Reader::new(Path::new("x"), text, &|_| None);
    let mut root = reader.root().unwrap();
    let known = root.duration("a").map(|at| at.value);
    assert_eq!(known, Some(Duration::from_secs(30)));
    for key in ["b", "c", "d", "e"] {
        assert!(root.duration(key).is_none(), "{key}");
    }
    assert_eq!(root.size("f").map(|at| at.value), Some(1 << 30));
    assert!(root.size("g").is_none());
    root.finish();
}

#[test]
fn a_network_knows_its_addresses() {
    let network = |text| -> Network { super::network::parse_network(text).unwrap() };
    let address = |text: &str| -> IpAddr { text.parse().unwrap() };
    assert!(network("10.0.0.0/8").contains(address("10.1.2.3")));
    assert!(network("10.0.0.0/8").contains(address("::ffff:10.1.2.3")));
    assert!(!network("10.0.0.0/8").contains(address("11.1.2.3")));
    assert!(network("0.0.0.0/0").contains(address("11.1.2.3")));
    assert!(network("::1").contains(address("::1")));
    assert!(!network("::1").contains(address("::2")));
    assert!(super::network::parse_network("10.0.0.0/33").is_none());
}

#[test]
fn shares_are_configured_and_their_mistakes_told() {
    let limits = read(SMALLEST).unwrap().limits;
    let shares = limits.shares;
    assert_eq!((shares.connections, shares.bodies), (50, 25));
    assert_eq!(
        (limits.body_rate, limits.body_rate_after.as_secs()),
        (1024, 30)
    );
    let with = |section: &str| format!("{SMALLEST}[limits]\n{section}");
    let text = "shares = { connections = 100, feeds = 1 }\nshared_networks = [\"192.0.2.0/24\"]\nbody_rate = \"2KiB\"\n\
                body_rate_after = \"1m\"\nstreams = 7\nfeeds = 8\n";
    let config = read(&with(text)).unwrap();
    let shares = config.limits.shares;
    assert_eq!(
        (shares.connections, shares.streams, shares.feeds),
        (100, 25, 1)
    );
    assert_eq!((config.limits.streams, config.limits.feeds), (7, 8));
    assert_eq!(config.shared_networks.len(), 1);
    let text = "shared_networks = [\"192.0.2.0/33\"]\n[limits.shares]\nconnections = 0\nstreams = 101\nbody = 1\n";
    insta::assert_snapshot!(mistakes(&with(text)), @r"
    14: `192.0.2.0/33` is not an address or range
    16: `limits.shares.connections` is 1 to 100 percent
    17: `limits.shares.streams` is 1 to 100 percent
    18: unknown key `limits.shares.body`
    ");
}

#[test]
fn hsts_is_for_names_that_are_the_operators_own() {
    let with = |more: &str| SMALLEST.replace("[couchdb]", &format!("{more}\n[couchdb]"));
    assert_eq!(read(SMALLEST).unwrap().listen.hsts, None);
    let config = read(&with("hsts = \"180 days\"\nnames = [\"db.example.com\"]")).unwrap();
    let half_a_year = Some(Duration::from_secs(180 * 24 * 3600));
    assert_eq!(config.listen.hsts_of("db.example.com:6984"), half_a_year);
    for host in [
        "localhost",
        "a.localhost:6984",
        "127.0.0.1:1",
        "[::1]:6984",
        "[::1]",
    ] {
        assert_eq!(config.listen.hsts_of(host), None, "{host}");
    }
    for wrong in [
        "hsts = \"180 days\"\nnames = [\"localhost\"]",
        "hsts = \"180 days\"\nnames = [\"db.example.com\", \"127.0.0.1\"]",
        "hsts = \"180 days\"\ninsecure = true",
        "hsts = \"0 days\"",
        "hsts = \"4320h\"",
        "hsts = \"+1 days\"",
        "hsts = \"800 days\"",
        "hsts = 180",
    ] {
        let told = mistakes(&with(wrong));
        assert!(
            told.lines().count() == 1 && told.contains("listen.hsts"),
            "{told}"
        );
    }
}

#[test]
fn provisioning_has_its_own_section_and_its_own_mistakes() {
    assert!(read(SMALLEST).unwrap().provisioning.is_none());
    let with = |section: &str| format!("{SMALLEST}[provisioning]\n{section}");
    let config = read(&with("url = \"https://localhost:6984\"\n")).unwrap();
    let provisioning = config.provisioning.unwrap();
    assert_eq!(provisioning.database, "provisioning");
    assert_eq!(provisioning.couchdb.to_string(), "http://127.0.0.1:5984");
    assert_eq!(
        provisioning.replication_timeout,
        Duration::from_secs(30 * 60)
    );
    assert!(!provisioning.end_on_logout);
    let told = mistakes(&with(
        "url = \"https://localhost:6984/db\"\ndatabase = \"Upper\"\ncouchdb = \"ftp://x\"\nreplication_timeout = 7\nidle = 1\n",
    ));
    assert_eq!(told.lines().count(), 5, "{told}");
    assert!(told.contains("`Upper` is not a database name"), "{told}");
    // The token of a user travels there.
    let told = mistakes(&with("url = \"http://warden.example:6984\"\n"));
    assert!(told.contains("plain HTTP on this machine only"), "{told}");
    let told = mistakes(&with("end_on_logout = true\n"));
    assert!(told.contains("url"), "{told}");
}

/// The smallest configuration with these keys of `[couchdb]` in place of its own.
fn with_couchdb(keys: &str) -> String {
    let (before, rest) = SMALLEST.split_once("user =").unwrap();
    let (_, after) = rest.split_once("[identity").unwrap();
    format!("{before}{keys}\n[identity{after}")
}

#[test]
fn with_tokens_nothing_is_a_password() {
    let made = SigningKey::made(Signing::Es256).unwrap();
    let key = serde_json::to_string(std::str::from_utf8(made.expose()).unwrap()).unwrap();
    let keys =
        format!("present = \"jwt\"\njwt_key = {key}\nrole = \"warden:{{db}}\"\nroles = \"asked\"");
    let config = read(&with_couchdb(&keys)).unwrap();
    assert_eq!(config.couchdb.user, "couchwarden");
    assert_eq!(config.couchdb.roles, SentRoles::Asked);
    assert!(
        matches!(config.couchdb.present, Present::Jwt { ref key } if key.signing() == Signing::Es256)
    );
    // Its line of a mistake holds nothing of it.
    let told = mistakes(&with_couchdb(&keys.replace("PRIVATE", "SECRET")));
    assert_eq!(
        told,
        "7: `couchdb.jwt_key` can't be used: it has no `PRIVATE KEY` (PKCS#8)"
    );
}

#[test]
fn what_a_way_of_presenting_does_not_use_is_a_mistake() {
    let keys = "present = \"jwt\"\npassword = \"x\"\nproxy_secret = \"x\"\nrole = \"warden:{database}\"\nroles = \"few\"";
    insta::assert_snapshot!(mistakes(&with_couchdb(keys)), @r#"
    4: `couchdb.jwt_key` is missing
    7: `couchdb.password` is of no use with `present = "jwt"`
    8: `couchdb.proxy_secret` is of no use with `present = "jwt"`
    9: `warden:{database}` is not a role
    10: `few` is neither `all` nor `asked`
    "#);
    let keys = "user = \"warden\"\npassword = \"x\"\nproxy_secret = \"x\"\njwt_key = \"x\"";
    insta::assert_snapshot!(mistakes(&with_couchdb(keys)), @r#"9: `couchdb.jwt_key` is of no use with `present = "proxy"`"#);
    insta::assert_snapshot!(mistakes(&with_couchdb("present = \"proxy\"")), @"
    4: `couchdb.proxy_secret` is missing
    4: `couchdb.user` is missing
    4: `couchdb.password` is missing
    ");
}
