# A data directory that cannot be used: each case has its message, and nothing in the directory changes.

say "== in use by another node"
node_start
read -r rpc nbd api < <(free_ports 3)
node_refuses 'in use|already' PSTORAGE_RPC_LISTEN="tcp://127.0.0.1:$rpc" PSTORAGE_NBD_LISTEN="127.0.0.1:$nbd" \
    PSTORAGE_API_PORT="$api"
pstorage volume create vol --size 64M
durability load --uri "$NBD/vol" --journal journal --writes 1500
node_stop

say "== the same flash file under another data directory, while in use"
node_start
node_refuses 'in use|already|lock' PSTORAGE_DATA_DIR="$TMP/other" PSTORAGE_RPC_LISTEN="tcp://127.0.0.1:$rpc" \
    PSTORAGE_NBD_LISTEN="127.0.0.1:$nbd" PSTORAGE_API_PORT="$api"
node_stop

say "== not writable, not a directory"
touch "$TMP/file"
node_refuses 'file|not a directory' PSTORAGE_DATA_DIR="$TMP/file/data" "PSTORAGE_FLASH_DEVICES=file:$TMP/f,size=256M"
node_refuses 'proc|not writable|permission|no such' PSTORAGE_DATA_DIR=/proc/self/data \
    "PSTORAGE_FLASH_DEVICES=file:$TMP/f,size=256M"
if [ "$(id -u)" -eq 0 ]; then
    mkdir "$TMP/readonly"
    chmod 0555 "$TMP/readonly"
    chmod 0755 "$TMP"
    COMMAND_AS_NOBODY=(setpriv --reuid=65534 --regid=65534 --clear-groups)
    node_command PSTORAGE_DATA_DIR="$TMP/readonly" "PSTORAGE_FLASH_DEVICES=file:$TMP/readonly/f,size=256M"
    refused - 'writable|permission' "${COMMAND_AS_NOBODY[@]}" "${COMMAND[@]}"
fi

say "== a flash file larger than the process may write"
node_command PSTORAGE_DATA_DIR="$TMP/limited" "PSTORAGE_FLASH_DEVICES=file:$TMP/limited/f,size=256M"
refused - 'limited/f.*large' bash -c 'ulimit -f 65536 && exec "$@"' limited "${COMMAND[@]}"

say "== a flash file that is something else, and one cut short"
head -c 300M /dev/urandom >"$TMP/foreign"
cksum <"$TMP/foreign" >before
node_refuses 'not.*pstorage|not blank|not empty|label|foreign|unknown|damaged' PSTORAGE_DATA_DIR="$TMP/data2" \
    "PSTORAGE_FLASH_DEVICES=file:$TMP/foreign,size=300M"
cksum <"$TMP/foreign" | cmp - before || fail "a foreign file was written to"
cp --sparse=always "$DATA/flash0" "$TMP/short"
truncate -s 200M "$TMP/short"
node_refuses 'size|short|smaller' PSTORAGE_DATA_DIR="$TMP/data3" "PSTORAGE_FLASH_DEVICES=file:$TMP/short,size=200M"

cp -r --sparse=always "$DATA" "$TMP/kept"
put_back()
{
    rm -rf "$DATA"
    cp -r --sparse=always "$TMP/kept" "$DATA"
}
# overwrite MEGABYTE...: noise over each.
overwrite()
{
    local at
    for at; do dd if=/dev/urandom of="$DATA/flash0" bs=1M count=1 seek="$at" conv=notrunc status=none; done
}
say "== one of two labels overwritten: all is there"
overwrite 0
node_start
durability check --uri "$NBD/vol" --journal journal --durable --atomic
node_stop
say "== both overwritten: refused, not formatted anew"
put_back
overwrite 0 8
cksum <"$DATA/flash0" >before
node_refuses 'label|damaged|not a PStorage'
cksum <"$DATA/flash0" | cmp - before || fail "a damaged pool was written to"
say "== all anchors overwritten: refused"
put_back
overwrite 16 24
cksum <"$DATA/flash0" >before
node_refuses 'anchor|damaged'
cksum <"$DATA/flash0" | cmp - before || fail "a damaged pool was written to"

say "== made by a newer version: refused, not touched"
put_back
/usr/bin/python3 - "$DATA/flash0" <<'PYTHON'
# The pool's labels with another version number and a right checksum (node/flash/anchor.c).
import ctypes, ctypes.util, mmap, struct, sys
xxhash = ctypes.CDLL(ctypes.util.find_library("xxhash"))
xxhash.XXH3_64bits.restype = ctypes.c_uint64
xxhash.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
CHECKSUM = 4096 - 8
changed = 0
with open(sys.argv[1], "r+b") as file:
    flash = mmap.mmap(file.fileno(), 16 << 20)
    for at in range(0, len(flash), 4096):
        if flash[at:at + 4] == b"PSPL":
            block = bytearray(flash[at:at + 4096])
            struct.pack_into("<H", block, 4, 9999)
            block[CHECKSUM:CHECKSUM + 8] = bytes(8)
            struct.pack_into("<Q", block, CHECKSUM, xxhash.XXH3_64bits(bytes(block), len(block)))
            flash[at:at + 4096] = bytes(block)
            changed += 1
assert changed, "no label found"
PYTHON
cksum <"$DATA/flash0" >before
node_refuses 'version'
cksum <"$DATA/flash0" | cmp - before || fail "a pool of a newer version was written to"

say "== a catalog of a newer version: refused, or set aside, never misread"
put_back
/usr/bin/python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("pragma user_version = 9999")' \
    "$DATA/catalog.db"
node_refuses 'version'

say "== put back: all is there"
put_back
node_start
durability check --uri "$NBD/vol" --journal journal --durable --atomic
node_stop

say "== the flash is gone, the catalog knows of volumes: no empty pool is served in its place"
rm "$DATA/flash0"
node_refuses 'blank.*rebuild-catalog'
node_refuses 'blank.*rebuild-catalog'
cp --sparse=always "$TMP/kept/flash0" "$DATA/flash0"
node_start
durability check --uri "$NBD/vol" --journal journal --durable --atomic
node_stop
say "== another node's flash in its place: nothing of it is served, nothing is written"
mv "$DATA/flash0" "$TMP/kept/own"
mv "$DATA/catalog.db" "$TMP/kept/own.db"
rm -f "$DATA"/catalog.db-*
node_start
pstorage volume create vol --size 16M
node_stop
mv "$TMP/kept/own.db" "$DATA/catalog.db"
rm -f "$DATA"/catalog.db-*
cksum <"$DATA/flash0" >before
node_refuses 'holds another pod.*rebuild-catalog'
cksum <"$DATA/flash0" | cmp - before || fail "another node's pool was written to"
mv "$TMP/kept/own" "$DATA/flash0"
node_start
durability check --uri "$NBD/vol" --journal journal --durable --atomic
node_stop
say "== unless somebody wants one"
rm "$DATA/flash0"
node_command -- --rebuild-catalog
"${COMMAND[@]}"
node_start
same "$(pstorage volume list --quiet)" "" volumes
