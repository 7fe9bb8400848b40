# What CI runs.
check:
    .ci/run
# All tests, against the embedded server.
test:
    cargo test
# The same tests against a real CouchDB: just live http://admin:pass@127.0.0.1:5984
live url:
    COUCHDB_URL={{url}} cargo test
# Views and finds of many documents while all of them are written: just moments http://admin:pass@127.0.0.1:5984
moments url rows="100000" seconds="60" at_once="200":
    COUCHDB_URL={{url}} MOMENTS_ROWS={{rows}} MOMENTS_SECONDS={{seconds}} MOMENTS_AT_ONCE={{at_once}} MOMENTS_BYTES=300 cargo test --test proxy -- moments::no_hidden --nocapture
# Users with a database and replications each, and their logins through one address: just crowd http://admin:pass@127.0.0.1:5984
crowd url users="2000" seconds="600":
    COUCHDB_URL={{url}} CROWD={{users}} CROWD_SECONDS={{seconds}} cargo test --test proxy crowd:: -- --nocapture
# Devices that sync at random, with CouchDB's replicator among them (faster with `[replicator] startup_jitter = 0`): just converge http://admin:pass@127.0.0.1:5984
converge url seconds="600":
    COUCHDB_URL={{url}} CONVERGE_SECONDS={{seconds}} cargo test --test proxy -- converge:: --nocapture
# Ten thousand requests before a CouchDB that reads as little of them as it may.
boundaries:
    BOUNDARIES_REQUESTS=10000 cargo test --test proxy boundaries::
# Random databases, rules and requests, compared with CouchDB's answers: just differential http://admin:pass@127.0.0.1:5984
differential url seconds="600":
    COUCHDB_URL={{url}} DIFFERENTIAL_SECONDS={{seconds}} cargo test --test proxy differential -- --nocapture
# Speed: the JSON filter and the decision.
bench:
    cargo bench
# One minute of fuzzing, with cargo-fuzz on nightly: just fuzz path|route|query|json|bulk|multipart
fuzz target:
    cargo +nightly fuzz run --sanitizer none --fuzz-dir tests/fuzz {{target}} -- -max_total_time=60
# Development certificates in certs/.
certs:
    cargo run -- cert
# The telephone company on https://localhost:6984
run:
    cargo run --example demo
