#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The option tables of README.md are those that the programs print. With --update, make them so.
# shellcheck source=tests/support/tap.sh
. "${top_srcdir:-.}/tests/support/tap.sh"

readme=$top_srcdir/README.md

program() {
	case $1 in
	mynetworkplugin) echo "$top_builddir/netdriver/mynetworkplugin" ;;
	myipamplugin) echo "$top_builddir/ipam/myipamplugin" ;;
	*) return 1 ;;
	esac
}

# updated: README.md with fresh tables between their markers.
updated() {
	local line name
	while IFS= read -r line; do
		printf '%s\n' "$line"
		case $line in
		'<!-- table: '*' -->')
			name=${line#<!-- table: }
			"$(program "${name% -->}")" --print-tables
			while IFS= read -r line && [ "$line" != '<!-- end -->' ]; do :; done
			printf '%s\n' "$line"
			;;
		esac
	done <"$readme"
}

same() {
	updated | diff -u "$readme" - || {
		echo "bring it up to date with: tests/lint/readme-tables.sh --update"
		return 1
	}
}

if [ "${1:-}" = --update ]; then
	updated >"$readme.new"
	mv "$readme.new" "$readme"
	exit 0
fi
check "README.md has a table of each program" grep -qz 'table: mynetworkplugin.*table: myipamplugin' "$readme"
check "the tables of README.md are what the programs print" same
finish
