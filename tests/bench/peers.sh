#!/usr/bin/env bash
# CPU per small GET over TLS: couchwarden with policy on, beside nginx and HAProxy that only forward.
# Prints the median of interleaved rounds in µs (user and system time of all the proxy's processes for each request
# answered) and its ratio to both peers. Loopback only; under three minutes once everything is built.
#   tests/bench/peers.sh            ROUNDS=5 SPAN=5 tests/bench/peers.sh    (rounds, and seconds of each)
source "$(dirname "$0")/rig.sh"
need wrk=wrk h2load=nghttp2-client nginx=nginx-light haproxy=haproxy curl=curl taskset=util-linux pgrep=procps
PATH=$PATH:/usr/sbin
rounds=${ROUNDS:-3} span=${SPAN:-3}

nginx_config() {
    cat <<END
daemon off;
worker_processes 1;
pid $rig/nginx.pid;
error_log stderr crit;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path $rig/t1; proxy_temp_path $rig/t2; fastcgi_temp_path $rig/t3;
    uwsgi_temp_path $rig/t4; scgi_temp_path $rig/t5;
    keepalive_requests 10000000;
    upstream couchdb { server $stub; keepalive 64; keepalive_requests 10000000; }
    server {
        listen 127.0.0.1:27985 ssl http2;
        ssl_certificate $rig/certs/default.crt;
        ssl_certificate_key $rig/certs/default.key;
        location / {
            proxy_pass http://couchdb;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-Proto https;
        }
    }
}
END
}

haproxy_config() {
    cat "$rig/certs/default.crt" "$rig/certs/default.key" >"$rig/both.pem"
    cat <<END
global
    nbthread 1
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend tls
    bind 127.0.0.1:27986 ssl crt $rig/both.pem alpn h2,http/1.1
    http-request set-header X-Forwarded-Proto https
    default_backend couchdb
backend couchdb
    server stub $stub
END
}

build
nginx_config >"$rig/nginx.conf"
haproxy_config >"$rig/haproxy.cfg"
declare -A process
start nginx 127.0.0.1:27985 nginx -c "$rig/nginx.conf"
process[27985]=$pid
start haproxy 127.0.0.1:27986 haproxy -db -f "$rig/haproxy.cfg"
process[27986]=$pid
couchwarden couchwarden 127.0.0.1:27987 warn
process[27987]=$pid
couchwarden couchwarden-log 127.0.0.1:27988 info
process[27988]=$pid

basic="authorization: Basic $(printf ann:secret | base64)"
cookie="cookie: $(curl -sk -D - -o /dev/null -d name=ann -d password=secret https://localhost:27987/_session |
    sed -n 's/^[Ss]et-[Cc]ookie: \([^;]*\).*/\1/p')"

# Label, port, path, header.
rows=(
    "HAProxy, forwards|27986|/clear/doc|$basic"
    "nginx, forwards|27985|/clear/doc|$basic"
    "couchwarden, Basic, clear rule|27987|/clear/doc|$basic"
    "couchwarden, Basic, lens|27987|/lens/doc|$basic"
    "couchwarden, cookie, clear rule|27987|/clear/doc|$cookie"
    "couchwarden, cookie, lens|27987|/lens/doc|$cookie"
    "couchwarden, cookie, lens, log|27988|/lens/doc|$cookie"
)

# load PROTOCOL URL HEADER: prints how many requests were answered with 200; fails if any was not.
load() {
    local said="$rig/load"
    case $1 in
        h1) taskset -c 1 wrk -t1 -c64 -d"$span"s -H "$3" "$2" >"$said" 2>&1 ;;
        h2) taskset -c 1 h2load -t1 -c8 -m8 -D"$span" -H "$3" "$2" >"$said" 2>&1 ;;
    esac
    if grep -Eq 'Non-2xx|Socket errors|[1-9][0-9]* (failed|errored|3xx|4xx|5xx)' "$said"; then
        cat "$said" >&2
        return 1
    fi
    sed -n -e 's/^ *\([0-9]*\) requests in.*/\1/p' -e 's/^requests:.* \([0-9]*\) succeeded.*/\1/p' "$said"
}

hz=$(getconf CLK_TCK)
for round in $(seq "$rounds"); do
    for protocol in h1 h2; do
        for row in "${rows[@]}"; do
            IFS='|' read -r label port path header <<<"$row"
            before=$(ticks "${process[$port]}")
            answered=$(load "$protocol" "https://localhost:$port$path" "$header")
            after=$(ticks "${process[$port]}")
            awk -v p="$protocol" -v l="$label" -v t=$((after - before)) -v hz="$hz" -v n="$answered" \
                'BEGIN { printf "%s|%s|%.2f\n", p, l, t / hz * 1e6 / n }' | tee -a "$rig/measured" >&2
        done
    done
done

# Medians, in the order of the rows.
for protocol in h1 h2; do
    for row in "${rows[@]}"; do
        label=${row%%|*}
        awk -F'|' -v p="$protocol" -v l="$label" '$1 == p && $2 == l { print $3 }' "$rig/measured" | sort -n |
            awk -v p="$protocol" -v l="$label" '{ v[NR] = $1 } END { print p "|" l "|" v[int((NR + 1) / 2)] "|" v[1] "|" v[NR] }'
    done
done | awk -F'|' '
    $1 != p { p = $1; nginx = ""; printf "\n%-36s %8s %15s %9s %8s\n", (p == "h1" ? "HTTPS/1.1, 64 connections" : "HTTP/2, 8 connections × 8"), "µs/req", "lowest–highest", "×HAProxy", "×nginx" }
    $2 ~ /^HAProxy/ { haproxy = $3; if ($5 > 1.25 * $4) noisy = 1 }
    $2 ~ /^nginx/ { nginx = $3 }
    { printf "%-36s %8.1f %15s %9.2f %8s\n", $2, $3, $4 "–" $5, $3 / haproxy, (nginx ? sprintf("%.2f", $3 / nginx) : "") }
    END { if (noisy) print "\nHAProxy itself varied by more than a quarter: measure again on a quieter machine." }'
