# What stories in the guest share. Sourced before each; see ../integration/lib.sh for the style.
# shellcheck shell=bash
set -eu
NODE_PID=

say() { printf '%s\n' "$*"; }
fail()
{
    printf 'FAILED: %s\n' "$*"
    exit 1
}
skip()
{
    printf 'skipped: %s\n' "$*"
    exit 77
}
at_end()
{
    local status=$?
    if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
        printf -- '---- kernel\n'
        dmesg | tail -n 15
        printf -- '---- node\n'
        tail -n 30 /tmp/node.log 2>/dev/null || true
    fi
    exit "$status"
}
trap at_end EXIT

# until_true SECONDS COMMAND...: tries until it succeeds.
until_true()
{
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}

# device SERIAL: the block device of the controller with this serial number, wherever the kernel put it.
device()
{
    local controller
    for controller in /sys/class/nvme/nvme*; do
        [ "$(tr -d ' ' <"$controller/serial")" = "$1" ] || continue
        local name
        for name in "$controller"/nvme*n1; do
            [ -e "$name" ] || continue
            name=${name##*/}
            # nvme0c0n1 is a path; nvme0n1 is the namespace.
            printf '/dev/%s\n' "$(sed 's/c[0-9]*n/n/' <<<"$name")"
            return 0
        done
    done
    return 1
}
controller() { local d; d=$(device "$1") && printf '%s\n' "${d%n1}"; }

# ---- the node

# shellcheck disable=SC2034 # for stories
NBD=nbd://127.0.0.1:10809
# node_command [NAME=VALUE...]: what starts the node, in $COMMAND.
node_command()
{
    COMMAND=(env PSTORAGE_DATA_DIR=/tmp/data PSTORAGE_NVME_LISTEN= PSTORAGE_MEMORY_BUDGET=128M PSTORAGE_NODE_NAME=guest "$@" pstoraged)
}
node_start()
{
    node_command "$@"
    "${COMMAND[@]}" >>/tmp/node.log 2>&1 </dev/null &
    NODE_PID=$!
    until_true 60 node_ready_or_dead || fail "the node does not answer after 60 s"
    kill -0 "$NODE_PID" 2>/dev/null || fail "the node ended while starting"
}
node_ready_or_dead() { ! kill -0 "$NODE_PID" 2>/dev/null || pstorage status; }
node_stop()
{
    kill -TERM "$NODE_PID"
    wait "$NODE_PID" || fail "the node ended with status $? when asked to stop"
}
node_gone()
{
    local status=0
    wait "$NODE_PID" || status=$?
    [ "$status" -eq 137 ] || fail "the node ended by itself with status $status"
}
node_kill()
{
    kill -KILL "$NODE_PID"
    node_gone
}

# ---- expectations

same() { [ "$1" = "$2" ] || fail "${3:-values differ}: \"$1\", expected \"$2\""; }
# refused PATTERN COMMAND...: it must fail and say something that matches.
refused()
{
    local pattern=$1 status=0 output
    shift
    output=$("$@" 2>&1) || status=$?
    [ "$status" -ne 0 ] || fail "succeeded, but should not: $*"
    [ "$status" -lt 124 ] || fail "crashed or hung (status $status): $* : $output"
    grep -Eiq -- "$pattern" <<<"$output" || fail "message does not match /$pattern/: $* : $output"
    say "refused as it should: $(tail -n 1 <<<"$output")"
}
# node_refuses PATTERN [NAME=VALUE...]: it must end by itself, with a message that matches.
node_refuses()
{
    local pattern=$1
    shift
    node_command "$@"
    refused "$pattern" "${COMMAND[@]}"
}
