# SPDX-License-Identifier: Apache-2.0
# hosts: 1
# engines: bookworm
# What operators do with addresses and see of them, while the engine goes on: reserve, exclude, extend, release, move,
# strategies, tenants, listings, export and import, Prometheus.
# shellcheck shell=bash source=tests/lab/lib.sh disable=SC2016,SC2119,SC2317
. /lab/lib.sh

daemon_command myipamplugin
ipam_program=("${command[@]}")
daemon_command mynetworkplugin
net_program=("${command[@]}")
op() { "${ipam_program[@]}" "$@"; }
op_net() { "${net_program[@]}" "$@"; }
# json FILTER COMMAND...: what a command's --json says, through jq.
json() { local filter=$1; shift; op "$@" --json | jq -r "$filter"; }
start_ipam() { start_daemon myipamplugin --cooldown 0 --metrics-address 127.0.0.1:9464 "$@"; }
start_both() {
	start_ipam "$@"
	start_daemon mynetworkplugin --metrics-address 127.0.0.1:9465
}
restart_ipam() { stop_daemon myipamplugin && start_ipam; }
# gets SENTENCE NAME NETWORK ADDRESS [OPTION...]: a container starts and has the address.
gets() {
	local sentence=$1 name=$2 network=$3 address=$4 output
	shift 4
	output=$(run "$name" "$network" "$@" 2>&1) || { result "not ok" "$sentence"; why "$output"; docker rm -f "$name" >/dev/null 2>&1; return 1; }
	look "$name"
	is "$sentence" "${addr4%/*}" "$address"
}
# count NAME [LABELS] < metrics: one sample.
count() { awk -v key="$1{${2-}}" '$1 == key { print $2 }'; }

start_engine
make_image
start_both
major=$(docker version -f '{{.Server.Version}}' | cut -d. -f1)

# ---- exclude, reserve, extend ------------------------------------------------------------------------------------------
pool=local/10.100.0.0/24/10.100.0.8/29
check "a network is created with addresses excluded" create v100 --subnet 10.100.0.0/24 --ip-range 10.100.0.8/29 \
	--gateway 10.100.0.1 --ipam-opt exclude=10.100.0.1-10.100.0.10,10.100.0.99 -o parent=eth0 -o vlan=100 ||
	die "nothing works without a network"
gets "a container gets the first that is not" c1 v100 10.100.0.11
mac1=$mac
refuses "none gets an excluded one by --ip" 'excluded' docker run --rm --network v100 --ip 10.100.0.99 lab true
check "an address is reserved on the running daemon" op reserve 10.100.0.12
gets "at once it is not picked" c2 v100 10.100.0.13
gets "but it is there for --ip" c3 v100 10.100.0.12 --ip 10.100.0.12
check "the rest of the range is excluded" op exclude 10.100.0.14-10.100.0.15
refuses "at once there is nothing left" 'no available addresses' docker run --rm --network v100 lab true
check "the range is extended" op extend "$pool" 10.100.0.8-10.100.0.31
gets "at once there is, without another network" c4 v100 10.100.0.16
restart_ipam
gets "the daemon starts again: it is still extended" c5 v100 10.100.0.17
refuses "and still excluded" 'excluded' docker run --rm --network v100 --ip 10.100.0.14 lab true
is "ranges tells all of it" "$(json '[.[] | .Range + " " + .Is] | sort | join(", ")' ranges)" \
	"10.100.0.1-10.100.0.10 excluded, 10.100.0.12 reserved, 10.100.0.14-10.100.0.15 excluded, 10.100.0.99 excluded"
check "what was excluded is included" op include 10.100.0.14-10.100.0.15
gets "at once it can be had" c6 v100 10.100.0.14 --ip 10.100.0.14

# ---- release -----------------------------------------------------------------------------------------------------------
stop_daemon myipamplugin
docker rm -f c6 >/dev/null 2>&1
start_ipam
refuses "an address whose release the daemon has missed is held" 'lready in use' \
	docker run --rm --network v100 --ip 10.100.0.14 lab true
check "it is released by hand" op release 10.100.0.14
gets "at once it can be had again" c6 v100 10.100.0.14 --ip 10.100.0.14

# ---- seeing ------------------------------------------------------------------------------------------------------------
endpoint=$(inspect c1 v100 EndpointID)
network=$(docker network inspect -f '{{.Id}}' v100)
is "leases tells MAC, endpoint and network, which only the network daemon knows" \
	"$(json '.[0] | "\(.State) \(.MAC) \(.Endpoint) \(.Network)"' leases --address 10.100.0.11)" "held $mac1 $endpoint $network"
