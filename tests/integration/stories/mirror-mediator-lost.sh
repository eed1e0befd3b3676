# The mediator is lost first: while both nodes are well, hosts notice nothing, and the nodes agree on the one that may go on
# alone. A node that is lost then does not stop the pod. A member that has given its right away waits for the heir.
. "$HERE/cluster.sh"

cluster_start
on 1 volume create vol --size 64M
durability load --uri "$(uri 1 vol)" --journal journal --writes 500 --depth 8 --seed 1
EPOCH=$(pod_field 1 epoch)

say "== the mediator is killed: hosts notice nothing, and n1 may go on alone"
mediator_kill
lost() { [ "$(pod_field 1 mediator_ok)" = false ]; }
until_true 30 lost || fail "n1 does not notice that the mediator is gone"
elected() { on 1 why default | grep -q "n1 may go on alone: all 2 in sync have agreed"; }
until_true 10 elected || fail "n1 was not given the right to go on alone: $(on 1 why default)"
bound() { on 2 why default | grep -q "n1 may go on alone in epoch"; }
until_true 5 bound || fail "n2 does not tell that it is bound: $(on 2 why default)"
durability load --uri "$(uri 1 vol)" --journal journal2 --writes 2000 --depth 8 --seed 2
durability check --uri "$(uri 1 vol)" --journal journal2 --durable --atomic
in_sync 1 2 || fail "the mirror changed without the mediator"
same "$(pod_field 1 epoch)" "$EPOCH"
on 1 status | grep -q "mediator $MEDIATOR does not answer" || fail "status does not tell"

say "== then n2 is killed: n1 goes on without anybody"
member_kill 2
alone() { [ "$(pod_field 1 epoch)" -gt "$EPOCH" ] && serves 1; }
until_true 10 alone || fail "n1 does not go on alone: $(on 1 pod show)"
durability check --uri "$(uri 1 vol)" --journal journal2 --durable --atomic
durability load --uri "$(uri 1 vol)" --journal journal3 --writes 2000 --depth 8 --seed 3

say "== n2 is back, still without the mediator: in sync again"
member_start 2
until_true 30 in_sync 1 2 || fail "n2 is not in sync again after 30 s: $(on 1 pod show)"
EPOCH=$(pod_field 1 epoch)

say "== the mediator is back: it is told what is in force, and rules again"
mediator_start
registered() { on 1 why default | grep -q "the mediator holds epoch $EPOCH"; }
until_true 30 registered || fail "n1 does not register what is in force: $(on 1 why default)"
free() { on 2 why default | grep -q "the right to go on alone that n1 had is over"; }
until_true 10 free || fail "n2 is still bound: $(on 2 why default)"
member_kill 1
until_true 10 serves 2 || fail "n2 does not take over: $(on 2 pod show)"
durability check --uri "$(uri 2 vol)" --journal journal3 --durable --atomic
member_start 1
until_true 30 in_sync 2 1 || fail "n1 is not in sync again after 30 s: $(on 2 pod show)"

say "== gone again, and the heir with it: the other one waits for it, whatever becomes of the mediator"
mediator_kill
elected2() { on 2 why default | grep -q "n2 may go on alone: all 2 in sync have agreed"; }
until_true 30 elected2 || fail "n2 was not given the right to go on alone: $(on 2 why default)"
member_kill 2
waiting() { on 1 --json pod show | field waits_for | grep -q "n2, which was given the right to go on alone"; }
until_true 10 waiting || fail "n1 does not tell what it waits for: $(on 1 pod show)"
mediator_start
sleep 3
waiting || fail "n1 does not wait any more: $(on 1 pod show)"
member_start 2
# With the heir back the mediator rules again, and either may lead.
one_serves() { serves 1 || serves 2; }
until_true 20 one_serves || fail "no node serves: $(on 1 pod show)"
both() { in_sync 1 2 || in_sync 2 1; }
until_true 30 both || fail "the mirror is not in sync after 30 s: $(on 1 pod show)"
serves 1 && LEADS=1 || LEADS=2
durability check --uri "$(uri $LEADS vol)" --journal journal3 --durable --atomic
