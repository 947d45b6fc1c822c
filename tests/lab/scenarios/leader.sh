# SPDX-License-Identifier: Apache-2.0
# hosts: 3
# engines: sid
# Three managers, global scope: whoever leads is killed, stopped, paused and demoted, while services and containers come and go.
# shellcheck shell=bash source=tests/lab/lib.sh disable=SC2016,SC2119,SC2317
. /lab/lib.sh

grace=20
driver=mynetworkplugin:latest ipam=myipamplugin:latest
start_engine
make_image
check "both plugins are created and enabled" bash -c "docker plugin create mynetworkplugin /plugins/mynetworkplugin &&
	docker plugin create myipamplugin /plugins/myipamplugin &&
	docker plugin set mynetworkplugin MYNETWORKPLUGIN_SCOPE=global MYNETWORKPLUGIN_PARENT=eth0 &&
	docker plugin set myipamplugin MYIPAMPLUGIN_SWARM_GRACE=$grace MYIPAMPLUGIN_COOLDOWN=5 &&
	docker plugin enable mynetworkplugin && docker plugin enable myipamplugin" || die "no plugins"

# ---- three managers --------------------------------------------------------------------------------------------------
if [ "$host" = 1 ]; then
	check "a Swarm begins" docker swarm init --advertise-addr 10.99.0.1 || die "no Swarm"
	docker swarm join-token -q manager >/share/token.new && mv /share/token.new /share/token
fi
for h in 1 2 3; do # one after the other: each changes who is a majority
	if [ "$host" = $h ] && [ $h != 1 ]; then
		check "host $h joins as a manager" within 90 docker swarm join --token "$(cat /share/token)" 10.99.0.1:2377 ||
			die "no Swarm"
	fi
	barrier "joined-$h"
done

# leader: the host that leads, as this one's engine sees it. Nothing if it does not know.
leader() { docker node ls --format '{{.ManagerStatus}} {{.Hostname}}' 2>/dev/null | sed -n 's/^Leader [^0-9]*//p'; }
other_leads() { local now; now=$(leader); [ -n "$now" ] && [ "$now" != "$1" ]; }
some_leads() { [ -n "$(leader)" ]; }
running() { [ "$(docker service ps web --filter desired-state=running --format '{{.CurrentState}}' | grep -c '^Running')" = "$1" ]; }
vip() { docker service inspect -f '{{range .Endpoint.VirtualIPs}}{{.Addr}} {{end}}' web; }

# addresses FILE: those of every container that lives on this host, whether its engine does or not.
addresses() {
	local pid
	for pid in $(pgrep -x sleep); do
		[ "/proc/$pid/ns/net" -ef /proc/self/ns/net ] || nsenter -t "$pid" -n ip -j -4 addr
	done 2>/dev/null | jq -r '.[] | select(.ifname != "lo") | .addr_info[].local | select(startswith("10.100."))' >"$1"
}
# distinct NAME: no two containers of the three hosts have one address, nor the service's or the gateway's.
distinct() {
	addresses "/share/live.$1.$host"
	barrier "live-$1"
	[ "$host" != 1 ] || is "$1: all addresses differ" \
		"$(sort <(cat "/share/live.$1".*) <(tr ' ' '\n' </share/vip | sed 's,/.*,,' | grep .) <(echo 10.100.0.1) | uniq -d)" "" ||
		why "$(grep . "/share/live.$1".*)"
	barrier "distinct-$1"
}

if [ "$host" = 1 ]; then
	check "a network that containers may join is created" create v100 --attachable --subnet 10.100.0.0/24 --gateway 10.100.0.1 -o vlan=100 || die "no network"
	check "a service of 3 is created on it, with an address of its own" docker service create -d --name web --network v100 --replicas 3 \
		--no-resolve-image --stop-signal KILL lab sleep 100000
	check "all 3 run" within 150 running 3 || why "$(docker service ps web --no-trunc)"
	vip >/share/vip
	like "the service has an address" "$(cat /share/vip)" '^10\.100\.0\.[0-9]+/24'
fi
barrier begin
check "a container of this host joins" within 60 run "first$host" v100
distinct begin

# ---- leaders go and come back -----------------------------------------------------------------------------------------
# away HOW: this host's engine, which leads, goes.   back HOW: it returns.
away() {
	case $1 in
	kill) stop_engine KILL ;;
	stop) stop_engine TERM ;;
	pause) kill -STOP "$(cat /run/docker.pid)" ;;
	esac
}
back() {
	case $1 in
	kill | stop) start_engine ;;
	pause) kill -CONT "$(cat /run/docker.pid)" ;;
	demote) within 90 docker node promote "host$2" ;;
	esac
}

