# What every script here needs: the repository's root, plain messages, one lock. Sourced, never run.
#
# Results go to stdout, so that a caller can read them; everything said to a person goes to stderr.

set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
tools_dir="${SYNCLINE_TOOLS_DIR:-$root/.tools}"
target_dir="${CARGO_TARGET_DIR:-$root/target}"

say() { printf '%s\n' "$*" >&2; }

die() {
    printf 'error: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 1
}

need() {
    command -v "$1" >/dev/null 2>&1 || die "$1 is missing." "$2"
}

# Runs a command while no other script holds the lock of that name. It excludes two scripts that
# install the same tool, or build into the same folder, at once.
locked() {
    local name="$1"
    shift
    mkdir -p "$tools_dir"
    if command -v flock >/dev/null 2>&1; then
        (
            flock 9
            "$@" 9>&-
        ) 9>"$tools_dir/$name.lock"
    else
        "$@"
    fi
}

# Runs a command silently; shows what it said only if it failed.
quietly() {
    local log status=0
    log="$(mktemp)"
    "$@" >"$log" 2>&1 || status=$?
    if [ "$status" -ne 0 ]; then
        cat "$log" >&2
    fi
    rm -f "$log"
    return "$status"
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
