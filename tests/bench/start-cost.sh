# SPDX-License-Identifier: Apache-2.0
# What a network adds to the start of a container, on a real engine: run by `tests/lab/lab -e sid tests/bench/start-cost.sh`.
# 20 containers are started at once, three times in turn: without network, on the engine's own bridge, on ours moved by
# the engine, on ours made in the container.
# shellcheck shell=bash source=tests/lab/lib.sh
. /lab/lib.sh

start_engine
make_image
start_daemons --attach direct
check "networks to compare are created" eval 'create moved -o mode=isolated --subnet 10.8.0.0/24 -o attach=move &&
	create direct -o mode=isolated --subnet 10.9.0.0/24 -o attach=direct && docker network create own'
n=20
at_once() {
	local network=$1 begin now i jobs=()
	begin=$(date +%s%N)
	for i in $(seq $n); do docker run -d --name "t$i" --network "$network" --stop-signal KILL lab sleep 100000 >/dev/null & jobs[i]=$!; done
	wait "${jobs[@]}"
	now=$(date +%s%N)
	docker rm -f $(seq -f t%g $n) >/dev/null
	echo $(((now - begin) / 1000000))
}
for round in 1 2 3; do
	none=$(at_once none)
	for network in own moved direct; do
		ms=$(at_once $network)
		say "RESULT round $round: $network adds $(((ms - none) / n)) ms a container ($ms ms for $n, none: $none ms)"
	done
done
finish
