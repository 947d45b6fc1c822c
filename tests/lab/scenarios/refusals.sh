# SPDX-License-Identifier: Apache-2.0
# hosts: 1
# engines: trixie
# What cannot work is refused when the network is created, in words that help, and leaves the host as it was.
# shellcheck shell=bash source=tests/lab/lib.sh disable=SC2016,SC2119,SC2317
. /lab/lib.sh

start_engine
make_image
ip link add foreign0 type dummy
ip link add eth0.300 type dummy
ip link add link eth0 name eth0.20 type vlan id 20
ip link set eth0.20 up
start_daemons
# Networks that are fine, for others to clash with. The daemons have by then made all files they keep.
check "a network with a bridge name of its own is created" create named -o com.docker.network.bridge.name=br-lab --subnet 10.30.0.0/24 ||
	die "nothing works without a network"
snapshot >/run/lab/before

# bad SENTENCE REGEX OPTION...: the network must be refused, for that reason, without a trace on the host. Each uses
# the same subnet: one refusal that leaves its pool behind breaks the next.
bad() {
	local sentence=$1 regex=$2
	shift 2
	refuses "$sentence" "$regex" create bad --subnet 10.31.0.0/24 "$@"
	if [ "$(links)" != "$known_links" ]; then
		result "not ok" "... and the host's links stay as they were"
		why "$(links | diff - <(echo "$known_links"))"
		known_links=$(links)
	fi
	docker network rm bad >/dev/null 2>&1
}
known_links=$(links)

bad "a parent that does not exist" "nosuch0" -o parent=nosuch0 -o vlan=7
bad "VLAN 0" "vlan.*0" -o parent=eth0 -o vlan=0
bad "VLAN 4095" "vlan.*4095" -o parent=eth0 -o vlan=4095
bad "a VLAN that is not a number" "vlan.*ten" -o parent=eth0 -o vlan=ten
bad "a VLAN without any parent" "parent" -o vlan=7
bad "a VLAN on a parent that is one already" "eth0\.20.*(VLAN|vlan)|(VLAN|vlan).*eth0\.20" -o parent=eth0.20 -o vlan=7
bad "a VLAN whose subinterface's name another link has" "eth0\.300" -o parent=eth0 -o vlan=300
bad "a bridge name that another link has" "foreign0" -o com.docker.network.bridge.name=foreign0
bad "a bridge name that another network has" "br-lab" -o com.docker.network.bridge.name=br-lab
bad "a bridge name too long for the kernel" "bridge.name" -o com.docker.network.bridge.name=a-name-of-sixteen
bad "an MTU above the parent's" "9000" -o parent=eth0 -o vlan=7 -o com.docker.network.driver.mtu=9000
bad "a routed IPv6 network on a host that does not forward IPv6, with what to do" "sysctl.*net.ipv6.conf.all.forwarding=1" \
	--ipv6 --subnet fd00:31::/64 -o mode=routed
bad "mode nat, which is not there yet" "mode.*nat" -o mode=nat
bad "an unknown option, with the nearest known one" "parnet.*parent" -o parnet=eth0
bad "an unknown mode, with those that are known" "l2" -o mode=l22
bad "an unknown option of the IPAM driver" "tennant.*tenant" --ipam-opt tennant=a -o mode=isolated

refuses "a subnet that another network has" "Pool overlaps with other one on this address space" \
	create bad --subnet 10.30.0.0/25 -o mode=isolated
refuses "a gateway outside the subnet" "." create bad --subnet 10.31.0.0/24 --gateway 10.32.0.1 -o mode=isolated

unchanged "after all these refusals the host has the links, rules and files it had before" /run/lab/before
check "the subnet that all of them asked for is free" create good --subnet 10.31.0.0/24 -o parent=eth0 -o vlan=7
check "and removed again" docker network rm good
unchanged "the host is as before once more" /run/lab/before

check "a subnet of two hosts is created" create tiny --subnet 10.32.0.0/30 --gateway 10.32.0.1 -o mode=isolated
check "its one free address is used" run t1 tiny
refuses "the next container is told that no address is left" "[Nn]o available addresses on this pool.*10\.32\.0\.0/30" \
	docker run --rm --network tiny lab true
docker rm -f t1 >/dev/null
docker network rm tiny named >/dev/null
stop_daemons
finish
