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
# Tests are no benchmarks: how long hosts had to wait is printed, and this is far from it.
RESUME_LIMIT_MS=10000

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
    until_true 60 listening "${CLUSTER_PORTS[0]}" || fail "the mediator does not listen after 60 s"
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
    PIDS[$1]=-
}
member_stop()
{
    kill -TERM "${PIDS[$1]}"
    reap "${PIDS[$1]}" || fail "n$1 ended with status $? when asked to stop"
    PIDS[$1]=-
}
is_down() { [ "${PIDS[$1]}" = - ]; }

# shows N PATTERN COMMAND...: what node N says to that command has such a line.
shows()
{
    local n=$1 pattern=$2
    shift 2
    # Not through a pipe: grep leaves early, and a command that fails says nothing.
    on "$n" "$@" >shown.txt && grep -Eq -- "$pattern" shown.txt
}
# Of node N's view of the pod: pod_field N NAME
pod_field() { on "$1" --json pod show | field "$2"; }
# Both are false when node N does not answer.
serves() { [ "$(pod_field "$1" serving)" = true ]; }
serves_not() { [ "$(pod_field "$1" serving)" = false ]; }
waits_for() { [[ $(pod_field "$1" waits_for) == *"$2"* ]]; }
# reaches_mediator N true|false: so it says itself.
reaches_mediator() { [ "$(pod_field "$1" mediator_ok)" = "$2" ]; }
# Whoever leads, into $LEADER.
find_leader()
{
    LEADER=
    local n
    for n in 1 2; do serves "$n" && LEADER=$n; done
    [ -n "$LEADER" ]
}
# member_has N NODE FIELD VALUE [FIELD VALUE...]: so node N sees that member; N itself: FIELD of the pod is pod.FIELD.
member_has()
{
    on "$1" --json pod show | /usr/bin/python3 -c '
import json, sys
pod = json.load(sys.stdin)
member = {m["node"]: m for m in pod["members"]}.get(sys.argv[1], {})
seen = {**member, **{"pod." + name: value for name, value in pod.items()}}
wanted = zip(sys.argv[2::2], sys.argv[3::2])
sys.exit(not all(str(seen.get(name)).lower() == value for name, value in wanted))' "${@:2}"
}
# in_sync N M: node N leads, and M counts as in sync.
in_sync() { member_has "$1" "n$2" role sync state "in sync" pod.serving true; }
# One of both leads, into $LEADER, and the other one is in sync.
whole() { find_leader && in_sync "$LEADER" $((3 - LEADER)); }
# async_caught_up N NODE: that member never counts, and lacks nothing.
async_caught_up() { member_has "$1" "$2" role async lag_batches 0; }
opens_rpc() { on "$1" status; }
opens() { nbdinfo --size "$(uri "$1" "$2")"; }
# When a load stopped the server, by its output.
stopped_at() { sed -n 's/^stopped at \([0-9]*\) ms$/\1/p' "$1"; }
now_ms() { echo $(($(date +%s%N) / 1000000)); }

writes_at() { on "$1" --json metrics | field writes; }
writes_exceed() { [ "$(writes_at "$1")" -gt "$2" ]; }
# writes_go_on N WHEN: node N, which leads, takes hosts' writes, two hundred more.
writes_go_on()
{
    local before
    before=$(writes_at "$1")
    until_true 60 writes_exceed "$1" $((before + 200)) ||
        fail "n$1 takes no writes $2: $(on "$1" pod show; tail -n 3 load*.txt)"
}

# A cluster that nobody gave a command: both nodes in sync, n1 leads.
cluster_start()
{
    mediator_start
    member_start 1 "$@"
    member_start 2 "$@"
    until_true 60 in_sync 1 2 || fail "the pod is not formed after 60 s"
}

# resumes N VOLUME SINCE_MS: waits until node N serves it, and tells how long that took.
resumes()
{
    # Any node passes requests on: that it opens the volume alone says little.
    until_true 20 serves "$1" || fail "n$1 does not lead after 20 s"
    until_true 20 opens "$1" "$2" || fail "n$1 does not serve $2 after 20 s"
    RESUMED_MS=$(($(now_ms) - $3))
    say "n$1 serves $2 after $RESUMED_MS ms"
    [ "$RESUMED_MS" -le "$RESUME_LIMIT_MS" ] || fail "that is more than $RESUME_LIMIT_MS ms"
}

# why_has N PATTERN: node N's story of the pod has that.
why_has() { shows "$1" "$2" why default; }
# tells N KIND PATTERN: it has such a decision.
tells() { why_has "$1" "epoch [0-9]+ +$2 +.*$3" || fail "n$1 does not tell '$2 … $3': $(cat shown.txt)"; }
# While the mediator is lost: node N was chosen by both; N has agreed to HEIR; N is free again of what it gave to HEIR.
may_go_on_alone() { why_has "$1" "n$1 may go on alone: all 2 in sync have agreed"; }
is_bound() { why_has "$1" "n$2 may go on alone in epoch"; }
is_free() { why_has "$1" "the right to go on alone that n$2 had is over"; }
# registered N EPOCH: node N made the mediator know the epoch that came about without it.
registered() { why_has "$1" "the mediator holds epoch $2:"; }
