# The mediator is lost first: while both nodes are well, hosts notice nothing, and the nodes agree on the one that may go on
# alone. A node that is lost then does not stop the pod. A member that has given its right away waits for the heir.
. "$HERE/cluster.sh"

cluster_start
on 1 volume create vol --size 64M
durability load --uri "$(uri 1 vol)" --journal journal --writes 500 --depth 8 --seed 1
EPOCH=$(pod_field 1 epoch)

say "== the mediator is killed: hosts notice nothing, and n1 may go on alone"
mediator_kill
until_true 60 reaches_mediator 1 false || fail "n1 does not notice that the mediator is gone"
until_true 60 may_go_on_alone 1 || fail "n1 was not given the right to go on alone: $(on 1 why default)"
until_true 60 is_bound 2 1 || fail "n2 does not tell that it is bound: $(on 2 why default)"
durability load --uri "$(uri 1 vol)" --journal journal2 --writes 2000 --depth 8 --seed 2
durability check --uri "$(uri 1 vol)" --journal journal2 --durable --atomic
in_sync 1 2 || fail "the mirror changed without the mediator"
same "$(pod_field 1 epoch)" "$EPOCH"
shows 1 "mediator $MEDIATOR does not answer" status || fail "status does not tell"

say "== then n2 is killed: n1 goes on without anybody"
member_kill 2
alone() { [ "$(pod_field 1 epoch)" -gt "$EPOCH" ] && serves 1; }
until_true 60 alone || fail "n1 does not go on alone: $(on 1 pod show)"
durability check --uri "$(uri 1 vol)" --journal journal2 --durable --atomic
durability load --uri "$(uri 1 vol)" --journal journal3 --writes 2000 --depth 8 --seed 3

say "== n2 is back, still without the mediator: in sync again"
member_start 2
until_true 60 in_sync 1 2 || fail "n2 is not in sync again after 60 s: $(on 1 pod show)"
EPOCH=$(pod_field 1 epoch)

say "== the mediator is back: it is told what is in force, and rules again"
mediator_start
until_true 60 registered 1 "$EPOCH" || fail "n1 does not register what is in force: $(on 1 why default)"
until_true 60 is_free 2 1 || fail "n2 is still bound: $(on 2 why default)"
member_kill 1
until_true 60 serves 2 || fail "n2 does not take over: $(on 2 pod show)"
durability check --uri "$(uri 2 vol)" --journal journal3 --durable --atomic
member_start 1
until_true 60 in_sync 2 1 || fail "n1 is not in sync again after 60 s: $(on 2 pod show)"

say "== gone again, and the heir with it: the other one waits for it, whatever becomes of the mediator"
mediator_kill
until_true 60 may_go_on_alone 2 || fail "n2 was not given the right to go on alone: $(on 2 why default)"
# Else it would not wait, but ask the mediator.
until_true 60 is_bound 1 2 || fail "n1 does not tell that it is bound: $(on 1 why default)"
member_kill 2
waiting() { waits_for 1 "n2, which was given the right to go on alone"; }
until_true 60 waiting || fail "n1 does not tell what it waits for: $(on 1 pod show)"
mediator_start
until_true 20 reaches_mediator 1 true || fail "n1 does not reach the mediator"
# By its own clock: far longer than a member waits that may ask the mediator.
missed_ms() { on 1 --json pod show | /usr/bin/python3 -c '
import json, sys
print({m["node"]: m for m in json.load(sys.stdin)["members"]}["n2"]["heard_ms_ago"])'; }
reached=$(missed_ms)
missed_longer() { [ "$(missed_ms)" -gt $((reached + 3000)) ]; }
until_true 20 missed_longer || fail "n1 does not tell since when it misses n2: $(on 1 --json pod show)"
reaches_mediator 1 true || fail "n1 lost the mediator: $(on 1 pod show)"
waiting || fail "n1 does not wait any more: $(on 1 pod show)"
member_start 2
# With the heir back the mediator rules again, and either may lead.
until_true 20 find_leader || fail "no node serves: $(on 1 pod show)"
until_true 60 whole || fail "the mirror is not in sync after 60 s: $(on 1 pod show)"
durability check --uri "$(uri "$LEADER" vol)" --journal journal3 --durable --atomic
