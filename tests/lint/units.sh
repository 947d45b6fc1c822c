#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# systemd reads the units without a complaint of its own about them, and finds the services well confined.
# shellcheck source=tests/support/tap.sh
. "${top_srcdir:-.}/tests/support/tap.sh"

command -v systemd-analyze >/dev/null || skip_all "systemd-analyze is not installed"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# The programs are not installed where the units look for them: any program will do for the check.
prepare() {
	local unit
	for unit in "$top_srcdir"/packaging/systemd/*.in; do
		sed -e 's|@sbindir@/[a-z]*|/bin/true|g' -e 's|@[a-z]*dir@|/usr/share|g' -e 's|@VERSION@|0|g' "$unit" \
			>"$dir/$(basename "$unit" .in)"
	done
}

complaints() {
	{ systemd-analyze verify --man=no "$dir/$1" 2>&1 || true; } | { grep -F "$1" || true; } | nothing
}

# At most 1.5 of 10 in systemd's own score, which it tells by its exit status.
confined() { systemd-analyze security --offline=yes --threshold=15 --no-pager "$dir/$1" >/dev/null 2>&1; }

prepare
for unit in "$dir"/*; do
	name=$(basename "$unit")
	check "systemd understands $name" complaints "$name"
	case $name in
	*.service)
		if systemd-analyze --help | grep -q -e --threshold; then
			check "systemd rates the exposure of $name 1.5 or less" confined "$name"
		else
			skip "systemd rates the exposure of $name 1.5 or less" "this systemd cannot tell without running it"
		fi
		;;
	esac
done
finish
