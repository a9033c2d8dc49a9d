#!/usr/bin/env bash
# tests/reports.sh REPORT...: prints what the sanitizers wrote and fails if any of it is ours.
#
# Criterion's runner itself loses 48 bytes now and then. Its allocations are known by who called the
# allocator (frame #1), which only the report tells: a LeakSanitizer suppression looks at every
# frame, and every test runs below one of Criterion's.
set -euo pipefail

ours() {
	awk '/runtime error:|WARNING: ThreadSanitizer/ || (/ERROR: / && !/ERROR: LeakSanitizer/) { found = 1 }
		/ leak of / { leak = 1 }
		leak && /^ *#1 / { if (!/libcriterion/) found = 1; leak = 0 }
		END { exit !(found || leak || NR == 0) }' "$1"
}

rc=0
for report in "$@"; do
	test -e "$report" || continue
	if ours "$report"; then
		cat "$report"
		rc=1
	fi
done
exit $rc
