# The primary is killed under load: the other one goes on at once, and the killed one catches up.
. "$HERE/partition.sh"

scene
strike "kill -KILL ${PIDS[$P]}"
member_gone "$P"
taken_over
tells "$S" take-over "n$P is silent"
tells "$S" lead "serves as primary"
fio_pass

repaired=$(now_ms)
member_start "$P"
mended "$repaired"
tells "$P" join "n$S is at batch"
finish
