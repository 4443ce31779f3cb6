# Shared by build-helper and build-source; sourced, never run.  SPDX-License-Identifier: Apache-2.0
#
# How an image is made:
#   * The script moves itself into a private mount namespace, so that no mount of a build is ever visible on the host
#     and none outlives the script, however it ends.
#   * Every product is built under a work directory and renamed into place when it is complete. A product's name holds
#     the hash of everything that it was made from; a product that exists is therefore never rebuilt.
#   * One lock per product: of two scripts that want the same image at once, one builds and the other waits for it.

# shellcheck shell=bash
set -euo pipefail
shopt -s inherit_errexit
# The tools of a build answer in English, with the caller's locale not yet generated in the tree.
export LC_ALL=C.UTF-8
# Administration tools live in sbin, which an unprivileged user's PATH (kept by some sudo set-ups) does not name.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
umask 022

# The Debian release of an image; build-source can take another.
suite=bookworm
# How long to wait for another build of the same product, in seconds.
readonly lock_seconds=1800
# Images of one kind that are kept; older ones are removed when a new one is made.
readonly keep_images=4

images_dir=${BASH_SOURCE[0]%/*}
images_dir=$(cd -- "$images_dir" && pwd)
readonly images_dir
readonly cache=${AMILIFT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/amilift}/images
readonly program=${0##*/}

say() { printf '%s: %s\n' "$program" "$*" >&2; }
die() {
    say "$*"
    exit 1
}

# need COMMAND PACKAGE: stop with the name of the Debian package when a tool is missing.
need() { command -v "$1" >/dev/null || die "'$1' is not installed; packaging/setup test installs it (package $2)"; }

# enter_private_namespace ARGS...: run the calling script again with mounts of its own.
enter_private_namespace() {
    [[ ${AMILIFT_IMAGES_NAMESPACE:-} == "$$" ]] && return
    ((EUID == 0)) || die "must run as root: it mounts filesystems and makes device nodes; use sudo"
    need unshare util-linux
    # exec keeps the process id all the way, which is how the second run knows that it is one.
    export AMILIFT_IMAGES_NAMESPACE=$$
    exec unshare --mount --propagation private -- "$0" "$@"
}

