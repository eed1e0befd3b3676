# The catalog is a view: lost or damaged, it is rebuilt from flash, and no data or name is lost with it.

node_start
pstorage volume create vol --size 64M
pstorage volume create cached --size 32M --write-cache
durability load --uri "$NBD/vol" --journal journal --writes 1500
pstorage snapshot create vol@monday
pstorage clone create vol@monday copy
# Names, sizes, settings and relations of all images, as the node tells them.
listed()
{
    local name key
    for name in $(pstorage volume list -q) $(pstorage snapshot list -q); do
        printf '%s' "$name"
        for key in id kind size_bytes volume_id origin_id write_cache created_unix_ns; do
            printf ' %s=%s' "$key" "$(pstorage volume show "$name" --json | field "$key" 2>/dev/null)"
        done
        echo
    done
}
listed >before
same "$(wc -l <before)" 4 "images"
node_stop

check_views()
{
    listed >after
    diff before after || fail "images differ"
    same "$(pstorage volume show cached --json | field write_cache)" true "write_cache"
    durability check --uri "$NBD/vol" --journal journal --durable --atomic
    qemu-img compare -f raw -F raw "$NBD/vol@monday" "$NBD/copy"
}

say "== deleted, rebuilt"
rm -f "$DATA"/catalog.db*
node_command -- --rebuild-catalog
timeout 60 "${COMMAND[@]}" >>node.log 2>&1 || fail "--rebuild-catalog ended with status $?"
[ -s "$DATA/catalog.db" ] || fail "no catalog was made"
node_start
check_views
node_stop

say "== damaged: the start says so, or heals it; rebuilding heals it in any case"
dd if=/dev/urandom of="$DATA/catalog.db" bs=4096 count=4 conv=notrunc status=none
rm -f "$DATA"/catalog.db-*
node_command
status=0
background damaged.log "${COMMAND[@]}"
NODE_PID=$PID
until_true 60 node_ready_or_dead || fail "neither starts nor ends with a damaged catalog"
if kill -0 "$NODE_PID" 2>/dev/null; then
    check_views
    node_stop
else
    reap "$NODE_PID" || status=$?
    [ "$status" -ne 0 ] || fail "ended with status 0 on a damaged catalog"
    grep -q -- --rebuild-catalog damaged.log || fail "the message does not name --rebuild-catalog"
fi
node_command -- --rebuild-catalog
timeout 60 "${COMMAND[@]}" >>node.log 2>&1 || fail "--rebuild-catalog ended with status $?"
node_start
check_views

say "== an old catalog put back catches up"
node_stop
cp "$DATA/catalog.db" old-catalog
node_start
pstorage volume create later --size 16M
listed >before
node_stop
rm -f "$DATA"/catalog.db*
cp old-catalog "$DATA/catalog.db"
node_start
check_views
