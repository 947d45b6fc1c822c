# SPDX-License-Identifier: Apache-2.0
# hosts: 1
# engines: trixie
# Under load from several clients, the daemons, the engine, all of them or the whole host die at random moments. Each time
# all comes back, and what engine, books, records and kernel say of containers and networks is the same.
# The random numbers begin with the number in the file /share/seed, if there is one; it is printed. /share/rounds may hold
# the kinds of more rounds than one each.
# shellcheck shell=bash source=tests/lab/lib.sh disable=SC2016,SC2119,SC2317
. /lab/lib.sh

rounds=$(cat /share/rounds 2>/dev/null) || rounds="daemons live engine all reboot"
grace=12   # seconds; a real host waits ten minutes
abandon=60 # likewise; a busy engine takes a quarter of a minute from CreateEndpoint until it moves the link
seed=$(cat /share/seed 2>/dev/null) || seed=$((RANDOM * 32768 + RANDOM))
say "seed $seed"
RANDOM=$seed
load_log=/share/host$host.load.log
: >"$load_log"

# now: milliseconds since boot.
now() { local up; read -r up _ </proc/uptime; echo "${up/./}0"; }

# moment FROM TO: wait for a random time of so many tenths of a second.
moment() { sleep "$(printf '%d.%d' $(((number = $1 + RANDOM % ($2 - $1)) / 10)) $((number % 10)))"; }

start_ipam() { start_daemon myipamplugin --cooldown 0 --reclaim-after $grace; }
start_network() { start_daemon mynetworkplugin --abandon-after $abandon; }
start_both() { start_ipam; start_network; }

# ---- load ------------------------------------------------------------------------------------------------------------
# Failures are part of it: while something is dead, much fails. What counts is what is there afterwards.
try() { "$@" >>"$load_log" 2>&1 || sleep 0.3; }

worker() {
	local name network
	RANDOM=$((seed + round * 16 + $1))
	while [ ! -e /run/lab/stop ]; do
		name=w$1-$((RANDOM % 2))
		network=$([ $((RANDOM % 3)) = 0 ] && echo rt || echo v100)
		case $((RANDOM % 8)) in
		0 | 1) try docker rm -f "$name"; try run "$name" "$network" ;;
		2) try docker rm -f "$name"; try run "$name" v100 --ip "10.100.0.$((200 + $1))" --ip6 "fd00:100::$((200 + $1))" ;;
		3) try docker rm -f "$name"; try run "$name" v100 --ip 10.100.0.199 ;; # which others want, too
		4) try docker restart -t 0 "$name" ;;
		5) try docker stop "$name" ;;
		6) try docker start "$name" ;;
		7) try docker network connect rt "$name" ;;
		esac
	done
}

# The engine does not die while it creates a network: what it has asked for by then stays (README.md, "When something is
# wrong"), as no daemon can tell it from what another driver has.
creating() { flock -w 100 9; "$@"; }

# Networks come and go as well: one without uplink, one on a VLAN of its own.
network_worker() {
	while [ ! -e /run/lab/stop ]; do
		creating try create x0 --ipv6 --subnet 10.20.0.0/24 --gateway 10.20.0.1 --subnet fd00:20::/64 --gateway fd00:20::1 -o mode=isolated \
			9>/run/lab/creating
		try run wx0 x0
		try docker rm -f wx0
		try docker network rm x0
		creating try create x1 --subnet 10.21.0.0/24 --gateway 10.21.0.1 -o parent=eth0 -o vlan=21 9>/run/lab/creating
		try docker network rm x1
	done
}

start_load() {
	rm -f /run/lab/stop
	load=
	for i in 1 2; do
		worker $i &
		load="$load $!"
	done
	network_worker &
	load="$load $!"
}

stop_load() {
	touch /run/lab/stop
	# shellcheck disable=SC2086 # process ids
	wait $load
}

