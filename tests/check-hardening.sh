#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What was built is hardened: configure's flags may be right and yet not have reached the linker.
# shellcheck source=tests/support/tap.sh
. "${top_srcdir:-.}/tests/support/tap.sh"

[ -n "${HARD_LDFLAGS:-}" ] || skip_all "built without hardening (sanitizers, or --disable-hardening)"
command -v readelf >/dev/null || skip_all "readelf is not installed"

pie() { readelf -hW "$1" | grep -Eq 'Type: +DYN'; }
relro() { readelf -lW "$1" | grep -q GNU_RELRO; }
bind_now() { readelf -dW "$1" | grep -Eq 'BIND_NOW|FLAGS.*NOW'; }
# The flags are the last but one column.
no_exec_stack() { readelf -lW "$1" | awk '$1 == "GNU_STACK" { found = 1; bad = $(NF - 1) ~ /E/ } END { exit !found || bad }'; }
no_writable_code() { ! readelf -lW "$1" | awk '$1 == "LOAD" && /RWE/ { found = 1 } END { exit !found }'; }
no_text_relocations() { ! readelf -dW "$1" | grep -q TEXTREL; }
no_search_path() { ! readelf -dW "$1" | grep -Eq 'RPATH|RUNPATH'; }
canary() { readelf -sW "$1" | grep -q __stack_chk_fail; }
fortified() { readelf -sW "$1" | grep -Eq '__[a-z]+_chk(@|$| )'; }

for name in netdriver/mynetworkplugin ipam/myipamplugin; do
	f=$top_builddir/$name
	check "$name is position-independent" pie "$f"
	check "$name has read-only relocations" relro "$f"
	check "$name binds all symbols at start" bind_now "$f"
	check "$name has no executable stack" no_exec_stack "$f"
	check "$name has no memory that is code and writable" no_writable_code "$f"
	check "$name has no relocations in its code" no_text_relocations "$f"
	check "$name looks for libraries where the system has them" no_search_path "$f"
	check "$name guards its stack frames" canary "$f"
	check "$name calls checked libc functions" fortified "$f"
done
finish
