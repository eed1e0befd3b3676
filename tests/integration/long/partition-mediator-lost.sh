# Both nodes lose the mediator, and agree on the primary to go on alone. Then they lose each other, then the other one
# is killed: it goes on. When the mediator is back it is told, and the other one may take over again.
. "$HERE/partition.sh"

scene
strike "$(cut_command 1 0 0 1 2 0 0 2)"
until_true 60 may_go_on_alone "$P" || fail "n$P was not given the right to go on alone: $(on "$P" why default)"
until_true 60 is_bound "$S" "$P" || fail "n$S does not tell that it is bound: $(on "$S" why default)"
unmoved

say "== they lose each other: the one that was chosen goes on, the other one waits for it"
strike "$(cut_command 1 2 2 1)"
goes_on_alone()
{
    resumed
    answered 500 "$P"
    [ "$(pod_field "$P" epoch)" -gt "$EPOCH" ] || fail "n$P goes on in epoch $EPOCH: $(on "$P" why default)"
    fio_verify "$P"
}
goes_on_alone
until_true 20 waits_for "$S" "n$P, which was given the right to go on alone" || fail "n$S does not tell what it waits for: $(on "$S" pod show)"
silent "$S" 1000
repaired=$(now_ms)
ip netns exec "$SWITCH" nft delete element bridge cables cuts \
    "{ $(address_of 1) . $(address_of 2), $(address_of 2) . $(address_of 1) }"
mended "$repaired"

say "== the other one is killed"
strike "kill -KILL ${PIDS[$S]}"
member_gone "$S"
goes_on_alone
repaired=$(now_ms)
member_start "$S"
mended "$repaired"

say "== the mediator is back"
mend
until_true 60 registered "$P" "$EPOCH" || fail "n$P does not register what is in force: $(on "$P" why default)"
until_true 60 is_free "$S" "$P" || fail "n$S is still bound: $(on "$S" why default)"
strike "kill -KILL ${PIDS[$P]}"
member_gone "$P"
taken_over
repaired=$(now_ms)
member_start "$P"
mended "$repaired"
finish
