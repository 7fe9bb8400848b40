# What CI runs.
check:
    .ci/run
# All tests, against the embedded server.
test:
    cargo test
# The same tests against a real CouchDB: just live http://admin:pass@127.0.0.1:5984
live url:
    COUCHDB_URL={{url}} cargo test
# Speed: the JSON filter and the decision.
bench:
    cargo bench
# Development certificates in certs/.
certs:
    cargo run -- cert
# The telephone company on https://localhost:6984
run:
    cargo run --example demo
