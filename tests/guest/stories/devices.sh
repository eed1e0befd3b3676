# What NVMe devices say of themselves, as nvme-cli says it; raw access, and what is refused; format; a device that vanishes.
# guest: plain other zoned
PLAIN=$(device PLAIN) OTHER=$(device OTHER) ZONED=$(device ZONED)
node_start PSTORAGE_ANALYTICS_INTERVAL=1 PSTORAGE_FLASH_DEVICES="nvme:$PLAIN" PSTORAGE_FLASH_RAW_DEVICES="$PLAIN $OTHER $ZONED"

until_true 30 grep -q "health device=$PLAIN used_percent=0 spare_percent=[0-9]* kelvin=[1-9][0-9]* media_errors=0 critical_warning=0" /tmp/node.log ||
    fail "the node does not know how well its device is"

say "== list"
pstorage flash list
pstorage flash list --json >list.json
same "$(jq -r '.devices[] | [.serial, .kind, .in_pool, .raw_allowed, .size_bytes, .block_bytes, .used_by] | join(" ")' list.json)" \
    "PLAIN nvme true false 2147483648 4096 
ROOT nvme false false 419430400 512 mounted at /
OTHER nvme false true 2147483648 512 
ZONED zoned false true 671088640 4096 "
same "$(jq -r '.devices[3].zones | [.zone_bytes, .count, .max_active] | join(" ")' list.json)" "16777216 40 12"

# equal OURS NVME_CLI: two lists made of ours.json and theirs.json.
equal() { same "$(jq -c "$1 | map(tostring)" ours.json)" "$(jq -c "$2 | map(tostring)" theirs.json)" "ours, and nvme-cli's"; }

say "== identify, beside nvme-cli"
for device in "$OTHER" "$ZONED"; do
    pstorage flash identify "$device" --json >ours.json
    nvme id-ctrl "$device" -o json >theirs.json
    equal '.controller | [.model, .serial, .firmware, .nqn, .vendor, .subsystem_vendor, .id, .version, .max_transfer_pages,
        .namespaces, .error_log_entries, .warning_kelvin, .critical_kelvin, .can_format, .can_deallocate, .can_write_zeroes,
        .volatile_write_cache]' \
        'def bit(n): (. / n | floor) % 2 == 1; [(.mn, .sn, .fr | sub(" +$"; "")), .subnqn, .vid, .ssvid, .cntlid, .ver,
        (if .mdts == 0 then 0 else pow(2; .mdts) end), .nn, .elpe + 1, .wctemp, .cctemp, (.oacs | bit(2)), (.oncs | bit(4)),
        (.oncs | bit(8)), (.vwc | bit(1))]'
    nvme id-ns "$device" -o json >theirs.json
    equal '.namespace | [.size_blocks, .capacity_blocks, .used_blocks, .format, .block_bytes, .reads_zeroes, .nguid, .eui64,
        [.formats[] | [.block_bytes, .metadata_bytes, .performance]]]' \
        '[.nsze, .ncap, .nuse, .flbas % 16, pow(2; .lbafs[.flbas % 16].ds), .dlfeat % 8 == 1, (.nguid, .eui64 | if test("^0*$") then "" else . end),
        [.lbafs[] | [pow(2; .ds), .ms, .rp]]]'
done
nvme zns id-ns "$ZONED" -o json >theirs.json
equal '.zones | [.max_open - 1, .max_active - 1, .zone_bytes]' '[.mor, .mar, .lbafe[0].zsze * 4096]'

say "== SMART and error log, beside nvme-cli"
pstorage flash smart "$OTHER" --json >ours.json
nvme smart-log "$OTHER" -o json >theirs.json
equal '[.critical_warning, .kelvin, .spare_percent, .spare_threshold_percent, .used_percent, .power_cycles, .power_on_hours,
    .unsafe_shutdowns, .media_errors, .error_log_entries, .read_commands, .write_commands, .read_units, .written_units]' \
    '[.critical_warning, .temperature, .avail_spare, .spare_thresh, .percent_used, .power_cycles, .power_on_hours,
    .unsafe_shutdowns, .media_errors, .num_err_log_entries, .host_read_commands, .host_write_commands, .data_units_read,
    .data_units_written]'
nvme error-log "$OTHER" -o json >theirs.json
equal '[.errors | length]' '[[.errors[] | select(.error_count > 0)] | length]'
pstorage flash smart "$OTHER"
pstorage flash identify "$ZONED"

say "== analytics ask the pool's drive, too"
drive() { pstorage analytics health --json | jq -c '.drives[0] | [.name, .life_used_percent, .spare_percent, .media_errors, (.temperature_celsius | if . == null then . else . + 273.15 | round end)] | map(tostring)'; }
told() { [ "$(drive | jq -r '.[4]')" != null ]; }
until_true 60 told || fail "the drive says nothing of itself: $(drive)"
nvme smart-log "$PLAIN" -o json >theirs.json
same "$(drive)" "$(jq -c --arg name "$PLAIN" '[$name, .percent_used, .avail_spare, .media_errors, .temperature] | map(tostring)' theirs.json)" "analytics, and nvme-cli"
pstorage analytics health

