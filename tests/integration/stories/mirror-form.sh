# How a mirror comes about and mends itself: a disk that was emptied, a node that had data before, two that had, an
# asynchronous member, a peer that is not one.
. "$HERE/cluster.sh"

# fresh: everything is gone but the addresses.
fresh()
{
    local n
    for n in 1 2; do
        kill -KILL "${PIDS[$n]}" 2>/dev/null || true
        reap "${PIDS[$n]}" || true
        rm -rf "$TMP/n$n"
    done
    mediator_kill
    rm -rf "$TMP/mediator"
}
log_has() { grep -q "$2" "$TMP/n$1.log"; }

say "== an emptied disk is a new member: the former one is removed, the new one added and filled"
cluster_start
on 1 volume create vol --size 64M
durability load --uri "$(uri 1 vol)" --journal journal --writes 400 --depth 8 --seed 1
member_kill 2
until_true 60 serves 1 || fail "n1 does not go on alone"
rm -rf "$TMP/n2"
store_of_n2() { on 1 --json pod show | /usr/bin/python3 -c '
import json, sys
print(*(m["store"] for m in json.load(sys.stdin)["members"] if m["node"] == "n2"))'; }
former=$(store_of_n2)
member_start 2
until_true 60 log_has 1 'n2 has another, empty store' || fail "n1 does not tell why"
# What was in sync before is still a member then.
filled() { in_sync 1 2 && now=$(store_of_n2) && [ -n "$now" ] && [[ $now != *"$former"* ]]; }
until_true 60 filled || fail "the new disk is not in sync after 60 s: $(on 1 pod show)"
same "$(on 1 --json pod show | /usr/bin/python3 -c 'import json,sys; print(len(json.load(sys.stdin)["members"]))')" 2
durability check --uri "$(uri 1 vol)" --journal journal --durable --atomic
pstorage pod switchover default n2
until_true 60 serves 2 || fail "n2 does not serve after the switchover"
durability check --uri "$(uri 2 vol)" --journal journal --durable --atomic

say "== whom a person removes stays out, and comes back when added"
until_true 60 in_sync 2 1 || fail "n1 does not follow"
pstorage pod remove-member default n1
removed() { [ "$(pod_field 1 role)" = outside ]; }
until_true 60 removed || fail "n1 does not learn that it was removed: $(on 1 pod show)"
durability load --uri "$(uri 2 vol)" --journal journal --writes 200 --depth 8 --seed 2
refused 3 "no member on a node 'n1'" pstorage pod remove-member default n1
refused 1 'switch over to another one first' pstorage pod remove-member default n2
pstorage pod add-member default n1
until_true 60 in_sync 2 1 || fail "n1 is not in sync after it was added: $(on 2 pod show)"
durability check --uri "$(uri 2 vol)" --journal journal --durable --atomic
fresh

say "== asynchronous: the other member lags, never counts, and is never asked to lead"
mediator_start
member_start 1 PSTORAGE_REPLICATION_MODE=async
member_start 2 PSTORAGE_REPLICATION_MODE=async
until_true 60 serves 1 || fail "the pod is not formed after 60 s"
on 1 volume create vol --size 64M
rm -f journal
durability load --uri "$(uri 1 vol)" --journal journal --writes 400 --depth 8 --seed 3
until_true 20 async_caught_up 1 n2 || fail "n2 does not catch up: $(on 1 pod show)"
refused 1 'no other member is in sync' pstorage pod switchover default
fresh

say "== a node that stood alone with data founds the pod; the empty one is filled"
mediator_start
member_start 1 PSTORAGE_CLUSTER_ENABLED=false
until_true 60 opens_rpc 1 || fail "n1 does not answer"
on 1 volume create vol --size 64M
rm -f journal
durability load --uri "$(uri 1 vol)" --journal journal --writes 400 --depth 8 --seed 4
member_stop 1
member_start 1
member_start 2
until_true 60 in_sync 1 2 || fail "n2 is not in sync after 60 s: $(on 1 pod show)"
pstorage pod switchover default n2
until_true 60 serves 2 || fail "n2 does not serve after the switchover"
durability check --uri "$(uri 2 vol)" --journal journal --durable --atomic
fresh

say "== two nodes with data of their own: refused on both, and neither is harmed"
mediator_start
for n in 1 2; do
    member_start $n PSTORAGE_CLUSTER_ENABLED=false
    until_true 60 opens_rpc $n || fail "n$n does not answer"
    on $n volume create "vol$n" --size 64M
    member_stop $n
done
for n in 1 2; do member_start $n; done
for n in 1 2; do
    until_true 60 waits_for $n 'both hold data' || fail "n$n does not refuse: $(on $n pod show)"
    on $n volume show "vol$n"
done

say "== a node that is not among the peers is not spoken with"
member_stop 2
member_start 2 PSTORAGE_NODE_NAME=stranger
until_true 20 log_has 1 'this is stranger, not n2 as the client expects' || fail "n1 takes a stranger for n2"
until_true 20 log_has 1 'stranger is not among the peers of n1' || fail "n1 lets a stranger in"
