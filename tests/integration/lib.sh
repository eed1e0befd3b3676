# What stories share: nodes of their own, clients, expectations. Sourced by `run` for each story.
#
# A story runs in a fresh $TMP with `set -eu`; it passes when it ends, fails when a command or an expectation
# fails, and is skipped by `skip WHY`. Processes started here are ended by their id when the story ends.
# shellcheck shell=bash

# System tools first: a Python from elsewhere has no libnbd.
export PATH="$BIN:/usr/sbin:/usr/bin:/sbin:/bin"
export LC_ALL=C
# The stories' nodes are set up here alone.
for variable in ${!PSTORAGE_@}; do unset "$variable"; done
HERE=$ROOT/tests/integration
STARTED=()
MOUNTED=()
NODE_PID=

say() { printf '%s\n' "$*"; }
fail()
{
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}
skip()
{
    printf 'skipped: %s\n' "$*"
    exit 77
}

# Runs when the story ends, however it ends.
cleanup()
{
    local status=$? pid log folder
    trap - EXIT
    # All of them first: one may be held by another one.
    for pid in "${STARTED[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    for pid in "${STARTED[@]}"; do wait "$pid" 2>/dev/null || true; done
    for folder in "${MOUNTED[@]}"; do umount "$folder" || true; done
    if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
        for log in "$TMP"/*.log; do
            [ -s "$log" ] || continue
            printf -- '---- last lines of %s\n' "${log##*/}"
            tail -n 40 "$log"
        done
    fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# background LOG COMMAND...: starts it, remembers it for the clean-up, and leaves its id in $PID.
background()
{
    local log=$1
    shift
    "$@" >>"$log" 2>&1 </dev/null &
    PID=$!
    STARTED+=("$PID")
}

# Waits for a process to end and gives its status. Reaped ids must not be signalled later.
reap()
{
    local status=0 pid kept=()
    wait "$1" 2>/dev/null || status=$?
    for pid in "${STARTED[@]}"; do [ "$pid" = "$1" ] || kept+=("$pid"); done
    STARTED=("${kept[@]}")
    return "$status"
}

# until_true SECONDS COMMAND...: tries until it succeeds.
until_true()
{
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.02
    done
}

# free_ports N: that many loopback TCP ports nobody listens on, outside the range that connections take theirs from: a
# node that starts again finds its own still free.
free_ports()
{
    /usr/bin/python3 -c '
import random, socket, sys
with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
    first, last = map(int, f.read().split())
held = []
for port in random.sample([p for p in range(1024, 65536) if not first <= p <= last], 1000):
    if len(held) == int(sys.argv[1]):
        break
    try:
        held.append(socket.create_server(("127.0.0.1", port)))
    except OSError:
        pass
print(*[s.getsockname()[1] for s in held])' "$1"
}

listening() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# ---- the node

# Where this story's node listens and keeps its data; the same over restarts.
read -r RPC_PORT NBD_PORT API_PORT < <(free_ports 3)
export PSTORAGE_ENDPOINT=tcp://127.0.0.1:$RPC_PORT
NBD=nbd://127.0.0.1:$NBD_PORT
DATA=$TMP/data
FLASH_SIZE=2G

