//! Call detail records as they are shipped: `policies/cdrs.toml` over the views of `ddocs/cdrs`.

use std::path::Path;

use couchwarden::{Wish, deploy};
use serde_json::{Value, json};

use crate::support::{Client, World};

const RULES: &str = include_str!("../../policies/cdrs.toml");

fn call(id: &str, started: &str, seconds: u64, from: (&str, &str), to: (&str, &str)) -> Value {
    json!({
        "_id": id, "type": "cdr", "started": started, "seconds": seconds, "answered": true,
        "from": { "number": from.0, "domain": from.1 }, "to": { "number": to.0, "domain": to.1, "password": "x" },
        "registrant_password": "secret", "codec": "opus", "sip": { "auth": { "password": "secret" } },
    })
}

/// Who calls whom: Sue's is +4930100 of `a.example`, Sam's are +4930200 and +4930300 of `b.example`.
async fn filled() -> World {
    let world = World::start(&RULES.replace("\"cdrs\", \"cdrs-client\"", "\"@cdrs\"")).await;
    let (sue, sam, other) = (
        ("+4930100", "a.example"),
        ("+4930200", "b.example"),
        ("+4930999", "c.example"),
    );
    let calls = json!([
        call("1", "2026-11-24T10:00:00Z", 60, sue, sam),
        call("2", "2026-11-24T11:00:00Z", 30, other, sue),
        call("3", "2026-11-25T12:00:00Z", 5, sam, other),
        call("4", "2026-11-25T13:00:00Z", 7, sue, other),
        { "_id": "5", "type": "note", "from": { "number": "+4930100" } },
    ]);
    world.database("cdrs", calls).await;
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("ddocs/cdrs");
    copy(
        &shipped,
        &world.directory.path().join("ddocs").join(world.db("cdrs")),
    );
    let wish = Wish {
        dry_run: false,
        prune: false,
    };
    deploy(&world.config, wish, &mut |_| {}).await.unwrap();
    world
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copied = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            std::fs::copy(&path, copied).unwrap();
        }
    }
}

async fn view(who: &Client, name: &str) -> crate::support::Answer {
    who.get(&format!("/@cdrs/_design/cdr/_view/{name}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dashboard_sees_the_calls_of_its_own_numbers_and_the_listed_fields() {
    let world = filled().await;
    let sue = world.as_("sue");
    let rows = view(&sue, "by_number").await;
    assert_eq!(rows.ids(), "1 2 4");
    let first = &rows.column("value")[0];
    let shown = json!({
        "started": "2026-11-24T10:00:00Z", "seconds": 60, "answered": true,
        "from": { "number": "+4930100", "domain": "a.example" }, "to": { "number": "+4930200", "domain": "b.example" },
    });
    assert_eq!(*first, shown);
    assert!(!rows.text().contains("secret"), "{}", rows.text());
    assert_eq!(view(&world.as_("sam"), "by_number").await.ids(), "1 3");
    view(&sue, "by_number?startkey=%5B%22%2B4930200%22%5D")
        .await
        .no(403, "forbidden");
    view(&sue, "by_domain").await.no(403, "forbidden");
    view(&world.as_("tom"), "by_number")
        .await
        .no(404, "not_found");
    view(&world.anonymous(), "by_number")
        .await
        .no(401, "unauthorized");
    sue.get("/@cdrs/1").await.no(403, "forbidden");
    let query = json!({ "selector": { "from.number": "+4930999" } });
    sue.post("/@cdrs/_find", query).await.no(403, "forbidden");
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_summed_inside_the_pin() {
    let world = filled().await;
    let sue = world.as_("sue");
    let days = view(&sue, "by_day?group=true").await.yes();
    let sum = |row: &Value| (row["key"][1].clone(), row["value"]["sum"].clone());
    let days: Vec<_> = days["rows"].as_array().unwrap().iter().map(sum).collect();
    assert_eq!(
        days,
        [
            (json!("2026-11-24"), json!(90)),
            (json!("2026-11-25"), json!(7))
        ]
    );
    let all = view(&sue, "by_day?group_level=1").await.yes();
    assert_eq!(all["rows"][0]["value"]["sum"], 97, "{all}");
    assert_eq!(all["rows"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_after_a_domain_sees_all_of_it_and_nothing_beside() {
    let world = filled().await;
    let head = world.user("head", &["number_domain:a.example"]);
    let rows = view(&head, "by_domain").await;
    assert_eq!(rows.ids(), "1 2 4");
    assert!(!rows.text().contains("secret"), "{}", rows.text());
    view(&head, "by_domain?startkey=%5B%22b.example%22%5D")
        .await
        .no(403, "forbidden");
    view(&head, "by_number").await.no(403, "forbidden");
    let days = view(&head, "by_domain_day?group=true").await.yes();
    assert_eq!(
        days["rows"][0]["key"],
        json!(["a.example", "2026-11-24"]),
        "{days}"
    );
    assert_eq!(days["rows"][0]["value"]["count"], 2, "{days}");
}
