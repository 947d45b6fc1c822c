# SPDX-License-Identifier: Apache-2.0
# hosts: 1
# engines: trixie
# Daemons killed, links deleted under them, the engine killed, the host rebooted: running containers notice nothing
# that can be avoided, and all comes back.
# shellcheck shell=bash source=tests/lab/lib.sh disable=SC2016,SC2119,SC2317
. /lab/lib.sh

start_engine
make_image
start_daemons
check "a dual-stack network on VLAN 100 is created" create v100 --ipv6 --subnet 10.100.0.0/24 --gateway 10.100.0.1 \
	--subnet fd00:100::/64 --gateway fd00:100::1 -o parent=eth0 -o vlan=100 || die "nothing works without a network"
check "a routed network is created" create rt --subnet 10.8.0.0/24 --gateway 10.8.0.1 -o com.docker.network.bridge.name=br-lab
run c1 v100 --ip 10.100.0.11 --ip6 fd00:100::11
run c2 v100
run c3 rt --ip 10.8.0.11
look c2
other=${addr4%/*}
check "two containers reach each other" pings c1 "$other"
bridge=$(bridge_of eth0.100)

# facts: everything on the host and in the containers that must not change, interface indexes included.
facts() {
	ip -j link | jq -c '.[] | {ifindex, ifname, master, address, mtu, flags}'
	ip -4 route
	iptables-save | sed -e '/^#/d' -e 's/\[[0-9:]*\]//'
	for name in c1 c2 c3; do in_container $name ip -j addr | jq -c '.[] | {ifindex, ifname, address, addr_info}'; in_container $name ip route; done |
		sed 's/"\(valid\|preferred\)_life_time":[0-9]*/"\1":0/g'
}

# ---- the daemons die and come back ---------------------------------------------------------------------------------
facts >/run/lab/facts
stop_daemons KILL
check "while the daemons are dead, containers reach each other" pings c1 "$other"
check "and the host reaches the routed one" ping -q -n -c 1 -w 8 10.8.0.11
start_daemons
is "after kill -9 and a restart nothing has changed for host and containers" "$(facts | diff /run/lab/facts -)" ""
check "containers still reach each other" pings c1 "$other"
check "a new container starts" run c4 v100
look c4
fresh=$addr4
is "its address is nobody else's" "$(printf '%s\n' 10.100.0.1/24 10.100.0.11/24 "$other/24" "$fresh" | sort | uniq -d)" ""
refuses "an address that was held before is still held" "Address already in use" docker run --rm --network v100 --ip 10.100.0.11 lab true
check "it reaches an older one" pings c4 10.100.0.11
check "a container from before is removed" docker rm -f c4

begin=${EPOCHREALTIME/./}
stop_daemon mynetworkplugin
is "mynetworkplugin ends with status 0 when told to" "$status" 0
check "within a second" test $((${EPOCHREALTIME/./} - begin)) -lt 1000000
check "its end changes nothing: containers reach each other" pings c1 "$other"

# ---- links deleted while the daemon is away --------------------------------------------------------------------------
ip link del "$bridge"
fails "without the bridge they do not" pings c1 "$other"
start_daemon mynetworkplugin
is "the bridge is rebuilt with the subinterface in it" "$(bridge_of eth0.100)" "$bridge"
check "the containers are back in it: they reach each other" pings c1 "$other"
check "over IPv6 too" pings c2 fd00:100::11
stop_daemon mynetworkplugin
ip link del "$bridge"
ip link del eth0.100
ip link del br-lab
start_daemon mynetworkplugin
is "bridge and subinterface are both rebuilt" "$(bridge_of eth0.100)" "$bridge"
check "the containers reach each other again" pings c1 "$other"
check "the routed bridge is rebuilt with its address: the host reaches the container" ping -q -n -c 1 -w 8 10.8.0.11
stop_daemon mynetworkplugin
iptables -F DOCKER-USER
iptables -A DOCKER-USER -j RETURN
start_daemon mynetworkplugin
check "our firewall rules are put back" within 5 our_rules

# ---- the engine dies -------------------------------------------------------------------------------------------------
stop_engine KILL
start_engine
check "after the engine was killed, a container with a given address starts again" docker start c1
check "one with an address of the driver's choice too" docker start c2
look c1
is "it has its addresses" "$addr4 $addr6" "10.100.0.11/24 fd00:100::11/64"
look c2
check "they reach each other" pings c1 "${addr4%/*}"
is "there is one veth a container: nothing stale is left in the bridge" \
	"$(ip -j link show master "$bridge" type veth | jq length)" 2

# ---- reboot ------------------------------------------------------------------------------------------------------------
stop_engine KILL
stop_daemons KILL
reboot_kernel
start_daemons
is "after a reboot the network's bridge is there before the engine is" "$(bridge_of eth0.100)" "$bridge"
check "so is the routed one with its address" grep -q '"10.8.0.1"' <(ip -j addr show dev br-lab)
start_engine
is "no veth of before is left" "$(our_links | tr ' ' '\n' | grep -c '^mn[vc]')" 0
check "a container with a given address starts" docker start c1
check "one with an address of the driver's choice starts" docker start c2
check "one on the routed network starts" docker start c3
look c1
is "it has its addresses" "$addr4 $addr6 $default4" "10.100.0.11/24 fd00:100::11/64 10.100.0.1 eth0"
look c2
check "they reach each other" pings c1 "${addr4%/*}"
check "the host reaches the routed one" ping -q -n -c 1 -w 8 10.8.0.11
check "our firewall rules are there" our_rules

check "all containers are removed" docker rm -f c1 c2 c3
check "all networks are removed" docker network rm v100 rt
is "no link of ours is left" "$(our_links)" ""
stop_daemons
is "no rule of ours is left" "$({ iptables-save; ip6tables-save; } | grep -c mynetworkplugin)" 0
finish
