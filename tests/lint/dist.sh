#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every file that git knows is in the release tarball.
# shellcheck source=tests/support/tap.sh
. "${top_srcdir:-.}/tests/support/tap.sh"

in_git || skip_all "not a git checkout"
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT

# What a tarball does not carry: git's and the forge's own files.
wanted() {
	git -C "$top_srcdir" ls-files | grep -v '^\.gitignore$\|^\.gitattributes$\|^\.git-blame-ignore-revs$\|^\.ci/\|^\.github/' |
		while IFS= read -r file; do [ ! -e "$top_srcdir/$file" ] || echo "$file"; done
}

missing() {
	wanted | while IFS= read -r file; do [ -e "$dir/dist/$file" ] || echo "$file"; done | nothing
}

strays() {
	(cd "$dir/dist" && find . -name '*.o' -o -name '*.log' -o -name '*.trs' -o -name '__pycache__' -o -name '*.pyc') | nothing
}

check "make distdir succeeds" "${MAKE:-make}" -s -C "$top_builddir" distdir distdir="$dir/dist"
check "every file of git is in the tarball" missing
check "nothing that was built is in the tarball" strays
finish
