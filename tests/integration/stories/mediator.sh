# The mediator as nodes and people meet it: registration, take-over, refusals, restarts, a kill in a stream of changes, a
# lost data directory, and an end that is clean.

MEDIATOR_PORT=$(free_ports 1)
ENDPOINT=tcp://127.0.0.1:$MEDIATOR_PORT
MEDIATOR_PID=
mediator_command()
{
    COMMAND=(env PSTORAGE_DATA_DIR="$TMP/mediator" PSTORAGE_MEDIATOR_LISTEN="$ENDPOINT" pstorage-mediator)
}
mediator_start()
{
    mediator_command
    background "$TMP/mediator.log" "${COMMAND[@]}"
    MEDIATOR_PID=$PID
    until_true 30 listening "$MEDIATOR_PORT" || fail "the mediator does not listen after 30 s"
}
mediator_stop()
{
    kill -TERM "$MEDIATOR_PID"
    reap "$MEDIATOR_PID" || fail "the mediator ended with status $? when asked to stop"
}
printf '#!/bin/sh\nexec "%s" "%s" "$@"\n' "$BUILD/tests/mediator_client" "$ENDPOINT" >mediator_client
chmod +x mediator_client
mediator() { "$TMP/mediator_client" "$@"; }
# lines N FILE: it has at least so many.
lines() { [ "$(wc -l <"$2")" -ge "$1" ]; }

mediator_start
say "== a pod is registered, changed by its primary, and taken over"
refused 3 'no pod db' "$TMP/mediator_client" get db
mediator change 1 1 db:0:1:1:12
same "$(mediator get db)" "db epoch 1 primary node1 in-sync node1 node2 reported 0"
mediator change 2 2 db:1:2:2:2
same "$(mediator get db)" "db epoch 2 primary node2 in-sync node2 reported 0"

say "== who comes second is refused and told what is in force; the first may repeat itself"
refused 1 'db EPOCH_MOVED epoch 1 was expected, 2 is in force' "$TMP/mediator_client" change 1 3 db:1:2:1:1
refused 1 'db FORBIDDEN node1 is not in sync' "$TMP/mediator_client" change 1 4 db:2:3:1:1
same "$(mediator change 2 2 db:1:2:2:2)" "db REPEATED granted before: this is the change in force"

say "== several pods change together or not at all"
mediator change 1 5 a:0:1:1:12 b:0:1:1:12
refused 1 'a HELD_BACK' "$TMP/mediator_client" change 2 6 a:1:2:2:2 b:7:8:2:2
same "$(mediator get a)" "a epoch 1 primary node1 in-sync node1 node2 reported 0"
mediator change 2 7 a:1:2:2:2 b:1:2:2:2
same "$(mediator list | tr '\n' ' ')" "a b db "

say "== told of a higher epoch it refuses until the holder registers"
same "$(mediator report b 5)" 2
refused 1 'b HIGHER_EPOCH' "$TMP/mediator_client" change 2 8 b:2:3:2:2
mediator change 2 9 b:2:5:2:2

say "== another cluster sees nothing of it"
refused 3 'no pod db' "$TMP/mediator_client" --cluster other get db
refused 1 'NO_POD' "$TMP/mediator_client" --cluster other change 2 10 db:2:3:2:2

say "== only a person has a pod forgotten"
refused 1 'only a client' "$TMP/mediator_client" --cluster story --role node forget a
mediator forget a
refused 3 'no pod a' "$TMP/mediator_client" get a

say "== a stop is clean, and nothing is forgotten"
store=$(mediator describe | cut -d' ' -f2)
before=$(mediator history db)
[ "$(wc -l <<<"$before")" -eq 4 ] || fail "the history of db has not four decisions: $before"
mediator_stop
mediator_start
same "$(mediator describe)" "store $store clusters 1 pods 2"
same "$(mediator history db)" "$before"
same "$(mediator change 2 2 db:1:2:2:2)" "db REPEATED granted before: this is the change in force"

say "== a second mediator on the same directory, and a node, are kept out"
mediator_command
refused - "is in use by process $MEDIATOR_PID" "${COMMAND[@]}"
DATA=$TMP/mediator node_refuses 'is one of another program \(pstorage-mediator 1\)'

say "== each decision is logged once"
same "$(grep -c 'granted cluster=story pod=db ' mediator.log)" 2
same "$(grep -c 'epoch-moved cluster=story pod=db ' mediator.log)" 1

say "== killed in a stream of changes: all that was answered is there"
mediator change 1 20 s:0:1:1:12
touch stream
for _ in 1 2 3; do
    wanted=$(($(wc -l <stream) + 30))
    background stream mediator stream s
    until_true 30 lines "$wanted" stream || fail "changes are not granted"
    kill -KILL "$MEDIATOR_PID"
    reap "$MEDIATOR_PID" || true
    reap "$PID" || true
    answered=$(grep '^[0-9]*$' stream | tail -n 1)
    mediator_start
    now=$(mediator get s | cut -d' ' -f3)
    say "answered up to epoch $answered, there is $now"
    [ "$now" -eq "$answered" ] || [ "$now" -eq $((answered + 1)) ] || fail "a verdict was lost or made up"
done

say "== a disk that refuses writes: the outcome is unknown, the mediator ends, and the next one goes on"
before=$(mediator get db)
prlimit --pid "$MEDIATOR_PID" --fsize=0
refused 1 "EIO: the mediator's store failed" "$TMP/mediator_client" change 2 25 db:2:3:2:2
silent() { ! listening "$MEDIATOR_PORT"; }
until_true 30 silent || fail "the mediator goes on with a store that failed"
status=0
reap "$MEDIATOR_PID" || status=$?
same "$status" 1 "status of the mediator"
mediator_start
same "$(mediator get db)" "$before"
mediator change 2 25 db:2:3:2:2

say "== a mediator that lost its records is another one"
mediator_stop
mv "$TMP/mediator" "$TMP/lost"
mediator_start
[ "$(mediator describe | cut -d' ' -f2)" != "$store" ] || fail "the new records have the old id"
refused 1 'NO_POD' "$TMP/mediator_client" change 2 30 db:3:4:2:2
refused 1 'OTHER_STORE' "$TMP/mediator_client" --store "$store" change 2 31 db:3:4:2:2
refused 1 'OTHER_STORE' "$TMP/mediator_client" --store "$store" change 2 31 db:0:4:2:2
mediator change 2 32 db:0:4:2:2

say "== damaged records end the start with a reason"
mediator_stop
printf 'not a database, and never was one' >"$TMP/mediator/mediator.db"
rm -f "$TMP"/mediator/mediator.db-*
mediator_command
refused - 'records .*mediator.db are damaged; with the file set aside a new mediator starts' "${COMMAND[@]}"
