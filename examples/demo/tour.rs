//! What there is to try: five requests by three people, and what each shows.

use std::path::Path;

use crate::company::Company;
use crate::fill::Account;
use crate::say::{Ink, ink, line};
use crate::{PASSWORD, URL};

/// Something to try.
struct Stop {
    who: &'static str,
    path: String,
    /// What `curl` sends beside.
    asks: String,
    shows: &'static str,
    why: &'static str,
}

pub(crate) fn show(company: &Company, accounts: &[Account], authority: &Path) {
    let authority = short(authority);
    let name = ink(Ink::Bold, "couchwarden");
    let url = ink(Ink::Cyan, URL);
    line(&format!(
        "\n  {name} on {url}, in front of it all, with the rules of policies/.\n"
    ));
    people(company, accounts);
    for (index, stop) in stops(company).iter().enumerate() {
        let Stop {
            who,
            path,
            asks,
            shows,
            why,
        } = stop;
        let command = format!("curl --cacert {authority} -u {who}:{PASSWORD}{asks} '{URL}{path}'");
        line(&format!("  {}. {shows}", index + 1));
        line(&format!("     {}", ink(Ink::Dim, why)));
        line(&format!("     {}\n", ink(Ink::Cyan, &command)));
    }
    pouch(company, &authority);
    let stop = ink(Ink::Bold, "Ctrl-C");
    line(&format!(
        "  Each request is one line below. {stop} ends it all.\n"
    ));
}

fn people(company: &Company, accounts: &[Account]) {
    let (alice, tariq) = (company.of("backhaus.example"), company.of("hafen.example"));
    let aylin = company.of("praxis.example");
    let told = [
        format!(
            "at {}: her number {}, her mailbox",
            alice.customer, alice.number
        ),
        format!("looks after the telephones of {}", tariq.customer),
        format!("the same for {}, on her own device", aylin.customer),
        "administrator".to_owned(),
    ];
    for (account, told) in accounts.iter().zip(told) {
        let name = ink(Ink::Bold, &format!("{:<6}", account.name));
        let password = ink(Ink::Dim, &format!("password {}", account.password));
        line(&format!("    {name} {told:<66} {password}"));
    }
    line("");
}

fn pouch(company: &Company, authority: &str) {
    let alice = company.of("backhaus.example");
    let mailbox = alice.mailbox.as_deref().unwrap_or_default();
    let started = format!("start it with NODE_EXTRA_CA_CERTS={authority}");
    let sync = format!("PouchDB.sync('mine', 'https://alice:{PASSWORD}@localhost:6984/{mailbox}')");
    let rule = "What she writes needs `updated_by: 'alice'`, else it is denied and the sync goes on (ddocs/u{uuid}).";
    line(&format!(
        "  PouchDB in Node syncs a whole mailbox ({started}):"
    ));
    line(&format!("     {}", ink(Ink::Cyan, &sync)));
    line(&format!("     {}\n", ink(Ink::Dim, rule)));
}

fn stops(company: &Company) -> [Stop; 5] {
    let tariq = company.of("hafen.example");
    let colleague = company
        .subscribers
        .iter()
        .find(|other| other.domain == tariq.domain && other.number != tariq.number);
    let colleague = colleague
        .map(|other| &other.extension)
        .expect("tariq works alone");
    [
        Stop {
            who: "alice",
            path: "/cdrs/_design/cdr/_view/by_number?limit=3".to_owned(),
            asks: String::new(),
            shows: "Alice's dashboard asks for calls and gets hers, without the passwords that stand in each record.",
            why: "cdr-own-calls pins the view to the number of her role and shows five fields; cdr-secrets hides **.password for ever",
        },
        Stop {
            who: "alice",
            path: "/cdrs/_design/cdr/_view/by_number".to_owned(),
            asks: format!(" -G --data-urlencode 'startkey=[\"{}\"]'", tariq.number),
            shows: "She asks for Tariq's calls instead: 403, and CouchDB is not even asked.",
            why: "a key outside the pin is refused, it does not just find nothing",
        },
        Stop {
            who: "alice",
            path: "/cdrs/_design/cdr/_view/by_day?group_level=1".to_owned(),
            asks: String::new(),
            shows: "How many calls she had, and how many seconds she talked.",
            why: "reduce = true: couchwarden adds up the rows inside her pin, after a look at each key",
        },
        Stop {
            who: "tariq",
            path: "/provisioning/_all_docs?include_docs=true&limit=3".to_owned(),
            asks: String::new(),
            shows: "Tariq sees the records of his customer only, and no sip_secret. For him the other customers' don't exist.",
            why: "own-records: the id must match endpoint:*@hafen.example and the like; device-secrets hides what devices log in with",
        },
        Stop {
            who: "ops",
            path: format!("/node/{colleague}"),
            asks: String::new(),
            shows: "One telephone's whole configuration: its own properties over its site's, its department's and its model's.",
            why: "/node merges a document with all its parents; the telephone itself may read it too, nobody else",
        },
    ]
}

/// A path as it is typed in the folder where the demo was started.
pub(crate) fn short(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here)
        .unwrap_or(path)
        .display()
        .to_string()
}