say "== raw access"
head -c 3145728 /dev/urandom >payload
pstorage flash write "$OTHER" --offset 1M <payload
pstorage flash read "$OTHER" --offset 1M --length 3M | cmp - payload
dd if="$OTHER" bs=1M skip=1 count=3 iflag=direct 2>/dev/null | cmp - payload
pstorage flash deallocate "$OTHER" --offset 2M --length 1M
dd if=/dev/zero bs=1M count=1 2>/dev/null >zeroes
pstorage flash read "$OTHER" --offset 2M --length 1M | cmp - zeroes
pstorage flash read "$OTHER" --offset 3M --length 1M | cmp - <(tail -c 1048576 payload)
pstorage flash smart "$OTHER" --json >after.json
[ "$(jq .write_commands after.json)" -gt "$(jq .write_commands ours.json)" ] || fail "the writes were not counted"
refused 'multiples of the device.s 512' pstorage flash deallocate "$OTHER" --offset 0 --length 1000
refused 'multiples of the device.s 512' pstorage flash write "$OTHER" --offset 0 < <(head -c 1000 payload)
refused 'standard input is empty' pstorage flash write "$OTHER" --offset 0
refused 'end beyond' pstorage flash read "$OTHER" --offset 2G --length 4K
refused 'no NVMe namespace' pstorage flash read /dev/nonsense --length 4K
refused 'no NVMe namespace' pstorage flash read /etc/passwd --length 4K
refused 'multiples of its zones' pstorage flash deallocate "$ZONED" --offset 0 --length 4096
pstorage flash write "$ZONED" --offset 16M <payload
pstorage flash read "$ZONED" --offset 16M --length 3M | cmp - payload
refused 'failed to write' pstorage flash write "$ZONED" --offset 16M <payload
pstorage flash deallocate "$ZONED" --offset 16M --length 16M
pstorage flash write "$ZONED" --offset 16M <payload

say "== what is refused"
for verb in "write --offset 0" "deallocate --offset 0 --length 4K" "format --serial PLAIN"; do
    # shellcheck disable=SC2086 # options
    refused 'is in the pool' pstorage flash ${verb%% *} "$PLAIN" ${verb#* } <payload
done
pstorage flash read "$PLAIN" --length 64K | cmp - <(dd if="$PLAIN" bs=64k count=1 iflag=direct 2>/dev/null)
refused 'PSTORAGE_FLASH_RAW_DEVICES' pstorage flash read "$(device ROOT)" --length 4K
refused 'PSTORAGE_FLASH_RAW_DEVICES' pstorage flash format "$(device ROOT)" --serial ROOT
refused 'serial number "OTHER", not "ELSE"' pstorage flash format "$OTHER" --serial ELSE
dd if=/dev/zero bs=1M count=4 2>/dev/null | pstorage flash write "$OTHER" --offset 0
(
    exec 3<"$OTHER"
    # Another program that opened it exclusively, as mount does.
    mkfifo hold
    python3 -c 'import os, sys; fd = os.open(sys.argv[1], os.O_RDWR | os.O_EXCL); print("open", flush=True); sys.stdin.read()' "$OTHER" \
        <>hold >held &
    until_true 10 grep -q open held
    refused 'in use' pstorage flash write "$OTHER" --offset 0 <payload
    refused 'in use' pstorage flash format "$OTHER" --serial OTHER
    kill $! && wait $! || true
)
refused 'this is node guest|no node is named' pstorage flash list --node elsewhere

say "== format"
pstorage flash format "$OTHER" --serial OTHER --block-bytes 4096
same "$(pstorage flash identify "$OTHER" --json | jq .namespace.block_bytes)" 4096
pstorage flash read "$OTHER" --offset 1M --length 1M | cmp - zeroes
refused 'no format of 1000 bytes' pstorage flash format "$OTHER" --serial OTHER --block-bytes 1000

say "== a device outside the pool vanishes, and one in it"
pstorage volume create kept --size 3M
pstorage volume write kept <payload
pstorage volume create vol --size 16M
echo 1 >"/sys/class/nvme/$(basename "$(controller OTHER)")/device/remove"
refused 'no NVMe namespace|is gone' pstorage flash smart "$OTHER"
pstorage flash list --json | jq -e --arg name "$OTHER" '[.devices[] | select(.name == $name)] == []' >/dev/null
echo 1 >"/sys/class/nvme/$(basename "$(controller PLAIN)")/device/remove"
refused . sh -c 'head -c 1048576 /dev/urandom | timeout 20 pstorage --timeout 10 volume write vol'
until_true 30 sh -c 'pstorage status | grep -q -i "read.only\|failed"' || fail "status does not tell that the device is gone"
pstorage status | head -5
same "$(pstorage flash list --json | jq -r '.devices[0].health_unknown')" "the device is gone"
kill -TERM "$NODE_PID"
wait "$NODE_PID" || fail "the node ended with status $? after it lost its device"
node_refuses "can't find it" PSTORAGE_FLASH_DEVICES="nvme:$PLAIN"

say "== it comes back, and so does what was in it"
echo 1 >/sys/bus/pci/rescan
until_true 20 device PLAIN || fail "the device does not come back"
node_start PSTORAGE_FLASH_DEVICES="nvme:$(device PLAIN)"
pstorage volume read kept | cmp - payload
node_stop
