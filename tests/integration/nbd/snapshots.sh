#!/bin/bash
# A snapshot is an export of its own: read-only, and it stays what it was.
. "$(dirname "$0")/common.bash"
volume_create "$SCRIPT" 16M
py "$NBD_URI/$SCRIPT" <<'PY'
h.pwrite(b"\x11" * 65536, 0, nbd.CMD_FLAG_FUA)
PY
pstorage snapshot create "$SCRIPT@before" >/dev/null
py "$NBD_URI/$SCRIPT" <<'PY'
h.pwrite(b"\x22" * 65536, 0, nbd.CMD_FLAG_FUA)
PY
py "$NBD_URI/$SCRIPT@before" <<'PY'
assert h.is_read_only() and not h.can_trim() and not h.can_zero()
assert h.pread(65536, 0) == b"\x11" * 65536
refused("EPERM", h.pwrite, bytes(512), 0)
refused("EPERM", h.trim, 512, 0)
refused("EPERM", h.zero, 512, 0)
h.flush()
assert h.pread(512, 0) == b"\x11" * 512
PY
nbdinfo --list "$NBD_URI" | grep "export=\"$SCRIPT@before\"" >/dev/null || fail "the snapshot is not listed"
say "done"
