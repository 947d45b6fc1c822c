#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The fuzz targets survive every input that was kept: seeds, and whatever once made one crash.
# shellcheck source=tests/support/tap.sh
. "${top_srcdir:-.}/tests/support/tap.sh"

for target in request config inaddr netlink state; do
	for input in "$top_srcdir/tests/fuzz/corpus/$target"/*; do
		check "fuzz_$target survives $(basename "$input")" "$top_builddir/tests/fuzz/fuzz_$target" "$input"
	done
done
finish
