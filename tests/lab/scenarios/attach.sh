# SPDX-License-Identifier: Apache-2.0
# hosts: 1
# One host, the daemons as system services: what a container gets in every mode, and that all of it goes again.
# shellcheck shell=bash source=tests/lab/lib.sh disable=SC2016,SC2119,SC2317
. /lab/lib.sh

start_engine
make_image
# An operator's own VLAN subinterface: to be used by a network, and left alone.
ip link add link eth0 name eth0.55 type vlan id 55
ip link set eth0.55 up
# The engine turns IPv4 forwarding on by itself; IPv6 is the operator's business, and a routed network asks for it.
sysctl -qw net.ipv6.conf.all.forwarding=1
snapshot >/run/lab/before
start_daemons

# ---- l2 on a VLAN, both families -----------------------------------------------------------------------------
check "a dual-stack network on VLAN 100 is created" create v100 --ipv6 \
	--subnet 10.100.0.0/24 --gateway 10.100.0.1 --subnet fd00:100::/64 --gateway fd00:100::1 \
	-o parent=eth0 -o vlan=100 || die "nothing works without a network"
bridge=$(bridge_of eth0.100)
like "the subinterface eth0.100 is in a bridge of ours" "$bridge" '^mnb[0-9a-f]{12}$'
is "it is VLAN 100 of eth0" \
	"$(ip -d -j link show eth0.100 | jq -r '.[] | "\(.link) \(.linkinfo.info_data.protocol) \(.linkinfo.info_data.id)"')" \
	"eth0 802.1Q 100"
is "bridge and subinterface are up and carry our mark" \
	"$(ip -j link | jq -r '[.[] | select((.ifalias // "") | startswith("mynetworkplugin:")) | select(.flags | index("UP")) | .ifname] | sort | join(" ")')" \
	"$(printf '%s\n' eth0.100 "$bridge" | sort | paste -sd' ')"
is "the host has no address on the VLAN, so it cannot be reached from there" \
	"$(ip -j addr show dev "$bridge" | jq -r '[.[].addr_info[] | select(.scope == "global")] | length')" 0

check "a container starts on it" run c1 v100
look c1
like "its IPv4 address is of the subnet and not the gateway's" "$addr4" '^10\.100\.0\.([2-9]|[1-9][0-9]+)/24$'
like "its IPv6 address is of the subnet" "$addr6" '^fd00:100::[0-9a-f:]+/64$'
is "docker inspect tells the same addresses" \
	"$(inspect c1 v100 IPAddress)/$(inspect c1 v100 IPPrefixLen) $(inspect c1 v100 GlobalIPv6Address)/$(inspect c1 v100 GlobalIPv6PrefixLen)" \
	"$addr4 $addr6"
is "docker inspect tells the MAC address that the interface has" "$(inspect c1 v100 MacAddress)" "$mac"
is "it has one interface, so no docker_gwbridge was added" "$interfaces" eth0
fails "no network named docker_gwbridge exists" docker network inspect docker_gwbridge
is "its MTU is the parent's" "$mtu" "$(cat /sys/class/net/eth0/mtu)"
is "its default route is the router on the VLAN" "$default4" "10.100.0.1 eth0"
is "its IPv6 default route likewise" "$default6" "fd00:100::1 eth0"

check "a container with given addresses and MAC starts" \
	run c2 v100 --ip 10.100.0.77 --ip6 fd00:100::77 --mac-address 02:42:aa:bb:cc:dd
look c2
is "it has just these" "$addr4 $addr6 $mac" "10.100.0.77/24 fd00:100::77/64 02:42:aa:bb:cc:dd"
refuses "an address that is held is refused" "Address already in use" docker run --rm --network v100 --ip 10.100.0.77 lab true
check "the two reach each other over IPv4" pings c1 10.100.0.77
check "the two reach each other over IPv6" pings c1 fd00:100::77
check "they find each other by name" docker exec c1 ping -c 1 -w 8 c2

check "a container is restarted" docker restart c2
look c2
is "it still has the addresses and MAC it was given" "$addr4 $addr6 $mac" "10.100.0.77/24 fd00:100::77/64 02:42:aa:bb:cc:dd"
check "and is reachable" pings c1 10.100.0.77

check "a container with a given address only starts" run c3 v100 --ip 10.100.0.90
look c3
first=$mac
docker rm -f c3
check "another one with the same address starts" run c3 v100 --ip 10.100.0.90
look c3
is "it has the MAC of the one before, so neighbours need not learn anew" "$mac" "$first"
docker rm -f c3

