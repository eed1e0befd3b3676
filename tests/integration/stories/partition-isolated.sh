# The primary reaches nobody but its clients: it answers none of them any more, neither with what is stale by now nor with
# a promise that it can't keep; what they asked it for is not done later either.
. "$HERE/partition.sh"

scene
hosts lurk "$P" || fail "n$P takes in no hosts: $ANSWER"
strike "$(cut_command "$P" "$S" "$S" "$P" "$P" 0 0 "$P")"
taken_over
tells "$S" take-over "n$P is silent"
serves_not "$P" || fail "n$P says that it serves"
hosts pounce
silent "$P" 2000

hosts fence "$P"
repaired=$(now_ms)
mend
mended "$repaired"
tells "$S" fence "names n$P primary"
finish
