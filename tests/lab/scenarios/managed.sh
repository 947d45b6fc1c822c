# SPDX-License-Identifier: Apache-2.0
# hosts: 1
# engines: trixie
# The daemons as managed plugins, through their whole life: create, set, enable, use, disable, upgrade, rm.
# shellcheck shell=bash source=tests/lab/lib.sh disable=SC2016,SC2119,SC2317
. /lab/lib.sh

start_engine
make_image
snapshot >/run/lab/before
driver=mynetworkplugin:latest ipam=myipamplugin:latest

both() {
	docker plugin "$1" mynetworkplugin && docker plugin "$1" myipamplugin
}
check "mynetworkplugin is created from what make plugin made" docker plugin create mynetworkplugin /plugins/mynetworkplugin || die "no plugin"
check "myipamplugin too" docker plugin create myipamplugin /plugins/myipamplugin || die "no plugin"
refuses "a setting that is not offered is refused" "setting" docker plugin set mynetworkplugin MYNETWORKPLUGIN_NONSENSE=1
check "the log level is set" docker plugin set mynetworkplugin MYNETWORKPLUGIN_LOG_LEVEL=debug
check "the default parent is set" docker plugin set mynetworkplugin MYNETWORKPLUGIN_PARENT=eth0
check "the default pools are set" docker plugin set myipamplugin "MYIPAMPLUGIN_DEFAULT_POOLS=base=10.50.0.0/16,size=24 base=10.51.0.0/16,size=24"
check "lost addresses shall come back soon" docker plugin set myipamplugin MYIPAMPLUGIN_RECLAIM_AFTER=12
check "both are enabled" both enable || die "see host$host.dockerd.log"
is "docker lists both as enabled" "$(docker plugin ls --filter enabled=true --format '{{.Name}}' | sort | paste -sd' ')" "$ipam $driver"
# rights NAME: what the kernel says of the process. The engine gives plugins more than they ask for.
rights() {
	local pid
	pid=$(pgrep -x "$1") && awk -F '[:\t]+' '/^(CapPrm|CapEff|CapBnd|NoNewPrivs|Seccomp):/ { sub(/^0+/, "", $2); printf "%s=%s ", $1, $2 }' \
		"/proc/$pid/status"
}
is "mynetworkplugin asks for CAP_NET_ADMIN" "$(docker plugin inspect -f '{{.Config.Linux.Capabilities}}' mynetworkplugin)" "[CAP_NET_ADMIN]"
is "myipamplugin for none" "$(docker plugin inspect -f '{{.Config.Linux.Capabilities}}' myipamplugin)" "[]"
is "mynetworkplugin keeps CAP_NET_ADMIN and CAP_NET_RAW, behind a filter of system calls" "$(rights mynetworkplugin)" \
	"CapPrm=3000 CapEff=3000 CapBnd=3000 NoNewPrivs=1 Seccomp=2 "
is "myipamplugin keeps none" "$(rights myipamplugin)" "CapPrm= CapEff= CapBnd= NoNewPrivs=1 Seccomp=2 "
refuses "a setting cannot be changed while enabled" "disable" docker plugin set mynetworkplugin MYNETWORKPLUGIN_LOG_LEVEL=info

check "a network on VLAN 100 is created, of the parent that was set" create v100 --subnet 10.100.0.0/24 --gateway 10.100.0.1 -o vlan=100 ||
	die "nothing works without a network"
