#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# packaging/deb: what the scripts of amilift-helper ask of systemd when it is installed, upgraded and removed. They run
# as copies that look for systemd and for amilift's state below a directory of this test, with a systemctl that records.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/bin" "$dir/scripts" "$dir/state"
cat >"$dir/bin/systemctl" <<'FAKE'
#!/bin/sh
echo "$*" >>"$CALLS"
[ "$*" != "$REFUSED" ]
FAKE
printf '#!/bin/sh\n' >"$dir/bin/journalctl"
chmod +x "$dir/bin/systemctl" "$dir/bin/journalctl"
export PATH="$dir/bin:$PATH" CALLS="$dir/calls" REFUSED=nothing
for script in postinst prerm postrm; do
    sed -e "s|/run/systemd/system|$dir/running|" -e "s|/var/lib/amilift|$dir/state/amilift|" \
        "packaging/deb/$script" >"$dir/scripts/$script"
done
# Else a test that passes would mean nothing: the real paths of this machine would be looked at.
if grep -rE '/(run/systemd|var/lib)' "$dir/scripts"; then
    echo "a script names a path that this test does not replace" >&2
    exit 1
fi

failures=0 cases=0
# expect WANTED-EXIT-CODE WANTED-CALLS SCRIPT ARGUMENT...: calls in one line, with a semicolon behind each.
expect() {
    wanted_code=$1 wanted=$2 script=$3
    shift 3
    : >"$CALLS"
    code=0
    sh "$dir/scripts/$script" "$@" 2>"$dir/err" || code=$?
    calls=$(tr '\n' ';' <"$CALLS")
    cases=$((cases + 1))
    if [ "$code" != "$wanted_code" ] || [ "$calls" != "$wanted" ]; then
        echo "$script $*: exit $code with '$calls', expected $wanted_code with '$wanted': $(cat "$dir/err")" >&2
        failures=$((failures + 1))
    fi
}

enable='enable amilift.service amilift-deadline.timer;'
disable='disable amilift.service amilift-deadline.timer;'
stop='stop amilift.service;stop amilift-deadline.timer;stop amilift-deadline.service;'

# No systemd runs: an image is being made.
expect 0 "$enable" postinst configure ''
expect 0 "$disable" prerm remove
expect 0 '' postrm remove

mkdir "$dir/running"
expect 0 "$enable" postinst configure ''
# Nothing may be left that ticks when the files are gone, and nothing is removed while something ticks.
expect 0 "$stop$disable" prerm remove
expect 0 "$stop$disable" prerm deconfigure in-favour amilift 0.2.0
expect 0 'daemon-reload;' postrm remove
REFUSED='stop amilift-deadline.timer'
expect 1 'stop amilift.service;stop amilift-deadline.timer;' prerm remove
REFUSED=nothing
expect 0 "$enable" postinst abort-remove
expect 0 "$enable" postinst abort-deconfigure in-favour amilift 0.2.0
# An upgrade: the timer ticks on, and what it reads next is the new version.
expect 0 '' prerm upgrade 0.2.0
expect 0 '' postrm upgrade 0.2.0
expect 0 "$enable" postinst configure 0.1.0
expect 0 '' prerm failed-upgrade 0.1.0 0.2.0
expect 0 '' postrm failed-upgrade 0.1.0 0.2.0
expect 0 '' postinst abort-upgrade 0.2.0

mkdir "$dir/state/amilift" "$dir/state/other"
: >"$dir/state/amilift/flow.json"
expect 0 'daemon-reload;' postrm remove
[ -e "$dir/state/amilift/flow.json" ] || { echo 'a removal took the record' >&2; failures=$((failures + 1)); }
expect 0 '' postrm purge
[ ! -e "$dir/state/amilift" ] || { echo 'a purge left the record' >&2; failures=$((failures + 1)); }
[ -e "$dir/state/other" ] || { echo 'a purge took more than the record' >&2; failures=$((failures + 1)); }

[ "$failures" = 0 ] && echo "maintainer scripts: $cases cases passed"
exit "$failures"
