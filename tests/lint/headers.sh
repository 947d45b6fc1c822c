#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every header compiles alone, whatever was or was not included before it.
# shellcheck source=tests/support/tap.sh
. "${top_srcdir:-.}/tests/support/tap.sh"

[ -n "${CC:-}" ] || skip_all "no compiler named in CC"

# shellcheck disable=SC2086 # CC and CFLAGS are lists of words
compiles() {
	$CC -std=gnu11 -fsyntax-only -Wall -Wextra -Werror -include config.h -x c ${HEADER_CFLAGS:-} \
		-I"$top_builddir" -I"$top_srcdir" -DSYSCONFDIR='"/etc"' - <<<"#include \"$1\""
}

for header in $(files 'common/*.h' 'netdriver/*.h' 'ipam/*.h' 'tests/support/random.h' 'tests/support/netns.h'); do
	check "$header compiles alone" compiles "$header"
done
finish