# ---- what is there -----------------------------------------------------------------------------------------------------
# What the engine knows, and the addresses that live in the kernel, told in the words of books() below. Into $live: addresses.
wanted() {
	local ids pid
	ids=$(docker ps -q)
	# shellcheck disable=SC2086 # ids
	docker inspect $ids >/run/lab/live.json
	live=$(for pid in $(jq -r '.[].State.Pid' /run/lab/live.json); do nsenter -t "$pid" -n ip -j addr; done |
		jq -r '.[] | select(.ifname != "lo") | .addr_info[] | select(.scope == "global") | .local')
	# shellcheck disable=SC2046 # ids
	docker network inspect $(docker network ls -q --filter "driver=${driver:-mynetworkplugin}") >/run/lab/networks.json
	# shellcheck disable=SC2086 # addresses
	{
		printf 'held %s\n' $live
		jq -r '.[].NetworkSettings.Networks[].EndpointID | "endpoint \(.)", "veth \(.)"' /run/lab/live.json
		jq -r '.[] | "network \(.Id)", (.IPAM.Config[] | "pool \(.Subnet)", "gateway \(.Gateway)")' /run/lab/networks.json
	} | sort >/run/lab/wanted
}

# ask NAME COMMAND...: a daemon's command for operators.
ask() {
	local command
	daemon_command "$1"
	shift
	"${command[@]}" "$@"
}

# What the two daemons and the kernel know.
books() {
	{
		ask myipamplugin leases --json | jq -r '.[] | select(.State != "resting") | "\(.State) \(.Address)"'
		ask myipamplugin status --json | jq -r '.[].Pool | "pool \(ltrimstr("local/"))"'
		ask mynetworkplugin endpoints --json | jq -r '.[] | "endpoint \(.Endpoint)"'
		ask mynetworkplugin status --json | jq -r '.[] | "network \(.Network)" + (if .Trouble == "" then "" else " \(.Trouble)" end)'
		ip -j link | jq -r '.[].ifalias // "" | select(startswith("mynetworkplugin:veth:")) | "veth \(ltrimstr("mynetworkplugin:veth:"))"'
	} | sort >/run/lab/books
	cmp -s /run/lab/wanted /run/lab/books
}

runs() { [ "$(docker inspect -f '{{.State.Running}}' r1 r2)" = $'true\ntrue' ]; }

# reached: the container r1, or the host, reaches all live ones on its network. Prints those that it does not reach.
reached() {
	local address
	for address in $live; do
		case $address in
		10.100.0.* | fd00:100:*) pings r1 "$address" >/dev/null || echo "$address" ;;
		10.8.0.*) ping -q -n -c 1 -w 8 "$address" >/dev/null || echo "$address" ;;
		esac
	done
}

# verify: the load has stopped; engine, books, records and kernel must agree.
verify() {
	local label="round $round, $kind"
	check "$label: the containers with a restart policy run" within 60 runs
	wanted
	say "$(jq length /run/lab/live.json) containers live, $(jq length /run/lab/networks.json) networks"
	is "$label: no two containers have one address" "$(sort <<<"$live" | uniq -d)" ""
	is "$label: all are reached" "$(reached)" ""
	within $((abandon + grace * 4)) books
	is "$label: engine, books, records and kernel agree" "$(diff /run/lab/wanted /run/lab/books)" ""
	is "$label: nothing is left to mend" "$(ask mynetworkplugin reconcile)" \
		$'0 networks rebuilt, 0 leftover links removed, 0 dead endpoints dropped\nhost and records agree'
	is "$label: all endpoints are in containers" \
		"$(ask mynetworkplugin endpoints --json | jq -r '.[] | select(.State != "attached") | "\(.Endpoint) \(.State)"')" ""
	like "$label: bitmap and leases agree" "$(ask myipamplugin check)" '^checked'
	check "$label: a new container starts" run new v100
	check "$label: and is reached" reaches_new
	docker rm -f new >/dev/null
}

