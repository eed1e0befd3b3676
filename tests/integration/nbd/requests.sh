#!/bin/bash
# Every request by libnbd: what it does, and how wrong ones are refused while the connection lives on.
. "$(dirname "$0")/common.bash"
volume_create "$SCRIPT" 80M
py "$NBD_URI/$SCRIPT" <<'PY'
size = h.get_size()
assert size == 80 << 20
rnd = random.Random(1)

# Data of many sizes, up to the largest request.
for length in (512, 4096, 4608, 65536, 131072, 1 << 20, 32 << 20):
    data = rnd.randbytes(length)
    h.pwrite(data, size - length, nbd.CMD_FLAG_FUA if length < 65536 else 0)
    assert h.pread(length, size - length) == data, length
h.flush()
h.cache(1 << 20, 0)

# Trim, zeroes.
h.pwrite(b"\xaa" * 65536, 0)
h.trim(8192, 4096, nbd.CMD_FLAG_FUA)
h.zero(512, 512)
h.zero(4096, 16384, nbd.CMD_FLAG_NO_HOLE)
h.zero(4096, 20480, nbd.CMD_FLAG_FAST_ZERO | nbd.CMD_FLAG_FUA)
expected = bytearray(b"\xaa" * 65536)
for at, length in ((4096, 8192), (512, 512), (16384, 8192)):
    expected[at:at + length] = bytes(length)
assert h.pread(65536, 0) == expected

# Block status: whole, one at a time, and the same as what is read.
def extents(length, offset, flags=0):
    got = []
    h.block_status(length, offset, lambda name, at, entries, err: got.extend(entries) or 0, flags)
    return list(zip(got[::2], got[1::2]))
whole = extents(1 << 20, 0)
assert extents(1 << 20, 0, nbd.CMD_FLAG_REQ_ONE) == whole[:1]
at = 0
for length, flags in whole:
    zero = h.pread(length, at) == bytes(length)
    assert zero or not flags & 2, (at, length, flags)
    at += length
assert (8192, 3) in whole or any(f == 3 for _, f in whole), whole

# A structured read: holes are not sent; DF sends one chunk.
h.pwrite(b"\x01" * 4096, 40 << 20)
h.trim(1 << 20, (40 << 20) + 4096)
def chunks(flags):
    seen = []
    buf = h.pread_structured(1 << 20, 40 << 20, lambda b, o, s, e: seen.append((s, o, len(b))) or 0, flags)
    assert buf == b"\x01" * 4096 + bytes((1 << 20) - 4096)
    return seen
assert any(s == nbd.READ_HOLE for s, _, _ in chunks(0)), "a megabyte of zeroes was sent"
assert len(chunks(nbd.CMD_FLAG_DF)) == 1

# What is refused, and how.
refused("EINVAL", h.pread, 512, size)
refused("EINVAL", h.pread, 512, size - 256)
refused("EINVAL", h.pread, 100, 0)
refused("EINVAL", h.pread, 512, 100)
refused("ENOSPC", h.pwrite, bytes(512), size)
refused("ENOSPC", h.zero, 1024, size - 512)
refused("EINVAL", h.trim, 1024, size - 512)
refused("EINVAL", h.pwrite, bytes(100), 0)
refused("EINVAL", h.pwrite, bytes((32 << 20) + 512), 0)
refused("EINVAL", h.pread, (32 << 20) + 512, 0)
refused("EINVAL", h.block_status, 512, size, lambda *a: 0)
assert h.pread(4096, 40 << 20) == b"\x01" * 4096
h.shutdown()

# Without structured replies.
s = nbd.NBD()
s.set_request_structured_replies(False)
s.connect_uri(uri)
assert s.pread(4096, 40 << 20) == b"\x01" * 4096
refused("EINVAL", s.pread, 512, size)
s.pwrite(b"\x02" * 512, 512)
assert s.pread(1024, 0) == b"\xaa" * 512 + b"\x02" * 512
s.shutdown()

# Option mode: list, info, a wrong name, then the right one.
o = nbd.NBD()
o.set_opt_mode(True)
o.connect_uri(uri)
names = []
o.opt_list(lambda name, description: names.append(name) or 0)
name = uri.rsplit("/", 1)[1]
assert name in names, names
o.set_export_name("no-such")
try:
    o.opt_go()
    raise AssertionError("an unknown export was opened")
except nbd.Error:
    pass
o.set_export_name(name)
o.opt_info()
assert o.get_size() == size and o.can_multi_conn()
o.opt_go()
o.pread(512, 0)
o.shutdown()
o = nbd.NBD()
o.set_opt_mode(True)
o.connect_uri(uri)
o.opt_abort()
PY
say "done"
