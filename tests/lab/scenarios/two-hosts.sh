# SPDX-License-Identifier: Apache-2.0
# hosts: 2
# engines: trixie
# Two ordinary Docker hosts whose engine drops forwarded traffic, VLANs 100 and 200 on one trunk, two containers a host
# and VLAN: who is on one VLAN reaches all of it, who is on the other reaches none of it.
# shellcheck shell=bash source=tests/lab/lib.sh disable=SC2016,SC2119,SC2317
. /lab/lib.sh

# The kernel filters bridged frames as if they were forwarded, and forwarding is off when the engine starts: it then
# turns it on and sets the policy of FORWARD to DROP, for safety.
modprobe br_netfilter
sysctl -qw net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1 net.ipv4.ip_forward=0
start_engine
make_image
snapshot >/run/lab/before
start_daemons
like "the engine's FORWARD policy is DROP" "$(iptables -S FORWARD)" '^-P FORWARD DROP'
is "bridged frames go through iptables" "$(cat /proc/sys/net/bridge/bridge-nf-call-iptables)" 1
foreign_rules=$({ iptables-save; ip6tables-save; } | sed -e '/^#/d' -e 's/\[[0-9:]*\]//')

# Both VLANs carry the same two subnets: a leak between them would be answered. --ip-range keeps the hosts apart.
for vlan in 100 200; do
	check "a network on VLAN $vlan is created" create v$vlan --ipv6 --subnet 10.100.0.0/24 --ip-range "10.100.0.$((host * 64))/26" \
		--gateway 10.100.0.1 --subnet fd00:100::/64 --gateway fd00:100::1 \
		-o parent=eth0 -o vlan=$vlan --ipam-opt tenant=vlan$vlan || die "nothing works without a network"
	for n in 1 2; do
		last=$((vlan / 10 + host * 2 + n)) # 13 14 15 16 on VLAN 100, 23 24 25 26 on VLAN 200
		check "a container starts on VLAN $vlan" run c$vlan-$n v$vlan --ip 10.100.0.$last --ip6 fd00:100::$last
	done
done
is "between the rules of the engine stand only rules with our mark" \
	"$({ iptables-save; ip6tables-save; } | sed -e '/^#/d' -e 's/\[[0-9:]*\]//' | grep -v mynetworkplugin: | diff <(echo "$foreign_rules") -)" ""
barrier started

# Frames are recorded where they arrive: on host 2's side of the wire, when host 1 sends.
if [ "$host" = 2 ]; then
	tcpdump -i eth0 -n -e -l -c 400 'vlan and (arp or icmp or icmp6)' >/run/lab/wire 2>/run/lab/wire.err &
	within 20 grep -q 'listening on' /run/lab/wire.err || die "tcpdump does not start: $(cat /run/lab/wire.err)"
fi
barrier recording

pings_seconds=12
for vlan in 100 200; do
	for n in 1 2; do
		for last in $((vlan / 10 + 3)) $((vlan / 10 + 4)) $((vlan / 10 + 5)) $((vlan / 10 + 6)); do
			check "container $n on VLAN $vlan reaches 10.100.0.$last" pings c$vlan-$n 10.100.0.$last
			check "container $n on VLAN $vlan reaches fd00:100::$last" pings c$vlan-$n fd00:100::$last
		done
	done
done
pings_seconds=2
for vlan in 100 200; do
	for last in $(((300 - vlan) / 10 + 3)) $(((300 - vlan) / 10 + 6)); do
		fails "a container on VLAN $vlan does not reach 10.100.0.$last on the other one" pings c$vlan-1 10.100.0.$last
		fails "nor fd00:100::$last" pings c$vlan-1 fd00:100::$last
	done
done
barrier pinged

if [ "$host" = 2 ]; then
	kill %tcpdump 2>/dev/null
	cp /run/lab/wire /share/wire.txt
	for vlan in 100 200; do
		check "frames with tag $vlan were seen on the wire" grep -q "vlan $vlan, .* ICMP echo request" /run/lab/wire
		check "so were IPv6 ones" grep -q "vlan $vlan, .* ICMP6, echo request" /run/lab/wire
	done
	is "no echo of 10.100.0.13 (VLAN 100) carried another tag" "$(grep ' 10.100.0.13 > .*echo' /run/lab/wire | grep -c -v 'vlan 100,')" 0
fi
check "our rules let the traffic pass: their counters have moved" \
	awk '/mynetworkplugin:/ { n += $1 } END { exit n == 0 }' <(iptables -L DOCKER-USER -v -x -n)

# The same without our rules, to know that the pings could have failed. Host 1 only, once nobody needs it any more.
barrier counted
if [ "$host" = 1 ]; then
	iptables-save -t filter >/run/lab/filter
	iptables -F DOCKER-USER
	fails "with our rules taken away, the engine's policy stops the traffic" pings c100-1 10.100.0.15
	iptables-restore </run/lab/filter
	pings_seconds=12
	check "with them back it flows again" pings c100-1 10.100.0.15
fi
barrier proven

check "all containers are removed" docker rm -f c100-1 c100-2 c200-1 c200-2
check "both networks are removed" docker network rm v100 v200
stop_daemons
unchanged "the host has exactly the links, rules and files it had before" /run/lab/before
barrier end
finish
