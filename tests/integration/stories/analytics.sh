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

say "== over a restart"
node_stop
node_start PSTORAGE_ANALYTICS_INTERVAL=1
until_true 20 written || fail "the heat of busy is gone"
