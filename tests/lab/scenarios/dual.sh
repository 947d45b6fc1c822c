# SPDX-License-Identifier: Apache-2.0
# hosts: 2
# engines: bookworm
# A dual-stack service of a Swarm: every task has an IPv6 address of its own, made of its IPv4 address.
# shellcheck shell=bash source=tests/lab/lib.sh disable=SC2016,SC2119,SC2317
. /lab/lib.sh

start_engine
make_image
managed_pair MYNETWORKPLUGIN_SCOPE=global MYNETWORKPLUGIN_PARENT=eth0
join_swarm

running() { [ "$(docker service ps web --filter desired-state=running --format '{{.CurrentState}}' | grep -c '^Running')" = "$1" ]; }
if [ "$host" = 1 ]; then
	check "a dual-stack network is created" create v200 --ipv6 --attachable --subnet 10.200.0.0/24 --gateway 10.200.0.1 \
		--subnet fd00:200::/64 --gateway fd00:200::1 --ipam-opt v6-from=10.200.0.0/24 -o vlan=200 || die "no network"
	check "a service of 6 is created on it" docker service create -d --name web --network v200 --replicas 6 \
		--no-resolve-image --stop-signal KILL lab sleep 100000
	check "all 6 run" within 180 running 6 || why "$(docker service ps web --no-trunc)"
fi
barrier running
check "a container of this host joins" within 60 run "c$host" v200
for id in $(docker ps -q); do
	look "$id"
	last=${addr4%/*}
	is "${id:0:6}: the IPv6 address is made of the IPv4 one" "$addr6" "fd00:200::ac8:$(printf %x "${last##*.}")/64"
	echo "$addr4 $addr6" >>"/share/list.$host"
done
barrier listed
if [ "$host" = 1 ]; then
	is "there are 8 containers with both" "$(cat /share/list.* | grep -c ' fd00')" 8
	is "all IPv6 addresses differ" "$(cut -d' ' -f2 /share/list.* | sort | uniq -d)" ""
	is "all IPv4 addresses differ" "$(cut -d' ' -f1 /share/list.* | sort | uniq -d)" ""
fi
id=$(docker ps -q | head -n 1)
while read -r _ address; do
	check "this host's first reaches $address of the other" pings "$id" "${address%/*}"
done <"/share/list.$((3 - host))"
barrier pinged
docker rm -f "c$host" >/dev/null
barrier gone
if [ "$host" = 1 ]; then
	check "the service is removed" docker service rm web
	check "the network is removed" within 90 docker network rm v200
fi
barrier end
docker swarm leave -f >/dev/null 2>&1
finish
