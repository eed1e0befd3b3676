# All maps are compared, while hosts write and on a pool that nobody has open; whose damage it is, and what a snapshot
# holds, is said.

# rot PATTERN_FILE OFFSET: a byte of the record that holds what lies there in the file.
rot()
{
    /usr/bin/python3 - "$DATA/flash0" "$1" "$2" <<'PYTHON'
import mmap, os, sys
with open(sys.argv[1], "r+b") as flash, open(sys.argv[2], "rb") as data:
    stored = mmap.mmap(flash.fileno(), 0)
    data.seek(int(sys.argv[3]) + 1000)
    at = stored.find(data.read(64), 0, len(stored) - 1)
    assert at > 0, "what was written is not there"
    stored[at] ^= 0x10
    stored.flush()
    os.fsync(flash.fileno())
PYTHON
}
# rot_pages: every stored page of a map.
rot_pages()
{
    /usr/bin/python3 - "$DATA/flash0" <<'PYTHON'
import mmap, os, struct, sys
with open(sys.argv[1], "r+b") as flash:
    stored = mmap.mmap(flash.fileno(), 0)
    end = len(stored) - 1  # Python 3.11's find looks at the byte behind what it searches
    found, at = 0, stored.find(b"PSPG\x01", 0, end)
    while at >= 0:
        if at % 64 == 0 and struct.unpack_from("<Q", stored, at + 16)[0] >> 60 == 1:
            stored[at + 50] ^= 0x10
            found += 1
        at = stored.find(b"PSPG\x01", at + 1, end)
    assert found, "no page of a map is stored"
    stored.flush()
    os.fsync(flash.fileno())
PYTHON
}
# check STATUS FLAG: the offline check ends so; what it said is in checked.txt.
check()
{
    local status=0 before after
    before=$(stat -c '%y %z' "$DATA/flash0") # of the last write
    node_command -- "$2"
    timeout 60 "${COMMAND[@]}" >"$TMP/checked.txt" 2>"$TMP/checked.log" || status=$?
    after=$(stat -c '%y %z' "$DATA/flash0")
    [ "$status" = "$1" ] || fail "$2 ends with $status: $(cat "$TMP/checked.txt" "$TMP/checked.log")"
    [ "$before" = "$after" ] || fail "$2 has written to the flash"
}
said() { grep -q -- "$1" "$TMP/checked.txt" || fail "not said: $1; but $(cat "$TMP/checked.txt")"; }
of_deep() { pstorage --json scrub --status | python3 -c 'import json,sys; print(json.load(sys.stdin)["pods"][0]["deep_check"][sys.argv[1]])' "$1"; }
deep_runs() { [ "$(of_deep running)" = False ] && [ "$(of_deep runs)" -gt "$1" ]; }
# held IMAGE FIELD
held() { pstorage --json volume show "$1" | python3 -c 'import json,sys; h=json.load(sys.stdin)["held"]; print("unknown" if h is None else h[sys.argv[1]])' "$2"; }
stored() { pstorage --json status | python3 -c 'import json,sys; print(json.load(sys.stdin)["pods"][0]["space"]["stored_bytes"])'; }
released() { [ "$(pstorage --json status | python3 -c 'import json,sys; print(json.load(sys.stdin)["pods"][0]["space"]["releasing"])')" = 0 ]; }

FLASH_SIZE=512M
node_start PSTORAGE_SURVEY_MINUTES=0 PSTORAGE_SCRUB_HOURS=0
head -c 8M /dev/urandom >"$TMP/old"
head -c 2M /dev/urandom >"$TMP/new"
pstorage volume create vol --size 256M
pstorage volume write vol --offset 0 <"$TMP/old"
pstorage snapshot create vol@before
pstorage volume write vol --offset 2M <"$TMP/new"
pstorage volume write vol --offset 128M <"$TMP/new"

say "== what a snapshot holds is not known before the maps were gone through, and then to the byte"
same "$(held vol@before exclusive_bytes)" unknown "exclusive bytes"
pstorage snapshot list | grep -q 'vol@before.*?' || fail "the list guesses: $(pstorage snapshot list)"
pstorage scrub --deep
until_true 30 deep_runs 0 || fail "the check does not end: $(pstorage scrub --status)"
same "$(of_deep damage)" 0 "found wrong"
same "$(of_deep images)" 2 "images"
same "$(held vol@before exclusive_blocks)" 512 "blocks that the snapshot alone holds"
same "$(held vol@before referenced_blocks)" 2048 "blocks of the snapshot"
same "$(held vol exclusive_blocks)" 512 "blocks that the volume alone holds, twice"
reclaimable=$(held vol@before reclaimable_bytes)
before=$(stored)
pstorage snapshot create vol@after
pstorage snapshot delete vol@before
until_true 30 released || fail "the snapshot is not released"
same "$((before - $(stored)))" "$reclaimable" "bytes that came back"

say "== it is compared while hosts write"
(
    for i in $(seq 16); do
        pstorage volume write vol --offset $((100 + i % 20 * 4))M <"$TMP/new" >/dev/null
        pstorage snapshot create "vol@s$i" >/dev/null
        [ "$i" -lt 5 ] || pstorage snapshot delete "vol@s$((i - 4))" >/dev/null
    done
) &
writer=$!
STARTED+=("$writer")
runs=$(of_deep runs)
for _ in 1 2 3; do
    pstorage scrub --deep >/dev/null
    until_true 60 deep_runs "$runs" || fail "the check does not end: $(pstorage scrub --status)"
    runs=$(of_deep runs)
    same "$(of_deep failed)$(of_deep damage)" False0 "failed, and found wrong"
done
reap "$writer" || fail "a writer failed"
pstorage events | grep -c 'deep.ended' >/dev/null || fail "no event of it"

say "== a pool in use is not checked; after a kill it is, with its log, and nothing is written"
node_command -- --check
if timeout 30 "${COMMAND[@]}" >"$TMP/checked.txt" 2>&1; then fail "a pool in use was checked"; fi
grep -q "in use" "$TMP/checked.txt" || fail "no word of its use: $(cat "$TMP/checked.txt")"
pstorage volume write vol --offset 200M <"$TMP/new"
node_kill
check 0 --check
said 'nothing is wrong'
check 0 --check-records
said 'verified .* records .*nothing is wrong'

say "== a rotten record: its volume and LBA are named, offline"
rot "$TMP/old" $((6 << 20))
check 0 --check
check 1 --check-records
said 'the record of group'
said 'is at LBA 153[0-9].* of vol$'
said 'is at LBA .* of vol@after'

say "== and online, by whoever reads it"
node_start PSTORAGE_SURVEY_MINUTES=0 PSTORAGE_SCRUB_HOURS=0
if pstorage volume read vol --offset 6M --length 64K >/dev/null 2>&1; then fail "what is lost was read"; fi
lost() { pstorage scrub --status | grep -q 'is at LBA 153.* of vol$'; }
until_true 30 lost || fail "not said whose it is: $(pstorage scrub --status)"
pstorage events | grep 'volume.data_loss' | grep -q 'of vol: lost' || fail "no event: $(pstorage events)"
pstorage --json scrub --status | python3 -c '
import json, sys
losses = json.load(sys.stdin)["pods"][0]["losses"]
assert any(l["lba"] <= 1536 < l["lba"] + l["blocks"] and l["text"].endswith("of vol") for l in losses), losses' ||
    fail "not in --json"
node_stop

say "== rotten pages of maps: what they hide is named"
rot_pages
check 1 --check
said 'vol: LBA .* can.t be found without page'
said 'wrong$'
