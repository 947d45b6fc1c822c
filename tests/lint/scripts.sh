#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck is content with every shell script, and every script that is run by name can be.
. "${top_srcdir:-.}/tests/support/tap.sh"
cd "$top_srcdir"

mapfile -t scripts < <(files '*' | while IFS= read -r file; do
	# A path in a here-document or a text file may look alike; the first line decides.
	if head -c 64 "$file" | head -n1 | grep -qaE '^#!/bin/(ba)?sh'; then echo "$file"; fi
done)

executable() {
	local file
	for file in "${scripts[@]}"; do [ -x "$file" ] || echo "$file"; done | nothing
}

check "every shell script is executable" executable
if command -v shellcheck >/dev/null; then
	check "shellcheck is content" shellcheck -e SC1091 "${scripts[@]}"
else
	skip "shellcheck is content" "shellcheck is not installed"
fi
finish
