# The primary freezes under load (SIGSTOP) and goes on when another one leads: what it still holds of its hosts' requests,
# and what they asked it for meanwhile, is neither answered nor kept.
. "$HERE/partition.sh"

scene
hosts lurk "$P" || fail "n$P takes in no hosts: $ANSWER"
strike "kill -STOP ${PIDS[$P]}"
taken_over
hosts pounce
hosts fence "$P"
repaired=$(now_ms)
kill -CONT "${PIDS[$P]}"
mended "$repaired"
tells "$S" fence "names n$P primary"
tells "$P" take-over "n$S is silent"
finish