# ---- a second network on the same VLAN, and the operator's subinterface ------------------------------------------
check "a second network on the same VLAN is created" create v100b --subnet 10.101.0.0/24 -o parent=eth0.100
is "it shares the bridge" "$(our_links | wc -w)" "$((2 + 2))" # bridge, subinterface, and a veth for c1 and c2
check "a network on a subinterface of the operator's is created" create v55 --subnet 10.55.0.0/24 -o parent=eth0 -o vlan=55
like "his subinterface is used" "$(bridge_of eth0.55)" '^mnb'
check "it is removed" docker network rm v55
is "his subinterface is left, out of the bridge" "$(ip -j link show eth0.55 | jq -r '.[] | .master // "none"')" none

# ---- connect and disconnect --------------------------------------------------------------------------------------
check "an isolated network is created" create iso -o mode=isolated --subnet 10.7.0.0/24
check "a running container is connected" docker network connect --ip 10.7.0.11 iso c1
check "another one too" docker network connect --ip 10.7.0.12 iso c2
look c1 eth1
is "it has a second interface with the address" "$interfaces $addr4" "eth0 eth1 10.7.0.11/24"
is "its default route stays as it was" "$default4" "10.100.0.1 eth0"
check "they reach each other there" pings c1 10.7.0.12
before=$(our_links)
check "it is disconnected" docker network disconnect iso c1
look c1
is "the interface is gone" "$interfaces" eth0
is "and its other end on the host too" "$(comm -23 <(tr ' ' '\n' <<<"$before") <(our_links | tr ' ' '\n') | grep -c '^mnv')" 1
docker network disconnect iso c2
check "a container on the isolated network alone starts" run c4 iso
look c4
is "it has one interface and no default route" "$interfaces|$default4|$default6" "eth0||"
docker rm -f c4 >/dev/null
check "an --internal network is created" create int --internal --subnet 10.6.0.0/24
check "a container starts on it" run c5 int
look c5
is "it has one interface and no default route either" "$interfaces|$default4|$default6" "eth0||"
docker rm -f c5 >/dev/null
docker network rm iso int >/dev/null

# ---- routed ------------------------------------------------------------------------------------------------------
check "a network without parent is created" create rt --ipv6 \
	--subnet 10.8.0.0/24 --gateway 10.8.0.1 --subnet fd00:8::/64 --gateway fd00:8::1 \
	-o com.docker.network.bridge.name=br-lab -o com.docker.network.container_iface_prefix=lan \
	-o com.docker.network.driver.mtu=1400
is "the bridge has the name asked for and holds the gateway addresses" \
	"$(ip -j addr show dev br-lab | jq -r '[.[].addr_info[] | select(.scope == "global") | "\(.local)/\(.prefixlen)"] | sort | join(" ")')" \
	"10.8.0.1/24 fd00:8::1/64"
check "a container starts on it" run c6 rt
look c6 lan0
is "its interface has the prefix asked for" "$interfaces" lan0
is "its MTU is the one asked for" "$mtu" 1400
is "its default routes are the bridge's addresses" "$default4 $default6" "10.8.0.1 lan0 fd00:8::1 lan0"
check "it reaches its gateway" pings c6 10.8.0.1
check "it reaches its IPv6 gateway" pings c6 fd00:8::1
check "it reaches another address of the host" pings c6 10.99.0.1
check "the host reaches it" ping -q -n -c 1 -w 8 "${addr4%/*}"

# ---- a subnet of the driver's choice --------------------------------------------------------------------------------
check "a network without subnet is created" create any -o mode=isolated
like "it got one of the default pools, not the engine's own" "$(docker network inspect -f '{{(index .IPAM.Config 0).Subnet}}' any)" \
	'^172\.(1[89]|2[0-9]|3[01])\.0\.0/16$'

# ---- all of it goes --------------------------------------------------------------------------------------------------
check "all containers are removed" docker rm -f c1 c2 c6
is "no veth is left" "$(our_links | tr ' ' '\n' | grep -c '^mnv')" 0
check "all networks are removed" docker network rm v100 v100b rt any
is "no link of ours is left" "$(our_links)" ""
stop_daemon mynetworkplugin
is "mynetworkplugin ends properly when told to" "$status" 0
stop_daemon myipamplugin
is "myipamplugin ends properly when told to" "$status" 0
unchanged "the host has exactly the links, addresses, routes, rules and files it had before" /run/lab/before
finish
