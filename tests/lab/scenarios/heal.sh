# SPDX-License-Identifier: Apache-2.0
# hosts: 2
# engines: trixie
# On a VLAN that two hosts share: what someone does to the links under a network is healed within a second, while its
# containers live. Host 1 suffers, host 2 answers its pings.
# shellcheck shell=bash source=tests/lab/lib.sh disable=SC2016,SC2119,SC2317
. /lab/lib.sh

start_engine
make_image
start_daemons
check "a network on VLAN 100 is created" create v100 --subnet 10.100.0.0/24 --ip-range "10.100.0.$((host * 64))/26" \
	--gateway 10.100.0.1 -o parent=eth0 -o vlan=100 || die "nothing works without a network"
check "a container starts on it" run "c$host" v100 --ip "10.100.0.$((host * 64 + 1))"
barrier ready
other=10.100.0.129
log=/share/host$host.mynetworkplugin.log

# healed SENTENCE REGEX: the other host answers again, and the log has told of it once.
healed() {
	check "$1: the other host answers again" within 20 pings_once
	is "$1: the log tells it once" "$(grep -Ec "$2" "$log")" 1
}
pings_once() { in_container c1 ping -q -n -c 1 -w 1 $other; }

if [ "$host" = 1 ]; then
	check "the containers of both hosts reach each other" pings c1 $other
	bridge=$(bridge_of eth0.100)
	ip link delete "$bridge"
	healed "the bridge was deleted" 'segment eth0.100: its bridge was gone'
	is "it has its old name" "$(bridge_of eth0.100)" "$bridge"
	ip link delete eth0.100
	healed "the VLAN subinterface was deleted" 'its VLAN subinterface was gone'
	ip link set eth0.100 nomaster
	healed "the VLAN subinterface was taken out of the bridge" 'its uplink was no port of its bridge'
	ip link set "$bridge" down
	healed "the bridge was set down" 'its bridge was down'
	ip link set eth0 down
	healed "the parent was set down" 'its uplink was down'
	ip link set eth0 down; ip link set eth0 name lan9; ip link set lan9 up
	healed "the parent was renamed" 'parent eth0 was renamed lan9'
	ip link set lan9 down; ip link set lan9 name eth0; ip link set eth0 up
	check "the parent has its name again: the other host answers" within 20 pings_once
	check "a second container starts" run c9 v100
	check "and reaches the other host" pings c9 $other

	stop_daemon mynetworkplugin KILL
	ip link delete "$bridge"
	start_daemon mynetworkplugin
	check "the bridge was deleted while the daemon was dead: the other host answers again" within 20 pings_once

	pid=$(docker inspect -f '{{.State.Pid}}' c9)
	link=$(ip -j link show master "$bridge" | jq -r '[.[].ifname | select(startswith("mnv"))] | length')
	is "both containers are ports of the bridge" "$link" 2
	stop_engine KILL
	kill -9 "$pid"
	check "the engine was killed, and a container: the other one goes on" pings c1 $other
	start_engine
	within 30 eval '[ "$(ip -j link show master "$bridge" | jq -r "[.[].ifname | select(startswith(\"mnv\"))] | length")" -le 1 ]'
	docker start c1 >/dev/null 2>&1
	check "after the engine's return containers start" run c10 v100
	check "and reach the other host" pings c10 $other
	is "no link is left of those that died" \
		"$(ip -j link show master "$bridge" | jq -r '[.[].ifname | select(startswith("mnv"))] | length')" \
		"$(docker ps -q | wc -l)"
fi
barrier done
docker rm -f $(docker ps -aq) >/dev/null
check "the network is removed" docker network rm v100
is "nothing of ours is left" "$(our_links)" ""
finish
