# The devices of another node, asked through this one: what they are, how they are, raw access, format; and what that node refuses.
# guest: plain other tired
PLAIN=$(device PLAIN) OTHER=$(device OTHER) TIRED=$(device TIRED)
RPC=(- tcp://127.0.0.1:9500 tcp://127.0.0.1:9600)
export PSTORAGE_ENDPOINT=${RPC[1]}
# node N DEVICE RAW: starts it, and waits until it answers.
node()
{
    local other=$((3 - $1))
    env PSTORAGE_NODE_NAME="n$1" PSTORAGE_DATA_DIR="/tmp/n$1" PSTORAGE_RPC_LISTEN="${RPC[$1]}" PSTORAGE_NBD_LISTEN= PSTORAGE_NVME_LISTEN= PSTORAGE_API_LISTEN= \
        PSTORAGE_MEMORY_BUDGET=128M PSTORAGE_CLUSTER_ENABLED=true PSTORAGE_PEERS="n$other=${RPC[$other]}" PSTORAGE_MEDIATOR=tcp://127.0.0.1:9700 \
        PSTORAGE_FLASH_DEVICES="$2" PSTORAGE_FLASH_RAW_DEVICES="$3" pstoraged >>/tmp/node.log 2>&1 </dev/null &
    PIDS[$1]=$!
    until_true 60 pstorage --endpoint "${RPC[$1]}" flash list || fail "n$1 does not answer after 60 s"
}
PIDS=()
head -c 1048576 /dev/urandom >payload

say "== n1 has a file, and lets nobody at a device; n2 has PLAIN, and lets clients at OTHER"
node 1 file:/tmp/flash,size=128M ""
node 2 "nvme:$PLAIN" "$OTHER"
same "$(pstorage flash list --json | jq -r '.node, .devices[0].name')" $'n1\n/tmp/flash' "n1's list"
same "$(pstorage flash list --node n2 --json | jq -r '.node, .devices[0].serial')" $'n2\nPLAIN' "n2's list"
same "$(pstorage flash list --node n2 --json | jq -c '[.devices[] | select(.raw_allowed) | .serial]')" '["OTHER"]' "what n2 lets clients at"
same "$(pstorage flash list --json | jq -c '[.devices[] | select(.raw_allowed) | .serial]')" '[]' "what n1 lets clients at"

say "== identify and SMART"
same "$(pstorage flash identify "$OTHER" --node n2 --json | jq -r .controller.serial)" OTHER
same "$(pstorage flash smart "$TIRED" --node n2 --json | jq .critical_warning)" 4 "the warnings of a device that has one"
pstorage flash smart "$TIRED" --node n2 --errors 64 | grep -q '^Warnings *reliability degraded' || fail "not said what the device warns of"
pstorage flash list --node n2 | grep -q 'warning 0x04' || fail "the list does not tell of the warning"

say "== raw access"
refused PSTORAGE_FLASH_RAW_DEVICES pstorage flash write "$OTHER" --offset 0 <payload
pstorage flash write "$OTHER" --offset 4K --node n2 <payload
pstorage flash read "$OTHER" --offset 4K --length 1M --node n2 | cmp - payload
dd if="$OTHER" bs=4k skip=1 count=256 iflag=direct 2>/dev/null | cmp - payload
pstorage flash deallocate "$OTHER" --offset 4K --length 1M --node n2
pstorage flash read "$OTHER" --offset 4K --length 1M --node n2 | cmp - <(head -c 1048576 /dev/zero)
refused 'is in the pool' pstorage flash write "$PLAIN" --offset 0 --node n2 <payload
refused 'is in the pool' pstorage flash format "$PLAIN" --serial PLAIN --node n2
refused PSTORAGE_FLASH_RAW_DEVICES pstorage flash deallocate "$TIRED" --offset 0 --length 4K --node n2
refused 'serial number "OTHER", not "PLAIN"' pstorage flash format "$OTHER" --serial PLAIN --node n2
pstorage flash format "$OTHER" --serial OTHER --block-bytes 4096 --erase user-data --node n2
same "$(pstorage flash identify "$OTHER" --node n2 --json | jq .namespace.block_bytes)" 4096

say "== wrong arguments"
for arguments in "read $OTHER" "read $OTHER --length 0" "read $OTHER --length x" "read $OTHER --offset -1 --length 4K" "write $OTHER" "deallocate $OTHER --offset 0" \
    "deallocate $OTHER --offset 0 --length 0" "format $OTHER" "format $OTHER --serial OTHER --erase everything" "format $OTHER --serial OTHER --block-bytes 5G" \
    "smart" "smart $OTHER --errors 65" "smart $OTHER --errors x" "identify $OTHER $PLAIN"; do
    # shellcheck disable=SC2086 # words
    refused . pstorage flash $arguments --node n2
done
refused "no node is named 'n3'" pstorage flash smart "$OTHER" --node n3

say "== n2 is gone"
kill -KILL "${PIDS[2]}"
wait "${PIDS[2]}" || true
refused . timeout 60 pstorage flash smart "$OTHER" --node n2
refused PSTORAGE_FLASH_RAW_DEVICES pstorage flash read "$OTHER" --length 4K
kill -TERM "${PIDS[1]}"
wait "${PIDS[1]}" || fail "n1 ended with status $? when asked to stop"
