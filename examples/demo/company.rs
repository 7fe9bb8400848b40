//! A telephone company that never was: subscribers, calls, devices, mailboxes, and the tree of their configuration.
//!
//! The same at every run. Numbers are those that Germany keeps free for films (+49 30 23125 …).

use serde_json::{Value, json};

pub(crate) const SUBSCRIBERS: usize = 200;
pub(crate) const CALLS: usize = 20_000;

/// A customer: an organisation with its domain, how many subscribers it has, and who the first one is.
const CUSTOMERS: [(&str, &str, usize, &str); 6] = [
    ("Backhaus Krüger", "backhaus.example", 28, "Alice Krüger"),
    ("Hafenlogistik Nord", "hafen.example", 54, "Tariq Haddad"),
    ("Praxis Dr. Öztürk", "praxis.example", 12, "Aylin Öztürk"),
    ("Stadtbücherei", "buecherei.example", 31, "Olga Petrova"),
    (
        "Fahrrad Lindqvist",
        "fahrrad.example",
        19,
        "Henrik Lindqvist",
    ),
    ("Kanzlei Abel & Roth", "kanzlei.example", 56, "Bruno Roth"),
];

const DEPARTMENTS: [&str; 4] = ["Office", "Sales", "Service", "Workshop"];
const SITES: [&str; 3] = ["Berlin", "Bremen", "Leipzig"];

const FIRST: [&str; 20] = [
    "Alice", "Tariq", "Jonas", "Mina", "Katrin", "Pavel", "Ingrid", "Yusuf", "Lena", "Matteo",
    "Olga", "Felix", "Aylin", "Henrik", "Sofia", "Emre", "Greta", "Viktor", "Noor", "Bruno",
];
const LAST: [&str; 20] = [
    "Krüger",
    "Haddad",
    "Weber",
    "Sørensen",
    "Novák",
    "Öztürk",
    "Lindqvist",
    "Abel",
    "Roth",
    "Marchetti",
    "Petrova",
    "Baumann",
    "Yıldız",
    "Hansen",
    "Costa",
    "Schmitt",
    "Nowak",
    "Fischer",
    "Rahimi",
    "Vogel",
];

/// How many subscribers have a mailbox: the first ones of each customer.
const MAILBOXES: usize = 1;

/// Numbers that only look random (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.roll() % u64::try_from(limit).unwrap_or(1).max(1)).unwrap_or_default()
    }

    fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        let index = self.below(of.len());
        of.get(index)
            .copied()
            .expect("there is nothing to choose from")
    }

    fn of<'a>(&mut self, subscribers: &'a [Subscriber]) -> &'a Subscriber {
        let index = self.below(subscribers.len());
        subscribers.get(index).expect("there are no subscribers")
    }

    fn secret(&mut self) -> String {
        format!("{:012x}", self.roll() >> 16)
    }
}

/// Somebody who telephones.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber {
    pub(crate) name: String,
    pub(crate) number: String,
    pub(crate) customer: &'static str,
    pub(crate) domain: &'static str,
    pub(crate) department: &'static str,
    pub(crate) site: &'static str,
    /// What his telephone logs in as.
    pub(crate) extension: String,
    /// The name of his mailbox's database.
    pub(crate) mailbox: Option<String>,
    secret: String,
}

/// The whole company.
#[derive(Debug)]
pub(crate) struct Company {
    pub(crate) subscribers: Vec<Subscriber>,
}

impl Company {
    pub(crate) fn found() -> Self {
        let mut dice = Dice(4711);
        let mut subscribers = Vec::with_capacity(SUBSCRIBERS);
        for (customer, domain, staff, head) in CUSTOMERS {
            for member in 0..staff {
                let index = subscribers.len();
                let drawn = format!("{} {}", dice.one(&FIRST), dice.one(&LAST));
                let name = if member == 0 { head.to_owned() } else { drawn };
                let mailbox = format!("u{:016x}{:016x}", dice.roll(), dice.roll());
                subscribers.push(Subscriber {
                    name,
                    number: format!("+493023125{index:03}"),
                    customer,
                    domain,
                    department: dice.one(&DEPARTMENTS),
                    site: dice.one(&SITES),
                    extension: format!("desk-{index:03}"),
                    mailbox: (member < MAILBOXES).then_some(mailbox),
                    secret: dice.secret(),
                });
            }
        }
        Self { subscribers }
    }

    /// The first subscriber of a customer.
    pub(crate) fn of(&self, domain: &str) -> &Subscriber {
        let found = self
            .subscribers
            .iter()
            .find(|subscriber| subscriber.domain == domain);
        found.expect("the customer has no subscriber")
    }

    /// Call detail records, as a switch writes them: with what the registrant logged in with.
    pub(crate) fn calls(&self) -> Vec<Value> {
        let mut dice = Dice(1900);
        let mut minute = 0;
        (0..CALLS).map(|index| {
            minute += dice.below(7);
            let from = dice.of(&self.subscribers);
            let to = dice.of(&self.subscribers);
            let answered = dice.below(5) > 0;
            let seconds = if answered { 5 + dice.below(900) } else { 0 };
            let codec = dice.one(&["opus", "G722", "PCMA"]);
            json!({
                "_id": format!("cdr:{index:05}-{:08x}", dice.roll() >> 32),
                "type": "cdr",
                "started": timestamp(minute, dice.below(60)),
                "seconds": seconds,
                "answered": answered,
                "from": { "number": from.number, "name": from.name, "domain": from.domain },
                "to": { "number": to.number, "name": to.name, "domain": to.domain },
                "codec": codec,
                "registrant": from.extension,
                "registrant_password": from.secret,
                "sip": {
                    "call_id": format!("{:016x}@{}", dice.roll(), from.domain),
                    "auth": { "user": from.extension, "realm": from.domain, "password": from.secret },
                },
            })
        }).collect()
    }

