# A full file system under the data directory costs history, never service: the catalog is a view.

[ "$(id -u)" -eq 0 ] || skip "only root may mount a file system"
DATA=$TMP/data
mkdir "$DATA"
mount -t tmpfs -o size=8m tmpfs "$DATA" 2>/dev/null || skip "no file system can be mounted here"
MOUNTED+=("$DATA")
flash=PSTORAGE_FLASH_DEVICES=file:$TMP/flash0,size=256M

node_start "$flash"
pstorage volume create before --size 16M
dd if=/dev/zero of="$DATA/filler" bs=4k status=none 2>dd.log && fail "the file system did not fill"

say "== full while the node runs"
pstorage volume create during --size 64M
durability load --uri "$NBD/during" --journal journal --writes 500

say "== stopped and started, killed and started"
node_stop
dd if=/dev/zero of="$DATA/filler2" bs=4k status=none 2>dd.log && fail "the file system did not fill"
node_start "$flash"
durability check --uri "$NBD/during" --journal journal --durable --atomic
node_kill
node_start "$flash"
durability check --uri "$NBD/during" --journal journal --durable --atomic
same "$(pstorage volume list --quiet | tr '\n' ' ')" "before during " volumes
grep 'file system of the data directory is full' "$TMP/node.log" >/dev/null || fail "nothing tells that the disk is full"
node_stop

say "== the catalog made anew needs room, and says so"
refuses_to_rebuild()
{
    node_command "$flash" -- --rebuild-catalog
    refused - 'full' "${COMMAND[@]}"
}
refuses_to_rebuild

say "== with room again the catalog catches up"
rm "$DATA/filler" "$DATA/filler2"
node_start "$flash"
pstorage volume create after --size 16M
node_stop
same "$(/usr/bin/python3 -c '
import sqlite3, sys
print(*[row[0] for row in sqlite3.connect(sys.argv[1]).execute("select name from images order by name")])' "$DATA/catalog.db")" \
    "after before during" "volumes in the catalog"
