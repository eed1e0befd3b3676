# Devices that are not what the node was meant to have: each case has its message, and nothing on them changes. One that warns of itself.
# guest: tiny tired zoned
TINY=$(device TINY) TIRED=$(device TIRED) ZONED=$(device ZONED)
# sum DEVICE: of all that is on it; of a zoned one, of what can be read.
sum() { dd if="$1" bs=1M iflag=direct count="${2:-1024}" 2>/dev/null | md5sum; }
# untouched PATTERN DEVICE [MEGABYTES]: a node refuses the device, and leaves it as it was.
untouched()
{
    local before after
    before=$(sum "$2" "${3:-1024}")
    node_refuses "$1" PSTORAGE_DATA_DIR=/tmp/unused PSTORAGE_FLASH_DEVICES="nvme:$2"
    after=$(sum "$2" "${3:-1024}")
    same "$after" "$before" "what is on $2"
}
write_at() { dd if=/dev/urandom of="$1" bs=64k seek=$(($2 << 4)) count=1 oflag=direct conv=notrunc 2>/dev/null || fail "cannot write to $1"; }

say "== missing, too small, something else"
node_refuses "can't find it" PSTORAGE_FLASH_DEVICES=nvme:/dev/nvme9n1
node_refuses "is no block device" PSTORAGE_FLASH_DEVICES="nvme:$(controller TIRED)"
untouched 'a pool needs at least' "$TINY"
write_at "$TIRED" 0
untouched 'not a PStorage pool.*first MiB' "$TIRED" 16
dd if=/dev/zero of="$TIRED" bs=64k count=1 oflag=direct conv=notrunc 2>/dev/null

say "== a zoned device of which the first zones are empty"
write_at "$ZONED" 80
untouched 'not a PStorage pool.*reset all of its zones' "$ZONED" 96
same "$(nvme zns report-zones "$ZONED" -d 6 -o json | jq '[.zone_list[] | select(.state != "EMPTY")] | length')" 1 "zones that are not empty"
nvme zns reset-zone "$ZONED" -a >/dev/null

say "== a device that warns"
node_start PSTORAGE_DATA_DIR=/tmp/first PSTORAGE_FLASH_DEVICES="nvme:$TIRED"
until_true 30 sh -c 'pstorage events | grep -q "device.warning.*$0 warns: it is not reliable any more"' "$TIRED" || fail "nobody was told of the warning: $(pstorage events)"
pstorage volume create first --size 16M
head -c 1048576 /dev/urandom >payload
pstorage volume write first <payload
node_stop

say "== exchanged"
node_start PSTORAGE_DATA_DIR=/tmp/second PSTORAGE_FLASH_DEVICES="nvme:$ZONED"
pstorage volume create second --size 16M
pstorage volume write second <payload
node_stop
# The directory knows what was on its device: another pool is not served in its place.
node_refuses 'holds another pod.*rebuild-catalog' PSTORAGE_DATA_DIR=/tmp/first PSTORAGE_FLASH_DEVICES="nvme:$ZONED"
node_refuses 'holds another pod.*rebuild-catalog' PSTORAGE_DATA_DIR=/tmp/second PSTORAGE_FLASH_DEVICES="nvme:$TIRED"
node_refuses 'in a pool|another|array|alone' PSTORAGE_DATA_DIR=/tmp/first PSTORAGE_FLASH_DEVICES="nvme:$TIRED nvme:$ZONED"
node_start PSTORAGE_DATA_DIR=/tmp/first PSTORAGE_FLASH_DEVICES="nvme:$TIRED"
pstorage volume read first --length 1M | cmp - payload
node_stop
node_start PSTORAGE_DATA_DIR=/tmp/second PSTORAGE_FLASH_DEVICES="nvme:$ZONED"
pstorage volume read second --length 1M | cmp - payload
node_stop
