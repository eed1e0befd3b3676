# The mediator is gone: while both nodes are well, nothing changes. A node that is lost then stops the pod, with a reason
# that says so, and goes on when the mediator is back.
. "$HERE/cluster.sh"

cluster_start
on 1 volume create vol --size 64M
durability load --uri "$(uri 1 vol)" --journal journal --writes 500 --depth 8 --seed 1

say "== the mediator is killed: hosts notice nothing"
mediator_kill
lost() { [ "$(pod_field 1 mediator_ok)" = false ]; }
until_true 30 lost || fail "n1 does not notice that the mediator is gone"
durability load --uri "$(uri 1 vol)" --journal journal2 --writes 2000 --depth 8 --seed 2
durability check --uri "$(uri 1 vol)" --journal journal2 --durable --atomic
in_sync 1 2 || fail "the mirror changed without the mediator"
same "$(pod_field 1 epoch)" 1
on 1 status | grep -q "mediator $MEDIATOR does not answer" || fail "status does not tell"

say "== it comes back: nothing changes either"
mediator_start
found() { [ "$(pod_field 1 mediator_ok)" = true ]; }
until_true 30 found || fail "n1 does not find the mediator again"
same "$(pod_field 1 epoch)" 1

say "== gone again, and a node too: the other one waits, and tells for whom"
mediator_kill
until_true 30 lost || fail "n1 does not notice that the mediator is gone"
member_kill 2
waiting() { on 1 --json pod show | field waits_for | grep -q 'n2.*or the mediator'; }
until_true 10 waiting || fail "n1 does not tell what it waits for: $(on 1 pod show)"

say "== with the mediator it goes on alone, and with all that was acknowledged"
mediator_start
until_true 10 serves 1 || fail "n1 does not serve after the mediator came back: $(on 1 pod show)"
durability check --uri "$(uri 1 vol)" --journal journal2 --durable --atomic
member_start 2
until_true 30 in_sync 1 2 || fail "n2 is not in sync again after 30 s"