n=0
for how in kill pause demote stop; do
	n=$((n + 1))
	if [ "$host" = 1 ]; then
		within 120 some_leads
		leader >/share/victim.$n
	fi
	barrier "victim-$n"
	victim=$(cat /share/victim.$n)
	# Who acts for the rest meanwhile: the next host.
	actor=$((victim % 3 + 1))
	[ "$host" != "$victim" ] || away $how
	if [ "$host" = $actor ]; then
		[ $how != demote ] || check "$n $how: host $victim is demoted" within 90 docker node demote "host$victim"
		check "$n $how: after host $victim another one leads" within 150 other_leads "$victim" || why "$(docker node ls 2>&1)"
		check "$n $how: the service is scaled up" within 90 docker service scale -d web=$((3 + n % 3))
		check "$n $how: its tasks run" within 240 running $((3 + n % 3)) || why "$(docker service ps web --no-trunc)"
		check "$n $how: a container joins" within 90 run "round$n" v100
		check "$n $how: another network is created" within 60 create "r$n" --attachable --subnet "10.10$n.0.0/24" -o vlan=10$n
	fi
	barrier "acted-$n"
	distinct "$n $how, away"
	if [ $how = demote ]; then
		[ "$host" != $actor ] || check "$n $how: host $victim is promoted" back demote "$victim"
	elif [ "$host" = "$victim" ]; then
		back $how
		check "$n $how: it is part of the Swarm again" within 150 some_leads
	fi
	barrier "back-$n"
	if [ "$host" = $actor ]; then
		check "$n $how: the service is scaled down" within 90 docker service scale -d web=2
		check "$n $how: containers leave" docker rm -f "round$n"
		check "$n $how: its tasks run" within 240 running 2 || why "$(docker service ps web --no-trunc)"
		is "$n $how: the service has kept its address" "$(vip)" "$(cat /share/vip)"
		check "$n $how: the other network is removed" within 90 docker network rm "r$n"
	fi
	barrier "down-$n"
	distinct "$n $how, back"
done

# ---- when the grace is over -------------------------------------------------------------------------------------------
docker rm -f "first$host" >/dev/null 2>&1
barrier left
# books: what the leader's plugin holds. Its state folder is the plugin's propagated mount; a copy, since it is locked.
books() {
	local db
	db=$(find "/var/lib/docker/plugins/$(docker plugin inspect -f '{{.Id}}' myipamplugin)" -name myipamplugin.db | head -n 1)
	cp "$db" /run/lab/books.db
	cp "$db-wal" /run/lab/books.db-wal 2>/dev/null
	sqlite3 /run/lab/books.db "SELECT address FROM lease JOIN subnet ON subnet.id = lease.subnet
		WHERE released_at IS NULL AND space = 'global' ORDER BY address" | paste -sd' '
}
# used: what the Swarm uses: the gateway, the service, its tasks.
used() {
	{
		echo 10.100.0.1
		vip | tr ' ' '\n' | sed 's,/.*,,' | grep .
		docker service ps -q --filter desired-state=running web | while read -r task; do
			docker inspect -f '{{range .NetworksAttachments}}{{range .Addresses}}{{.}} {{end}}{{end}}' "$task"
		done | tr ' ' '\n' | sed 's,/.*,,' | grep '^10\.100\.'
	} | sort | paste -sd' '
}
same() { [ "$(books)" = "$(used)" ]; }
if [ "$(leader)" = "$host" ]; then
	within 120 same
	is "the leader holds what is used, no more and no less" "$(books)" "$(used)"
fi
barrier books
let_go() { [ -z "$(our_links)" ]; }
if [ "$host" = 1 ]; then
	check "the service is removed" within 60 docker service rm web
	check "the network is removed" within 120 docker network rm v100
	check "another one of its subnet is created" within 60 create again --attachable --subnet 10.100.0.0/25 --gateway 10.100.0.1 -o vlan=100
	# A node gives its old network back when its last task there has ended, and refuses the new one until then: the
	# attachment fails, and the engine tells after 20 seconds.
	check "this node has let go of the old one" within 60 let_go
	check "and can be used" run last again || why "$(grep -v level=debug "/share/host$host.dockerd.log" | tail -n 12)"
fi
barrier end
docker swarm leave -f >/dev/null 2>&1
finish
