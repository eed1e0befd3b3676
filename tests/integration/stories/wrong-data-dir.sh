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

say "== a flash file that is something else, and one cut short"
head -c 300M /dev/urandom >"$TMP/foreign"
cksum <"$TMP/foreign" >before
node_refuses 'not.*pstorage|not blank|not empty|label|foreign|unknown|damaged' PSTORAGE_DATA_DIR="$TMP/data2" \
    "PSTORAGE_FLASH_DEVICES=file:$TMP/foreign,size=300M"
cksum <"$TMP/foreign" | cmp - before || fail "a foreign file was written to"
cp --sparse=always "$DATA/flash0" "$TMP/short"
truncate -s 100M "$TMP/short"
node_refuses 'size|short|smaller' PSTORAGE_DATA_DIR="$TMP/data3" "PSTORAGE_FLASH_DEVICES=file:$TMP/short,size=100M"

say "== the first megabyte overwritten: refused, not formatted anew"
cp -r --sparse=always "$DATA" "$TMP/kept"
dd if=/dev/urandom of="$DATA/flash0" bs=1M count=1 conv=notrunc status=none
cksum <"$DATA/flash0" >before
if node_command && timeout 30 "${COMMAND[@]}" >damaged.log 2>&1; then fail "started on a damaged pool"; fi
say "said: $(tail -n 1 damaged.log)"
cksum <"$DATA/flash0" | cmp - before || fail "a damaged pool was written to"

say "== put back: all is there"
rm -rf "$DATA"
mv "$TMP/kept" "$DATA"
node_start
durability check --uri "$NBD/vol" --journal journal --durable --atomic