# node_command [NAME=VALUE...] [-- FLAG...]: leaves in $COMMAND what starts the node with these settings.
node_command()
{
    COMMAND=(env PSTORAGE_DATA_DIR="$DATA" PSTORAGE_RPC_LISTEN="tcp://127.0.0.1:$RPC_PORT"
        PSTORAGE_NBD_LISTEN="127.0.0.1:$NBD_PORT" PSTORAGE_NVME_LISTEN= PSTORAGE_API_PORT="$API_PORT"
        PSTORAGE_FLASH_DEVICES="file:$DATA/flash0,size=$FLASH_SIZE" PSTORAGE_MEMORY_BUDGET=256M)
    while [ $# -gt 0 ] && [ "$1" != -- ]; do
        COMMAND+=("$1")
        shift
    done
    [ "${1-}" != -- ] || shift
    COMMAND+=(pstoraged "$@")
}

node_ready() { listening "$NBD_PORT" && pstorage status; }

# node_start [NAME=VALUE...] [-- FLAG...]: starts the node and waits until it serves.
node_start()
{
    node_command "$@"
    background "$TMP/node.log" "${COMMAND[@]}"
    NODE_PID=$PID
    until_true 60 node_ready_or_dead || fail "the node does not answer after 60 s"
    kill -0 "$NODE_PID" 2>/dev/null || fail "the node ended while starting"
}
node_ready_or_dead() { ! kill -0 "$NODE_PID" 2>/dev/null || node_ready; }

# A clean stop: it must end by itself, with status 0.
node_stop()
{
    kill -TERM "$NODE_PID"
    reap "$NODE_PID" || fail "the node ended with status $? when asked to stop"
}

# Power cord pulled, as far as a process can have that.
node_kill()
{
    kill -KILL "$NODE_PID"
    node_gone
}
# The node was killed, or is being killed by someone else; nothing but that may have ended it.
node_gone()
{
    local status=0
    reap "$NODE_PID" || status=$?
    [ "$status" -eq 137 ] || fail "the node ended by itself with status $status"
}

# ---- clients and expectations

durability() { "$HERE/durability" "$@"; }

# field NAME[.NAME...]: the value at the first place in the JSON on standard input whose path ends so.
field()
{
    /usr/bin/python3 -c '
import json, sys
def walk(value, wanted):
    inner = value
    for key in wanted:
        inner = inner.get(key, walk) if isinstance(inner, dict) else walk
    if inner is not walk:
        return inner
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        found = walk(child, wanted)
        if found is not walk:
            return found
    return walk
found = walk(json.load(sys.stdin), sys.argv[1].split("."))
if found is walk:
    sys.exit("no " + sys.argv[1])
print(str(found).lower() if isinstance(found, bool) else found)' "$1"
}

# py URI: runs the Python on standard input with a libnbd handle `h` connected to the URI, and `expect_errno`.
py()
{
    {
        cat <<'PRELUDE'
import errno, nbd, os, random, sys
h = nbd.NBD()
h.connect_uri(sys.argv[1])
def expect_errno(name, function, *args, **keywords):
    """The server must refuse with this errno; the connection must live on."""
    try:
        function(*args, **keywords)
    except nbd.Error as error:
        assert error.errno == name, f"{error.errno}, expected {name}: {error.string}"
        assert h.aio_is_ready(), "the connection did not survive the refusal"
        return
    raise AssertionError(f"succeeded, expected {name}")
PRELUDE
        cat
    } | /usr/bin/python3 - "$1"
}

same() { [ "$1" = "$2" ] || fail "${3:-values differ}: \"$1\", expected \"$2\""; }

# refused STATUS PATTERN COMMAND...: it must fail with this status (or any: -) and say something that matches.
refused()
{
    local want=$1 pattern=$2 status=0 output
    shift 2
    output=$(timeout 60 "$@" 2>&1 </dev/null) || status=$?
    [ "$status" -ne 0 ] || fail "succeeded, but should not: $*"
    [ "$status" -lt 124 ] || fail "crashed or hung (status $status): $* : $output"
    [ "$want" = - ] || [ "$status" -eq "$want" ] || fail "status $status, expected $want: $* : $output"
    grep -Eiq -- "$pattern" <<<"$output" || fail "message does not match /$pattern/: $* : $output"
    say "refused as it should: ${output##*$'\n'}"
}

# node_refuses PATTERN [NAME=VALUE...] [-- FLAG...]: it must end by itself, with a message that matches.
node_refuses()
{
    local pattern=$1
    shift
    node_command "$@"
    refused - "$pattern" "${COMMAND[@]}"
}

# real_tree DIR: a real file tree of some ten megabytes from this system.
real_tree()
{
    mkdir -p "$1"
    cp -a /usr/share/doc /usr/share/perl5 /usr/include "$1" 2>/dev/null || true
    cp -aL /usr/bin/b* "$1" 2>/dev/null || true
}

# ext4_image FILE TREE SIZE: a file system that holds the tree.
ext4_image()
{
    rm -f "$1"
    mke2fs -q -t ext4 -i 4096 -d "$2" -E root_owner=0:0 "$1" "$3" >/dev/null
}
