# What the NBD scripts share; sourced by each of them.
#
# They run against any PStorage node: NBD_URI is nbd://HOST:PORT, `pstorage` is in PATH and knows its endpoint,
# TMP is a folder of the script's own. With NODE_PID they also look at the server's memory.
# shellcheck shell=bash
set -euo pipefail
: "${NBD_URI:?}" "${TMP:?}"
export LC_ALL=C
PATH=/usr/bin:/bin:/usr/sbin:/sbin:$PATH # before a Python that has no libnbd

say() { printf '== %s\n' "$*"; }
fail()
{
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}
same() { [ "$1" = "$2" ] || fail "${3:-values differ}: \"$1\", expected \"$2\""; }

# Each script uses volumes of its own name, so that they can share a node.
SCRIPT=$(basename "$0" .sh)
volume_create() { pstorage volume create "$1" --size "$2" >/dev/null; }

# py URI: Python on standard input, with a libnbd handle `h` (structured, base:allocation) for the URI.
py()
{
    {
        cat <<'PRELUDE'
import errno, nbd, os, random, sys
uri = sys.argv[1]
def connect(suffix="", **k):
    handle = nbd.NBD()
    handle.add_meta_context("base:allocation")
    handle.set_strict_mode(0)
    handle.connect_uri(uri + suffix)
    return handle
h = connect() if uri.count("/") > 2 and not uri.endswith("/") else None
def refused(name, function, *args, **keywords):
    try:
        function(*args, **keywords)
    except nbd.Error as error:
        assert error.errno == name, f"{error.errno}, expected {name}: {error.string}"
        return error.string
    raise AssertionError(f"succeeded, expected {name}")
PRELUDE
        cat
    } | /usr/bin/python3 - "$1"
}

# Resident kilobytes of the node.
resident() { awk '/^VmRSS/ {print $2}' "/proc/$NODE_PID/status"; }
