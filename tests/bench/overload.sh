#!/usr/bin/env bash
# Goodput under overload: SIPp – firewall with Postern – SIPp, as load.sh, with all Postern processes together held to a share of one core, so
# that the load generators beside it have time enough for three times the load that it can carry.
#
#   tests/bench/overload.sh [-q SHARE_OF_A_CORE_IN_PERCENT] [-s SECONDS] RATE...
#
# For each RATE of calls a second that are offered, in this order: calls that were set up and ended well while calls were offered (the callee's count), that did so later, refused with 503, and failed
# otherwise, a second; messages that the caller's SIPp repeated; and the set-up delay of the good ones. Last, what the hosts' sockets have lost (o caller,
# f Postern, i callee): where that is much, it is SIPp that is overloaded. Needs root, cgroups, and the packages nftables, iproute2, sip-tester.
set -euo pipefail
quota=40 seconds=10
while getopts q:s: option; do
  case $option in q) quota=$OPTARG ;; s) seconds=$OPTARG ;; *) sed -n '2,12p' "$0"; exit 2 ;; esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { sed -n '2,12p' "$0"; exit 2; }
here=$(cd "$(dirname "$0")/../.." && pwd)
postern=${POSTERN:-${CARGO_TARGET_DIR:-$here/target}/release/postern}
[ -x "$postern" ] || { echo "build it first: cargo build --release (looked for $postern)"; exit 2; }

name=po$$
work=$(mktemp -d)
pids=()
group=
finish() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  for host in o f i; do ip netns del "$name$host" 2>/dev/null || true; done
  [ -z "$group" ] || rmdir "$group" 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

# Periods of 10 ms: longer ones would be pauses that no busy processor makes.
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  group=/sys/fs/cgroup/$name; mkdir "$group"; echo "$((quota * 100)) 10000" >"$group/cpu.max"
else
  group=/sys/fs/cgroup/cpu/$name; mkdir "$group"; echo 10000 >"$group/cpu.cfs_period_us"; echo $((quota * 100)) >"$group/cpu.cfs_quota_us"
fi

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
cat >"$work/postern.toml" <<N
run-dir = "$work/run"
user = "nobody"
log = "warn"
[realm.outside]
listen = ["udp:198.51.100.1:5060"]
source = "realm"
media-ports = "10000-59999"
[realm.inside]
listen = ["udp:10.0.40.1:5060"]
media = ["10.0.40.0/24"]
source = "realm"
media-ports = "10000-59999"
[[route]]
to = "inside"
next-hop = "sip:10.0.40.20"
[[route]]
to = "outside"
next-hop = "sip:198.51.100.20"
[limits]
calls = 200000
[middlebox]
max-rules = 400000
${MORE:-}
N
chmod 755 "$work"
(echo $BASHPID >"$group/cgroup.procs"; exec ip netns exec "${name}f" "$postern" run --config "$work/postern.toml") >"$work/postern.log" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
  ip netns exec "${name}f" "$postern" status -j --config "$work/postern.toml" 2>/dev/null | grep -q '"up": *true' && break
  sleep 0.1
done

cd "$work"
{ echo SEQUENTIAL; seq 10000 2 59998 | sed 's/$/;/'; } >ports.csv
(sipp -sd uas || true) | sed 's/\[media_port\]/[field0]/' >uas.xml
# SIPp's own caller, which acknowledges a 503 and gives the call up in order.
(sipp -sd uac || true) | sed 's/\[media_port\]/[field0]/' | awk '
  /<recv response="100"/ && !done {
    print "  <recv response=\"503\" optional=\"true\" next=\"9\"></recv>"; done = 1 }
  /<ResponseTimeRepartition/ {
    print "  <nop next=\"10\"></nop><label id=\"9\"/>"
    print "  <send counter=\"refused\"><![CDATA["
    print "      ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0"
    print "      [last_Via:]"; print "      [last_From:]"; print "      [last_To:]"; print "      [last_Call-ID:]"
    print "      CSeq: 1 ACK"; print "      Max-Forwards: 70"; print "      Content-Length: 0"; print ""; print "    ]]></send>"
    print "  <label id=\"10\"/>" }
  { print }' >uac.xml

column() { awk -F';' -v want="$2" 'NR==1 {for (i=1;i<=NF;i++) if ($i==want) at=i} END {print $at+0}' "$1"; }
printf '%8s %8s %8s %8s %8s %8s %10s %10s\n' offered good late refused failed repeated 'p50 ms' 'p99 ms'
for rate in "$@"; do
  rm -f ./*.csv.* uas.csv uac.csv uac_*rtt*.csv
  ip netns exec "${name}i" sipp -sf uas.xml -inf ports.csv -i 10.0.40.20 -p 5060 -nostdin -trace_stat -fd 1 -stf uas.csv >uas.out 2>&1 &
  uas=$!; pids+=("$uas"); sleep 0.3
  ip netns exec "${name}o" sipp -sf uac.xml -inf ports.csv 198.51.100.1:5060 -i 198.51.100.20 -p 5060 -m $((rate * seconds)) -r "$rate" -l 200000 -d 200 \
    -s bob -nostdin -timeout 120s -trace_stat -fd 1 -stf uac.csv -trace_rtt -rtt_freq 1 >uac.out 2>&1 || true
  kill -USR1 "$uas" 2>/dev/null || true; for _ in $(seq 60); do kill -0 "$uas" 2>/dev/null || break; sleep 0.2; done
  kill "$uas" 2>/dev/null || true
  # What ended well while calls were offered (SIPp keeps a call for 4 s when it is over): what ends later was repeated, and came in time for nobody.
  good=$(awk -F';' -v s="$seconds" 'NR==1 {for (i=1;i<=NF;i++) {if ($i=="SuccessfulCall(C)") at=i; if ($i=="ElapsedTime(C)") time=i}; next}
    {split($time,p,":"); if (p[1]*3600+p[2]*60+p[3] <= s+4.8) last=$at} END {print last+0}' uas.csv)
  late=$(($(column uas.csv 'SuccessfulCall(C)') - good)); all=$(column uac.csv 'TotalCallCreated'); bad=$(column uac.csv 'FailedCall(C)')
  rtt=$(cat ./*rtt*.csv 2>/dev/null | awk -F';' 'FNR>1 && $2+0>0 {print $2}' | sort -n | awk '{v[NR]=$1} END {if (NR) printf "%s %s", v[int((NR+1)/2)], v[int(NR*0.99)]; else print "- -"}')
  # SIPp may take longer than it should to offer them all.
  awk -v g="$good" -v a="$all" -v b="$bad" -v t="$(awk -F';' 'NR==1 {for (i=1;i<=NF;i++) if ($i=="ElapsedTime(C)") at=i} END {split($at,p,":"); print p[1]*3600+p[2]*60+p[3]}' uac.csv)" -v r="$rate" -v s="$seconds" -v n="$(column uac.csv 'Retransmissions(C)')" -v rtt="$rtt" -v l="$late" \
    'BEGIN {split(rtt, p, " "); printf "%8d %8.0f %8.0f %8.0f %8.0f %8d %10s %10s   (%d calls in %.1f s)\n", r, g/s, l/s, (a-b-g-l)/s, b/s, n, p[1], p[2], a, t}'
done
for host in o f i; do ip netns exec "$name$host" nstat -asz UdpRcvbufErrors UdpInErrors 2>/dev/null | awk -v h="$host" 'NR>1 {printf "%s %s %s  ", h, $1, $2}'; done; echo
grep -c overload postern.log >/dev/null && grep overload postern.log | tail -1 || true
