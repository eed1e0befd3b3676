# Two nodes and a mediator form a mirror by themselves; the primary is killed under load, the other one goes on with all
# that was acknowledged, the killed one comes back and catches up, and the pod can tell all of it.
. "$HERE/cluster.sh"
# Without the others: `refused` runs a program.
printf '#!/bin/sh\nPSTORAGE_ENDPOINT=%s exec pstorage "$@"\n' "${RPC[2]}" >on_2
chmod +x on_2
PATH=$PWD:$PATH
# Nodes, mediator and command line know the same key.
export PSTORAGE_CLUSTER_KEY=a-key-that-only-this-story-knows

cluster_start
say "== formed by settings alone"
on 1 pod show
same "$(pod_field 1 primary)" n1
same "$(pod_field 2 role)" following
same "$(pod_field 2 primary_address)" "${RPC[1]}"
same "$(on 1 --json node list | field state)" up

say "== any endpoint does, for changes and for data"
on 2 volume create vol --size 64M
refused 1 'exists' on_2 volume create vol --size 64M
on 1 volume show vol
echo hello | on 2 volume write vol --offset 0 --pad
same "$(on 1 volume read vol --length 512 | tr -d '\0')" hello
on 1 --json status | field serving >/dev/null
shown() { on 2 volume show vol; }
until_true 60 shown || fail "the volume does not appear on the other node"
[ "$(nbdinfo --list --json "nbd://127.0.0.1:${NBD_PORTS[2]}" | field export-name)" = vol ] ||
    fail "the export is not listed on the node that does not serve it"

leader=1 other=2
for round in 1 2 3; do
    say "== round $round: n$leader is killed under load"
    durability load --uri "$(uri $leader vol)" --journal journal --writes 3000 --depth 8 \
        --kill "${PIDS[$leader]}" --seed "$round" | tee load.txt
    killed=$(stopped_at load.txt)
    member_gone $leader
    resumes $other vol "$killed"
    durability check --uri "$(uri $other vol)" --journal journal --durable --atomic
    tells $other take-over "n$leader is silent"
    tells $other lead "serves as primary"

    say "== what is written alone is not lost on the one that comes back"
    durability load --uri "$(uri $other vol)" --journal journal --writes 500 --depth 8 --seed "10$round"
    member_start $leader
    until_true 60 in_sync $other $leader || fail "n$leader is not in sync again after 60 s: $(on $other pod show)"
    tells $other join "n$leader is at batch"
    durability check --uri "$(uri $other vol)" --journal journal --durable --atomic
    leader=$other other=$((3 - other))
done

say "== a switchover under load, and back: hosts stay connected, and their requests follow the pod"
# The program itself: it is told to end.
background load.txt "$HERE/durability" load --uri "$(uri $leader vol)" --journal journal --writes 1000000 --depth 8 \
    --seconds 300 --seed 50
load=$PID
writes_go_on $leader "before the switchover"
ordered=$(now_ms)
pstorage pod switchover default n$other
resumes $other vol "$ordered"
writes_go_on $other "after the switchover"
kill -TERM "$load"
reap "$load" || fail "the load ended with status $?: $(cat load.txt)"
tail -n 1 load.txt
durability check --uri "$(uri $other vol)" --journal journal --durable --atomic
until_true 60 in_sync $other $leader || fail "n$leader does not follow after the switchover"
on $leader pod switchover default
until_true 60 serves $leader || fail "n$leader does not serve after the switchover back"
durability check --uri "$(uri $leader vol)" --journal journal --durable --atomic

say "== an end that is clean, and a start after it"
member_stop $other
member_stop $leader
member_start 1
member_start 2
# Either may lead: who starts late is taken over from.
until_true 60 whole || fail "the mirror does not come back after a clean stop"
durability check --uri "$(uri "$LEADER" vol)" --journal journal --durable --atomic

say "== a member is not to be opened alone"
member_stop 2
member_command 2 PSTORAGE_CLUSTER_ENABLED=false
refused - 'member of a replicated pod' "${COMMAND[@]}"
