# Decisions of people: a mediator that lost its records is taken over; a node that is bound to one that is gone for good is
# promoted, and who comes back obeys; an asynchronous member is promoted and what the other one had more is given up;
# the pod moves to the preferred node; a snapshot of all volumes.
. "$HERE/cluster.sh"

cluster_start
on 1 volume create vol --size 64M
on 1 volume create other --size 16M
durability load --uri "$(uri 1 vol)" --journal journal --writes 500 --depth 8 --seed 1

say "== one instant of all volumes"
same "$(pstorage pod snapshot default@first)" "Snapshots first of 2 volumes created"
shows 1 '^other@first' snapshot list || fail "there is no other@first: $(on 1 snapshot list)"
refused 1 'exists already' pstorage pod snapshot default@first
refused 2 'not POD@NAME' pstorage pod snapshot default

say "== the mediator's records are lost: n1 registers with the new one, and n2 takes over by its word"
mediator_kill
rm -rf "$TMP/mediator"
mediator_start
until_true 60 why_has 1 "a new mediator holds epoch" || fail "n1 does not register with the new mediator: $(on 1 why default)"
until_true 60 why_has 2 "another mediator has taken the place" || fail "n2 does not learn of the new mediator: $(on 2 why default)"
member_kill 1
until_true 60 serves 2 || fail "n2 does not take over: $(on 2 pod show)"
durability check --uri "$(uri 2 vol)" --journal journal --durable --atomic
member_start 1
until_true 60 in_sync 2 1 || fail "n1 is not in sync again: $(on 2 pod show)"

say "== the mediator is lost, then n2, which may go on alone: n1 is bound until a person promotes it"
mediator_kill
until_true 60 may_go_on_alone 2 || fail "n2 was not given the right to go on alone: $(on 2 why default)"
until_true 60 is_bound 1 2 || fail "n1 is not bound: $(on 1 why default)"
member_kill 2
refused 2 'say --accept-data-loss' pstorage --endpoint "${RPC[1]}" pod promote default
refused 1 'no mediator answers' pstorage --endpoint "${RPC[1]}" pod promote default --accept-data-loss
mediator_start
until_true 20 reaches_mediator 1 true || fail "n1 does not reach the mediator"
refused 1 'this is n1' pstorage --endpoint "${RPC[1]}" pod promote default n2 --accept-data-loss
on 1 pod promote default n1 --accept-data-loss >promoted.txt
grep -q 'n2 to say that it has stopped' promoted.txt || fail "it does not wait for n2: $(cat promoted.txt)"
serves_not 1 || fail "n1 serves though n2 has not stopped"
say "== n2 comes back, hears that it is not primary any more, and says so"
member_start 2
until_true 60 serves 1 || fail "n1 does not serve: $(on 1 pod show)"
serves_not 2 || fail "n2 serves as well"
durability check --uri "$(uri 1 vol)" --journal journal --durable --atomic
tells 1 promote 'a person promotes n1'
rm -f journal
durability load --uri "$(uri 1 vol)" --journal journal --writes 500 --depth 8 --seed 2
until_true 60 in_sync 1 2 || fail "n2 is not in sync again: $(on 1 pod show)"
durability check --uri "$(uri 1 vol)" --journal journal --durable --atomic

say "== the preferred node gets the pod when it is stable"
pstorage pod set default --preferred n2
same "$(pod_field 1 preferred)" n2
until_true 40 serves 2 || fail "the pod does not move to n2: $(on 1 pod show)"
durability check --uri "$(uri 2 vol)" --journal journal --durable --atomic
pstorage pod set default --no-preferred
preferred=$(pod_field 2 preferred)
same "$preferred" ''

say "== an asynchronous member is promoted: what the other one has more is given up, and that one filled anew"
until_true 60 in_sync 2 1 || fail "n1 is not in sync: $(on 2 pod show)"
pstorage pod remove-member default n1
pstorage pod add-member default n1 --async
until_true 60 async_caught_up 2 n1 || fail "n1 does not follow: $(on 2 pod show)"
member_kill 1
rm -f journal2
durability load --uri "$(uri 2 vol)" --journal journal2 --writes 500 --depth 8 --seed 3
lag() { on 2 --json pod show | /usr/bin/python3 -c '
import json, sys
m = {m["node"]: m for m in json.load(sys.stdin)["members"]}["n1"]
sys.exit(not (m["lag_batches"] > 0 and m["lag_bytes"] > 0 and m["lag_ms"] > 0))'; }
lag || fail "n2 does not tell how far n1 lags: $(on 2 --json pod show)"
member_kill 2
member_start 1
until_true 60 reaches_mediator 1 true || fail "n1 does not reach the mediator"
on 1 pod promote default --accept-data-loss --old-primary-is-off
until_true 60 serves 1 || fail "n1 does not serve: $(on 1 pod show)"
durability check --uri "$(uri 1 vol)" --journal journal --durable --atomic
member_start 2
until_true 60 why_has 1 "it is filled anew" || fail "n1 does not tell that n2 is filled: $(on 1 why default)"
until_true 60 in_sync 1 2 || fail "n2 is not in sync after it was filled: $(on 1 pod show)"
rm -f journal
durability load --uri "$(uri 1 vol)" --journal journal --writes 300 --depth 8 --seed 4
pstorage pod switchover default n2
until_true 60 serves 2 || fail "n2 does not serve after the switchover"
durability check --uri "$(uri 2 vol)" --journal journal --durable --atomic
