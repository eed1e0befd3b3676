# The mediator is killed and started again, under load: hosts notice nothing, and it knows what it knew: the primary is
# killed next, and the other one takes over.
. "$HERE/partition.sh"

scene
strike "kill -KILL $MEDIATOR_PID"
reap "$MEDIATOR_PID" || true
for n in 1 2; do until_true 60 reaches_mediator $n false || fail "n$n does not notice: $(on $n pod show)"; done
until_true 60 may_go_on_alone "$P" || fail "n$P was not given the right to go on alone: $(on "$P" why default)"
until_true 60 is_bound "$S" "$P" || fail "n$S does not tell that it is bound: $(on "$S" why default)"
unmoved

mediator_start
for n in 1 2; do until_true 60 reaches_mediator $n true || fail "n$n does not find the mediator again: $(on $n pod show)"; done
mended "$(now_ms)"
until_true 60 is_free "$S" "$P" || fail "n$S is still bound: $(on "$S" why default)"
strike "kill -KILL ${PIDS[$P]}"
member_gone "$P"
taken_over
repaired=$(now_ms)
member_start "$P"
mended "$repaired"
finish