work=
# make_work: create `work`, a directory that vanishes with the script.
make_work() {
    mkdir -p -- "$cache"
    local old works
    # From here to the lock below a directory could look like one that was left behind.
    exec {works}>"$cache/works.lock"
    flock "$works"
    for old in "$cache"/work.*; do
        # A build that was killed leaves its work behind; its lock is free, a running build's lock is not.
        if [[ -d $old ]]; then
            flock --nonblock --no-fork "$old" rm -rf --one-file-system -- "$old" || true
        fi
    done
    work=$(mktemp -d -- "$cache/work.XXXXXX")
    exec {work_lock}<"$work"
    flock "$work_lock"
    exec {works}>&-
    trap remove_work EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

remove_work() {
    local mounted
    # Deepest first; the namespace would drop them as well, but rm must not walk into them.
    while read -r mounted; do
        umount --lazy -- "$mounted" || true
    done < <(awk -v work="$work/" 'index($5, work) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
    rm -rf --one-file-system -- "$work"
}

# hash_of ITEM...: the first 16 hex digits of the SHA-256 over files (recursively in folders) and words.
hash_of() {
    local item
    for item in "$@"; do
        if [[ -e $item ]]; then
            # Paths relative to the folder: the same recipe in another checkout has the same key.
            (cd -- "$(dirname -- "$item")" && find "$(basename -- "$item")" -type f -exec sha256sum {} + | LC_ALL=C sort -k 2)
        else
            printf '%s\n' "$item"
        fi
    done | sha256sum | cut -c 1-16
}

# once FILE FUNCTION ARGS...: make FILE by `FUNCTION PART ARGS...`, unless it exists.
once() {
    local file=$1 function=$2 lock
    shift 2
    exec {lock}>"$file.lock"
    if ! flock --nonblock "$lock"; then
        say "another build makes ${file##*/}, waiting for it"
        flock --timeout "$lock_seconds" "$lock" ||
            die "another build has held '$file.lock' for $lock_seconds s; end it (fuser '$file.lock'), then try again"
    fi
    if [[ ! -e $file ]]; then
        local start=$SECONDS part=$work/${file##*/}
        say "making ${file##*/}"
        "$function" "$part" "$@"
        mv -- "$part" "$file"
        say "made ${file##*/} in $((SECONDS - start)) s"
    fi
    touch -- "$file"
    exec {lock}>&-
}

# forget_old PATTERN: remove all but the most recently used files of the cache that match.
forget_old() {
    local file
    # shellcheck disable=SC2086  # the pattern must expand
    find "$cache" -maxdepth 1 -type f -name "$1" -printf '%T@ %p\n' | sort -rn | tail -n +$((keep_images + 1)) |
        cut -d ' ' -f 2- | while read -r file; do rm -f -- "$file" "$file.lock"; done
}

# The Debian mirror: the one that this machine's apt uses, else Debian's own.
debian_mirror() {
    local mirror=${AMILIFT_DEBIAN_MIRROR:-}
    if [[ -z $mirror ]] && command -v apt-get >/dev/null; then
        # shellcheck disable=SC2016  # the $(...) belong to apt
        mirror=$(apt-get indextargets --format '$(SITE) $(ORIGIN) $(RELEASE)' 'Created-By: Packages' 2>/dev/null |
            awk '$2 == "Debian" && $3 !~ /-/ { print $1; exit }')
    fi
    printf '%s\n' "${mirror:-http://deb.debian.org/debian}"
}

# use_apt_proxy: what apt was told about proxies holds for debootstrap and for the apt in the tree as well.
use_apt_proxy() {
    local proxy=
    command -v apt-config >/dev/null && eval "$(apt-config shell proxy Acquire::http::Proxy)"
    if [[ -n $proxy && -z ${http_proxy:-} ]]; then
        export http_proxy=$proxy
    fi
}

# log_or_die LOG COMMAND...: run quietly; on failure show the end of what it said.
log_or_die() {
    local log=$1
    shift
    if ! "$@" >"$log" 2>&1 </dev/null; then
        tail -n 30 -- "$log" | sed 's/^/    /' >&2
        die "'$*' failed; the last lines of its output are above"
    fi
}

# base_tree TAR: a minimal Debian. No documentation or translations: nobody reads them in a test guest.
base_tree() {
    local tree=$work/base mirror log=$work/debootstrap.log
    need debootstrap debootstrap
    mirror=$(debian_mirror)
    mkdir -p -- "$tree" "$cache/debs"
    log_or_die "$log" debootstrap --variant=minbase --cache-dir="$cache/debs" "$suite" "$tree" "$mirror"
    printf 'deb %s %s main\n' "$mirror" "$suite" >"$tree/etc/apt/sources.list"
    cat >"$tree/etc/apt/apt.conf.d/90build" <<'CONF'
APT::Install-Recommends "false";
APT::Install-Suggests "false";
Acquire::Languages "none";
Acquire::Retries "3";
CONF
    cat >"$tree/etc/dpkg/dpkg.cfg.d/90build" <<'CONF'
# The tree is thrown away unless its build succeeds: no need to wait for a disk.
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/lintian/*
CONF
    # Packages must not start services in a tree that does not run.
    printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
    chmod 755 "$tree/usr/sbin/policy-rc.d"
    rm -rf -- "$tree"/usr/share/{doc,man,info,locale,lintian}/*
    pack_tree "$tree" "$1"
}

# clean_tree TREE: drop what a build leaves behind.
clean_tree() {
    rm -rf -- "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin "$1"/var/cache/apt/archives/*.deb "$1"/var/log/*.log \
        "$1"/var/log/apt "$1"/tmp/*
}

# tree_as_tar TREE: a tar archive on stdout, without holes.
tree_as_tar() { tar --create --directory "$1" --numeric-owner --xattrs --acls --one-file-system .; }

# pack_tree TREE TAR, then drop the tree.
pack_tree() {
    clean_tree "$1"
    tree_as_tar "$1" >"$2"
    rm -rf --one-file-system -- "$1"
}

# unpack_tree TAR TREE; - is stdin.
unpack_tree() {
    mkdir -p -- "$2"
    tar --extract --file "$1" --directory "$2" --numeric-owner --xattrs --acls --same-permissions
}

# open_tree TREE: make ready for in_tree (own /proc, name servers, a package cache shared by all builds).
open_tree() {
    mkdir -p -- "$cache/debs/partial"
    mount -t proc -o nosuid,nodev,noexec proc "$1/proc"
    mount --bind "$cache/debs" "$1/var/cache/apt/archives"
    rm -f -- "$1/etc/resolv.conf"
    cp -- /etc/resolv.conf "$1/etc/resolv.conf"
}

close_tree() {
    umount -- "$1/var/cache/apt/archives" "$1/proc"
    : >"$1/etc/resolv.conf"
}

# in_tree TREE COMMAND...: run a command of the tree in the tree, with nothing of our environment but the proxy.
in_tree() {
    local tree=$1
    shift
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TERM=dumb DEBIAN_FRONTEND=noninteractive \
        ${http_proxy:+"http_proxy=$http_proxy"} ${https_proxy:+"https_proxy=$https_proxy"} ${no_proxy:+"no_proxy=$no_proxy"} \
        chroot "$tree" "$@"
}

# apt_in_tree TREE ARGS...: apt-get. Builds share the package cache and apt does not wait for its lock, so they take turns.
apt_in_tree() {
    local tree=$1 turn
    shift
    exec {turn}>"$cache/debs.lock"
    flock --timeout "$lock_seconds" "$turn" || die "another build has used '$cache/debs' for $lock_seconds s; end it"
    log_or_die "$work/apt.log" in_tree "$tree" apt-get -q -y "$@"
    exec {turn}>&-
}

base_tar=
# make_base: the minimal tree of `suite` that the images start from.
make_base() {
    use_apt_proxy
    base_tar=$cache/base-$suite-$(hash_of "$images_dir/common.bash" "$(debian_mirror)").tar
    once "$base_tar" base_tree
}

# copy_overlay FOLDER TREE: the recipe's own files, owned by root whoever owns the checkout.
copy_overlay() {
    tar --create --directory "$1" --owner=0 --group=0 --numeric-owner --mode='u=rwX,go=rX' . |
        tar --extract --directory "$2" --keep-directory-symlink --no-overwrite-dir
}

# prune_modules DIRECTORY: drop the drivers that no EC2 instance has (a third of the tree), keep every filesystem.
prune_modules() {
    local kernel=${1:?}/kernel drivers=${1:?}/kernel/drivers
    rm -rf -- "${drivers:?}"/{comedi,infiniband,media,gpu,hid,input,soundwire,cxl,uio,vfio,pcmcia,usb,staging,iio,hv,thunderbolt} \
        "$drivers"/net/{wireless,wwan} "$drivers"/net/ethernet/{mellanox,broadcom,chelsio,netronome,google,microsoft,qlogic,cavium} \
        "$kernel"/sound "$kernel"/net/{bluetooth,wireless,mac80211,sctp,tipc,openvswitch} "$kernel"/arch/x86/kvm
}
