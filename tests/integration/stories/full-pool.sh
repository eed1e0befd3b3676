# A pool that is full says so to writers, goes on reading, and comes back by trim and by delete.

FLASH_SIZE=256M
node_start
pstorage volume create vol --size 2G
pstorage volume create other --size 64M
fill()
{
    py "$NBD/vol" <<'PYTHON'
# Bytes that neither compress nor deduplicate, until the pool is full.
source = random.Random(7)
at, step = 0, 128 << 10
while True:
    try:
        h.pwrite(source.randbytes(step), at)
    except nbd.Error as error:
        assert error.errno == "ENOSPC", error
        break
    at += step
    assert at < 400 << 20, "256 MiB of flash took 400 MiB that do not compress"
assert at > 96 << 20, f"full after {at} bytes"
print("full after", at >> 20, "MiB")
for _ in range(5):
    expect_errno("ENOSPC", h.pwrite, source.randbytes(4096), at + step)
# Everything acknowledged reads back.
source = random.Random(7)
for offset in range(0, at, step):
    assert h.pread(step, offset) == source.randbytes(step), offset
open("filled", "w").write(str(at))
PYTHON
}
fill
say "== the CLI and other volumes hear the same"
refused 1 'space|full' bash -c 'head -c 8M /dev/urandom | pstorage volume write other --offset 0'
pstorage status
pstorage volume show vol >/dev/null

say "== restart and kill while full"
node_stop
node_start
node_kill
node_start
fio --name=read --ioengine=nbd --uri="$NBD/vol" --rw=randread --bs=4k --iodepth=8 --size=64M --number_ios=2000 >/dev/null

say "== trim makes room"
py "$NBD/vol" <<'PYTHON'
filled = int(open("filled").read())
for offset in range(0, filled // 2, 1 << 20):
    h.trim(1 << 20, offset)
h.flush()
PYTHON
writes_again()
{
    py "$NBD/$1" <<'PYTHON'
for i in range(16):
    h.pwrite(os.urandom(1 << 20), i << 20)
PYTHON
}
until_true 60 writes_again vol || fail "writes fail 60 s after half of the pool was trimmed"
say "== what was not trimmed is still there"
py "$NBD/vol" <<'PYTHON'
filled, step = int(open("filled").read()), 128 << 10
source = random.Random(7)
for offset in range(0, filled, step):
    want = source.randbytes(step)
    if offset >= filled // 2 + (1 << 20):
        assert h.pread(step, offset) == want, offset
PYTHON

say "== delete makes room"
fill_rest()
{
    py "$NBD/other" <<'PYTHON'
for i in range(64):
    h.pwrite(os.urandom(1 << 20), i << 20)
PYTHON
}
for _ in 1 2 3 4; do fill_rest || break; done
pstorage volume delete vol
until_true 60 writes_again other || fail "writes fail 60 s after the big volume was deleted"

say "== all garbage is collected when somebody asks for it"
pstorage gc | grep 'default: .* of garbage' || fail "gc says: $(pstorage gc --status)"
collected() { [ "$(pstorage --json gc --status | field collecting)" = false ]; }
until_true 60 collected || fail "collection does not end: $(pstorage gc --status)"
pstorage events | grep -q 'gc.done' || fail "no event tells the end"
