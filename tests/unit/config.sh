#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Both programs from the outside: options, configuration file, environment, and what wins over what.
# shellcheck source=tests/support/tap.sh
. "${top_srcdir:-.}/tests/support/tap.sh"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
unset LISTEN_FDS LISTEN_PID NOTIFY_SOCKET JOURNAL_STREAM

# run WANTED-STATUS REGEX PROGRAM ARG...: it exits with that status and prints a line that matches.
run() {
	local want=$1 regex=$2 status=0 output
	shift 2
	output=$(timeout 20 "$@" 2>&1 </dev/null) || status=$?
	[ $status = "$want" ] || { echo "exit status $status, not $want: $output"; return 1; }
	grep -qE -- "$regex" <<<"$output" || { echo "no line matches '$regex': $output"; return 1; }
}

# config JSON: a configuration file with it.
config() {
	printf '%s\n' "$1" >"$dir/config.json"
}

prints_its_example() { diff -u "$top_srcdir/config/$name.json" <("$program" --print-config); }
accepts_its_example() { run 0 'configuration is valid' "$program" --check-config --config "$top_srcdir/config/$name.json"; }
man_page_names_all() {
	local key
	for key in $("$program" --print-tables | sed -n 's/^| `\([^`]*\)`.*/\1/p'); do
		tr -d '\\' <"$top_srcdir/packaging/man/$name.8.in" | grep -qF -- "$key" || echo "$key"
	done | nothing
}

# The value that wins shows in the complaint about it: each source gives the key a bad one.
precedence() {
	local env=$1
	config '{"deadline": 1001}'
	run 2 "config.json: deadline: 1001 is outside 1 to 60 seconds" \
		env "$env=1002" "$program" --check-config --config "$dir/config.json" --deadline 1003 || return 1
	config '{"deadline": 11}'
	run 2 "environment ${env}: deadline: 1002" \
		env "$env=1002" "$program" --check-config --config "$dir/config.json" --deadline 1003 || return 1
	run 2 'command line: deadline: 1003' \
		env "$env=12" "$program" --check-config --config "$dir/config.json" --deadline 1003
}

# started SOCKET ARG...: the daemon begins to serve at that socket, and ends with status 0 when told to.
started() {
	local socket=$1 status=0 pid
	shift
	: >"$dir/log" # or the last one's word that it was ready is taken for this one's
	"$@" >"$dir/log" 2>&1 </dev/null &
	pid=$!
	for _ in $(seq 1200); do # a bound: a busy disk takes its time
		grep -q 'is ready' "$dir/log" && break
		kill -0 $pid 2>/dev/null || break
		sleep 0.05
	done
	[ -S "$socket" ] || { echo "nothing at $socket"; cat "$dir/log"; kill $pid 2>/dev/null; wait $pid || true; return 1; }
	kill $pid
	wait $pid || status=$?
	[ $status = 0 ] && [ ! -e "$socket" ] || { echo "status $status"; cat "$dir/log"; return 1; }
}

default_then_file_then_environment_then_command_line() {
	local env_prefix=$1
	config "{\"socket\": \"$dir/file.sock\", \"state-dir\": \"$dir/state\"}"
	started "$dir/file.sock" "$program" --config "$dir/config.json" || return 1
	started "$dir/env.sock" env "${env_prefix}SOCKET=$dir/env.sock" "$program" --config "$dir/config.json" || return 1
	started "$dir/arg.sock" env "${env_prefix}SOCKET=$dir/env.sock" "$program" --config "$dir/config.json" \
		--socket "$dir/arg.sock" || return 1
	# An empty variable counts as not set.
	started "$dir/file.sock" env "${env_prefix}SOCKET=" "$program" --config "$dir/config.json"
}

