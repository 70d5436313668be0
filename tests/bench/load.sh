#!/usr/bin/env bash
# The whole product under load: SIPp – firewall with Postern – SIPp, in network namespaces of this run, real nftables.
#
#   tests/bench/load.sh [-r CALLS_PER_SECOND] [-n CALLS] [-d CALL_MILLISECONDS] [-s realm|address|strict] [-t u1|t1] [-k]
#                       [-w] [-x COMMAND]
#
# Prints failures on both sides, the CPU of all Postern processes together per call, resident memory, and set-up delay as the
# caller's SIPp saw it. -w watches the wire of the firewall (tcpdump, UDP only) for the delay that Postern itself adds: INVITE
# in to INVITE out and 200 in to 200 out; for rates so low that calls are set up one after the other. -x runs COMMAND with the
# process numbers of Postern, comma-separated, behind it while calls are made, for example
# `-x 'perf stat -e context-switches -p'` or `-x 'strace -c -f -p'`. -k keeps the working folder. Needs root and the packages
# nftables, iproute2, sip-tester.
set -euo pipefail
rate=500 calls=5000 hold=200 source=realm transport=u1 keep='' watch='' command=''
while getopts r:n:d:s:t:kwx: option; do
  case $option in
    r) rate=$OPTARG ;; n) calls=$OPTARG ;; d) hold=$OPTARG ;; s) source=$OPTARG ;; t) transport=$OPTARG ;; k) keep=1 ;;
    w) watch=1 ;; x) command=$OPTARG ;;
    *) sed -n '2,14p' "$0"; exit 2 ;;
  esac
done
here=$(cd "$(dirname "$0")/../.." && pwd)
postern=${POSTERN:-${CARGO_TARGET_DIR:-$here/target}/release/postern}
[ -x "$postern" ] || { echo "build it first: cargo build --release (looked for $postern)"; exit 2; }

name=pb$$
work=$(mktemp -d)
pids=()
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  for host in o f i; do ip netns del "$name$host" 2>/dev/null || true; done
  if [ -n "$keep" ]; then echo "kept: $work"; else rm -rf "$work"; fi
}
trap finish EXIT

for host in o f i; do ip netns add "$name$host"; ip -n "$name$host" link set lo up; done
cable() { # host address border-interface border-address
  ip link add eth0 netns "$name$1" type veth peer name "$3" netns "${name}f"
  ip -n "$name$1" addr add "$2/24" dev eth0; ip -n "${name}f" addr add "$4/24" dev "$3"
  ip -n "$name$1" link set eth0 up; ip -n "${name}f" link set "$3" up
  ip -n "$name$1" route add default via "$4"
}
cable o 198.51.100.20 outside0 198.51.100.1
cable i 10.0.40.20 inside0 10.0.40.1
ip netns exec "${name}f" sysctl -qw net.ipv4.ip_forward=1
ip netns exec "${name}f" nft -f - <<'N'
table inet filter {
  chain input { type filter hook input priority filter; policy drop; iifname "lo" accept; udp dport 5060 accept; tcp dport 5060 accept; ct state established accept; }
  chain forward { type filter hook forward priority filter; policy drop; ct state untracked meta mark & 0x01000000 == 0x01000000 accept; ct state established,related accept; iifname "inside0" accept; }
}
N
hop=''; [ "$transport" = u1 ] || hop=';transport=tcp'
cat > "$work/postern.toml" <<N
run-dir = "$work/run"
user = "nobody"
log = "warn"
[realm.outside]
listen = ["udp:198.51.100.1:5060", "tcp:198.51.100.1:5060"]
source = "$source"
media-ports = "10000-59999"
[realm.inside]
listen = ["udp:10.0.40.1:5060", "tcp:10.0.40.1:5060"]
media = ["10.0.40.0/24"]
source = "$source"
media-ports = "10000-59999"
[[route]]
to = "inside"
next-hop = "sip:10.0.40.20$hop"
[[route]]
to = "outside"
next-hop = "sip:198.51.100.20$hop"
[limits]
calls = 200000
[middlebox]
max-rules = 400000
N
chmod 755 "$work"
ip netns exec "${name}f" "$postern" run --config "$work/postern.toml" >"$work/postern.log" 2>&1 &
run=$!; pids+=("$run")
for _ in $(seq 100); do
  ip netns exec "${name}f" "$postern" status -j --config "$work/postern.toml" 2>/dev/null | grep -q '"up": *true' && break
  sleep 0.1
done

tree() { echo "$run"; cat "/proc/$run/task/$run/children"; }
ticks() { local sum=0 pid; for pid in $(tree); do set -- $(cut -d')' -f2 "/proc/$pid/stat"); sum=$((sum + ${12} + ${13})); done; echo $sum; }
# One line for each process: what it is called, user and system time in ticks.
split() { local pid; for pid in $(tree); do set -- $(cut -d')' -f2 "/proc/$pid/stat"); echo "$(tr '\0' ' ' <"/proc/$pid/cmdline" | awk '{print $2}') ${12} ${13}"; done; }
resident() { local sum=0 pid; for pid in $(tree); do sum=$((sum + $(awk '/^Pss:/ {print $2}' "/proc/$pid/smaps_rollup"))); done; echo $sum; }

