#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every shell script pleases shellcheck, where that is installed.
# shellcheck source=tests/support/tap.sh
. "${top_srcdir:-.}/tests/support/tap.sh"
cd "$top_srcdir"

mapfile -t scripts < <(files '*' | while IFS= read -r file; do
	# A path in a here-document or a text file may look alike; the first line decides.
	if head -c 64 "$file" | head -n1 | grep -qaE '^#!/bin/(ba)?sh'; then echo "$file"; fi
done)

if command -v shellcheck >/dev/null; then
	for script in "${scripts[@]}"; do
		check "shellcheck is content with $script" shellcheck -x -S warning "$script"
	done
else
	skip "shellcheck is content" "shellcheck is not installed"
fi
finish
