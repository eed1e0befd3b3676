# A shared key opens the cluster to those who know it, over the network too; whoever has none, or a wrong one,
# is told at once what would be right. The key itself is nowhere to be read.

KEYS=$TMP/keys
mkdir "$KEYS"
(umask 077 && pstorage key create >"$KEYS/right" && pstorage key create >"$KEYS/wrong")
[ "$(cat "$KEYS/right")" != "$(cat "$KEYS/wrong")" ] || fail "two fresh keys are the same"
grep -Eqx '[A-Za-z0-9_-]{43}' "$KEYS/right" || fail "not 32 bytes in base64url: $(cat "$KEYS/right")"

say "== a node without a key stays on this machine"
node_refuses 'PSTORAGE_RPC_LISTEN=tcp://0\.0\.0\.0.*set PSTORAGE_CLUSTER_KEY_FILE, or listen on 127\.0\.0\.1' \
    "PSTORAGE_RPC_LISTEN=tcp://0.0.0.0:$RPC_PORT"
node_refuses 'PSTORAGE_RPC_LISTEN.*set PSTORAGE_CLUSTER_KEY_FILE' "PSTORAGE_RPC_LISTEN=tcp://[::]:$RPC_PORT"
[ ! -e "$DATA/flash0" ] || fail "a refused start made a flash file"
node_start
pstorage volume create before --size 64M
refused 1 'the client has a cluster key, and the server has none: set PSTORAGE_CLUSTER_KEY_FILE on both sides' \
    pstorage --cluster-key-file "$KEYS/right" status
node_stop

say "== keys that are none, and files that are open to others"
node_refuses 'PSTORAGE_CLUSTER_KEY_FILE=.*/nothing: No such file' PSTORAGE_CLUSTER_KEY_FILE="$KEYS/nothing"
node_refuses 'PSTORAGE_CLUSTER_KEY: a cluster key has 16 to 1024 bytes, this one 5' PSTORAGE_CLUSTER_KEY=short
node_refuses 'PSTORAGE_CLUSTER_KEY and PSTORAGE_CLUSTER_KEY_FILE are both given' \
    PSTORAGE_CLUSTER_KEY="$(cat "$KEYS/right")" PSTORAGE_CLUSTER_KEY_FILE="$KEYS/right"
node_refuses 'cluster-key is not to be given as a flag' -- --cluster-key "$(cat "$KEYS/right")"
cp "$KEYS/right" "$KEYS/open" && chmod 644 "$KEYS/open"
node_refuses 'PSTORAGE_CLUSTER_KEY_FILE=.*/open: others .*mode 0644.*chmod 600' PSTORAGE_CLUSTER_KEY_FILE="$KEYS/open"
refused 1 'others .*mode 0644.*chmod 600' pstorage --cluster-key-file "$KEYS/open" status

say "== the right key, at both ends, is the way in"
export PSTORAGE_CLUSTER_KEY_FILE=$KEYS/right
node_start PSTORAGE_DEBUG=true PSTORAGE_RPC_LISTEN="tcp://0.0.0.0:$RPC_PORT" PSTORAGE_CLUSTER_NAME=story
pstorage volume show before >/dev/null
env -u PSTORAGE_CLUSTER_KEY_FILE PSTORAGE_CLUSTER_KEY="$(cat "$KEYS/right")" pstorage status >/dev/null
env -u PSTORAGE_CLUSTER_KEY_FILE pstorage --cluster-key-file "$KEYS/right" status >/dev/null
PSTORAGE_CLUSTER_NAME=story pstorage status >/dev/null

say "== anything else is refused at once, with what would be right"
begin=$SECONDS
refused 1 'this cluster needs a key: set PSTORAGE_CLUSTER_KEY_FILE' env -u PSTORAGE_CLUSTER_KEY_FILE pstorage status
refused 1 "the client's cluster key is not the server's" pstorage --cluster-key-file "$KEYS/wrong" status
refused 1 'the server is of cluster story, the client of cluster other: PSTORAGE_CLUSTER_NAME' \
    env PSTORAGE_CLUSTER_NAME=other pstorage status
[ $((SECONDS - begin)) -le 10 ] || fail "three refusals took $((SECONDS - begin)) s"
status=0
env -u PSTORAGE_CLUSTER_KEY_FILE pstorage status --json 2>"$TMP/error.json" || status=$?
same "$status" 1 "exit status"
same "$(field error.status <"$TMP/error.json")" EUNAUTHENTICATED "status in JSON"

say "== the node's log says the same"
for sentence in 'this cluster needs a key' "the client's cluster key is not the server's" 'the client of cluster other'; do
    grep -F "$sentence" "$TMP/node.log" >/dev/null || fail "not in the node's log: $sentence"
done

say "== the key is nowhere to be read"
node_stop
key=$(cat "$KEYS/right")
if grep -qFa -- "$key" "$TMP"/*.log "$DATA"/catalog*; then fail "the key is in the log or the catalog"; fi
PSTORAGE_CLUSTER_KEY="$key" pstoraged --help >help.txt
if grep -F -- "$key" help.txt; then fail "--help shows the key"; fi