check "a network without subnet too" create any -o mode=isolated
is "it got the first of the pools that were set" "$(docker network inspect -f '{{(index .IPAM.Config 0).Subnet}}' any)" 10.50.0.0/24
check "two containers start" run c1 v100 --ip 10.100.0.11
run c2 v100 >/dev/null
look c2
held=${addr4%/*}
check "they reach each other" pings c1 "$held"
# ---- the two find each other ------------------------------------------------------------------------------------------
# Commands of the host's own program find the plugin's socket; the plugins find each other through the host's folder.
daemon_command myipamplugin
op() { "${command[@]}" "$@"; }
# sees NAME ADDRESS: the lease has what only mynetworkplugin knows.
sees() { [ "$(op leases --address "$2" --json | jq -r '.[0].Endpoint')" = "$(inspect "$1" v100 EndpointID)" ]; }
check "a lease is shown with its endpoint, which the other plugin knows" sees c1 10.100.0.11
look c1
is "and with its MAC" "$(op leases --address 10.100.0.11 --json | jq -r '.[0].MAC')" "$mac"
check "both count" bash -c 'for s in /run/docker/plugins/*/ipam.sock /run/docker/plugins/*/network.sock; do /lab/prometheus $s || exit 1; done'
# Another machine on the network: a port of its bridge.
check "a network is made that is asked before an address is given" create asked --subnet 10.101.0.0/24 --gateway 10.101.0.1 \
	--ipam-opt probe=300ms -o vlan=101
bridge=$(bridge_of eth0.101)
ip link add other type veth peer name other-br
ip netns add other
ip link set other netns other
ip -n other addr add 10.101.0.2/24 dev other
ip -n other link set other up
ip link set other-br master "$bridge" up
within 10 grep -qx 3 /sys/class/net/other-br/brport/state # it forwards
run ask asked >/dev/null
look ask
is "a container gets the address behind the one that another machine has" "$addr4" 10.101.0.3/24
is "which is known as a conflict" "$(op leases --address 10.101.0.2 --json | jq -r '.[0].State')" conflict
docker rm -f ask >/dev/null
ip link del other-br
ip netns del other
umount /run/netns
rmdir /run/netns
docker network rm asked >/dev/null
# What a container had that went while myipamplugin was away.
run lost v100 --ip 10.100.0.77 >/dev/null
docker plugin disable -f myipamplugin >/dev/null
docker rm -f lost >/dev/null
docker plugin enable myipamplugin >/dev/null
is "an address whose release was missed is held" "$(op leases --address 10.100.0.77 --json | jq -r '.[0].State')" held
held_no_more() { [ "$(op leases --address 10.100.0.77 --json | jq -r '.[0].State')" != held ]; }
check "until the plugins have compared notes" within 60 held_no_more
check "the one that is used is not touched" sees c1 10.100.0.11

refuses "mynetworkplugin cannot be disabled while in use" "in use" docker plugin disable mynetworkplugin
refuses "myipamplugin cannot be disabled while in use" "in use" docker plugin disable myipamplugin
refuses "nor removed" "in use|enabled" docker plugin rm mynetworkplugin

# ---- state ---------------------------------------------------------------------------------------------------------
check "by force they are disabled" bash -c 'docker plugin disable -f mynetworkplugin && docker plugin disable -f myipamplugin'
check "containers still reach each other" pings c1 "$held"
check "they are enabled again" both enable
refuses "what was held is still held" "Address already in use" docker run --rm --network v100 --ip "$held" lab true
check "a new container starts" run c3 v100
check "and reaches an old one" pings c3 10.100.0.11
check "an old one is removed" docker rm -f c2

# A daemon that dies is started again by the engine, with its state.
pid=$(pgrep -f '/usr/sbin/mynetworkplugin' | head -n 1)
check "mynetworkplugin is killed" kill -9 "$pid"
check "the engine starts it again" within 30 bash -c "pgrep -f /usr/sbin/mynetworkplugin | grep -qvx $pid"
check "a container starts then" within 30 docker run --rm --network v100 lab true
check "and one from before is removed" docker rm -f c3

# ---- the engine restarts -------------------------------------------------------------------------------------------
begin=$SECONDS
stop_engine
check "the engine stops without waiting for a plugin that ignores SIGTERM" test $((SECONDS - begin)) -lt 10
start_engine
is "both plugins are enabled again" "$(docker plugin ls --filter enabled=true --format '{{.Name}}' | sort | paste -sd' ')" "$ipam $driver"
check "a container starts again" docker start c1
look c1
is "with the address it was given" "$addr4" 10.100.0.11/24

# ---- upgrade --------------------------------------------------------------------------------------------------------
# It takes a registry. Version 2 differs by one file.
if command -v docker-registry >/dev/null; then
	cat >/run/lab/registry.yml <<-'END'
		version: 0.1
		storage: { filesystem: { rootdirectory: /run/lab/registry } }
		http: { addr: 127.0.0.1:5000 }
	END
	docker-registry serve /run/lab/registry.yml >/share/registry.log 2>&1 &
	registry=$!
	cp -a /plugins/mynetworkplugin /run/lab/v2
	date >/run/lab/v2/rootfs/version-2
	check "a second version is pushed to a registry" within 30 \
		bash -c 'docker plugin create 127.0.0.1:5000/mynetworkplugin:2 /run/lab/v2 2>/dev/null; docker plugin push 127.0.0.1:5000/mynetworkplugin:2'
	docker plugin rm 127.0.0.1:5000/mynetworkplugin:2 >/dev/null
	docker plugin disable -f mynetworkplugin >/dev/null
	check "mynetworkplugin is upgraded to it" docker plugin upgrade --grant-all-permissions --skip-remote-check \
		mynetworkplugin 127.0.0.1:5000/mynetworkplugin:2
	check "it runs the second version" ls "/var/lib/docker/plugins/$(docker plugin inspect -f '{{.Id}}' mynetworkplugin)/rootfs/version-2"
	check "it is enabled" docker plugin enable mynetworkplugin
	check "its networks are known: a container starts" run c4 v100
	check "and reaches an old one" pings c4 10.100.0.11
	docker rm -f c4 >/dev/null
	kill "$registry"
else
	skip "mynetworkplugin is upgraded" "docker plugin upgrade needs a registry, and docker-registry is not installed here"
fi

# ---- the end ----------------------------------------------------------------------------------------------------------
check "all containers are removed" docker rm -f c1
check "all networks are removed" docker network rm v100 any
is "no link of ours is left" "$(our_links)" ""
# The engine counts users in memory and forgot them when it restarted: it may think there are less than none.
check "both are disabled" both disable
check "both are removed" both rm
stop_engine
start_engine
unchanged "the host has exactly the links, rules and files it had before" /run/lab/before
finish
