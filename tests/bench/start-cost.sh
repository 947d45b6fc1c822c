# SPDX-License-Identifier: Apache-2.0
# What a network adds to the start of a container, on a real engine: run by tests/bench/start-cost.
# 20 containers are started at once, in each round on every network: none, the engine's own bridge and macvlan, ours moved by
# the engine, ours made in the container; the order turns, so that none has always the same neighbour. Then they are
# removed at once. The medians of the rounds are printed.
# shellcheck shell=bash source=tests/lab/lib.sh disable=SC2119
. /lab/lib.sh

start_engine
make_image
start_daemons --attach direct
check "networks to compare are created" eval 'create moved -o mode=isolated --subnet 10.8.0.0/24 -o attach=move &&
	create direct -o mode=isolated --subnet 10.9.0.0/24 -o attach=direct && docker network create own &&
	ip link add parent type veth peer name parent-far && ip link set parent up &&
	docker network create -d macvlan -o parent=parent --subnet 10.7.0.0/24 macvlan'
n=20
# at_once NETWORK: milliseconds that n starts, and then n removals, took.
at_once() {
	local network=$1 begin middle end i jobs=()
	begin=$(date +%s%N)
	for i in $(seq $n); do docker run -d --name "t$i" --network "$network" --stop-signal KILL lab sleep 100000 >/dev/null & jobs[i]=$!; done
	wait "${jobs[@]}"
	middle=$(date +%s%N)
	# shellcheck disable=SC2046 # words
	docker rm -f $(seq -f t%g $n) >/dev/null
	end=$(date +%s%N)
	echo "$network $(((middle - begin) / 1000000)) $(((end - middle) / 1000000))"
}
networks=(none own macvlan moved direct)
at_once none >/dev/null # the engine warms up
for _ in $(seq "${ROUNDS:-9}"); do
	for network in "${networks[@]}"; do at_once "$network" >>/run/lab/times; done
	networks=("${networks[@]:1}" "${networks[0]}")
done
median() { awk -v network="$1" -v field="$2" '$1 == network { print $field }' /run/lab/times | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
none_start=$(median none 2) none_end=$(median none 3)
for network in own macvlan moved direct; do
	start=$(median "$network" 2) end=$(median "$network" 3)
	printf 'RESULT %-8s %d starts at once %5d ms (none %d): adds %3d ms each; removals %5d ms (none %d): %3d ms each\n' "$network" $n \
		"$start" "$none_start" $(((start - none_start) / n)) "$end" "$none_end" $(((end - none_end) / n))
done
finish
