#!/bin/bash
# Several clients on one volume: each sees what the others were told is written, and flush covers all connections.
. "$(dirname "$0")/common.bash"
volume_create "$SCRIPT" 64M
py "$NBD_URI/$SCRIPT" <<'PY'
clients = [h] + [connect() for _ in range(7)]
rnd = random.Random(2)
model = bytearray(64 << 20)
for step in range(2000):
    writer, reader = rnd.choice(clients), rnd.choice(clients)
    length = 512 * rnd.randint(1, 64)
    offset = 512 * rnd.randint(0, (4 << 20) // 512)
    data = rnd.randbytes(length)
    writer.pwrite(data, offset)
    model[offset:offset + length] = data
    if step % 50 == 0:
        reader.flush()
    at = 512 * rnd.randint(0, (4 << 20) // 512)
    assert reader.pread(32768, at) == model[at:at + 32768], (step, at)

# Many requests in flight on all of them, completions in any order.
done = []
buffers = []
for i in range(800):
    c = clients[i % len(clients)]
    offset = (8 << 20) + i * 8192
    data = nbd.Buffer.from_bytearray(bytearray(i.to_bytes(4, "big") * 2048))
    buffers.append((offset, data))
    c.aio_pwrite(data, offset, lambda err, i=i: done.append((i, err.value)) or 1)
while len(done) < 800:
    for c in clients:
        if c.aio_in_flight():
            c.poll(100)
assert all(err == 0 for _, err in done)
reads = []
for i, (offset, data) in enumerate(buffers):
    c = clients[(i + 3) % len(clients)]
    buffer = nbd.Buffer(8192)
    reads.append(buffer)
    c.aio_pread(buffer, offset, lambda err: done.append((0, err.value)) or 1)
while len(done) < 1600:
    for c in clients:
        if c.aio_in_flight():
            c.poll(100)
for (offset, data), buffer in zip(buffers, reads):
    assert buffer.to_bytearray() == data.to_bytearray(), offset
for c in clients:
    c.shutdown()
PY

say "fio verifies what it wrote, four jobs on one volume"
fio --name=verify --ioengine=nbd --uri="$NBD_URI/$SCRIPT" --rw=randrw --bssplit=4k/60:512/10:64k/20:128k/10 \
    --iodepth=16 --size=16M --offset_increment=16M --numjobs=4 --verify=crc32c --verify_fatal=1 --do_verify=1 \
    --io_size=24M --verify_state_save=0 --group_reporting --output="$TMP/fio.log" || fail "fio: $(cat "$TMP/fio.log")"
say "done"
