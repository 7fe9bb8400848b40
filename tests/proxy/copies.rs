//! `COPY` under a lens: what is seen is copied, and written like any write.

use serde_json::json;

use crate::attachments::{filled, rev, stored};
use crate::support::{Answer, Client};

async fn copy(who: &Client, from: &str, to: &str) -> Answer {
    who.ask(
        "COPY",
        &format!("/@notes/{from}"),
        &[("destination", to)],
        "",
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_seen_is_copied() {
    let world = filled().await;
    let walt = world.as_("walt");
    let done = copy(&walt, "a", "twin").await;
    assert_eq!(done.status, 201, "{done:?}");
    let done = done.yes();
    let now = stored(&world, "twin").await;
    assert_eq!(
        (&done["ok"], &done["id"], &done["rev"]),
        (&json!(true), &json!("twin"), &now["_rev"])
    );
    assert!(now["secret"].is_null(), "{now}");
    let seen = json!({ "photo": "photo of a", "text/long name.txt": "long" });
    assert_eq!((&now["team"], &now["_attachments"]), (&json!("red"), &seen));
    // An old revision.
    let old = rev(&world, "a").await;
    let mut mine = walt.get("/@notes/a").await.yes();
    mine["n"] = 1.into();
    walt.put("/@notes/a", mine).await.yes();
    assert_eq!(
        copy(&walt, &format!("a?rev={old}"), "older").await.status,
        201
    );
    assert!(stored(&world, "older").await["n"].is_null());
    assert_eq!(copy(&walt, "a", "newer").await.status, 201);
    assert_eq!(stored(&world, "newer").await["n"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_keeps_what_its_writer_does_not_see() {
    let world = filled().await;
    let walt = world.as_("walt");
    copy(&walt, "c", "a").await.no(409, "conflict");
    copy(&walt, "c", "a?rev=1-abc").await.no(409, "conflict");
    let target = format!("a?rev={}", rev(&world, "a").await);
    let done = copy(&walt, "c", &target).await;
    assert_eq!(done.status, 201, "{done:?}");
    let now = stored(&world, "a").await;
    assert_eq!(
        (&now["secret"], &now["_attachments"]),
        (&json!("s-a"), &json!({ "hidden": "hidden of a" }))
    );
    // He who may change some fields only can't copy over the others.
    let target = format!("c?rev={}", rev(&world, "c").await);
    copy(&world.as_("tom"), "a", &target)
        .await
        .no(403, "forbidden");
    copy(&world.as_("tom"), "a", "mine")
        .await
        .no(403, "forbidden");
    assert_eq!(copy(&world.as_("sue"), "a", "mine").await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_hidden_is_copied_as_little_as_what_is_absent() {
    let world = filled().await;
    let walt = world.as_("walt");
    let (hidden, absent) = (copy(&walt, "b", "x").await, copy(&walt, "none", "x").await);
    hidden.no(404, "not_found");
    assert_eq!(hidden.seen(), absent.seen());
    let b = rev(&world, "b").await;
    let hidden = copy(&walt, &format!("b?rev={b}"), "x").await;
    assert_eq!(
        hidden.seen(),
        copy(&walt, "none?rev=1-abc", "x").await.seen()
    );
    let hidden = copy(&walt, "a", &format!("b?rev={b}")).await;
    assert_eq!(
        hidden.seen(),
        copy(&walt, "a", "none?rev=1-abc").await.seen()
    );
    copy(&walt, "a", "b").await.no(409, "conflict");
    assert_eq!(stored(&world, "b").await["team"], "blue");
    assert_eq!(stored(&world, "x").await["error"], "not_found");
}
