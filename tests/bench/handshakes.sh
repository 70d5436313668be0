#!/usr/bin/env bash
# TLS handshakes a second of the agent half, full and resumed, as `openssl s_time` sees them over loopback, and the CPU of the agent half for each.
#
#   tests/bench/handshakes.sh [SECONDS]
#
# Needs the packages openssl and iproute2, and root (a network namespace of its own).
set -euo pipefail
seconds=${1:-5}
here=$(cd "$(dirname "$0")/../.." && pwd)
postern=${POSTERN:-${CARGO_TARGET_DIR:-$here/target}/release/postern}
[ -x "$postern" ] || { echo "build it first: cargo build --release (looked for $postern)"; exit 2; }
name=ph$$ work=$(mktemp -d) run=''
finish() { [ -z "$run" ] || kill "$run" 2>/dev/null || true; wait 2>/dev/null || true; ip netns del "$name" 2>/dev/null || true; rm -rf "$work"; }
trap finish EXIT
ip netns add "$name"; ip -n "$name" link set lo up
chmod 755 "$work"
for kind in ec rsa; do
  case $kind in ec) new=(-newkey ec -pkeyopt ec_paramgen_curve:P-256) ;; rsa) new=(-newkey rsa:2048) ;; esac
  openssl req -x509 "${new[@]}" -nodes -days 2 -subj /CN=bench -addext subjectAltName=DNS:bench -keyout "$work/$kind.key" -out "$work/$kind.pem" 2>/dev/null
  chmod 644 "$work/$kind.key"
  cat >"$work/$kind.toml" <<N
run-dir = "$work/run-$kind"
user = "nobody"
log = "warn"
[realm.outside]
listen = ["tls:127.0.0.1:5061"]
certificate = "$work/$kind.pem"
key = "$work/$kind.key"
[realm.inside]
listen = ["udp:127.0.0.2:5060"]
media = ["10.0.40.0/24"]
[middlebox]
engine = "none"
N
  ip netns exec "$name" "$postern" agent --config "$work/$kind.toml" 2>"$work/$kind.log" &
  run=$!
  for _ in $(seq 100); do ip netns exec "$name" "$postern" status --config "$work/$kind.toml" >/dev/null 2>&1 && break; sleep 0.1; done
  sleep 0.5
  ticks() { set -- $(cut -d')' -f2 "/proc/$run/stat"); echo $((${12} + ${13})); }
  for way in "full -new -tls1_3" "full -new -tls1_2" "resumed -reuse -tls1_2"; do
    set -- $way
    before=$(ticks)
    said=$(ip netns exec "$name" openssl s_time -connect 127.0.0.1:5061 "$2" "$3" -time "$seconds" -CAfile "$work/$kind.pem" 2>&1 || true)
    after=$(ticks)
    count=$(echo "$said" | awk '/connections in .* real seconds/ {print $1}')
    [ -n "$count" ] || { echo "$kind $way: $said" | tail -3; continue; }
    awk -v k="$kind" -v w="$1 ${3#-}" -v n="$count" -v s="$seconds" -v t=$((after - before)) -v hz="$(getconf CLK_TCK)" \
      'BEGIN {printf "%-4s %-16s %7.0f a second one after the other, %6.0f µs CPU of the agent half each (%d in %d s)\n", k, w, n/s, t/hz*1e6/n, n, s}'
  done
  kill "$run"; wait "$run" 2>/dev/null || true; run=''
done
