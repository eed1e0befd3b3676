# One node loses the mediator alone. If it is the primary, it goes on, or hands the pod over to the one that reaches it;
# if it is the other one, nothing changes. Both count all along.
. "$HERE/partition.sh"

scene
say "== n$P, which leads, does not see the mediator"
blind=$P
strike "$(cut_command "$blind" 0 0 "$blind")"
one_goes_on
until_true 60 reaches_mediator "$blind" false || fail "n$blind does not notice: $(on "$blind" pod show)"
until_true 60 whole || fail "one of them does not count any more: $(on "$LEADER" pod show; on "$LEADER" why default)"
answered 500 "$LEADER"
mend
until_true 60 reaches_mediator "$blind" true || fail "n$blind does not find the mediator again: $(on "$blind" pod show)"

cast
say "== n$S, which follows n$P, does not see the mediator"
blind=$S
strike "$(cut_command "$blind" 0 0 "$blind")"
until_true 60 reaches_mediator "$blind" false || fail "n$blind does not notice: $(on "$blind" pod show)"
unmoved
mend
until_true 60 reaches_mediator "$blind" true || fail "n$blind does not find the mediator again: $(on "$blind" pod show)"

say "== it can take over again"
strike "kill -KILL ${PIDS[$P]}"
member_gone "$P"
taken_over
repaired=$(now_ms)
member_start "$P"
mended "$repaired"
finish
