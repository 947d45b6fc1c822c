#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# House rules of the sources that grep can check; CONTRIBUTING.md says what they are for.
# shellcheck source=tests/support/tap.sh
. "${top_srcdir:-.}/tests/support/tap.sh"
cd "$top_srcdir"

mapfile -t c_files < <(files 'common/*.c' 'netdriver/*.c' 'ipam/*.c' 'tests/*.c')
mapfile -t headers < <(files 'common/*.h' 'netdriver/*.h' 'ipam/*.h' 'tests/*.h')
mapfile -t product < <(files 'common/*.[ch]' 'netdriver/*.[ch]' 'ipam/*.[ch]')
mapfile -t scripts < <(files 'tests/*.sh' 'bootstrap' 'packaging/quickstart*' 'packaging/*/build' 'tests/run' 'tests/lab/lab' \
	'tests/lab/run' 'tests/lab/mkroot' 'tests/bench/run' 'tests/bench/instructions')
[ ${#c_files[@]} -gt 20 ] || { echo "Bail out! no sources found in $top_srcdir"; exit 1; }

# code FILE...: the sources without comments and string literals, each line with its place.
code() {
	awk '
		FNR == 1 { comment = 0 }
		{
			line = $0
			gsub(/"([^"\\]|\\.)*"/, "\"\"", line)
			if (comment && !sub(/^.*\*\//, "", line)) next
			comment = 0
			gsub(/\/\*([^*]|\*[^\/])*\*\//, "", line)
			if (sub(/\/\*.*$/, "", line)) comment = 1
			if (line ~ /[^ \t]/) print FILENAME ":" FNR ": " line
		}' "$@"
}

config_h_first() {
	local file
	for file in "${c_files[@]}"; do
		grep -m1 '^#include' "$file" | grep -qx '#include <config.h>' || echo "$file"
	done | nothing
}

spdx_first() {
	local file
	for file in "${c_files[@]}" "${headers[@]}"; do
		[ "$(head -n1 "$file")" = '/* SPDX-License-Identifier: Apache-2.0 */' ] || echo "$file"
	done | nothing
}

spdx_in_scripts() {
	grep -L '^# SPDX-License-Identifier: Apache-2.0$' "${scripts[@]}" | nothing
}

guards() {
	local file guard
	for file in "${headers[@]}"; do
		guard=DP_$(tr 'a-z/.' 'A-Z__' <<<"$file")
		grep -qx "#ifndef $guard" "$file" && grep -qx "#define $guard" "$file" || echo "$file: $guard"
	done | nothing
}

# only HEADER-REGEX FILE-REGEX: the header is included in files of those names only.
only() {
	{ grep -nE "^#include <$1>" "${product[@]}" || true; } | { grep -vE "^($2):" || true; } | nothing
}

# never REGEX EXEMPT-FILE-REGEX: no code matches.
never() {
	code "${product[@]}" | { grep -E "$1" || true; } | { grep -vE "^($2):" || true; } | nothing
}

layers() {
	{
		grep -nE '^#include "(netdriver|ipam)/' common/*.[ch]
		grep -nE '^#include "ipam/' netdriver/*.[ch]
		grep -nE '^#include "netdriver/' ipam/*.[ch]
	} | nothing
}

short_mains() {
	local file
	for file in netdriver/main.c ipam/main.c; do
		[ "$(wc -l <"$file")" -lt 80 ] || echo "$file: $(wc -l <"$file") lines"
	done | nothing
}

own_words() {
	# Paths of a machine this was written on say nothing to anybody else.
	mapfile -t texts < <(files '*' | grep -v '^tests/data/\|^tests/fuzz/corpus/\|^tests/lint/sources.sh$')
	{ grep -nIE '(^|[^A-Za-z0-9_./])/(home/[a-z]+|root)/' "${texts[@]}" || true; } | nothing
}

check "every source includes config.h first" config_h_first
check "every source and header begins with its licence" spdx_first
check "every script names its licence" spdx_in_scripts
check "every header has the guard of its path" guards
check "libmicrohttpd is visible in http.c only" only 'microhttpd\.h' 'common/http\.c'
check "SQLite is visible in store.c and store_file.c only" only 'sqlite3\.h' 'common/store(_file)?\.c'
check "libseccomp is visible in privilege.c only" only 'seccomp\.h' 'common/privilege\.c'
check "netlink is visible in rtnl*.c only" \
	only '(libmnl/.*|netlink/.*|linux/(rtnetlink|if_link|netlink|veth)\.h)' 'netdriver/(rtnl[a-z_]*|firewall[a-z_]*)\.[ch]'
check "the firewall's libraries are visible in firewall*.c only" \
	only '(libnftnl/.*|libiptc/.*|linux/netfilter.*)' 'netdriver/firewall[a-z_]*\.[ch]'
check "jansson is visible where JSON is spoken only" \
	only 'jansson\.h' 'common/(json|schema|rpc|daemon|client|command|archive)\.[ch]|(netdriver|ipam)/(driver|operator(_show)?|peer|archive)\.[ch]|netdriver/options\.[ch]'
check "common, netdriver and ipam keep their layers" layers
check "no call that cannot be used safely" \
	never '(^|[^A-Za-z0-9_>.])(strcpy|sprintf|vsprintf|gets|system|popen|atoi|atol|strtok|rand|sleep|alloca|tmpnam|mktemp)\(' '-'
check "numbers are parsed in parse.c only" never '(^|[^A-Za-z0-9_])(strto(u?l|u?ll|d|f|imax|umax)|sscanf)\(' 'common/parse\.c'
check "no goto: cleanup belongs to the scope" never '(^|[^A-Za-z0-9_])goto[^A-Za-z0-9_]' '-'
check "both main.c are under 80 lines" short_mains
check "no path of anybody's machine" own_words
finish