is "and finds it by its MAC" "$(json '[.[].Address] | join(" ")' leases --mac "$mac1")" 10.100.0.11
link=$(json '.[0].Link' leases --address 10.100.0.11)
check "its link is one of this host" ip link show dev "$link"
like "as text too" "$(op leases | tr -s ' ')" "10.100.0.11 $pool held [^ ]+Z $mac1 $link "
like "mynetworkplugin endpoints tells the same" "$(op_net endpoints | tr -s ' ')" \
	"${endpoint:0:12} ${network:0:12} 10.100.0.11/24 - $mac1 $link attached"
if [ "$major" -ge 29 ]; then
	is "the engine tells a container's name" "$(json '.[0].Name' leases --address 10.100.0.11)" c1
else
	is "this engine, $major, does not tell a container's name" "$(json '.[0].Name' leases --address 10.100.0.11)" ""
fi
is "status counts" "$(json '.[0] | "\(.Usable) \(.Held) \(.Resting) \(.Kept) \(.Conflicts) \(.Free)"' status)" "24 7 0 3 0 15"
like "and draws" "$(op status | tr -s ' ')" "POOL USED .* CONFLICTS FREE .*$pool \[#+\.*x+\] 25% 7 0 3 0 15 next "
is "map draws the pool" "$(json '.Cells[0:33]' map "$pool")" "-Gxxxxxxxxx####.##..............."
like "with a legend" "$(op map "$pool")" 'an address a cell: .*r reserved.*10\.100\.0\.0 +-Gxx'
stale=$(json '[.[] | select(.Until != "")] | length' history 10.100.0.14)
is "history knows who had the address that was released" "$stale" 1
like "as text too" "$(op history 10.100.0.14)" 'FROM +TO .* now +local/'
is "and nobody in another century" "$(json 'length' history 10.100.0.14 --at 2001-02-03T04:05)" 0
like "check finds nothing and says so" "$(op check)" '^checked: '
check "and exits with 0" op check
check "with --json it is an empty list" test "$(json 'length' check)" = 0

# ---- Prometheus --------------------------------------------------------------------------------------------------------
scrape() { /lab/prometheus "/run/docker/plugins/$1.sock"; }
check "the metrics of myipamplugin are well formed" scrape myipamplugin
check "those of mynetworkplugin too" scrape mynetworkplugin
check "on the metrics-address too" /lab/prometheus 127.0.0.1:9464
check "and on the other" /lab/prometheus 127.0.0.1:9465
before=$(scrape myipamplugin; scrape mynetworkplugin)
run c7 v100 >/dev/null
docker run --rm --network v100 --ip 10.100.0.99 lab true >/dev/null 2>&1
after=$(scrape myipamplugin; scrape mynetworkplugin)
moved() { echo "$(($(count "$@" <<<"$after") - $(count "$@" <<<"$before")))"; }
is "a container that starts is counted: a lease" "$(moved myipamplugin_leases)" 1
is "an endpoint" "$(moved mynetworkplugin_endpoints)" 1
is "a request for its address, and one that is refused" \
	"$(moved myipamplugin_request_duration_seconds_count 'method="IpamDriver.RequestAddress"')" 2
is "why that was" "$(moved myipamplugin_requests_refused_total 'kind="conflict",method="IpamDriver.RequestAddress"')" 1
is "an address of the pool" "$(moved myipamplugin_pool_addresses "pool=\"$pool\",state=\"used\"")" 1
is "no theft" "$(count mynetworkplugin_thefts_total <<<"$after")" 0
is "no conflict" "$(count myipamplugin_conflicts_total <<<"$after")" 0
docker rm -f c7 >/dev/null
is "one that ends is too" "$(scrape myipamplugin | count myipamplugin_leases)" "$(count myipamplugin_leases <<<"$before")"

# ---- export and import -------------------------------------------------------------------------------------------------
refuses "export wants the daemon stopped" 'another process .* has it open' op export
op leases --json >/run/lab/leases
stop_daemon myipamplugin
check "the state is exported" bash -c '"$@" >/run/lab/export' bash "${ipam_program[@]}" export
like "it is JSON with the pool in it" "$(jq -c . /run/lab/export)" "\"$pool\""
refuses "a state that is there is not replaced unasked" 'replace' op import /run/lab/export
check "asked for, it is" op import --replace /run/lab/export
check "the old one is kept" ls /var/lib/myipamplugin/myipamplugin.db.bak
start_ipam
is "the leases are what they were" "$(op leases --json)" "$(cat /run/lab/leases)"
check "a container ends and another one starts" bash -c 'docker rm -f c5'
gets "with the next address" c5 v100 10.100.0.19

# ---- tenants -----------------------------------------------------------------------------------------------------------
check "a subnet is given to a tenant on VLAN 101" create lan --subnet 10.1.0.0/24 --gateway 10.1.0.1 --ipam-opt tenant=lan \
	-o parent=eth0 -o vlan=101
