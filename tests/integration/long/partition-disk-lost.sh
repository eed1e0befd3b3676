# A node loses its disk while it is down, the other one first, then the primary: it comes back as a new member, is filled,
# and counts again.
. "$HERE/partition.sh"

scene
for who in S P; do
    strike "kill -KILL ${PIDS[${!who}]}"
    lost=${!who}
    member_gone "$lost"
    say "== n$lost loses its disk; n$P led"
    if [ $who = P ]; then taken_over; else one_goes_on; fi
    fio_pass
    rm "$TMP/n$lost/flash0"
    repaired=$(now_ms)
    member_start "$lost"
    mended "$repaired"
    grep -q "n$lost has another, empty store" "$TMP/n$P.log" || fail "n$P does not tell that n$lost has another store"
done
finish
