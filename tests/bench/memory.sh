#!/usr/bin/env bash
# Memory of a filtered view answer of 1 GiB: hides two fields of each row and drops every tenth row, from the stub to
# curl. Prints idle and peak RSS of couchwarden and MB/s of what CouchDB sent; fails if the peak is more than 64 MiB
# above idle, or if the answer is not what it should be. Under a minute once everything is built.
#   tests/bench/memory.sh
source "$(dirname "$0")/rig.sh"
need curl=curl taskset=util-linux pgrep=procps
most=64

status() { awk -v key="$2:" '$1 == key { print $2 }' "/proc/$1/status"; }

build
couchwarden couchwarden 127.0.0.1:27987 warn
base=https://localhost:27987/lens
curl -sfk -u ann:secret "$base/doc" -o /dev/null
failed=0
for protocol in --http1.1 --http2; do
    sleep 1
    idle=$(status "$pid" VmRSS)
    # Makes VmHWM begin anew (man 5 proc).
    echo 5 >"/proc/$pid/clear_refs"
    before=$(ticks "$pid")
    # An answer that was cut is an error of curl's.
    got=$(taskset -c 1 curl -sfk --max-time 120 "$protocol" -u ann:secret -o /dev/null \
        -w '%{time_total} %{size_download}' "$base/_design/bench/_view/rows")
    after=$(ticks "$pid")
    peak=$(status "$pid" VmHWM)
    awk -v p="${protocol#--}" -v idle="$idle" -v peak="$peak" -v s="${got% *}" -v n="${got#* }" -v most="$most" \
        -v cpu=$(((after - before) * 1000 / $(getconf CLK_TCK))) 'BEGIN {
        sent = 1533960 * 700
        printf "%s: idle %.1f MiB, peak %.1f MiB, difference %.1f MiB; %.0f MB/s, CPU %.0f ms for 1 GiB\n",
            p, idle / 1024, peak / 1024, (peak - idle) / 1024, sent / s / 1e6, cpu
        if ((peak - idle) / 1024 > most) { print "more than " most " MiB above idle"; exit 1 }
        if (n < 0.80 * sent || n > 0.90 * sent) { print "not the answer that was expected: " n " bytes"; exit 1 }
    }' || failed=1
done
exit "$failed"