check "and to another on VLAN 102" create dmz --subnet 10.1.0.0/24 --gateway 10.1.0.1 --ipam-opt tenant=dmz \
	-o parent=eth0 -o vlan=102
gets "a container of the one gets an address" lan1 lan 10.1.0.2
macs="$mac"
gets "one of the other the same" dmz1 dmz 10.1.0.2
macs="$macs $mac"
run lan2 lan >/dev/null
run dmz2 dmz --ip 10.1.0.50 >/dev/null
# mac_of NAME: whom a container finds at 10.1.0.2.
mac_of() { in_container "$1" ip -j neigh show 10.1.0.2 | jq -r '.[0].lladdr'; }
check "the address is reached by its neighbour of the one" pings lan2 10.1.0.2
check "and by that of the other" pings dmz2 10.1.0.2
is "each has found its own" "$(mac_of lan2) $(mac_of dmz2)" "$macs"
pings_seconds=2 fails "nobody finds an address of the other" pings lan2 10.1.0.50
is "they are two books" "$(json '[.[].Pool | select(startswith("local/10.1."))] | sort | join(" ")' status)" \
	"local/10.1.0.0/24@dmz local/10.1.0.0/24@lan"
refuses "who asks for an address of both has to say which" 'pool local/10.1.0.0/24@' op release 10.1.0.2
docker rm -f lan1 lan2 dmz1 dmz2 >/dev/null
docker network rm lan dmz >/dev/null

# ---- strategies --------------------------------------------------------------------------------------------------------
n=0
for strategy in lowest next random; do
	n=$((n + 1))
	check "a network with strategy=$strategy is created" create "$strategy" --subnet "10.$((20 + n)).0.0/16" \
		--gateway "10.$((20 + n)).0.1" --ipam-opt strategy=$strategy -o mode=isolated
done
run aa lowest >/dev/null
run bb lowest >/dev/null
docker rm -f aa >/dev/null
gets "lowest gives again what has become free" aa lowest 10.21.0.2
docker rm -f aa bb >/dev/null
run aa next >/dev/null
run bb next >/dev/null
docker rm -f aa >/dev/null
gets "next gives the one behind the last" aa next 10.22.0.4
docker rm -f aa bb >/dev/null
seen=''
for c in aa bb; do
	run $c random >/dev/null
	look $c
	seen="$seen${addr4%/*} "
done
like "random gives two of the whole range" "$seen" '^10\.23\.[0-9]+\.[0-9]+ 10\.23\.[0-9]+\.[0-9]+ $'
check "and not the first two" test "$seen" != "10.23.0.2 10.23.0.3 "
docker rm -f aa bb >/dev/null
docker network rm lowest next random >/dev/null

# ---- who is known by a MAC ---------------------------------------------------------------------------------------------
# What the daemon wants to be told is asked when the engine meets it.
stop_engine
stop_daemons
start_both --requires-mac-address true
start_engine
m=02:42:0a:09:00:0
check "a sticky network is created" create sticky --subnet 10.9.0.0/24 --gateway 10.9.0.1 --ipam-opt strategy=sticky -o mode=isolated
gets "a container with a MAC gets an address" s1 sticky 10.9.0.2 --mac-address ${m}1
is "the engine has told the MAC" "$(json '.[0].MAC' leases --address 10.9.0.2)" ${m}1
docker rm -f s1 >/dev/null
is "it rests when the container is gone" "$(json '.[0].State' leases --address 10.9.0.2)" resting
gets "another container gets another address" s2 sticky 10.9.0.3 --mac-address ${m}2
restart_ipam_with_mac() { stop_daemon myipamplugin && start_ipam --requires-mac-address true; }
restart_ipam_with_mac
gets "the first one comes back to its own, also after the daemon's restart" s1 sticky 10.9.0.2 --mac-address ${m}1
like "it is to be moved" "$(op move 10.9.0.2 10.9.0.77)" "${m}1 gets 10.9.0.77 when it is started again"
gets "others do not get where it moves to" s3 sticky 10.9.0.4 --mac-address ${m}3
docker rm -f s1 >/dev/null
gets "when it starts again, it is there" s1 sticky 10.9.0.77 --mac-address ${m}1
check "an address is reserved for a MAC" op reserve 10.9.0.88 --mac ${m}8
refuses "no other gets it by --ip" 'reserved for' docker run --rm --network sticky --ip 10.9.0.88 lab true
gets "it does without asking" s8 sticky 10.9.0.88 --mac-address ${m}8

check "check finds nothing in the end" op check
docker ps -aq | xargs docker rm -f >/dev/null
check "all networks are removed" docker network rm v100 sticky
is "no address is left on the books" "$(json 'length' leases)" 0
is "no link of ours is left" "$(our_links)" ""
stop_daemons
finish
