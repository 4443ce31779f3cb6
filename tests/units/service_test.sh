#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# units/amilift.service lets the agent and its disk worker do what the sources say that they do: a device node or a
# capability that the unit withholds is missed on a helper only.
set -eu
unit=units/amilift.service
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failures=0
fail() {
    echo "$*" >&2
    failures=$((failures + 1))
}

# Nodes that are opened by a name: open("/dev/x"), open_file("/dev/x"), addopen(..., "/dev/x"). Disks come by other
# ways, as block-*.
grep -rhoE --include='*.cpp' 'open[a-z_]*\([^")]*"/dev/[^"]+"' agent modules | sed 's/.*"\(.*\)"/\1/' | sort -u >"$dir/opened"
sed -n 's|^ExecStart=.*--console \(/dev/[^ ]*\).*|\1|p' "$unit" >>"$dir/opened"
for known in /dev/loop-control /dev/btrfs-control /dev/null /dev/console; do
    grep -qx "$known" "$dir/opened" || fail "no source opens $known any more: see whether this test still finds what is opened"
done
# What DevicePolicy=closed leaves: systemd.resource-control(5).
{
    printf '/dev/%s\n' null zero full random urandom
    sed -n 's|^DeviceAllow=\(/dev/[^ ]*\) .*|\1|p' "$unit"
} >"$dir/allowed"
while read -r node; do
    grep -qxF "$node" "$dir/allowed" || fail "$unit: no DeviceAllow for $node, which the program opens"
done <"$dir/opened"

# The worker keeps what sandbox.cpp says; to get there it needs SETPCAP, and the agent KILL to end it.
{
    echo CAP_SETPCAP
    echo CAP_KILL
    grep -oE 'KeptCapability\{CAP_[A-Z_]+' agent/worker/sandbox.cpp | sed 's/.*{//'
} | sort >"$dir/needed"
sed -n 's/^CapabilityBoundingSet=//p' "$unit" | tr ' ' '\n' | sort >"$dir/given"
diff -u "$dir/needed" "$dir/given" >&2 || fail "$unit: CapabilityBoundingSet is not what agent/worker/sandbox.cpp keeps, SETPCAP and KILL"

[ "$failures" = 0 ] && echo "amilift.service: $(wc -l <"$dir/opened") device nodes, $(wc -l <"$dir/needed") capabilities"
exit "$failures"
