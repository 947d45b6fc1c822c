# SPDX-License-Identifier: Apache-2.0
# hosts: 1
# engines: sid
# Addresses that the engine loses come back: that of a container which could not get its second one, those of containers
# removed while the IPAM daemon was away. Those of living containers, routers and printers stay.
# shellcheck shell=bash source=tests/lab/lib.sh disable=SC2016,SC2119,SC2317
. /lab/lib.sh

grace=12 # seconds; a real host waits ten minutes
ipam_log=/share/host$host.myipamplugin.log

start_ipam() { start_daemon myipamplugin --cooldown 0 --reclaim-after $grace; }
reclaimed() { sed -n 's/.*address \([0-9a-f.:]*\) of pool .* reclaimed.*/\1/p' "$ipam_log" | sort -V | paste -sd' '; }
has_reclaimed() { [ "$(reclaimed)" = "$1" ]; }

start_engine
make_image
start_ipam
start_daemon mynetworkplugin
# The IPv6 subnet has room for the gateway and two containers.
check "a dual-stack network is created" create v100 --ipv6 --subnet 10.100.0.0/24 --gateway 10.100.0.1 \
	--aux-address printer=10.100.0.9 --subnet fd00:100::/126 --gateway fd00:100::1 -o parent=eth0 -o vlan=100 ||
	die "nothing works without a network"
check "a container starts" run c1 v100
check "a second one too" run c2 v100
look c1
first=${addr4%/*}
look c2
second=${addr4%/*}
refuses "a third one finds no IPv6 address" 'available' run c3 v100
docker rm -f c3 >/dev/null 2>&1
lost=$(printf '%s\n' 10.100.0.{2..8} | grep -vxF -e "$first" -e "$second" | head -n 1)
refuses "the engine has lost the IPv4 address that it had got for it: nobody has it and nobody gets it" 'lready' \
	docker run --rm --network v100 --ip "$lost" --ip6 "fd00:100::2" lab true
check "the IPAM daemon takes it back" within $((grace * 3)) has_reclaimed "$lost"

stop_daemon myipamplugin
check "a container is removed while the IPAM daemon is away" docker rm -f c2
start_ipam
check "both its addresses come back" within $((grace * 3)) \
	has_reclaimed "$(printf '%s\n' "$lost" "$second" fd00:100::3 | sort -V | paste -sd' ')"
check "another container can have the first one that was lost" run c4 v100 --ip "$lost"
look c4
is "it has that address" "$addr4" "$lost/24"
refuses "the printer's address is still held" 'lready' docker run --rm --network v100 --ip 10.100.0.9 lab true
check "the living containers reach each other" pings c4 "$first"

# What does not answer gives no verdict.
stop_daemon mynetworkplugin KILL
within $((grace * 2)) false
is "while the network daemon is away nothing else is taken back" "$(reclaimed | wc -w)" 3
start_daemon mynetworkplugin
check "all containers are removed" docker rm -f c1 c4
check "the network is removed" docker network rm v100
is "no address was taken back that was in use" "$(reclaimed | wc -w)" 3
is "no link of ours is left" "$(our_links)" ""
stop_daemons
finish
