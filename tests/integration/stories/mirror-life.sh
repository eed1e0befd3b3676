# The life of a cluster while hosts write: a third node comes, a node gets another address, one another name, all are
# restarted one by one as for an update, one leaves for good. Nothing acknowledged is lost on the way.
. "$HERE/cluster.sh"

peers() # of node N, all others of those named: peers N M...
{
    local n=$1 m list=
    shift
    for m; do [ "$m" = "$n" ] || list+="${list:+ }${NAMES[$m]}=${RPC[$m]}"; done
    printf '%s' "$list"
}
NAMES=(- n1 n2 n3)
# start N M...: node N in a cluster of these.
start() { member_start "$1" "PSTORAGE_NODE_NAME=${NAMES[$1]}" "PSTORAGE_PEERS=$(peers "$@")"; }

SEED=0 LOAD=
# load_begin N: writes to volume vol at node N until the node goes away.
load_begin()
{
    SEED=$((SEED + 1))
    # The program itself: it is told to end.
    background load.txt "$HERE/durability" load --uri "$(uri "$1" vol)" --journal journal --writes 1000000 --depth 8 \
        --seconds 600 --survive --seed "$SEED"
    LOAD=$PID
    writes_go_on "$1" "at the load's begin"
}
# load_end N: it ended because its node went; all that it was told is durable is at node N.
load_end()
{
    reap "$LOAD" || fail "the load failed: $(cat load.txt)"
    until_true 20 opens "$1" vol || fail "n$1 does not serve vol after 20 s"
    durability check --uri "$(uri "$1" vol)" --journal journal --durable --atomic
}
counts() # LEADER N: and nothing else is about to be changed
{
    member_has "$1" "${NAMES[$2]}" role sync state "in sync" pod.serving true pod.changing false
}
# follows_beyond N BATCH: it takes part in what is written now.
follows_beyond()
{
    member_has "$1" "${NAMES[$1]}" pod.role following pod.waits_for "" && [ "$(pod_field "$1" log_end)" -gt "$2" ]
}
# restart N LEADER M...: stops node N and starts it in a cluster of these.
restart()
{
    local n=$1 leader=$2 end
    shift 2
    member_stop "$n"
    # Hosts write: what is beyond this was sent to the new process. Until it was, the leader may yet take the old one for in sync.
    end=$(pod_field "$leader" log_end)
    start "$n" "$@"
    until_true 60 follows_beyond "$n" "$end" ||
        fail "${NAMES[$n]} does not follow beyond batch $end after 60 s: $(on "$n" pod show; on "$leader" pod show)"
    until_true 60 counts "$leader" "$n" || fail "${NAMES[$n]} is not in sync after 60 s: $(on "$leader" pod show)"
}
# ordered COMMAND...: an order to the leader that a node which is about to be let in again may yet make it refuse.
ordered()
{
    until_true 60 settled "$@" || fail "refused for 60 s: $*: $(cat order.txt)"
    [ -z "$REFUSAL" ] || fail "refused: $*: $REFUSAL"
}
settled()
{
    REFUSAL=
    "$@" >order.txt 2>&1 && return
    ! grep -q "is not in sync" order.txt || return 1
    REFUSAL=$(cat order.txt)
}
moves() # FROM TO: the pod, planned, under the load at FROM
{
    # A node that was back before it was missed may be removed yet, and let in again.
    ordered on "$1" pod switchover default "${NAMES[$2]}"
    until_true 60 serves "$2" || fail "${NAMES[$2]} does not lead after the switchover"
    writes_go_on "$2" "after the pod moved from under the host at ${NAMES[$1]}"
    kill -TERM "$LOAD"
    load_end "$2"
}

mediator_start
start 1 1 2
start 2 1 2
until_true 60 in_sync 1 2 || fail "the pod is not formed after 60 s"
on 1 volume create vol --size 64M

say "== a third node comes: the others learn of it one after the other, then it is added by itself, under load"
load_begin 1
restart 2 1 1 2 3
moves 1 2
load_begin 2
restart 1 2 1 2 3
start 3 1 2 3
until_true 60 in_sync 2 3 || fail "n3 is not in sync after 60 s: $(on 2 pod show)"
writes_go_on 2 "after n3 came"

say "== a node gets another address"
member_stop 3
CLUSTER_PORTS[7]=$(free_ports 1)
RPC[3]=tcp://127.0.0.1:${CLUSTER_PORTS[7]}
start 3 1 2 3
restart 1 2 1 2 3
moves 2 1
load_begin 1
restart 2 1 1 2 3
until_true 60 in_sync 1 3 || fail "n3 is not in sync after 60 s: $(on 1 pod show)"

say "== a node gets another name"
member_stop 3
NAMES[3]=n3new
start 3 1 2 3
restart 2 1 1 2 3
moves 1 2
load_begin 2
restart 1 2 1 2 3
until_true 60 counts 2 3 || fail "n3new is not in sync after 60 s: $(on 2 pod show)"

say "== a node leaves for good"
on 2 pod remove-member default n1
left() { on 2 --json pod show | /usr/bin/python3 -c '
import json, sys
sys.exit("n1" in (m["node"] for m in json.load(sys.stdin)["members"]))'; }
until_true 60 left || fail "n1 is still a member after 60 s: $(on 2 pod show)"
member_stop 1
writes_go_on 2 "after n1 left"
say "== and the others still fail over"
killed=$(now_ms)
member_kill 2
resumes 3 vol "$killed"
load_end 3