    /// Master records of domains, numbers and telephones.
    pub(crate) fn records(&self) -> Vec<Value> {
        let domains = CUSTOMERS.iter().map(|(customer, domain, staff, _)| {
            json!({
                "_id": format!("number_domain:{domain}"), "type": "number_domain", "display_name": customer,
                "channels": staff, "trunk": { "host": "sbc1.example", "password": Dice(7 * u64::from(domain.as_bytes().first().copied().unwrap_or_default())).secret() },
                "user_access": true, "updated_by": "ops",
            })
        });
        let numbers = self.subscribers.iter().flat_map(|subscriber| {
            let Subscriber { name, number, domain, extension, secret, .. } = subscriber;
            [
                json!({
                    "_id": format!("number:{number}@{domain}"), "type": "number", "display_name": name,
                    "timezone": "Europe/Berlin", "cf_busy": null, "cf_no_reply": "+493023125999",
                    "endpoint": format!("endpoint:{extension}@{domain}"), "tariff": "flat-2026",
                    "user_access": true, "updated_by": "ops",
                }),
                json!({
                    "_id": format!("endpoint:{extension}@{domain}"), "type": "endpoint", "display_name": format!("{name}'s desk"),
                    "model": "T46U", "mac": mac(secret), "sip_user": extension, "sip_secret": secret,
                    "user_access": true, "updated_by": "ops",
                }),
            ]
        });
        domains.chain(numbers).collect()
    }

    /// Configuration that inherits: company → customer → department and site → one node for each telephone.
    pub(crate) fn nodes(&self, hashed: &str) -> Vec<Value> {
        let node = |id: &str, parents: Value, own: Value| {
            let mut node = own;
            node["_id"] = id.into();
            node["metadata"] = json!({
                "nodeId": id, "parents": parents, "nodeAdmins": ["tariq"], "nodeCreator": "ops", "nodeCtime": 1_772_000_000,
            });
            node
        };
        let ring = json!({ "language": "de", "ring": { "tone": "classic", "volume": 5, "seconds": 25 }, "codecs": ["opus", "G722", "PCMA"] });
        let mut nodes = vec![
            node("telco", json!([]), ring),
            node(
                "model-t46u",
                json!([]),
                json!({ "model": "T46U", "ring": { "tone": "soft" }, "keys": { "1": "voicemail", "2": "directory" } }),
            ),
        ];
        for (customer, domain, _, _) in CUSTOMERS {
            let id =
                |rest: &str| format!("{}-{}", domain.replace(".example", ""), rest.to_lowercase());
            let root = domain.replace(".example", "");
            nodes.push(node(
                &root,
                json!(["telco"]),
                json!({ "customer": { "name": customer, "domain": domain } }),
            ));
            for department in DEPARTMENTS {
                let own = json!({ "department": department, "keys": { "3": format!("group:{}", department.to_lowercase()) } });
                nodes.push(node(&id(department), json!([root]), own));
            }
            for site in SITES {
                nodes.push(node(&id(site), json!([root]), json!({ "site": site, "emergency": { "address": site }, "ring": { "volume": 7 } })));
            }
        }
        for subscriber in &self.subscribers {
            let root = subscriber.domain.replace(".example", "");
            let parents = [subscriber.department, subscriber.site]
                .map(|part| format!("{root}-{}", part.to_lowercase()));
            let parents = json!(["model-t46u", parents[0], parents[1]]);
            let mut own = node(
                &subscriber.extension,
                parents,
                json!({ "name": subscriber.name, "number": subscriber.number }),
            );
            own["metadata"]["authorization"] = json!({ "type": "bcrypt", "crypted": hashed });
            nodes.push(own);
        }
        nodes
    }

    /// What callers have said to one subscriber's mailbox.
    pub(crate) fn voicemail(&self, owner: &Subscriber) -> Vec<Value> {
        let mut dice = Dice(u64::from_str_radix(&owner.secret, 16).unwrap_or_default());
        (0..12).map(|index| {
            let from = dice.of(&self.subscribers);
            json!({
                "_id": format!("message:{index:04}"), "type": "voicemail", "received": timestamp(30_000 + index * 311, 0),
                "from": { "number": from.number, "name": from.name }, "seconds": 4 + dice.below(90), "heard": index < 7,
                "updated_by": "ops",
                // A tenth of a second of silence.
                "_attachments": { "message.wav": { "content_type": "audio/wav", "data": SILENCE } },
            })
        }).collect()
    }
}

const SILENCE: &str = "UklGRiwAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQgAAACAgICAgICAgA==";

/// `minute` after the beginning of March 2026.
fn timestamp(minute: usize, second: usize) -> String {
    let (day, hour) = (minute / 1440, minute / 60 % 24);
    let (month, day) = if day < 31 {
        (3, day + 1)
    } else if day < 61 {
        (4, day - 30)
    } else {
        (5, day - 60)
    };
    format!(
        "2026-{month:02}-{day:02}T{hour:02}:{:02}:{second:02}Z",
        minute % 60
    )
}

fn mac(secret: &str) -> String {
    let pairs: Vec<&str> = ["80", "5e", "c0"]
        .into_iter()
        .chain((0..3).filter_map(|at| secret.get(at * 2..at * 2 + 2)))
        .collect();
    pairs.join(":")
}
