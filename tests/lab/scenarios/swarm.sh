# SPDX-License-Identifier: Apache-2.0
# hosts: 2
# engines: trixie
# A Swarm of two hosts with both managed plugins in global scope: a service of four on a VLAN, scaled up and down.
# shellcheck shell=bash source=tests/lab/lib.sh disable=SC2016,SC2119,SC2317
. /lab/lib.sh

start_engine
make_image
managed_pair MYNETWORKPLUGIN_SCOPE=global MYNETWORKPLUGIN_LOG_LEVEL=debug
join_swarm

no_links() { [ -z "$(our_links)" ]; }
# running N: does the service have N tasks, all of them running, and no other one that still runs?
running() { [ "$(docker service ps web --format '{{.CurrentState}}' | grep -c '^Running')" = "$1" ] &&
	[ "$(docker service ps web --filter desired-state=running -q | wc -l)" = "$1" ]; }
containers() { docker ps -q --filter label=com.docker.swarm.service.name=web; }
# mine ROUND: write the addresses of this host's tasks, read from their own network namespaces, for the others.
mine() {
	local id
	for id in $(containers); do
		look "$id" && echo "$addr4"
	done >"/share/addresses.$1.$host"
}
# round NAME TASKS: all hosts check that the service's tasks have addresses of their own and reach each other.
round() {
	local id address all
	mine "$1"
	barrier "addresses-$1"
	all=$(cat "/share/addresses.$1".*)
	if [ "$host" = 1 ]; then
		is "$1: there are $2 addresses" "$(wc -w <<<"$all")" "$2"
		is "$1: all addresses differ" "$(sort <<<"$all" | uniq -d)" ""
		is "$1: all are of the subnet, none is the gateway's" "$(grep -v -c '^10\.100\.0\.[0-9]*/24$' <<<"$all") $(grep -c -F 10.100.0.1/24 <<<"$all")" "0 0"
	fi
	for id in $(containers); do
		for address in $all; do
			check "$1: task ${id:0:6} reaches $address" pings "$id" "${address%/*}"
		done
	done
	barrier "pinged-$1"
}

if [ "$host" = 1 ]; then
	check "a network on VLAN 100 is created for the Swarm" create v100 --subnet 10.100.0.0/24 --gateway 10.100.0.1 -o parent=eth0 -o vlan=100 ||
		die "no network"
	is "its scope is the Swarm" "$(docker network inspect -f '{{.Scope}}' v100)" swarm
	check "a service of 4 is created on it" docker service create -d --name web --network v100 --endpoint-mode dnsrr --replicas 4 \
		--no-resolve-image --stop-signal KILL lab sleep 100000
	check "all 4 run" within 120 running 4 || why "$(docker service ps web --no-trunc)"
fi
barrier four
like "each host has two of them" "$(containers | wc -l)" '^2$'
round four 4
like "the VLAN's bridge is on this host" "$(bridge_of eth0.100)" '^mnb'
task=$(containers | head -n 1)
look "$task"
is "a task has one interface, and the router on the VLAN as gateway" "$interfaces $default4" "eth0 10.100.0.1 eth0"
barrier looked

if [ "$host" = 1 ]; then
	check "it is scaled up to 6" docker service scale -d web=6
	check "all 6 run" within 120 running 6 || why "$(docker service ps web --no-trunc)"
fi
barrier six
round six 6

if [ "$host" = 1 ]; then
	check "it is scaled down to 2" docker service scale -d web=2
	check "2 run and the others have ended" within 120 running 2 || why "$(docker service ps web --no-trunc)"
fi
barrier two
round two 2

if [ "$host" = 1 ]; then
	check "the service is removed" docker service rm web
fi
barrier removed
check "its containers go" within 60 bash -c '[ -z "$(docker ps -q --filter label=com.docker.swarm.service.name=web)" ]'
barrier ended
if [ "$host" = 1 ]; then
	check "the network is removed" within 60 docker network rm v100
fi
barrier network-removed
is "no link of ours is left" "$(within 30 no_links; our_links)" ""

# leases: what is still on the IPAM plugin's books. Its state folder is the plugin's propagated mount.
leases() {
	local db
	db=$(find "/var/lib/docker/plugins/$(docker plugin inspect -f '{{.Id}}' myipamplugin)" -name myipamplugin.db | head -n 1)
	[ -n "$db" ] || { echo "no database"; return; }
	# A copy: the daemon holds its own locked.
	cp "$db" /run/lab/books.db
	cp "$db-wal" /run/lab/books.db-wal 2>/dev/null
	sqlite3 /run/lab/books.db 'SELECT name FROM pool; SELECT address FROM lease WHERE released_at IS NULL;'
}
is "no pool and no address is left on the books" "$(leases 2>&1)" ""
barrier books
check "the plugins are disabled and removed" bash -c 'docker plugin disable -f mynetworkplugin && docker plugin disable -f myipamplugin && docker plugin rm mynetworkplugin myipamplugin'
barrier end
docker swarm leave -f >/dev/null 2>&1
finish
