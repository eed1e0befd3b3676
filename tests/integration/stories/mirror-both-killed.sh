# Both nodes are killed at once, under load, again and again: when they are back, so is all that was acknowledged; also
# when one of them stays away, and when the mediator was killed with them.
. "$HERE/cluster.sh"

cluster_start
on 1 volume create vol --size 64M
LEADER=1
for round in 1 2 3; do
    say "== round $round: n$LEADER leads"
    durability load --uri "$(uri "$LEADER" vol)" --journal journal --writes 1500 --depth 8 \
        --kill "${PIDS[$LEADER]}" --seed "$round" | tee load.txt
    member_kill $((3 - LEADER))
    member_gone "$LEADER"
    [ "$round" -ne 2 ] || mediator_kill
    member_start 1
    member_start 2
    [ "$round" -ne 2 ] || mediator_start
    until_true 60 find_leader || fail "nobody serves after 60 s: $(on 1 pod show)"
    durability check --uri "$(uri "$LEADER" vol)" --journal journal --durable --atomic
    until_true 60 whole || fail "not in sync after 60 s: $(on 1 pod show; on 2 pod show)"
done

say "== both killed, and the one that led stays away"
durability load --uri "$(uri "$LEADER" vol)" --journal journal --writes 1500 --depth 8 \
    --kill "${PIDS[$LEADER]}" --seed 9
away=$LEADER other=$((3 - LEADER))
member_kill "$other"
member_gone "$away"
member_start "$other"
until_true 60 serves "$other" || fail "n$other does not serve alone: $(on "$other" pod show)"
durability check --uri "$(uri "$other" vol)" --journal journal --durable --atomic

say "== both back, then all killed, and the mediator stays away: both together need nobody"
member_start "$away"
until_true 60 in_sync "$other" "$away" || fail "not in sync after 60 s"
durability load --uri "$(uri "$other" vol)" --journal journal --writes 1500 --depth 8 \
    --kill "${PIDS[$other]}" --seed 10
member_kill "$away"
member_gone "$other"
mediator_kill
member_start 1
member_start 2
until_true 60 find_leader || fail "nobody serves after 60 s: $(on 1 pod show; on 2 pod show)"
durability check --uri "$(uri "$LEADER" vol)" --journal journal --durable --atomic
