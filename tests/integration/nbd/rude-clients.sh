#!/bin/bash
# Clients that don't behave: killed in the middle of a write, silent, deaf, talking nonsense. The others go on.
. "$(dirname "$0")/common.bash"
cd "$TMP"
volume_create "$SCRIPT" 256M

say "a client is killed in the middle of writing, ten times"
written() { pstorage --json metrics | /usr/bin/python3 -c '
import json, sys
print(sum(pod["reduction"]["host_written_bytes"] for pod in json.load(sys.stdin)["pods"]))'; }
for i in 1 2 3 4 5 6 7 8 9 10; do
    enough=$(($(written) + (i << 20)))
    fio --name=killed --ioengine=nbd --uri="$NBD_URI/$SCRIPT" --rw=write --bs=1M --iodepth=8 --size=256M --time_based \
        --runtime=60 >/dev/null 2>&1 &
    client=$!
    end=$((SECONDS + 60))
    until [ "$(written)" -gt "$enough" ]; do
        [ "$SECONDS" -lt "$end" ] || fail "the client does not write"
    done
    children=$(ps --ppid "$client" -o pid= || true)
    # shellcheck disable=SC2086
    kill -KILL "$client" $children 2>/dev/null || true
    wait "$client" 2>/dev/null || true
done

py "$NBD_URI/$SCRIPT" <<'PY'
import json, socket, struct, subprocess, threading, time

def raw():
    host, port = uri.split("/")[2].rsplit(":", 1)
    s = socket.create_connection((host.strip("[]"), int(port)))
    s.settimeout(20)
    return s

def receive(s, count):
    data = b""
    while len(data) < count:
        piece = s.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data

def attach():
    s = raw()
    assert receive(s, 18)[:16] == b"NBDMAGICIHAVEOPT"
    name = uri.rsplit("/", 1)[1].encode()
    s.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 1, len(name)) + name)
    receive(s, 10)
    return s

def header(command, cookie, offset, length, flags=0):
    return struct.pack(">IHHQQI", 0x25609513, flags, command, cookie, offset, length)

def open_count():
    volume = uri.rsplit("/", 1)[1]
    shown = subprocess.run(["pstorage", "--json", "volume", "show", volume], check=True, stdout=subprocess.PIPE).stdout
    return json.loads(shown)["open_count"]

def closed(s):
    try:
        while s.recv(65536):
            pass
        return True
    except ConnectionError:
        return True
    except TimeoutError:
        return False

# Nonsense at every stage ends that connection alone.
for nonsense in (b"GET / HTTP/1.1\r\n\r\n" * 10, bytes(100), b"\xff" * 100):
    s = raw()
    receive(s, 18)
    s.sendall(nonsense)
    assert closed(s), nonsense[:10]
s = attach()
s.sendall(b"\x00" * 28)
assert closed(s)
s = raw()
receive(s, 18)
s.sendall(struct.pack(">I", 3) + b"IHAVEOPT" + struct.pack(">II", 6, 0xffffffff))
assert closed(s)

# Half a header, half a payload, then gone: nothing of it is written.
h.pwrite(b"\x77" * 65536, 0)
s = attach()
s.sendall(header(1, 1, 0, 65536) + b"\x88" * 65000)
s.close()
s = attach()
s.sendall(header(1, 1, 0, 65536)[:20])
assert open_count() > 1
s.close()
end = time.monotonic() + 20
while open_count() > 1:  # h is the other one
    assert time.monotonic() < end, "clients that went are still there"
assert h.pread(65536, 0) == b"\x77" * 65536

# A client that stops talking for good after a write gets its answer.
s = attach()
s.sendall(header(1, 7, 4096, 512) + b"\x99" * 512)
s.shutdown(socket.SHUT_WR)
assert receive(s, 16) == struct.pack(">IIQ", 0x67446698, 0, 7)
assert closed(s)
assert h.pread(512, 4096) == b"\x99" * 512

# After a disconnect request everything asked before is answered.
s = attach()
s.sendall(b"".join(header(0, i, 0, 4096) for i in range(32)) + header(2, 99, 0, 0))
assert len(receive(s, 32 * (16 + 4096))) == 32 * 4112
assert closed(s)

# Deaf clients: they ask for gigabytes and take nothing. They are made to wait, the server stays small, others are served.
def resident():
    pid = os.environ.get("NODE_PID")
    if not pid:
        return 0
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))
data = os.urandom(1 << 20)
for i in range(32):
    h.pwrite(data, i << 20)
for i in range(32): # so that caches have grown already
    assert h.pread(1 << 20, i << 20) == data
before = resident()
deaf = []
for i in range(3):
    s = attach()
    s.setblocking(False)
    asked = 0
    for n in range(20000):
        try:
            asked += s.send(header(0, n, (n % 30) << 20, 1 << 20))
        except BlockingIOError:
            break
    deaf.append(s)
    for n in range(50):
        begin = time.monotonic()
        h.pwrite(b"\x55" * 4096, 200 << 20)
        assert h.pread(4096, 200 << 20) == b"\x55" * 4096
        assert time.monotonic() - begin < 20
    if i == 0:
        # one deaf client may not slow down the others
        assert time.monotonic() - begin < 5
grown = resident() - before
print(f"resident grew by {grown} KiB under deaf clients")
assert grown < (64 + 96) * 1024, grown
for s in deaf:
    s.close()
assert h.pread(1 << 20, 5 << 20) == data
PY
say "done"
