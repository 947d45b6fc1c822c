#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What packaging repeats of the daemons is what the daemons say: man pages and managed plugins name every key, and no
# other.
# shellcheck source=tests/support/tap.sh
. "${top_srcdir:-.}/tests/support/tap.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

program() {
	case $1 in
	mynetworkplugin) "$top_builddir/netdriver/mynetworkplugin" "$2" ;;
	myipamplugin) "$top_builddir/ipam/myipamplugin" "$2" ;;
	esac
}
man() { echo "$top_srcdir/packaging/man/$1.8.in"; }
plugin() { echo "$top_srcdir/packaging/plugin/$1.json"; }

# The first column of all tables: configuration keys, and options of `docker network create`.
# shellcheck disable=SC2016 # the backquotes are Markdown's
keys() { program "$1" --print-tables | sed -n 's/^| `\([^`]*\)`.*/\1/p' | sort -u; }
config_keys() { program "$1" --print-config | sed -n 's/^ *"\([^"]*\)":.*/\1/p' | sort; }

# In the man page they are list items of their own.
in_man() { sed -n 's/^\.It Cm \([^ ]*\).*/\1/p' "$(man "$1")" | sort -u; }

# In the plugin they are environment variables.
in_plugin() {
	sed -n "s/.*\"name\": \"${1^^}_\([A-Z0-9_]*\)\".*/\1/p" "$(plugin "$1")" | tr 'A-Z_' 'a-z-' | sort
}

man_has_every_key() { keys "$1" | diff - <(in_man "$1"); }

# The socket is given on the plugin's command line.
plugin_has_every_key() { config_keys "$1" | grep -vx socket | diff - <(in_plugin "$1"); }

man_has_every_option() {
	local option
	for option in $(program "$1" --help | sed -n 's/^  --\([a-z0-9-]*\).*/\1/p'); do
		grep -Eq "^\.It (Fl -|Cm )$option( |\$)" "$(man "$1")" || echo "--$option"
	done | nothing
}

man_is_clean() { groff -mdoc -Tutf8 -ww -z "$(man "$1")" 2>&1 | nothing; }

json_is_valid() { python3 -m json.tool "$(plugin "$1")" >/dev/null; }

for name in mynetworkplugin myipamplugin; do
	keys $name >"$work/$name"
	check "$name tells its keys" test -s "$work/$name"
	check "the man page of $name has every key and network option, and no other" man_has_every_key $name
	check "the man page of $name has every command line option" man_has_every_option $name
	check "the managed plugin of $name has every key but the socket, and no other" plugin_has_every_key $name
	if command -v groff >/dev/null; then
		check "the man page of $name is well-formed" man_is_clean $name
	else
		skip "the man page of $name is well-formed" "groff is not installed"
	fi
	if command -v python3 >/dev/null; then
		check "the plugin configuration of $name is JSON" json_is_valid $name
	else
		skip "the plugin configuration of $name is JSON" "python3 is not installed"
	fi
done
finish
