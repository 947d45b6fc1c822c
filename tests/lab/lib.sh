# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Helpers for the scenarios, which run as bash on every host of the lab at once. Results are TAP, in
# /share/host<N>.tap; everything else that is printed goes to the host's log.
# shellcheck disable=SC2154 # $host and $hosts come from the host's boot
# shellcheck disable=SC2034 # some functions leave what they found in variables, for the scenarios to read

set -u
tap=/share/host$host.tap
: >"$tap"
tests=0

# ---- Results -------------------------------------------------------------------------------------------------

say() { echo "[$(cut -d' ' -f1 /proc/uptime)] $*"; }

# result ok|"not ok" SENTENCE: count one test.
result() {
	tests=$((tests + 1))
	echo "$1 $tests - host$host: $2" >>"$tap"
	say "$1 - $2"
}

# why TEXT...: what belongs to the last result, for the reader of a failure.
why() { printf '%s\n' "$*" | sed 's/^/# /' | tee -a "$tap"; }

# check SENTENCE COMMAND...: the command must succeed; what it printed is shown if not.
check() {
	local sentence=$1 output status=0
	shift
	output=$("$@" 2>&1) || status=$?
	if [ $status = 0 ]; then
		result ok "$sentence"
	else
		result "not ok" "$sentence"
		why "$*: status $status: $output"
		return 1
	fi
}

# is SENTENCE GOT WANTED: the two must be the same text.
is() {
	if [ "$2" = "$3" ]; then
		result ok "$1"
	else
		result "not ok" "$1"
		why "got:    $2"
		why "wanted: $3"
		return 1
	fi
}

# like SENTENCE GOT REGEX: the text must match the extended regular expression.
like() {
	if [[ $2 =~ $3 ]]; then
		result ok "$1"
	else
		result "not ok" "$1"
		why "got:    $2"
		why "wanted: /$3/"
		return 1
	fi
}

# failed STATUS: is it the status of a command that ran and said no? Not of one that hung (124, see docker below), was
# missing or was killed (126 and more).
failed() { [ "$1" -gt 0 ] && [ "$1" != 124 ] && [ "$1" -lt 126 ]; }

# fails SENTENCE COMMAND...: the command must run and not succeed.
fails() {
	local sentence=$1 output status=0
	shift
	output=$("$@" 2>&1) || status=$?
	if failed $status; then
		result ok "$sentence"
	else
		result "not ok" "$sentence"
		why "$*: status $status: $output"
		return 1
	fi
}

# refuses SENTENCE REGEX COMMAND...: the command must fail and say why in words that match.
refuses() {
	local sentence=$1 regex=$2 output status=0
	shift 2
	output=$("$@" 2>&1) || status=$?
	if failed $status && [[ $output =~ $regex ]]; then
		result ok "$sentence"
		say "  it said: $output"
	else
		result "not ok" "$sentence"
		why "$*: status $status: $output"
		why "wanted a failure that says /$regex/"
		return 1
	fi
}

# skip SENTENCE REASON
skip() { result ok "$1 # SKIP $2"; }

# finish: the scenario has run to its end. Without it there is no plan, and a TAP file without one is a failure.
finish() {
	echo "1..$tests" >>"$tap"
	exit 0
}

# die TEXT: nothing that follows makes sense. The other hosts give up at their next barrier.
die() {
	echo "Bail out! host$host: $*" | tee -a "$tap"
	touch /share/aborted
	exit 1
}

# ---- Waiting -------------------------------------------------------------------------------------------------

# within SECONDS COMMAND...: try until it succeeds.
within() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.2
	done
}

