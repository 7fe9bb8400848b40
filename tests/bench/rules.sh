#!/usr/bin/env bash
# CPU of couchwarden for a small GET under five rules and under 5,000, of which five are about the caller and the
# database: rules that name databases, rules with patterns, rules by roles. Both run at the same time and are asked in
# turns; prints medians of what one request takes, and fails where 5,000 rules cost more than 5 % over five.
#   tests/bench/rules.sh [ROUNDS [REQUESTS]]
source "$(dirname "$0")/rig.sh"
need curl=curl taskset=util-linux pgrep=procps
rounds=${1:-9}
requests=${2:-4000}
failed=0

# policies: `$kind` and `$count` say which and how many; five of them are about the document that is asked for.
policies() {
    for n in $(seq "$count"); do
        case $kind in
        databases) databases="own-$n" callers='everyone = true' ;;
        patterns) databases="own-$n-*" callers='everyone = true' ;;
        tails) databases="*-of-$n" callers='everyone = true' ;;
        roles) databases='shared' callers="roles = [\"tenant:$n\"]" ;;
        names) databases='*' callers="names = [\"robot-$n\"]" ;;
        esac
        [ "$n" -gt 5 ] || { databases='asked' callers='roles = ["reader"]'; }
        printf '[[rule]]\nname = "r%s"\ndatabases = ["%s"]\ncallers = { %s }\npermit = ["read"]\ndocuments = { type = "call" }\n' \
            "$n" "$databases" "$callers"
    done
}

# round ADDRESS PID: microseconds of CPU for one request.
round() {
    local before after
    before=$(ticks "$2")
    taskset -c 1 curl -sfk -u ann:secret -o /dev/null "https://localhost:${1##*:}/asked/doc?_nonce=[1-$requests]" ||
        { echo 'the document is not answered' >&2 && exit 1; }
    after=$(ticks "$2")
    echo $(((after - before) * 1000000 / $(getconf CLK_TCK) / requests))
}

median() { sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

build
port=27985
for kind in databases patterns tails roles names; do
    pids=()
    for count in 5 5000; do
        couchwarden "$kind-$count" "127.0.0.1:$((port + ${#pids[@]}))" warn
        pids+=("$pid")
    done
    : >"$rig/few" >"$rig/many"
    for n in $(seq 0 "$rounds"); do
        few=$(round ":$port" "${pids[0]}") || exit 1
        many=$(round ":$((port + 1))" "${pids[1]}") || exit 1
        # The first round warms up.
        [ "$n" -eq 0 ] || { echo "$few" >>"$rig/few" && echo "$many" >>"$rig/many"; }
    done
    few=$(median <"$rig/few") many=$(median <"$rig/many")
    awk -v kind="$kind" -v few="$few" -v many="$many" 'BEGIN {
        printf "%s: %d µs under 5 rules, %d µs under 5,000: %+.1f %%\n", kind, few, many, (many / few - 1) * 100
        exit many > few * 1.05 }' || failed=1
    kill "${pids[@]}"
    wait "${pids[@]}" 2>/dev/null || true
    port=$((port + 2))
done
exit "$failed"