reaches_new() { look new && pings r1 "${addr4%/*}"; }

# ---- the rounds ----------------------------------------------------------------------------------------------------------
round_daemons() {
	local i
	for i in 1 2 3; do
		moment 10 40
		case $((RANDOM % 3)) in
		0) stop_daemon myipamplugin KILL; begin=$(now); start_ipam ;;
		1) stop_daemon mynetworkplugin KILL; begin=$(now); start_network ;;
		2) stop_daemons KILL; begin=$(now); start_both ;;
		esac
		say "daemons: up after $(($(now) - begin)) ms"
	done
}

round_engine() {
	moment 20 70
	creating stop_engine KILL 9>/run/lab/creating
	begin=$(now)
	start_engine
	keeps=0
}

# At once; what is left of it is seen to afterwards.
kill_all() {
	kill -9 "$(cat /run/docker.pid)" "$(cat /run/lab/mynetworkplugin.pid)" "$(cat /run/lab/myipamplugin.pid)"
	stop_daemons KILL 2>/dev/null
	stop_engine KILL 2>/dev/null
}

round_all() {
	moment 20 70
	creating kill_all 9>/run/lab/creating
	is "round $round, all: the states are whole" "$(for name in mynetworkplugin myipamplugin; do ask "$name" --check-state 2>&1; done)" \
		$'state is sound\nstate is sound'
	begin=$(now)
	start_both
	start_engine
	keeps=0
}

round_reboot() {
	moment 20 70
	creating kill_all 9>/run/lab/creating
	reboot_kernel
	begin=$(now)
	start_both
	start_engine
	keeps=0
}

# The engine dies and leaves its containers alive.
round_live() {
	local before
	moment 20 70
	before=$(docker inspect -f '{{.State.Pid}}' r1 r2)
	creating stop_engine KILL 9>/run/lab/creating
	begin=$(now)
	start_engine --live-restore
	is "round $round, live: containers live on" "$(docker inspect -f '{{.State.Pid}}' r1 r2)" "$before"
}

start_engine --live-restore
keeps=1 # the engine leaves its containers alive when it dies
make_image
start_both
setup() {
	check "a dual-stack network on VLAN 100 is created" create v100 --ipv6 --subnet 10.100.0.0/24 --gateway 10.100.0.1 \
		--subnet fd00:100::/64 --gateway fd00:100::1 -o parent=eth0 -o vlan=100 || die "nothing works without a network"
	check "a routed network is created" create rt --subnet 10.8.0.0/24 --gateway 10.8.0.1
	check "a container starts on each" run r1 v100 --restart always --ip 10.100.0.11 --ip6 fd00:100::11
	run r2 rt --restart always --ip 10.8.0.11 >/dev/null
}
no_books() { books; [ ! -s /run/lab/books ]; }
teardown() {
	# shellcheck disable=SC2046 # ids
	docker rm -f $(docker ps -aq) >/dev/null
	# shellcheck disable=SC2046 # ids
	check "all networks are removed" docker network rm $(docker network ls -q --filter "driver=${driver:-mynetworkplugin}")
	within $((abandon + grace * 4)) no_books
	is "no record is left" "$(cat /run/lab/books)" ""
	is "no link of ours is left" "$(our_links)" ""
}

setup
round=0
for kind in $rounds; do
	round=$((round + 1))
	if [ "$kind" = live ] && [ $keeps = 0 ]; then
		stop_engine
		start_engine --live-restore
		keeps=1
	fi
	start_load
	"round_$kind"
	engine=$(($(now) - begin))
	within 60 runs
	say "round $round, $kind: recovered after $engine ms, containers run again after $(($(now) - begin)) ms"
	moment 10 30
	stop_load
	verify
done
teardown
stop_daemons
is "no rule of ours is left" "$({ iptables-save; ip6tables-save; } | grep -c mynetworkplugin)" 0
finish
