# A node samples itself, says what it can't know yet, and keeps its history over a restart.

node_start PSTORAGE_ANALYTICS_INTERVAL=1
pstorage volume create busy --size 64M
pstorage volume create idle --size 64M
durability load --uri "$NBD/busy" --journal journal --writes 500
sampled() { pstorage analytics temperature "$1" >/dev/null 2>&1; }
until_true 20 sampled busy || fail "busy was not sampled"
until_true 20 sampled idle || fail "idle was not sampled"

say "== what it knows"
written() { pstorage analytics temperature busy --json | python3 -c 'import json,sys; sys.exit(json.load(sys.stdin)["writes_per_hour"] < 1)'; }
until_true 20 written || fail "the writes to busy were not counted"
same "$(pstorage analytics temperature idle --json | field temperature)" frozen "idle"
pstorage analytics forecast | grep -q 'too little history' || fail "a forecast was guessed: $(pstorage analytics forecast)"
same "$(pstorage analytics forecast --json | field method)" none "method"
pstorage analytics health | grep -q 'does not tell its wear' || fail "health: $(pstorage analytics health)"
pstorage analytics tiering | grep -q '^busy ' || fail "tiering: $(pstorage analytics tiering)"
pstorage analytics temperature nothing 2>err.txt && fail "a temperature of nothing"
grep -q "no volume is named 'nothing'" err.txt || fail "another message: $(cat err.txt)"

say "== a volume's history, in the table and as JSON"
# points STEP [OPTIONS...]: what the command says of busy, as "POINTS WRITES LAST-SIZE EARLIER"; writes are summed over all points.
points()
{
    pstorage analytics volume busy --step "$@" --json | python3 -c '
import json, sys
a = json.load(sys.stdin)
p = a["history"]["points"]
assert a["history"]["step"] == sys.argv[1] and a["name"] == "busy" and p == sorted(p, key=lambda x: x["time"])
print(len(p), sum(x["writes"] for x in p), p[-1]["size_bytes"], a["history"]["earlier"])' "$1"
}
all_there()
{
    local writes
    writes=$(points minute --points 2880 | cut -d' ' -f2)
    [ "$writes" -ge 1 ] && [ "$writes" = "$(points day | cut -d' ' -f2)" ]
}
until_true 20 all_there || fail "minutes and days don't add up: $(points minute --points 2880), $(points day)"
same "$(points hour | cut -d' ' -f3)" 67108864 "the size in the last hour"
pstorage analytics volume busy --step minute | grep -q '^20.* 64' || fail "no row: $(pstorage analytics volume busy --step minute)"
pstorage analytics volume busy | grep -q 'writes in 24 hours: mean' || fail "no latency: $(pstorage analytics volume busy)"
for wrong in "busy --step week" "busy --points 0" "busy --points 2881" "busy@snap"; do
    # shellcheck disable=SC2086 # words
    pstorage analytics volume $wrong 2>err.txt && fail "taken: $wrong"
    say "refused as it should: $(cat err.txt)"
done
pstorage analytics volume nothing 2>err.txt && fail "a history of nothing"
grep -q "no volume is named 'nothing'" err.txt || fail "another message: $(cat err.txt)"

say "== over a restart"
writes=$(points day | cut -d' ' -f2)
node_stop
# A longer past, of more minutes than one answer has room for: each as the first that is there.
past=1500
/usr/bin/python3 - "$DATA/history.db" "$past" <<'END'
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as db:
    for kind, id, bucket, data in db.execute("SELECT kind, id, min(bucket), data FROM points WHERE tier = 0 GROUP BY kind, id").fetchall():
        db.executemany("INSERT INTO points VALUES(0, ?, ?, ?, ?)", [(kind, id, bucket - back, data) for back in range(1, int(sys.argv[2]) + 1)])
END
node_start PSTORAGE_ANALYTICS_INTERVAL=1
until_true 20 written || fail "the heat of busy is gone"
minutes=$(points minute --points 2880 | cut -d' ' -f1)
[ "$minutes" -gt "$past" ] || fail "$minutes minutes of more than $past"
same "$(points minute --points 1200 | cut -d' ' -f1,4)" "1200 True" "1200 minutes, and more before"
[ "$(points day | cut -d' ' -f2)" -ge "$writes" ] || fail "$(points day | cut -d' ' -f2) writes of $writes in the day"
