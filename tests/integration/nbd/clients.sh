#!/bin/bash
# The usual clients do their usual work: nbdinfo, nbdcopy, qemu-img, qemu-io.
. "$(dirname "$0")/common.bash"
cd "$TMP"
V=$NBD_URI/$SCRIPT
volume_create "$SCRIPT" 64M
volume_create "$SCRIPT-b" 64M

say "nbdinfo lists the export with what it can do"
nbdinfo --list --json "$NBD_URI" >list.json
/usr/bin/python3 - "$SCRIPT" <<'PY'
import json, sys
exports = {e["export-name"]: e for e in json.load(open("list.json"))["exports"]}
e = exports[sys.argv[1]]
assert e["export-size"] == 64 << 20 and e["contexts"] == ["base:allocation"], e
assert "volume" in e["description"], e
for flag in "cache df fast_zero flush fua multi_conn trim zero".split():
    assert e["can_" + flag] is True, flag
assert e["is_read_only"] is False
assert [e["block_minimum"], e["block_preferred"], e["block_maximum"]] == [512, 4096, 32 << 20] \
    if "block_minimum" in e else e["block_size_minimum"] == 512, e
PY
same "$(nbdinfo --size "$V")" $((64 << 20))

say "the default export is refused"
if nbdinfo --size "$NBD_URI/" 2>refusal; then fail "the default export was served"; fi
if nbdinfo --size "$NBD_URI/no-such-volume" 2>refusal; then fail "an unknown export was served"; fi
grep -qi "no such file\|unknown\|no volume" refusal || fail "refusal does not say why: $(cat refusal)"

say "nbdcopy in, qemu-img compare, nbdcopy out"
truncate -s 64M image
dd if=/dev/urandom of=image bs=1M count=5 seek=3 conv=notrunc status=none
dd if=/dev/urandom of=image bs=4096 count=7 seek=9001 conv=notrunc status=none
head -c 3000000 /usr/bin/qemu-img | dd of=image bs=64K seek=500 conv=notrunc status=none
nbdcopy --flush image "$V"
qemu-img compare -f raw -F raw image "$V"
nbdcopy "$V" out
cmp image out

say "holes stay holes"
nbdinfo --map --totals "$V" >totals
data=$(awk '$3 == 0 {print $1}' totals)
[ "$data" -lt $((10 << 20)) ] || fail "of the image's 8 MiB of data, $data bytes are allocated"
nbdinfo --map --json "$V" | /usr/bin/python3 -c '
import json, sys
at = 0
for e in json.load(sys.stdin):
    assert e["offset"] == at and e["length"] > 0, e
    at += e["length"]
assert at == 64 << 20, at'

say "between two exports, several connections"
nbdcopy --connections=4 --requests=64 "$V" "$NBD_URI/$SCRIPT-b"
qemu-img compare -f raw -F raw "$V" "$NBD_URI/$SCRIPT-b"

say "qemu-img convert both ways, map, bench"
qemu-img convert -n -f raw -O raw image "$NBD_URI/$SCRIPT-b"
qemu-img convert -f raw -O qcow2 "$NBD_URI/$SCRIPT-b" out.qcow2
qemu-img compare -f raw -F qcow2 image out.qcow2
qemu-img info "$V" | grep '64 MiB' >/dev/null || fail "qemu-img info"
qemu-img map -f raw --output=json "$V" | grep '"data": false' >/dev/null || fail "qemu-img map knows no holes"
qemu-img bench -f raw -c 2000 -d 32 -s 4096 -t none "$V" >/dev/null
qemu-img bench -f raw -c 500 -d 16 -s 65536 -w -t none "$NBD_URI/$SCRIPT-b" >/dev/null
qemu-img bench -f raw -c 500 -d 8 -w --flush-interval=10 -s 4096 -t none "$NBD_URI/$SCRIPT-b" >/dev/null

say "qemu-io: unaligned, discard, zeroes"
io() { qemu-io -f raw -t none "$NBD_URI/$SCRIPT-b" "$@" | tee io.log; ! grep -qiE 'failed|error|differ' io.log || fail "qemu-io: $*"; }
io -c 'write -P 0x11 0 64k' -c 'write -P 0x22 512 512' -c 'write -P 0x33 4090 20' -c 'read -P 0x11 0 512' \
    -c 'read -P 0x22 512 512' -c 'read -P 0x11 1024 3066' -c 'read -P 0x33 4090 20' -c 'read -P 0x11 4110 61426' >/dev/null
io -c 'discard 8k 8k' -c 'read -P 0 8k 8k' -c 'read -P 0x11 16k 4k' >/dev/null
io -c 'write -z 20k 4k' -c 'write -z -u 24k 4k' -c 'write -z 28672 512' -c 'read -P 0 20k 8704' \
    -c 'read -P 0x11 29184 4k' >/dev/null
io -c 'write -f -P 0x44 32k 4k' -c 'aio_write -P 0x55 40k 4k' -c 'aio_write -P 0x66 44k 4k' -c 'aio_flush' -c flush \
    -c 'read -P 0x44 32k 4k' -c 'read -P 0x55 40k 4k' -c 'read -P 0x66 44k 4k' >/dev/null
say "done"
