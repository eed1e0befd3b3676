# Two nodes (a third where a story starts it) and a mediator on this machine, for stories; sourced by those that need them, after lib.sh.
# shellcheck shell=bash

# shellcheck disable=SC2207
CLUSTER_PORTS=($(free_ports 10))
MEDIATOR=tcp://127.0.0.1:${CLUSTER_PORTS[0]}
# Where they listen, by number: 0 is the mediator. A story may put them on machines of their own (network.sh).
ADDRESS=(127.0.0.1 127.0.0.1 127.0.0.1 127.0.0.1)
# enter N: leaves in $ENTER what runs a command on the machine of N.
enter() { ENTER=(); }
# By number of the node: 1, 2, 3.
RPC=(- "tcp://127.0.0.1:${CLUSTER_PORTS[1]}" "tcp://127.0.0.1:${CLUSTER_PORTS[2]}" "tcp://127.0.0.1:${CLUSTER_PORTS[7]}")
NBD_PORTS=(- "${CLUSTER_PORTS[3]}" "${CLUSTER_PORTS[4]}" "${CLUSTER_PORTS[8]}")
API_PORTS=(- "${CLUSTER_PORTS[5]}" "${CLUSTER_PORTS[6]}" "${CLUSTER_PORTS[9]}")
PIDS=(- - - -)
MEDIATOR_PID=
export PSTORAGE_ENDPOINT="${RPC[1]} ${RPC[2]}"

uri() { echo "nbd://${ADDRESS[$1]}:${NBD_PORTS[$1]}/$2"; }
# on N COMMAND...: pstorage, asking that node alone.
on()
{
    local n=$1
    shift
    PSTORAGE_ENDPOINT=${RPC[$n]} pstorage "$@"
}

mediator_start()
{
    enter 0
    background "$TMP/mediator.log" "${ENTER[@]}" env PSTORAGE_DATA_DIR="$TMP/mediator" PSTORAGE_MEDIATOR_LISTEN="$MEDIATOR" \
        pstorage-mediator
    MEDIATOR_PID=$PID
    until_true 30 listening "${CLUSTER_PORTS[0]}" || fail "the mediator does not listen after 30 s"
}
mediator_kill()
{
    kill -KILL "$MEDIATOR_PID"
    reap "$MEDIATOR_PID" || true
}

# member_command N [NAME=VALUE...]: leaves in $COMMAND what starts node N.
member_command()
{
    local n=$1 other=$((3 - $1))
    shift
    COMMAND=(env PSTORAGE_NODE_NAME="n$n" PSTORAGE_DATA_DIR="$TMP/n$n" PSTORAGE_RPC_LISTEN="${RPC[$n]}"
        PSTORAGE_NBD_LISTEN="${ADDRESS[$n]}:${NBD_PORTS[$n]}" PSTORAGE_NVME_LISTEN= PSTORAGE_API_PORT="${API_PORTS[$n]}"
        PSTORAGE_FLASH_DEVICES="file:$TMP/n$n/flash0,size=1G" PSTORAGE_MEMORY_BUDGET=256M
        PSTORAGE_CLUSTER_ENABLED=true PSTORAGE_PEERS="n$other=${RPC[$other]}" PSTORAGE_MEDIATOR="$MEDIATOR"
        "$@" pstoraged)
}
# It is started, not waited for.
member_start()
{
    local n=$1
    member_command "$@"
    enter "$n"
    background "$TMP/n$n.log" "${ENTER[@]}" "${COMMAND[@]}"
    PIDS[n]=$PID
}
member_kill()
{
    kill -KILL "${PIDS[$1]}"
    member_gone "$1"
}
member_gone()
{
    local status=0
    reap "${PIDS[$1]}" || status=$?
    [ "$status" -eq 137 ] || fail "n$1 ended by itself with status $status"
}
member_stop()
{
    kill -TERM "${PIDS[$1]}"
    reap "${PIDS[$1]}" || fail "n$1 ended with status $? when asked to stop"
}

# Of node N's view of the pod: pod_field N NAME
pod_field() { on "$1" --json pod show | field "$2"; }
serves() { [ "$(pod_field "$1" serving)" = true ]; }
# Whoever leads, into $LEADER.
find_leader()
{
    LEADER=
    local n
    for n in 1 2; do serves "$n" && LEADER=$n; done
    [ -n "$LEADER" ]
}
# in_sync N M: node N leads, and M counts as in sync.
in_sync()
{
    on "$1" --json pod show | /usr/bin/python3 -c '
import json, sys
pod = json.load(sys.stdin)
roles = {m["node"]: (m["role"], m["state"]) for m in pod["members"]}
sys.exit(not (pod["serving"] and roles[sys.argv[1]] == ("sync", "in sync")))' "n$2"
}
opens_rpc() { on "$1" status; }
opens() { nbdinfo --size "$(uri "$1" "$2")"; }
# When a load stopped the server, by its output.
stopped_at() { sed -n 's/^stopped at \([0-9]*\) ms$/\1/p' "$1"; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }

# A cluster that nobody gave a command: both nodes in sync, n1 leads.
cluster_start()
{
    mediator_start
    member_start 1 "$@"
    member_start 2 "$@"
    until_true 30 in_sync 1 2 || fail "the pod is not formed after 30 s"
}

# resumes N VOLUME SINCE_MS: waits until node N serves it, and tells how long that took.
resumes()
{
    # Any node passes requests on: that it opens the volume alone says little.
    until_true 20 serves "$1" || fail "n$1 does not lead after 20 s"
    until_true 20 opens "$1" "$2" || fail "n$1 does not serve $2 after 20 s"
    RESUMED_MS=$(($(now_ms) - $3))
    say "n$1 serves $2 after $RESUMED_MS ms"
}

# tells N KIND PATTERN: node N's story of the pod has such a decision.
tells()
{
    on "$1" why default >why.txt
    grep -Eq "epoch [0-9]+ +$2 +.*$3" why.txt || fail "n$1 does not tell '$2 … $3': $(cat why.txt)"
}
