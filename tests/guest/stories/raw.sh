# Raw access is refused to what anybody else has, by whatever name it is called; requests for one device do not get in each other's way; what was
# formatted can be used.
# guest: plain other
PLAIN=$(device PLAIN) OTHER=$(device OTHER)
head -c 1048576 /dev/urandom >payload
ln -s "$OTHER" /tmp/other
# writes_refused PATTERN DEVICE SERIAL: and so is everything else that changes it.
writes_refused()
{
    refused "$1" pstorage flash write "$2" --offset 0 <payload
    refused "$1" pstorage flash deallocate "$2" --offset 0 --length 1M
    refused "$1" pstorage flash format "$2" --serial "$3"
}
use_of() { pstorage flash list --json | jq -r --arg name "$1" '.devices[] | select(.name == $name) | .used_by'; }
# partition DEVICE: one, from 1 MiB to 1 GiB, of sectors of 512 bytes.
partition()
{
    python3 - "$1" <<'EOF'
import struct, sys
table = bytearray(512)
table[446:462] = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0x83, b"\xff\xff\xff", 2048, 2097152 - 2048)
table[510:] = b"\x55\xaa"
with open(sys.argv[1], "r+b") as device: device.write(table)
EOF
    blockdev --rereadpt "$1"
    until_true 10 test -b "$1p1" || fail "the kernel does not see the partition"
}

node_start PSTORAGE_FLASH_DEVICES="nvme:$PLAIN" PSTORAGE_FLASH_RAW_DEVICES="/tmp/other $PLAIN"

say "== names"
pstorage flash write /tmp/other --offset 0 <payload
pstorage flash read "$OTHER" --offset 0 --length 1M | cmp - payload
numbers() { stat -c '0x%t 0x%T' "$1" | { read -r a b && echo "$((a)) $((b))"; }; }
# shellcheck disable=SC2046 # two numbers
mknod /tmp/nvme8n1 b $(numbers "$OTHER")
# shellcheck disable=SC2046
mknod /dev/nvme9n1 b $(numbers "$PLAIN")
ln -s /etc/passwd /dev/nvme7n1
for name in /tmp/nvme8n1 /dev/nvme7n1 "../$OTHER" "${OTHER#/dev/}" "$OTHER/" /dev/../etc/passwd "$(controller OTHER)"; do
    refused 'no NVMe namespace' pstorage flash write "$name" --offset 0 <payload
done
refused 'no NVMe namespace' pstorage flash format /tmp/nvme8n1 --serial OTHER
writes_refused 'is in the pool' /dev/nvme9n1 PLAIN
rm /dev/nvme9n1 /dev/nvme7n1

say "== bounds"
refused 'end beyond' pstorage flash write "$OTHER" --offset 2G <payload
refused 'end beyond' pstorage flash write "$OTHER" --offset $(((2 << 30) - 4096)) <payload
refused 'end beyond' pstorage flash deallocate "$OTHER" --offset $(((2 << 30) - 512)) --length 1K
refused . pstorage flash read "$OTHER" --offset 18446744073709551104 --length 1K
refused . pstorage flash deallocate "$OTHER" --offset 512 --length 18446744073709551104
refused 'multiples' pstorage flash read "$OTHER" --offset 1 --length 512
pstorage flash read "$OTHER" --offset $(((2 << 30) - 512)) --length 512 >/dev/null

say "== many at a time"
pids=()
for part in $(seq 0 7); do
    pstorage flash read "$OTHER" --offset $((part << 17)) --length 128K >"part$part" &
    pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || fail "a read got in another one's way"; done
cat part? | cmp - payload

say "== another node's"
node_refuses 'in use' PSTORAGE_DATA_DIR=/tmp/data2 PSTORAGE_FLASH_DEVICES="nvme:$PLAIN" PSTORAGE_RPC_LISTEN=tcp://127.0.0.1:7999 \
    PSTORAGE_NBD_LISTEN=127.0.0.1:7998

say "== swap"
mkswap "$OTHER" >/dev/null
swapon "$OTHER"
same "$(use_of "$OTHER")" "swapped to"
refused 'in use' pstorage flash write "$OTHER" --offset 0 <payload
swapoff "$OTHER"
same "$(use_of "$OTHER")" ""

say "== a partition that is mounted"
partition "$OTHER"
refused 'no NVMe namespace' pstorage flash write "${OTHER}p1" --offset 0 <payload
mke2fs "${OTHER}p1" >/dev/null 2>&1
mkdir /tmp/mnt
mount -t ext4 "${OTHER}p1" /tmp/mnt
cp payload /tmp/mnt/kept
same "$(use_of "$OTHER")" "mounted at /tmp/mnt"
writes_refused 'in use' "$OTHER" OTHER
refused 'in use' pstorage flash read "$OTHER" --offset 0 --length 4K
umount /tmp/mnt
mount -t ext4 "${OTHER}p1" /tmp/mnt
cmp payload /tmp/mnt/kept
umount /tmp/mnt
node_stop

say "== a partition that is in the pool"
dd if=/dev/zero of="${OTHER}p1" bs=1M count=16 2>/dev/null
node_start PSTORAGE_DATA_DIR=/tmp/data3 PSTORAGE_FLASH_DEVICES="nvme:${OTHER}p1" PSTORAGE_FLASH_RAW_DEVICES="$OTHER ${OTHER}p1"
pstorage flash list
same "$(use_of "$OTHER")" "${OTHER}p1 is in the pool"
same "$(pstorage flash list --json | jq -r '.devices[0] | [.name, .health_unknown] | join(" ")')" "${OTHER}p1 a partition: its whole device is asked"
writes_refused "its partition ${OTHER}p1 is in the pool" "$OTHER" OTHER
writes_refused 'is in the pool' "${OTHER}p1" OTHER
refused "its partition ${OTHER}p1 is in the pool" pstorage flash read "$OTHER" --offset 0 --length 4K
pstorage volume create vol --size 16M
pstorage volume write vol <payload
pstorage volume read vol --length 1M | cmp - payload
node_stop

say "== formatted, then used"
node_start PSTORAGE_FLASH_DEVICES="nvme:$PLAIN" PSTORAGE_FLASH_RAW_DEVICES="$OTHER"
pstorage flash format "$OTHER" --serial OTHER --block-bytes 4096
same "$(cat "/sys/block/${OTHER#/dev/}/queue/logical_block_size")" 4096 "the kernel's block size"
node_stop
node_start PSTORAGE_DATA_DIR=/tmp/data4 PSTORAGE_FLASH_DEVICES="nvme:$OTHER"
pstorage volume create vol --size 16M
pstorage volume write vol <payload
pstorage volume read vol --length 1M | cmp - payload
node_stop
