use super::plan::{
    Foreign, Found, Step, made, remember, remembered, replicating, replications, steps, voicemail,
};
use super::replication::{
    Direction, Ends, Mark, Own, Shown, authorization, document, is_parked, is_same_way, own_key,
    tombstone,
};
use crate::config::Origin;
use crate::couch::REPLICATION;
use crate::couch::fake::json;
use crate::json::Value;
use crate::route::DbName;
use crate::secret::Secret;

const UUID: &str = "u0123456789abcdef0123456789abcdef";

fn db() -> DbName {
    DbName::parse(UUID).unwrap()
}

fn planned(security: Option<&str>) -> Result<Vec<Step>, Foreign> {
    let found = Found {
        security: security.map(json),
        designs: Vec::new(),
    };
    steps("rita", &[], &found)
}

fn secured(roles: &str) -> Value {
    json(&format!(
        r#"{{"owner":"rita","admins":{{"names":[],"roles":["_admin"]}},"members":{{"names":["rita"],"roles":{roles}}}}}"#
    ))
}

#[test]
fn the_name_of_the_database_is_remembered_as_a_role() {
    let user = json(r#"{"name":"rita","roles":["reader"],"provisioning":{"database":"u1"}}"#);
    assert_eq!(remembered(&user), None, "only roles are believed");
    let user = remember(&user, &db());
    assert_eq!(remembered(&user), Some(db()));
    assert_eq!(remember(&user, &db()), user);
    let roles = user.get("roles").unwrap().to_string();
    assert_eq!(
        roles,
        format!(r#"["reader","provisioned:{UUID}","user_database:{UUID}"]"#)
    );
    let other = json(r#"{"roles":["provisioned:cdrs","user_database:u0"]}"#);
    assert_eq!(remembered(&other), None);
}

#[test]
fn security_comes_right_after_the_database() {
    assert_eq!(
        planned(None).unwrap(),
        [Step::Create, Step::Secure(secured("[]"))]
    );
}

#[test]
fn whatever_is_half_done_is_finished_and_nothing_is_done_twice() {
    for half in [
        "{}",
        r#"{"members":{"roles":["_admin"]},"admins":{"roles":["_admin"]}}"#,
        r#"{"owner":"rita","members":{"users":["rita"]},"admins":{"roles":["_admin"]}}"#,
        r#"{"owner":"rita","admins":{"names":["rita"]},"members":{"names":["rita","tom"]}}"#,
    ] {
        assert_eq!(
            planned(Some(half)).unwrap(),
            [Step::Secure(secured("[]"))],
            "{half}"
        );
    }
    for whole in ["[]", r#"["user_database:x","update:user_db:"]"#] {
        assert_eq!(
            planned(Some(&secured(whole).to_string())).unwrap(),
            [],
            "{whole}"
        );
    }
}

#[test]
fn a_database_of_somebody_else_is_left_alone() {
    for other in [
        r#"{"owner":"tom"}"#,
        r#"{"owner":null}"#,
        r#"{"members":{"names":["tom"]}}"#,
        r#"{"members":{"roles":["user_database:x"]}}"#,
    ] {
        assert_eq!(planned(Some(other)), Err(Foreign), "{other}");
    }
}

#[test]
fn a_voicemail_database_gets_its_roles_once_and_loses_nothing() {
    let before = json(
        r#"{"admins":{"roles":["ops"]},"cloudant":{"nobody":[]},"members":{"names":["switch"],"roles":["warden"]}}"#,
    );
    let opened = voicemail(&db(), &before).unwrap();
    assert_eq!(opened.get("admins"), before.get("admins"));
    assert_eq!(opened.get("cloudant"), before.get("cloudant"));
    let members = opened.get("members").unwrap().to_string();
    assert_eq!(
        members,
        format!(
            r#"{{"names":["switch"],"roles":["warden","user_database:{UUID}","update:user_db:"]}}"#
        )
    );
    assert_eq!(voicemail(&db(), &opened), None);
    assert!(voicemail(&db(), &json("{}")).is_some());
}

#[test]
fn a_security_lets_in_the_replications_that_are_wanted_and_no_others() {
    let role = |time: u64| format!("{REPLICATION}{time}:x");
    let (old, young, new) = (role(100), role(200), role(300));
    let found = secured(&format!(r#"["a","{old}","{young}"]"#));
    let keeps = |text: &str| made(text) > 150;
    let changed = replicating(&found, &[&new], keeps).unwrap();
    assert_eq!(changed, secured(&format!(r#"["a","{young}","{new}"]"#)));
    assert_eq!(replicating(&changed, &[&new], keeps), None);
    assert_eq!(replications(&changed).collect::<Vec<_>>(), [&young, &new]);
    assert_eq!(
        replicating(&changed, &[], |_| false),
        Some(secured(r#"["a"]"#))
    );
    // They make a database nobody else's, and are left where it is repaired.
    let half = format!(r#"{{"members":{{"names":["rita"],"roles":["{new}"]}}}}"#);
    let repaired = secured(&format!(r#"["{new}"]"#));
    assert_eq!(planned(Some(&half)).unwrap(), [Step::Secure(repaired)]);
}

#[test]
fn a_security_lets_in_no_role_but_those_of_replications() {
    let read = |role: &str| {
        let mark = format!(
            r#"{{"couchwarden":{{"owner":"rita","database":"{UUID}","shared":"p","used":1,"expires":2,"rights":"r","role":"{role}"}}}}"#
        );
        Mark::read(&json(&mark)).unwrap().role
    };
    assert_eq!(
        read("couchwarden:replication:1:x").as_deref(),
        Some("couchwarden:replication:1:x")
    );
    for role in ["reader", "_admin", "", "couchwarden:"] {
        assert_eq!(read(role), None, "{role}");
    }
}

#[test]
fn a_replication_shows_no_password_where_there_are_tokens() {
    let origin = Origin {
        tls: false,
        host: "h".into(),
        port: 1,
    };
    let ends = Ends {
        warden: origin.clone(),
        shared: db(),
        couchdb: origin,
    };
    let mark = Mark {
        owner: "rita".into(),
        database: db(),
        shared: db(),
        used: 1,
        expires: 2,
        rights: "r".into(),
        role: Some(format!("{REPLICATION}1:x")),
    };
    let token = Secret::new("cw1.t");
    let made = |direction, own: Own| {
        document(
            direction,
            &ends,
            &mark,
            &Shown {
                shared: &token,
                own: &own,
            },
        )
    };
    for direction in Direction::ALL {
        let by_token = made(direction, Own::Token(Secret::new("Bearer head.claims.tag")));
        let by_password = made(
            direction,
            Own::Password("warden".into(), Secret::new("errands")),
        );
        assert!(!by_token.to_string().contains("auth\""), "{by_token}");
        assert_eq!(authorization(direction, &by_token), Some("Bearer cw1.t"));
        assert_eq!(authorization(direction, &by_password), Some("Bearer cw1.t"));
        assert_eq!(own_key(direction, &by_token), Some("Bearer head"));
        assert_eq!(own_key(direction, &by_password), None);
        let sample = made(direction, Own::Token(Secret::new("Bearer head")));
        assert!(is_same_way(direction, &by_token, &sample));
        for other in [
            by_password,
            made(direction, Own::Token(Secret::new("Bearer other.c.t"))),
        ] {
            assert!(!is_same_way(direction, &other, &sample), "{other}");
        }
        assert_eq!(Mark::read(&by_token).as_ref(), Some(&mark));
        let parked = Mark::read(&tombstone(&by_token, true)).unwrap();
        assert_eq!(parked.role, None);
        let id = direction.id(&db()).unwrap();
        assert_eq!(Direction::read(id.as_str()), Some((db(), direction)));
    }
    assert_eq!(Direction::read("couchwarden:x"), None);
}

/// As an earlier release has written them: a replication that runs, and one that is parked.
const RECORDED: [&str; 2] = [
    r#"{"source":{"url":"http://h:1/u0123456789abcdef0123456789abcdef","headers":{"Authorization":"Bearer head.claims.tag"}},"target":{"url":"http://h:1/provisioning","headers":{"Authorization":"Bearer cw1.t"}},"continuous":true,"couchwarden":{"owner":"rita","database":"u0123456789abcdef0123456789abcdef","shared":"provisioning","used":1,"expires":2,"rights":"r","role":"couchwarden:replication:1:x"},"selector":{"$not":{"_id":{"$regex":"^_design/"}},"couchwarden":{"$exists":false}}}"#,
    r#"{"_id":null,"_rev":null,"_deleted":true,"couchwarden":{"owner":"rita","database":"u0123456789abcdef0123456789abcdef","shared":"provisioning","used":1,"expires":2,"rights":"r","parked":true}}"#,
];

#[test]
fn a_replication_of_an_earlier_release_is_still_known() {
    let origin = Origin {
        tls: false,
        host: "h".into(),
        port: 1,
    };
    let ends = Ends {
        warden: origin.clone(),
        shared: DbName::parse("provisioning").unwrap(),
        couchdb: origin,
    };
    let mark = Mark {
        owner: "rita".into(),
        database: db(),
        shared: ends.shared.clone(),
        used: 1,
        expires: 2,
        rights: "r".into(),
        role: Some(format!("{REPLICATION}1:x")),
    };
    let shown = Shown {
        shared: &Secret::new("cw1.t"),
        own: &Own::Token(Secret::new("Bearer head.claims.tag")),
    };
    let runs = document(Direction::Up, &ends, &mark, &shown);
    let parked = tombstone(&runs, true);
    assert_eq!([runs.to_string(), parked.to_string()], RECORDED);
    let [runs, parked] = RECORDED.map(json);
    assert_eq!(Mark::read(&runs), Some(mark.clone()));
    assert_eq!(Mark::read(&parked), Some(Mark { role: None, ..mark }));
    assert!(is_parked(&parked) && !is_parked(&runs));
    assert_eq!(authorization(Direction::Up, &runs), Some("Bearer cw1.t"));
    assert_eq!(own_key(Direction::Up, &runs), Some("Bearer head"));
}