for name in mynetworkplugin myipamplugin; do
	case $name in
	mynetworkplugin) program=$top_builddir/netdriver/$name env=MYNETWORKPLUGIN_ ;;
	*) program=$top_builddir/ipam/$name env=MYIPAMPLUGIN_ ;;
	esac
	config '{}'
	empty=(--config "$dir/config.json")
	check "$name prints its defaults as config/$name.json has them" prints_its_example
	check "$name accepts its example" accepts_its_example
	check "$name --version tells it" run 0 "^$name [0-9]+\.[0-9]+" "$program" --version
	check "$name --help names every key and the environment" run 0 "${env}KEY" "$program" --help
	check "$name --print-tables prints Markdown" run 0 '^\| `socket` \|' "$program" --print-tables
	check "$name's man page names every key and option" man_page_names_all
	check "$name refuses an unknown option and suggests the nearest" \
		run 2 "'log-levle', did you mean 'log-level'" "$program" --log-levle debug
	check "$name refuses a command that it does not know" run 2 "unknown command 'start'" "$program" start
	check "$name refuses an option without its value" run 2 '--socket needs a value' "$program" --socket
	check "$name takes --key=value" run 2 'deadline: 99 is outside' "$program" "${empty[@]}" --deadline=99 --check-config
	check "$name refuses a file that is not there" run 2 "$dir/none.json" "$program" --config "$dir/none.json"
	config '{"deadline": 10,'
	check "$name names line and column of a file that is not JSON" \
		run 2 'config.json: line [0-9]+ column [0-9]+' "$program" "${empty[@]}" --check-config
	config '{"dedline": 10}'
	check "$name refuses an unknown key in the file and suggests the nearest" \
		run 2 "config.json: unknown config key 'dedline', did you mean 'deadline'" "$program" "${empty[@]}" --check-config
	config '{"deadline": "10"}'
	check "$name refuses a wrong type in the file" \
		run 2 'config.json: deadline: expected a whole number, got a string' "$program" "${empty[@]}" --check-config
	config '{"deadline": 10, "deadline": 11}'
	check "$name refuses a key that is there twice" run 2 'duplicate' "$program" "${empty[@]}" --check-config
	config '[]'
	check "$name refuses a file that is no object" run 2 'expected a JSON object' "$program" "${empty[@]}" --check-config
	config '{}'
	check "$name refuses an unknown key in the environment and suggests the nearest" \
		run 2 "environment ${env}LOG_LEVLE: unknown config key 'log-levle', did you mean 'log-level'" \
		env "${env}LOG_LEVLE=debug" "$program" "${empty[@]}" --check-config
	check "$name refuses a wrong value in the environment" run 2 "log-level: 'loud' is not one of error, warning" \
		env "${env}LOG_LEVEL=loud" "$program" "${empty[@]}" --check-config
	check "$name takes an empty variable for one that is not set" run 0 'is valid' \
		env "${env}LOG_LEVEL=" "$program" "${empty[@]}" --check-config
	check "$name complains about the source that is wrong: file, environment, command line" precedence "${env}DEADLINE"
	config '{}'
	check "$name refuses a socket path that is too long" run 2 "socket: .* bytes long" \
		"$program" "${empty[@]}" --check-config --socket "/$(printf '%0120d' 0)"
	check "$name gives up with status 1 where it cannot keep state" run 1 "$dir/config.json" \
		"$program" "${empty[@]}" --socket "$dir/a.sock" --state-dir "$dir/config.json/x"
	check "$name lets the file win over the default, the environment over it, the command line over all" \
		default_then_file_then_environment_then_command_line "$env"
done

program=$top_builddir/ipam/myipamplugin
check "myipamplugin refuses a pool that makes no sense" run 2 'default-pools: .*10\.0\.0\.0/8' \
	"$program" --check-config --default-pools base=10.0.0.0/8,size=4
check "myipamplugin refuses a pool of the other family" run 2 'default-pools-v6: .* is not IPv6' \
	"$program" --check-config --default-pools-v6 base=10.0.0.0/8,size=16
check "myipamplugin takes a list from the environment" run 0 'is valid' \
	env "MYIPAMPLUGIN_DEFAULT_POOLS=base=10.0.0.0/8,size=24 base=192.168.0.0/16,size=24" "$program" --check-config
finish
