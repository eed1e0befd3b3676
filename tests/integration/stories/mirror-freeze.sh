# The primary freezes (SIGSTOP) under load: the other one takes over when the promises have ended, and what the frozen one
# still holds of its host's requests is neither answered nor kept when it goes on.
. "$HERE/cluster.sh"

cluster_start
on 1 volume create vol --size 64M
for round in 1 2; do
    say "== round $round"
    background load.txt durability load --uri "$(uri 1 vol)" --journal journal --writes 3000 --depth 8 --size 32M \
        --freeze "${PIDS[1]}" --seed "$round"
    load=$PID
    stopped() { [ -n "$(stopped_at load.txt)" ]; }
    until_true 60 stopped || fail "the load did not get so far: $(cat load.txt)"
    resumes 2 vol "$(stopped_at load.txt)"
    say "== the other one is written to; then the frozen one goes on"
    durability load --uri "$(uri 2 vol)" --journal second --writes 300 --depth 8 --offset 32M --seed "10$round"
    kill -CONT "${PIDS[1]}"
    reap "$load" || fail "the load ended with status $?: $(cat load.txt)"
    cat load.txt
    rm load.txt
    until_true 60 in_sync 2 1 || fail "n1 is not in sync again after 60 s: $(on 2 pod show)"
    durability check --uri "$(uri 2 vol)" --journal journal --durable --atomic
    durability check --uri "$(uri 2 vol)" --journal second --durable --atomic
    tells 2 take-over "n1 is silent"
    tells 1 fence "names n2 primary"
    serves_not 1 || fail "two nodes serve"

    say "== back to n1, for the next round"
    pstorage pod switchover default n1
    until_true 60 serves 1 || fail "n1 does not serve after the switchover"
    until_true 60 in_sync 1 2 || fail "n2 is not in sync after the switchover"
done
member_stop 1
member_stop 2