# barrier NAME: wait until every host has come here.
barrier() {
	touch "/share/barrier.$1.$host"
	local end=$((SECONDS + 240)) files
	while :; do
		files=("/share/barrier.$1".*)
		[ ${#files[@]} -ge "$hosts" ] && return 0
		[ ! -e /share/aborted ] || { echo "another host gave up"; exit 1; }
		[ $SECONDS -lt $end ] || die "barrier $1: not all hosts came"
		sleep 0.2
	done
}

# ---- The engine ----------------------------------------------------------------------------------------------

# An engine that waits for a daemon which does not answer waits for ever: no command may take that long.
docker() { timeout -k 5 90 docker "$@"; }

# start_engine [OPTION...]: start dockerd and wait until it answers. Its log is kept.
start_engine() {
	dockerd "$@" >>"/share/host$host.dockerd.log" 2>&1 &
	within 120 docker version || die "dockerd did not come up, see host$host.dockerd.log"
}

# stop_engine [SIGNAL]: end it (TERM: properly; KILL: a crash) and wait until it is gone.
stop_engine() {
	local pid
	pid=$(cat /run/docker.pid) || die "no dockerd to stop"
	kill "-${1:-TERM}" "$pid"
	within 60 gone "$pid" || die "dockerd does not end"
	rm -f /run/docker.pid
}

gone() { ! kill -0 "$1"; }

# reboot_kernel: what a reboot takes, once engine and daemons are dead: processes, links, rules, /run, and the kernel's
# boot id. What it leaves: the state folders.
reboot_kernel() {
	local link table tables
	pkill -9 containerd
	pkill -9 -f 'sleep 100000'
	within 10 bash -c "! pgrep containerd && ! pgrep -f '^sleep 100000'"
	find /sys/fs/cgroup/docker -mindepth 1 -depth -type d -exec rmdir {} + 2>/dev/null
	for link in $(our_links) docker0; do ip link del "$link" 2>/dev/null; done
	for tables in iptables ip6tables; do
		$tables-save | sed -n 's/^\*//p' | while read -r table; do $tables -t "$table" -F; $tables -t "$table" -X; done
		$tables -P FORWARD ACCEPT
	done
	findmnt -rno TARGET | grep -E '^/run/docker/|^/run/containerd/|/var/lib/docker/.*merged' | sort -r | xargs -r umount -l
	rm -rf /run/docker /run/docker.* /run/containerd
	cat /proc/sys/kernel/random/uuid >/run/lab/boot_id
	mount --bind /run/lab/boot_id /proc/sys/kernel/random/boot_id
}

# make_image: a container image named lab, from the archive of busybox that the lab has made: there is no registry to
# pull from, and a host would take its time to make one file after another.
make_image() { docker import /share/image.tar lab >/dev/null || die "no image"; }

# run NAME NETWORK [OPTION...]: start a container that waits. Its stop signal ends it at once.
run() {
	local name=$1 network=$2
	shift 2
	docker run -d --name "$name" --network "$network" --stop-signal KILL "$@" lab sleep 100000
}

# in_container NAME COMMAND...: run a command of the host in the container's network. Much faster than docker exec. The
# engine is asked for the process only if the one it named before has ended, or is now one of the host's: it takes a
# second to answer.
in_container() {
	local file=/run/lab/pid.$1 pid=none
	[ ! -e "$file" ] || pid=$(<"$file")
	if [ ! -e "/proc/$pid/ns/net" ] || [ "/proc/$pid/ns/net" -ef /proc/self/ns/net ]; then
		pid=$(docker inspect -f '{{.State.Pid}}' "$1") || return 1
		echo "$pid" >"$file"
	fi
	shift
	nsenter -t "$pid" -n "$@"
}

# pings NAME ADDRESS: the container gets an answer within a few seconds. The first packets may wait for ARP, ND, or a
# bridge port to start forwarding.
pings() { in_container "$1" ping -q -n -c 1 -w "${pings_seconds:-8}" "$2"; }

# look NAME [INTERFACE]: what the kernel shows of a container's interface (eth0 if none is named), put into $addr4 $addr6
# $mac $mtu, and of its network as a whole: $interfaces $default4 $default6. One call for all, since each program that
# is started on a host costs a tenth of a second. Lists are separated by blanks; link-local addresses are left out.
look() {
	local seen
	addr4='' addr6='' mac='' mtu='' interfaces='' default4='' default6=''
	seen=$(in_container "$1" bash -c 'ip -j addr; ip -4 -j route show default; ip -6 -j route show default') || return 1
	eval "$(jq -r -s --arg dev "${2:-eth0}" '
		def addresses(family): [.[0][] | select(.ifname == $dev) | .addr_info[]
			| select(.family == family and .scope == "global") | "\(.local)/\(.prefixlen)"] | join(" ");
		def routes(list): [list[] | "\(.gateway // "none") \(.dev)"] | join(", ");
		def link: (.[0][] | select(.ifname == $dev)) // {};
		@sh "addr4=\(addresses("inet")) addr6=\(addresses("inet6"))",
		@sh "mac=\(link.address // "") mtu=\(link.mtu // "")",
		@sh "interfaces=\([.[0][].ifname | select(. != "lo")] | sort | join(" "))",
		@sh "default4=\(routes(.[1] // [])) default6=\(routes(.[2] // []))"
	' <<<"$seen")"
}

# inspect NAME NETWORK FIELD: what the engine says of the container's end of the network.
inspect() { docker inspect -f "{{(index .NetworkSettings.Networks \"$2\").$3}}" "$1"; }

# ---- The two daemons -----------------------------------------------------------------------------------------
# As system services: their own processes on the host, sockets where the engine looks for them by name. Taken from the
# plugins' root file systems, which hold all they need whatever the host's release is.

# daemon_command NAME: its command line, as an array in $command. The program is static, or comes with its own loader.
daemon_command() {
	local root=/plugins/$1/rootfs program loader folders
	program=$root$(jq -r '.entrypoint[0]' "/plugins/$1/config.json")
	[ -x "$program" ] || die "no $program: has the lab been given what make plugin made?"
	command=("$program")
	for loader in "$root"/lib64/ld-linux*.so.* "$root"/lib/ld-linux*.so.*; do
		[ -e "$loader" ] || continue
		folders=$(find "$root" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
		command=("$loader" --library-path "$folders" "$program")
		break
	done
}

# listening SOCKET: some process accepts connections there (a file left over from a killed one does not count).
listening() { awk -v path="$1" '$NF == path && $4 == "00010000" { found = 1 } END { exit !found }' /proc/net/unix; }

# start_daemon NAME [OPTION...]: start it and wait until it accepts connections. Its process id is kept in a file.
start_daemon() {
	local name=$1 command
	shift
	mkdir -p /run/docker/plugins
	daemon_command "$name"
	"${command[@]}" --log-level debug "$@" >>"/share/host$host.$name.log" 2>&1 &
	echo $! >"/run/lab/$name.pid"
	within 20 listening "/run/docker/plugins/$name.sock" || die "$name does not listen, see host$host.$name.log"
}

# start_daemons [OPTION...]: both, the options are the network daemon's.
start_daemons() {
	start_daemon myipamplugin
	start_daemon mynetworkplugin "$@"
}

# stop_daemon NAME [SIGNAL]: end it and wait; its exit status is in $status.
stop_daemon() {
	local pid
	pid=$(cat "/run/lab/$1.pid")
	kill "-${2:-TERM}" "$pid"
	status=0
	wait "$pid" 2>/dev/null || status=$?
}

stop_daemons() {
	stop_daemon mynetworkplugin "${1:-TERM}"
	stop_daemon myipamplugin "${1:-TERM}"
}

# managed_pair KEY=VALUE...: both as managed plugins, which create() then uses; each key goes to the plugin whose prefix
# it has (MYNETWORKPLUGIN_, MYIPAMPLUGIN_).
managed_pair() {
	driver=mynetworkplugin:latest ipam=myipamplugin:latest
	check "both plugins are created from what make plugin made" make_pair || die "no plugins"
	check "they are set up: $*" set_pair "$@" || die "not set"
	check "they are enabled" enable_pair || die "not enabled"
}
make_pair() {
	docker plugin create mynetworkplugin /plugins/mynetworkplugin && docker plugin create myipamplugin /plugins/myipamplugin
}
set_pair() {
	local setting name
	for setting; do
		name=${setting%%_*}
		docker plugin set "${name,,}" "$setting" || return
	done
}
enable_pair() { docker plugin enable mynetworkplugin && docker plugin enable myipamplugin; }

# join_swarm: host 1 begins a Swarm, the others join it as workers; on return all are in it, and host 1 sees all ready.
join_swarm() {
	if [ "$host" = 1 ]; then
		check "a Swarm begins" docker swarm init --advertise-addr 10.99.0.1 || die "no Swarm"
		docker swarm join-token -q worker >/share/token.new && mv /share/token.new /share/token
	fi
	barrier swarm
	[ "$host" = 1 ] ||
		check "host $host joins it" docker swarm join --token "$(cat /share/token)" 10.99.0.1:2377 || die "no Swarm"
	barrier joined
	[ "$host" != 1 ] || within 60 all_ready || die "the nodes do not get ready"
}
all_ready() { [ "$(docker node ls --format '{{.Status}}' | grep -c Ready)" = "$hosts" ]; }

# create NAME OPTION...: a network of our two drivers.
create() {
	local name=$1
	shift
	docker network create -d "${driver:-mynetworkplugin}" --ipam-driver "${ipam:-myipamplugin}" "$@" "$name"
}

# ---- The host ------------------------------------------------------------------------------------------------

# links: every link of the host with all that a driver could have changed.
links() {
	ip -j -d link | jq -S -c '.[] | {ifname, mtu, flags, promiscuity, master, link, address, ifalias, linkinfo}
		| del(.linkinfo.info_data | .gc_timer?, .hello_timer?, .tcn_timer?, .topology_change_timer?)'
}

# snapshot: links, addresses, routes, firewall rules and files of the host, except the state that the two daemons, the
# engine and the lab itself keep. Two snapshots can be compared as text.
snapshot() {
	within 5 settled
	echo "== links"
	links
	echo "== addresses"
	ip -j addr | jq -S -c '.[] | .ifname as $dev | .addr_info[] | {$dev, local, prefixlen, scope}'
	echo "== routes"
	ip -4 route show table all
	ip -6 route show table all
	ip rule
	echo "== rules"
	# Counters and dates change by themselves.
	{ iptables-save; ip6tables-save; } | sed -e '/^#/d' -e 's/\[[0-9:]*\]//'
	echo "== files"
	{
		find /old/mnt/upper -xdev \( -path '*/var/lib/mynetworkplugin' -o -path '*/var/lib/myipamplugin' \
			-o -path '*/var/lib/docker' -o -path '*/var/lib/containerd' \) -prune -o -print
		find /run -xdev \( -path /run/lab -o -path /run/containerd -o -path '/run/docker/[!p]*' \) -prune -o -print
	} | sort
}

# unchanged SENTENCE FILE: the host is as it was when the snapshot in the file was taken.
unchanged() {
	local difference
	# An engine that has just let go of a container needs a moment until its own parts are gone.
	within 10 same_as "$2"
	if difference=$(snapshot | diff "$2" -); then
		result ok "$1"
	else
		result "not ok" "$1"
		why "$difference"
		return 1
	fi
}

# settled: no IPv6 address is still being tried; such a one has no route yet.
settled() { [ -z "$(ip -6 addr show tentative)" ]; }
same_as() { snapshot | cmp -s "$1" -; }

# bridge_of INTERFACE: the bridge that a link is in.
bridge_of() { ip -j link show dev "$1" 2>/dev/null | jq -r '.[].master // empty'; }

# our_links: the names of all links that carry the driver's mark.
our_links() { ip -j link | jq -r '[.[] | select((.ifalias // "") | startswith("mynetworkplugin:")) | .ifname] | sort | join(" ")'; }

# our_rules: is there at least one firewall rule of ours?
our_rules() { iptables -S DOCKER-USER | grep -q 'mynetworkplugin:'; }
