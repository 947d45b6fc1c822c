# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# TAP for shell tests: source this, call check for each behaviour, end with finish.
# make check sets top_srcdir and top_builddir; by hand, run from the build folder.
set -eu

top_srcdir=$(cd "${top_srcdir:-.}" && pwd)
top_builddir=$(cd "${top_builddir:-.}" && pwd)
tap_n=0

# check SENTENCE COMMAND...: ok if the command succeeds; what it prints explains a failure.
check() {
	local sentence=$1 output
	shift
	tap_n=$((tap_n + 1))
	if output=$("$@" 2>&1); then
		echo "ok $tap_n - $sentence"
	else
		echo "not ok $tap_n - $sentence"
		printf '%s\n' "$output" | sed 's/^/# /'
	fi
}

# skip SENTENCE REASON
skip() {
	tap_n=$((tap_n + 1))
	echo "ok $tap_n - $1 # SKIP $2"
}

# skip_all REASON: nothing here can be tested.
skip_all() {
	echo "1..0 # SKIP $1"
	exit 0
}

finish() {
	echo "1..$tap_n"
}

# nothing: succeeds if standard input is empty, else prints it. For "no file does X".
nothing() {
	local found
	found=$(cat)
	[ -z "$found" ] || {
		printf '%s\n' "$found"
		return 1
	}
}

in_git() {
	[ -e "$top_srcdir/.git" ] && git -C "$top_srcdir" rev-parse --git-dir >/dev/null 2>&1
}

# files PATTERN...: files of the project whose names match one of the shell patterns: from git, or what a tarball
# holds, without what autotools and a build add.
files() {
	local pattern name
	if in_git; then
		git -C "$top_srcdir" ls-files --cached --others --exclude-standard
	else
		(cd "$top_srcdir" && find ./*.md ./*.ac ./*.am bootstrap common config ipam netdriver packaging tests -type f \
			! -name '*.log' ! -name '*.trs' ! -path '*/.deps/*' | sed 's|^\./||')
	fi | sort | while IFS= read -r name; do
		[ -e "$top_srcdir/$name" ] || continue
		for pattern in "$@"; do
			# shellcheck disable=SC2254 # a pattern is meant
			case $name in $pattern) echo "$name" && break ;; esac
		done
	done
}