idle=$(resident)
cd "$work"
# SIPp's own scenarios with a media port for every call: with one port for all, every rule would name the same entry.
for role in uac uas; do (sipp -sd $role || true) | sed 's/\[media_port\]/[field0]/' >$role.xml; done
{ echo SEQUENTIAL; seq 10000 2 59998 | sed 's/$/;/'; } >ports.csv
ip netns exec "${name}i" sipp -sf uas.xml -inf ports.csv -i 10.0.40.20 -p 5060 -t "$transport" -nostdin -trace_stat -fd 1 -stf uas.csv >uas.out 2>&1 &
uas=$!; pids+=("$uas")
sleep 0.3
if [ -n "$watch" ]; then
  ip netns exec "${name}f" tcpdump -i any -n --immediate-mode -B 65536 -w wire.pcap udp port 5060 2>tcpdump.out &
  tcpdump=$!; pids+=("$tcpdump"); sleep 1
fi
if [ -n "$command" ]; then
  $command "$(tree | tr ' ' '\n' | sed '/^$/d' | paste -sd,)" >command.out 2>&1 &
  observer=$!; pids+=("$observer"); sleep 0.3
fi
before=$(ticks); split >before; started=$(date +%s.%N)
status=0
ip netns exec "${name}o" sipp -sf uac.xml -inf ports.csv 198.51.100.1:5060 -i 198.51.100.20 -p 5060 -m "$calls" -r "$rate" -l 100000 -d "$hold" \
  -t "$transport" -s bob -nostdin -timeout 300s -trace_stat -fd 1 -stf uac.csv -trace_rtt -rtt_freq 1 -trace_err -error_file uac.err >uac.out 2>&1 &
uac=$!; pids+=("$uac")
peak=$idle
while kill -0 "$uac" 2>/dev/null; do now=$(resident); [ "$now" -gt "$peak" ] && peak=$now; sleep 0.5; done
wait "$uac" || status=$?
ended=$(date +%s.%N); after=$(ticks); split >after
if [ -n "$command" ]; then kill -INT "$observer"; wait "$observer" || true; cat command.out; fi
if [ -n "$watch" ]; then sleep 0.5; kill -INT "$tcpdump"; wait "$tcpdump" || true; fi
kill -USR1 "$uas"; for _ in $(seq 60); do kill -0 "$uas" 2>/dev/null || break; sleep 0.2; done

column() { awk -F';' -v want="$2" 'NR==1 {for (i=1;i<=NF;i++) if ($i==want) at=i} END {print $at}' "$1"; }
echo "source=$source rate=$rate/s calls=$calls hold=${hold}ms transport=$transport"
echo "caller:  successful $(column uac.csv 'SuccessfulCall(C)')  failed $(column uac.csv 'FailedCall(C)')  retransmissions $(column uac.csv 'Retransmissions(C)')  exit $status"
echo "callee:  successful $(column uas.csv 'SuccessfulCall(C)')  failed $(column uas.csv 'FailedCall(C)')  retransmissions $(column uas.csv 'Retransmissions(C)')"
awk -v t=$((after - before)) -v n="$calls" -v hz="$(getconf CLK_TCK)" -v s="$started" -v e="$ended" -v r="$calls" \
  'BEGIN {printf "cpu:     %.0f µs per call (all Postern processes, user+system), %.2f s in %.1f s; %.0f calls/s\n", t/hz*1e6/n, t/hz, e-s, r/(e-s)}'
paste before after | awk -v n="$calls" -v hz="$(getconf CLK_TCK)" \
  '{printf("%s%s user %.0f + system %.0f µs", (NR > 1) ? ",  " : "         ", $4, ($5-$2)/hz*1e6/n, ($6-$3)/hz*1e6/n)} END {print ""}'
echo "memory:  $idle kB idle, $peak kB at the peak (proportional set size, all processes)"
cat ./*rtt*.csv 2>/dev/null | awk -F';' 'FNR>1 && $2+0>0 {print $2}' | sort -n | awk '{v[NR]=$1} END {if (NR) printf "set-up:  p50 %s ms  p99 %s ms (SIPp INVITE to 200, %d samples)\n", v[int((NR+1)/2)], v[int(NR*0.99)], NR}'
[ -n "$watch" ] || exit 0
# Every message stands twice in the capture: as it comes in on one side, and as Postern sends it on the other.
tcpdump -r wire.pcap -tt -n -A 2>/dev/null | awk '
  / (In|Out) +IP / { at = $1; way = $3; next }
  /INVITE sip:.*SIP\/2.0/ { put("INVITE") }
  /SIP\/2.0 200/ { ok = 1; next }
  ok && /^CSeq:/ { ok = 0; if (/INVITE/) put("200") }
  function put(what) { if (way == "In") first[what] = at; else if (what in first) { print what, (at - first[what]) * 1000; delete first[what] } }
' >delays
for what in INVITE 200; do
  awk -v w="$what" '$1 == w {print $2}' delays | sort -n |
    awk -v w="$what" '{v[NR]=$1} END {if (NR) printf "wire:    %s in to out: p50 %.3f ms  p99 %.3f ms (%d samples)\n", w, v[int((NR+1)/2)], v[int(NR*0.99)], NR}'
done
awk '$1 == "INVITE" {i = $2} $1 == "200" {print i + $2}' delays | sort -n |
  awk '{v[NR]=$1} END {if (NR) printf "added:   p50 %.3f ms  p99 %.3f ms (both together, per call)\n", v[int((NR+1)/2)], v[int(NR*0.99)]}'
