# The steps that ./demo, ./check and .ci/run share; sourced, never run.  SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
set -euo pipefail
shopt -s inherit_errexit

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
readonly root
readonly program=${0##*/}
# Release, with g++: what the packages are made of.
readonly build=$root/build
# With clang, the sanitizers and the fuzzers.
readonly sanitized=$root/build-sanitize
export AMILIFT_CACHE=${AMILIFT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/amilift}

say() { printf '%s: %s\n' "$program" "$*" >&2; }
die() {
    say "$*"
    exit 1
}

# as_root COMMAND...: as root, through sudo when need be, with the cache of the caller.
as_root() {
    if ((EUID == 0)); then
        "$@"
    else
        command -v sudo >/dev/null || die "'$1' must run as root (loop devices, mounts, virtual machines) and there is no sudo"
        sudo --preserve-env=AMILIFT_CACHE,AMILIFT_DEBIAN_MIRROR,AMILIFT_PYTHON,AMILIFT_HELPER_IMAGE,AMILIFT_HELPER_KERNEL,AMILIFT_SOURCE_IMAGE,http_proxy,https_proxy,no_proxy "$@"
    fi
}

# careful COMMAND...: run in a subshell that stops at its first error, and put its exit code into `status`. Bash would
# switch set -e off within a function that is called as a condition.
status=0
careful() {
    set +e
    (
        set -e
        "$@"
    )
    status=$?
    set -e
}

# step WHAT COMMAND...: run with the output in a log; when it fails, show the log's end and stop.
step() {
    local what=$1 log start=$SECONDS
    shift
    mkdir -p -- "$build/logs"
    log=$build/logs/${what//[^a-zA-Z0-9]/-}.log
    say "$what ..."
    careful "$@" >"$log" 2>&1
    if ((status)); then
        tail -n 40 -- "$log" | sed 's/^/    /' >&2
        die "$what: failed after $((SECONDS - start)) s; the whole output is in $log"
    fi
    say "$what: done in $((SECONDS - start)) s"
}

# set_up GROUP...: packages and the Python environment; sets `python` and AMILIFT_PYTHON.
python=
set_up() {
    local answer
    answer=$("$root/packaging/setup" "$@") || die "setup failed; its reason is above"
    python=${answer##*venv=}/bin/python
    export AMILIFT_PYTHON=$python
}

# configure DIRECTORY CMAKE-ARGUMENT...: as g++ and ninja unless the arguments say otherwise; ccache when there.
configure() {
    local directory=$1 launcher=()
    shift
    command -v ccache >/dev/null && launcher=(-D CMAKE_CXX_COMPILER_LAUNCHER=ccache)
    cmake -S "$root" -B "$directory" -G Ninja -D CMAKE_CXX_COMPILER=g++ "${launcher[@]}" "$@"
}

# build_release [TARGET]: all targets, tests included, unless one is named.
build_release() {
    configure "$build" -D CMAKE_BUILD_TYPE=Release
    cmake --build "$build" ${1:+--target "$1"}
}

# build_sanitized [TARGET]: all targets, tests and fuzzers included, unless one is named.
build_sanitized() {
    # -O1 and line numbers are what the sanitizers need for speed and for their reports.
    configure "$sanitized" -D CMAKE_BUILD_TYPE=None -D CMAKE_CXX_FLAGS='-O1 -gline-tables-only' -D CMAKE_CXX_COMPILER=clang++-19 \
        -D AMILIFT_SANITIZE=ON
    cmake --build "$sanitized" ${1:+--target "$1"}
}

# make_packages: build/packages/*.deb, unless they are newer than all that goes into them.
make_packages() {
    local stamp=$build/packages/complete
    if [[ -e $stamp && -z $(find "$build/amilift" "$build/CPackConfig.cmake" "$root"/{units,conf,packaging,docs} \
        -newer "$stamp" -print -quit) ]]; then
        return 0
    fi
    rm -rf -- "$build/packages"
    (cd -- "$build" && cpack -G DEB -B "$build/packages")
    rm -rf -- "$build/packages/_CPack_Packages"
    touch -- "$stamp"
}

# make_source ARGUMENT... and make_helper: the images of the Local EC2. They set `source_image`, `helper_image` and
# `helper_kernel`. The ARGUMENTs are build-source's.
source_image=
make_source() {
    local answer
    answer=$(as_root "$root/tests/cloud/images/build-source" "$@")
    source_image=${answer##*source=}
}

helper_image='' helper_kernel=''
make_helper() {
    local authority answer package packages=()
    authority=$("$python" "$root/tests/cloud/make-ca" "$AMILIFT_CACHE/ca")
    for package in "$build"/packages/*.deb; do packages+=(--deb "$package"); done
    answer=$(as_root "$root/tests/cloud/images/build-helper" "${packages[@]}" --ca "$authority")
    helper_image=$(sed -n 's/^helper=//p' <<<"$answer")
    helper_kernel=$(sed -n 's/^kernel=//p' <<<"$answer")
}

# run_demo ARGUMENT...: the conversion of an AMI from its launch to the boot of the result.
run_demo() {
    as_root "$python" "$root/tests/cloud/demo.py" --helper "$helper_image" --kernel "$helper_kernel" --source "$source_image" "$@"
}

gates=() failures=0 failed_logs=()
# gate WHAT COMMAND...: run with its output shown and kept, remember how it ended, and go on. `failures` counts the bad ends.
gate() {
    local what=$1 start=$SECONDS log
    shift
    log=$root/build-logs/$program/${what//[^a-zA-Z0-9]/-}.log
    mkdir -p -- "${log%/*}"
    printf '\n==== %s\n' "$what"
    careful show_and_keep "$log" "$@"
    if ((status == 0)); then
        gates+=("$(printf 'ok      %4d s  %s' $((SECONDS - start)) "$what")")
    else
        gates+=("$(printf 'FAILED  %4d s  %s (exit code %d)' $((SECONDS - start)) "$what" "$status")")
        failures=$((failures + 1))
        failed_logs+=("$log")
    fi
}
show_and_keep() {
    local log=$1
    shift
    "$@" 2>&1 | tee -- "$log"
}

# verdict: what the failed gates complained of, then the closing lines; the exit code of the whole.
verdict() {
    local log
    for log in "${failed_logs[@]}"; do
        printf '\n==== from %s\n' "${log#"$root"/}"
        { grep -aE 'error:|warning:|FAILED|Failed|SKIPPED|FOUND|does not hold|Base64:' -- "$log" || tail -n 20 -- "$log"; } | tail -n 20
    done
    printf '\n==== %s\n' "$program"
    printf '%s\n' "${gates[@]}"
    if ((failures)); then
        printf '%s: %d of %d gates failed\n' "$program" "$failures" "${#gates[@]}"
        return 1
    fi
    printf '%s: all %d gates passed\n' "$program" "${#gates[@]}"
}
