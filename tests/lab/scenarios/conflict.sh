# SPDX-License-Identifier: Apache-2.0
# hosts: 2
# engines: trixie
# Host 2 is an ordinary machine on VLAN 100 with addresses of its own choice, host 1 runs containers there and asks before
# it gives an address out. What host 2 takes later is reported.
# shellcheck shell=bash source=tests/lab/lib.sh disable=SC2016,SC2119,SC2317
. /lab/lib.sh

if [ "$host" = 2 ]; then
	ip link add link eth0 name eth0.100 type vlan id 100
	ip link set eth0.100 up
	check "another machine has an address on the VLAN" ip addr add 10.100.0.2/24 dev eth0.100
	check "and one over IPv6" ip addr add fd00:100::2/64 dev eth0.100 nodad
	barrier there
	barrier started
	# An address that a container has: whoever hears the question for a neighbour hears who asks.
	ip addr add 10.100.0.3/24 dev eth0.100
	ping -q -c 1 -W 1 -I 10.100.0.3 10.100.0.77
	barrier stolen
	barrier done
	finish
fi

start_engine
make_image
start_daemons
barrier there
begin=$SECONDS
check "a network with probes is created" create v100 --ipv6 --subnet 10.100.0.0/24 --gateway 10.100.0.1 \
	--subnet fd00:100::/64 --gateway fd00:100::1 --ipam-opt probe=500ms -o parent=eth0 -o vlan=100 ||
	die "nothing works without a network"
check "a container starts" run c1 v100
say "network and container took $((SECONDS - begin)) s"
look c1
is "it has the first addresses that nobody on the VLAN has" "$addr4 $addr6" "10.100.0.3/24 fd00:100::3/64"
check "it reaches the host that has the one before" pings c1 10.100.0.2
check "over IPv6 too" pings c1 fd00:100::2
check "the log names that host" grep -E 'address 10\.100\.0\.2 of pool .* is in use by [0-9a-f:]{17}' \
	"/share/host$host.myipamplugin.log"
refuses "its address cannot be asked for either" 'in use on the network' docker run --rm --network v100 --ip 10.100.0.2 lab true
check "one that is free can" run c2 v100 --ip 10.100.0.50
barrier started
barrier stolen
check "an address taken later by another host is reported" within 10 \
	grep -E 'address 10\.100\.0\.3 of endpoint .* is claimed by another host' "/share/host$host.mynetworkplugin.log"
check "all containers are removed" docker rm -f c1 c2
check "the network is removed" docker network rm v100
is "no link of ours is left" "$(our_links)" ""
stop_daemons
barrier done
finish
