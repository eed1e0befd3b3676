# Both nodes are killed at once under load and started again: what was acknowledged is there, what was not is settled.
. "$HERE/partition.sh"

scene
strike "kill -KILL ${PIDS[1]} ${PIDS[2]}"
member_gone 1
member_gone 2
hosts fence 0
repaired=$(now_ms)
member_start 1
member_start 2
until_true 60 find_leader || fail "nobody serves after 60 s: $(on 1 pod show; on 2 pod show)"
hosts fence 0
resumed
fio_verify "$LEADER"
mended "$repaired"
finish
