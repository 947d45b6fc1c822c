# SPDX-License-Identifier: Apache-2.0
# hosts: 1
# engines: sid
# attach=direct: on engines that have the container's namespace at Join the link is made in there, on others it is moved;
# either way containers get what they should.
# shellcheck shell=bash source=tests/lab/lib.sh disable=SC2016,SC2119,SC2317
. /lab/lib.sh

# As an init system does it: a managed plugin sees the namespaces that are mounted after its start only then.
mount --make-rshared /
start_engine
make_image
start_daemons --attach direct
major=$(docker version -f '{{.Server.Version}}' | cut -d. -f1)
sysctl -qw net.ipv6.conf.all.forwarding=1

check "a dual-stack network with attach=direct is created" create d100 --ipv6 \
	--subnet 10.100.0.0/24 --gateway 10.100.0.1 --subnet fd00:100::/64 --gateway fd00:100::1 \
	-o parent=eth0 -o vlan=100 -o attach=direct || die "nothing works without a network"
check "a container starts on it" run c1 d100
name=eth0
[ "$major" -lt 28 ] || name=lan0
is "its link is made in the container from engine 28 on, and moved before" \
	"$(in_container c1 ip -j link | jq -r '[.[].ifname | select(. != "lo")] | join(" ")')" "$name"
look c1 $name
is "docker inspect tells the same addresses" \
	"$(inspect c1 d100 IPAddress)/$(inspect c1 d100 IPPrefixLen) $(inspect c1 d100 GlobalIPv6Address)/$(inspect c1 d100 GlobalIPv6PrefixLen)" \
	"$addr4 $addr6"
is "and the same MAC address" "$(inspect c1 d100 MacAddress)" "$mac"
is "its default route is the router on the VLAN" "$default4" "10.100.0.1 $name"
is "its IPv6 default route likewise" "$default6" "fd00:100::1 $name"
check "a second container starts" run c2 d100 --ip 10.100.0.77 --mac-address 02:42:aa:bb:cc:dd
look c2 $name
is "it has the address and the MAC it was given" "$addr4 $mac" "10.100.0.77/24 02:42:aa:bb:cc:dd"
check "the two reach each other" pings c1 10.100.0.77
check "they find each other by name" docker exec c1 ping -c 1 -w 8 c2

# The engine numbers the links it moves without looking at ours.
check "an ordinary network is created" create plain -o mode=isolated -o attach=move --subnet 10.7.0.0/24
check "the container is connected to it too" docker network connect --ip 10.7.0.11 plain c1
check "and to the engine's own bridge" docker network connect bridge c1
check "it can be restarted with all three" docker restart c1
check "and still reaches its neighbour" pings c1 10.100.0.77
check "it is disconnected from the direct one" docker network disconnect d100 c1
is "which takes its link away" "$(in_container c1 ip -j link | jq -r '[.[].ifname | select(. != "lo")] | map(select(startswith("lan"))) | length')" 0
check "and connected again" docker network connect d100 c1
check "it reaches its neighbour again" pings c1 10.100.0.77

check "the daemon is killed and started" eval 'stop_daemon mynetworkplugin KILL; start_daemon mynetworkplugin --attach direct'
check "containers have not noticed" pings c1 10.100.0.77
check "a container that is stopped leaves nothing" docker rm -f c1
is "of its link" "$(our_links | tr ' ' '\n' | grep -c ^mnv)" 1
check "the other one goes, too" docker rm -f c2
check "the networks are removed" docker network rm d100 plain

stop_daemons
is "no link of ours is left" "$(our_links)" ""

# ---- as a managed plugin ---------------------------------------------------------------------------------------
cp -r /plugins/mynetworkplugin /run/lab/plugin
check "the managed plugin is changed to make links in containers" /project/packaging/plugin/direct /run/lab/plugin
check "it is created" docker plugin create mynetworkplugin /run/lab/plugin
check "and enabled" docker plugin enable mynetworkplugin || die "see host$host.dockerd.log"
check "a network on VLAN 100 is created" docker network create -d mynetworkplugin:latest --subnet 10.100.0.0/24 \
	-o parent=eth0 -o vlan=100 m100
check "two containers start on it" eval 'run c1 m100 && run c2 m100 --ip 10.100.0.77'
is "the link is made in the container from engine 28 on, and moved before" \
	"$(in_container c1 ip -j link | jq -r '[.[].ifname | select(. != "lo")] | join(" ")')" "$name"
check "the two reach each other" pings c1 10.100.0.77
check "all is removed" eval 'docker rm -f c1 c2 && docker network rm m100 && docker plugin disable mynetworkplugin'
is "no link of ours is left" "$(our_links)" ""
fails "no rule of ours is left" our_rules
finish
