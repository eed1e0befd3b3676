# The mediator is killed and started again, under load: hosts notice nothing, and it knows what it knew: the primary is
# killed next, and the other one takes over.
. "$HERE/partition.sh"

scene
strike "kill -KILL $MEDIATOR_PID"
reap "$MEDIATOR_PID" || true
loses_mediator() { [ "$(pod_field "$1" mediator_ok)" = false ]; }
for n in 1 2; do until_true 30 loses_mediator $n || fail "n$n does not notice: $(on $n pod show)"; done
unmoved

mediator_start
finds() { [ "$(pod_field "$1" mediator_ok)" = true ]; }
for n in 1 2; do until_true 30 finds $n || fail "n$n does not find the mediator again: $(on $n pod show)"; done
mended "$(now_ms)"
may_ask() { ! on "$S" --json pod show | grep -q "go on alone"; }
until_true 30 may_ask || fail "n$S is still bound: $(on "$S" pod show)"
strike "kill -KILL ${PIDS[$P]}"
member_gone "$P"
taken_over
repaired=$(now_ms)
member_start "$P"
mended "$repaired"
finish
