# SPDX-License-Identifier: Apache-2.0
# hosts: 2
# engines: bookworm
# Local scope in a Swarm: each node has its own slice of one subnet by a config-only network, and no address is given twice.
# shellcheck shell=bash source=tests/lab/lib.sh disable=SC2016,SC2119,SC2317
. /lab/lib.sh

start_engine
make_image
managed_pair MYNETWORKPLUGIN_CONNECTIVITY_SCOPE=global MYIPAMPLUGIN_RECLAIM_AFTER=15 MYIPAMPLUGIN_COOLDOWN=5
join_swarm
check "this node's settings are stored, with its slice" docker network create --config-only --ipam-driver "$ipam" --subnet 10.60.0.0/24 \
	--gateway 10.60.0.1 --ipam-opt "slice=$((host + 1))/8" -o parent=eth0 -o vlan=60 settings
barrier settings

running() { [ "$(docker service ps web --filter desired-state=running --format '{{.CurrentState}}' | grep -c '^Running')" = "$1" ]; }
if [ "$host" = 1 ]; then
	check "the network is created for the Swarm" docker network create -d "$driver" --scope swarm --config-from settings --attachable v60 ||
		die "no network"
	check "a service of 6 is created on it" docker service create -d --name web --network v60 --replicas 6 --no-resolve-image \
		--stop-signal KILL lab sleep 100000
	check "all 6 run" within 180 running 6 || why "$(docker service ps web --no-trunc)"
fi
barrier running
for id in $(docker ps -q); do
	look "$id"
	like "${id:0:6}: the address is of this node's slice" "$addr4" "^10\.60\.0\.$([ "$host" = 1 ] && echo '(3[2-9]|[45][0-9]|6[0-3])' || echo '(6[4-9]|[78][0-9]|9[0-5])')/24$"
	echo "$addr4" >>"/share/list.$host"
done
barrier listed
if [ "$host" = 1 ]; then
	is "there are 6 different addresses" "$(sort -u /share/list.* | wc -l)" 6
fi
while read -r address; do
	check "this host's first reaches $address of the other" pings "$id" "${address%/*}"
done <"/share/list.$((3 - host))"
barrier pinged

# ---- the second host's engine crashes: what it held comes back when the Swarm asks for the network again
if [ "$host" = 2 ]; then
	stop_engine KILL
	start_engine
fi
barrier restarted
if [ "$host" = 1 ]; then
	check "all 6 run again" within 240 running 6 || why "$(docker service ps web --no-trunc)"
	check "it is scaled up to 8" docker service scale -d web=8
	check "8 run" within 240 running 8 || why "$(docker service ps web --no-trunc)"
fi
barrier again
for id in $(docker ps -q); do
	look "$id"
	echo "$addr4" >>"/share/again.$host"
done
# held: the addresses on the plugin's books but the gateway's. A copy, since the daemon holds its own locked.
held() {
	local db
	db=$(find "/var/lib/docker/plugins/$(docker plugin inspect -f '{{.Id}}' myipamplugin)" -name myipamplugin.db | head -n 1)
	cp "$db" /run/lab/books.db
	cp "$db-wal" /run/lab/books.db-wal 2>/dev/null
	sqlite3 /run/lab/books.db "SELECT address || '/24' FROM lease WHERE released_at IS NULL AND gateway = 0" | sort | paste -sd' '
}
same() { [ "$(held)" = "$(sort "/share/again.$host" | paste -sd' ')" ]; }
within 60 same
is "the books hold what is used, no more and no less" "$(held)" "$(sort "/share/again.$host" | paste -sd' ')"
barrier books
if [ "$host" = 1 ]; then
	is "all addresses differ" "$(sort /share/again.* | uniq -d)" ""
	check "the service is removed" docker service rm web
	check "the network is removed" within 90 docker network rm v60
fi
barrier end
docker swarm leave -f >/dev/null 2>&1
finish
