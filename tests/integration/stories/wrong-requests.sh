# Wrong requests of people and of NBD clients: each is refused with a reason, and leaves no trace.

node_start
pstorage volume create vol --size 16M

say "== names"
refused 1 'exists' pstorage volume create vol --size 16M
refused 2 'name' pstorage volume create '' --size 16M
refused 2 'name' pstorage volume create 'with space' --size 16M
refused 2 'name' pstorage volume create 'a/b' --size 16M
refused 2 'name' pstorage volume create '.hidden' --size 16M
refused 2 'name' pstorage volume create 'vol@snap' --size 16M
refused 2 'name' pstorage volume create "$(printf 'ü')" --size 16M
refused 2 'name' pstorage volume create "$(printf 'x%.0s' {1..64})" --size 16M
pstorage volume create "$(printf 'x%.0s' {1..63})" --size 16M
refused 2 'snapshot|name|@' pstorage snapshot create vol
refused 2 'name' pstorage snapshot create 'vol@'
refused 2 'name' pstorage snapshot create 'vol@a@b'
refused 3 'nosuch' pstorage snapshot create nosuch@s
pstorage snapshot create vol@s
refused 1 'exists' pstorage snapshot create vol@s
refused 3 'not found|no ' pstorage clone create vol@nosuch new
refused 1 'exists' pstorage clone create vol@s vol
refused 3 'not found|no ' pstorage volume delete nosuch
refused 1 'exists' pstorage volume rename vol "$(printf 'x%.0s' {1..63})"

say "== sizes"
refused 2 'size' pstorage volume create zero --size 0
refused 2 'size' pstorage volume create huge --size 300T
refused 2 'size' pstorage volume create huge --size 99999999999999999999
refused 2 'size' pstorage volume create odd --size 1000
refused 2 'size' pstorage volume create minus --size -1G
refused 2 'size' pstorage volume create what --size 10X
refused 2 'size' pstorage volume create none
refused - 'shrink|smaller' pstorage volume resize vol --size 8M
pstorage volume create biggest --size 256T
nbdinfo --size "$NBD/biggest"

say "== usage"
refused 2 'unknown|usage' pstorage volume frobnicate vol
refused 2 'unknown|usage' pstorage volume create vol2 --sice 1G
refused 4 'connect|unavailable|refused' pstorage --endpoint tcp://127.0.0.1:1 status

say "== NBD: exports that are not there"
refused 1 'export|found|ENOENT|unknown' nbdinfo "$NBD/nosuch"
refused 1 'export|found|ENOENT|unknown' nbdinfo "$NBD/vol@nosuch"
refused 1 'export|found|ENOENT|unknown|empty' nbdinfo "$NBD/$(printf 'n%.0s' {1..255})"
nbdinfo --list "$NBD" | grep vol >/dev/null

say "== NBD: out of range, empty and unaligned, and the connection lives on"
py "$NBD/vol" <<'PYTHON'
h.set_strict_mode(0)
size = h.get_size()
expect_errno("EINVAL", h.pread, 4096, size)
expect_errno("EINVAL", h.pread, 8192, size - 4096)
expect_errno("EINVAL", h.pread, 4096, 1 << 62)
for out_of_range in (h.pwrite,):
    try:
        out_of_range(b"x" * 4096, size)
        raise AssertionError("written past the end")
    except nbd.Error as error:
        assert error.errno in ("ENOSPC", "EINVAL"), error.errno
expect_errno("EINVAL", h.trim, 4096, size)
expect_errno("EINVAL", h.trim, 4096, (1 << 63) - 4096)
assert h.pread(4096, size - 4096) == bytes(4096)
h.pwrite(b"y" * 512, 512)
assert h.pread(1536, 0) == bytes(512) + b"y" * 512 + bytes(512)
h.shutdown()
PYTHON

say "== a volume in use is not deleted, unless forced"
background "$TMP/holder.log" /usr/bin/python3 -c '
import nbd, sys
h = nbd.NBD(); h.connect_uri(sys.argv[1]); open(sys.argv[2], "w").close(); sys.stdin.read(); import signal; signal.pause()' \
    "$NBD/vol" "$TMP/holding"
until_true 20 test -e "$TMP/holding"
pstorage snapshot delete vol@s
refused 1 'use|open' pstorage volume delete vol
kill -KILL "$PID"
reap "$PID" || true
until_true 20 pstorage volume delete vol || fail "the volume stays in use after its client is gone"
refused 3 'not found|no ' pstorage volume show vol

say "== none of it left anything behind"
same "$(pstorage volume list --json | grep -c '"name"')" 2 "volumes"
