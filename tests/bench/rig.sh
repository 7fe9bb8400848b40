# shellcheck shell=bash
# What peers.sh and memory.sh share: builds couchwarden and the stub, starts them on loopback, and stops them again.
# Core 0 belongs to the proxy that is measured, core 1 to everything else. Sourced, not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

rig=$(mktemp -d)
# A program that is named is measured as it is.
program=${COUCHWARDEN:-${CARGO_TARGET_DIR:-target}/release/couchwarden}
stub=127.0.0.1:27984
started=()

finish() {
    local code=$?
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    if [ "$code" -ne 0 ]; then tail -n 5 "$rig"/*.log 2>/dev/null || true; fi
    rm -rf "$rig"
    exit "$code"
}
trap finish EXIT

# need COMMAND=PACKAGE...: says what is missing, and ends.
need() {
    local missing=()
    for pair in "$@"; do
        PATH="$PATH:/usr/sbin" command -v "${pair%%=*}" >/dev/null || missing+=("${pair##*=}")
    done
    if [ "${#missing[@]}" -gt 0 ]; then
        echo "missing; on Debian: apt-get install --no-install-recommends ${missing[*]}" >&2
        exit 2
    fi
    if [ "$(nproc)" -lt 2 ]; then
        echo "two cores are needed: one for the proxy, one for load and upstream" >&2
        exit 2
    fi
}

# start NAME ADDRESS COMMAND...: on core 0; sets $pid when it listens.
start() {
    local name=$1 address=$2 core=${core:-0}
    shift 2
    if (: <>"/dev/tcp/${address/://}") 2>/dev/null; then
        echo "$address is in use" >&2
        exit 2
    fi
    taskset -c "$core" "$@" >/dev/null 2>"$rig/$name.log" &
    pid=$!
    started+=("$pid")
    for _ in $(seq 50); do
        (: <>"/dev/tcp/${address/://}") 2>/dev/null && return
        sleep 0.1
    done
    echo "$name does not listen on $address" >&2
    exit 1
}

build() {
    [ -n "${COUCHWARDEN:-}" ] || cargo build --quiet --release --bin couchwarden
    # It needs std alone; cargo would build all of couchwarden's dependencies for it.
    rustc --edition 2024 -O -o "$rig/stub" tests/bench/stub.rs
    "$program" cert --directory "$rig/certs" --host localhost >/dev/null
    core=1 start stub "$stub" "$rig/stub" --listen "$stub"
}

# couchwarden NAME ADDRESS LEVEL: 50 rules, one of them a lens, one clear; sets $pid.
couchwarden() {
    # Each has its own, which it may read after it listens.
    mkdir -p "$rig/$1"
    policies >"$rig/$1/bench.toml"
    cat >"$rig/$1.toml" <<END
[listen]
address = "$2"
certificates = "certs"
[couchdb]
nodes = ["http://$stub"]
user = "warden"
password = "warden"
present = "proxy"
proxy_secret = "of the benches"
[identity]
vouchers = ["couchdb"]
session = { secret = "a long secret of the benches", lifetime = "1h" }
[policies]
directory = "$1"
END
    start "$1" "$2" env RUST_LOG="$3" "$program" serve --config "$rig/$1.toml"
}

policies() {
    cat <<'END'
[[rule]]
name = "clear"
databases = ["clear"]
callers = { roles = ["reader"] }
permit = ["read"]
[[rule]]
name = "lens"
databases = ["lens"]
callers = { roles = ["reader"] }
permit = ["read"]
documents = { type = "call" }
[[rule]]
name = "rows"
databases = ["lens"]
callers = { roles = ["reader"] }
permit = ["view:bench/rows"]
rows = { "value.shown" = true }
[[rule]]
name = "secrets"
databases = ["lens"]
callers = { everyone = true }
hide = ["**.password"]
END
    for n in $(seq 46); do
        printf '[[rule]]\nname = "other-%s"\ndatabases = ["other-%s-{number}"]\n' "$n" "$n"
        printf 'callers = { roles = ["number:{number}"] }\npermit = ["replicate"]\n'
    done
}

# ticks PID: user and system time of a process, its threads and its children so far.
ticks() {
    local sum=0 stat fields
    for one in $1 $(pgrep -P "$1" || true); do
        read -r stat <"/proc/$one/stat"
        # What follows the name, which may hold blanks, in brackets.
        read -ra fields <<<"${stat##*) }"
        sum=$((sum + fields[11] + fields[12]))
    done
    echo "$sum"
}
