#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# units/deadline-check: exit code 0 while the helper may live, 1 when it must be powered off.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export AMILIFT_DEADLINE_FILE="$dir/deadline" AMILIFT_UPTIME_FILE="$dir/uptime"
failures=0
expect() { # wanted-exit-code uptime deadline-file-content-or-'-'
    echo "$2 99.00" >"$dir/uptime"
    rm -f "$dir/deadline"
    [ "$3" = - ] || printf '%s\n' "$3" >"$dir/deadline"
    code=0
    units/deadline-check 2>"$dir/err" || code=$?
    if [ "$code" != "$1" ]; then
        echo "uptime $2, deadline '$3': exit $code, expected $1: $(cat "$dir/err")" >&2
        failures=$((failures + 1))
    fi
}
expect 0 10.50 -        # young, no job yet
expect 1 1800.01 -      # half an hour without a job
expect 0 1800.01 7800   # a job with two hours
expect 0 7799.99 7800
expect 1 7800.00 7800
expect 0 999999.00 never
expect 0 10.00 ''       # a broken file is no reason to live for ever, nor to die at once
expect 1 1801.00 ''
expect 1 1801.00 rubbish
expect 1 1801.00 -5
expect 1 1801.00 99999999999999999999
[ "$failures" = 0 ] && echo "deadline-check: 11 cases passed"
exit "$failures"
