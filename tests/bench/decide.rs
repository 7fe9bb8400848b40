//! `decide` for typical routes under 50 rules, and under so many more that are about others. `cargo bench --bench decide`.
//!
//! Invariant: routes are parsed outside of what is measured; only their clone is in it.

#![expect(clippy::unwrap_used, reason = "a bench may fail loudly")]

use std::sync::Arc;

use couchwarden::caller::{Caller, Role, User, UserName};
use couchwarden::policy::{Policy, PolicySettings, Verdict};
use couchwarden::route::Route;

fn main() {
    divan::main();
}

/// 50 rules: ten for the database asked for, 35 for others, five with patterns.
fn policy() -> Policy {
    let mut text = String::new();
    for index in 0..45 {
        let db = if index < 10 {
            "provisioning".to_owned()
        } else {
            format!("db{index}")
        };
        let effect = if index == 9 {
            "forbid = ['find']"
        } else {
            "permit = ['read', 'changes', 'update']"
        };
        text.push_str(&format!(
            "[[rule]]\nname = 'r{index}'\ndatabases = ['{db}']\ncallers = {{ roles = ['role{index}:{{domain}}'] }}\n\
             {effect}\ndocuments = {{ domain = '{{domain}}' }}\n"
        ));
    }
    for index in 45..50 {
        text.push_str(&format!(
            "[[rule]]\nname = 'r{index}'\ndatabases = ['p{index}-{{db}}']\ncallers = {{ roles = ['role{index}:{{db}}'] }}\npermit = ['replicate']\n"
        ));
    }
    Policy::load(&[("bench".to_owned(), text)], &PolicySettings::default()).unwrap()
}

/// A user with five roles, two of which matter.
fn caller() -> Caller {
    let roles = [
        "role0:example.org",
        "role1:example.com",
        "role47:x",
        "staff",
        "number:+43123456",
    ];
    let roles = roles
        .iter()
        .map(|role| Role::parse(role).unwrap())
        .collect();
    Caller::User(Arc::new(User::new(UserName::parse("ann").unwrap(), roles)))
}

const ROUTES: [(&str, &str); 6] = [
    ("GET", "/provisioning/number:1@example.org"),
    ("GET", "/provisioning/_all_docs?include_docs=true"),
    ("GET", "/provisioning/_changes?feed=longpoll&since=12"),
    ("PUT", "/provisioning/number:1@example.org"),
    ("POST", "/provisioning/_find"),
    ("GET", "/elsewhere/x"),
];

#[divan::bench(args = ROUTES)]
fn decide(bencher: divan::Bencher<'_, '_>, (method, target): (&str, &str)) {
    let (policy, caller) = (policy(), caller());
    let route = Route::parse(method, target, None).unwrap();
    bencher.bench_local(|| -> Verdict { policy.decide(&caller, divan::black_box(route.clone())) });
}

/// So many rules of tenants: a part of a database that all share, databases of their own, and robots for everything.
fn tenants(rules: usize) -> Policy {
    let mut text = String::new();
    for number in 0..rules {
        let (databases, callers) = match number % 5 {
            0 => (
                "'shared'".to_owned(),
                format!("{{ roles = ['tenant:{number}'] }}"),
            ),
            1 => (
                "'shared'".to_owned(),
                format!("{{ roles = ['clerk:{number}:{{x}}'] }}"),
            ),
            2 => (format!("'own-{number}'"), "{ everyone = true }".to_owned()),
            3 => (
                format!("'own-{number}-*'"),
                "{ everyone = true }".to_owned(),
            ),
            _ => (
                "'*'".to_owned(),
                format!("{{ names = ['robot-{number}'] }}"),
            ),
        };
        text.push_str(&format!(
            "[[rule]]\nname = 'r{number}'\ndatabases = [{databases}]\ncallers = {callers}\n\
             permit = ['read', 'changes', 'update']\ndocuments = {{ tenant = '{number}' }}\n"
        ));
    }
    Policy::load(&[("bench".to_owned(), text)], &PolicySettings::default()).unwrap()
}

#[divan::bench(args = [50, 5000], consts = [false, true])]
fn tenant<const WRITES: bool>(bencher: divan::Bencher<'_, '_>, rules: usize) {
    let policy = tenants(rules);
    let roles = ["tenant:10", "clerk:11:a", "staff"].map(|role| Role::parse(role).unwrap());
    let user = User::new(UserName::parse("ann").unwrap(), roles.to_vec());
    let caller = Caller::User(Arc::new(user));
    let method = if WRITES { "PUT" } else { "GET" };
    let route = Route::parse(method, "/shared/document", None).unwrap();
    bencher.bench_local(|| -> Verdict { policy.decide(&caller, divan::black_box(route.clone())) });
}
