# The durability verifier finds what it is there to find, and nothing else. No node here: other NBD servers,
# whose files can be damaged by hand, play the good and the bad ones.

read -r PEER_PORT < <(free_ports 1)
PEER=nbd://127.0.0.1:$PEER_PORT

serve()
{
    background peer.log nbdkit -f -i 127.0.0.1 -p "$PEER_PORT" "$@"
    PEER_PID=$PID
    until_true 20 listening "$PEER_PORT" || fail "nbdkit does not listen"
}
stop()
{
    kill -KILL "$PEER_PID"
    reap "$PEER_PID" || true
}

say "== a server that keeps its file passes, killed again and again"
truncate -s 32M disk
for round in 1 2 3; do
    serve file disk
    durability load --uri "$PEER" --journal good --writes 1500 --kill "$PEER_PID" --seed "$round"
    reap "$PEER_PID" || true
    serve file disk
    durability check --uri "$PEER" --journal good --durable
    stop
done

say "== a server that forgets fails"
serve memory 32M
durability load --uri "$PEER" --journal forgetful --writes 1500 --kill "$PEER_PID" --seed 4
reap "$PEER_PID" || true
serve memory 32M
refused 1 'lost: write' "$HERE/durability" check --uri "$PEER" --journal forgetful --durable
stop

# damaged WHAT: one load, then the file is damaged by the program on standard input, which sees `disk`
# (writable bytes), `writes` (all answered, in order) and the journal's own `make_block`.
damaged()
{
    local flags=$1 pattern=$2
    shift 2
    truncate -s 0 disk && truncate -s 32M disk
    rm -f journal
    serve file disk
    durability load --uri "$PEER" --journal journal --writes 1500 --seed 5 "$@"
    stop
    cat >damage.py
    /usr/bin/python3 - "$HERE/durability" <<'PYTHON'
import importlib.machinery, importlib.util, mmap, sys
loader = importlib.machinery.SourceFileLoader("durability", sys.argv[1])
sys.dont_write_bytecode = True
durability = importlib.util.module_from_spec(importlib.util.spec_from_loader("durability", loader))
loader.exec_module(durability)
journal = durability.Journal("journal")
last = {}
for write in journal.writes:
    for lba in range(write.lba, write.lba + write.count):
        last[lba] = write
# Answered writes that are wholly on top, oldest first: what each says must be seen as it is.
writes = [w for w in journal.writes if not w.zero and all(last[b] is w for b in range(w.lba, w.lba + w.count))]
single = [w for w in writes if w.count == 1]
with open("disk", "r+b") as file:
    disk = mmap.mmap(file.fileno(), 0)
    exec(open("damage.py").read())
    disk.flush()
PYTHON
    serve file disk
    # shellcheck disable=SC2086
    refused 1 "$pattern" "$HERE/durability" check --uri "$PEER" --journal journal $flags
    stop
}

say "== a lost write"
damaged --durable 'lost: write' <<'EOF2'
at = single[-1].lba * 4096
disk[at:at + 4096] = bytes(4096)
EOF2

say "== an older write in place of the last one"
damaged --durable 'lost: write' <<'EOF2'
older = next(w for w in journal.writes if not w.zero and last[w.lba] is not w and not last[w.lba].zero)
at = older.lba * 4096
disk[at:at + 4096] = durability.make_block(journal.run, older.seq, older.lba)
EOF2

say "== a torn block"
damaged --durable 'torn' <<'EOF2'
older = next(w for w in journal.writes if not w.zero and last[w.lba] is not w and not last[w.lba].zero)
at = older.lba * 4096
disk[at + 512:at + 1024] = durability.make_block(journal.run, older.seq, older.lba)[512:1024]
EOF2

say "== one flipped bit"
damaged --durable 'torn' <<'EOF2'
disk[single[3].lba * 4096 + 3333] ^= 1
EOF2

say "== a misplaced block"
damaged --durable 'misplaced' <<'EOF2'
a, b = [w for w in single if w.seq % 2 == 0][:2]
disk[a.lba * 4096:a.lba * 4096 + 4096] = disk[b.lba * 4096:b.lba * 4096 + 4096]
EOF2

say "== bytes from nowhere"
damaged --durable 'no write made' <<'EOF2'
disk[single[0].lba * 4096:single[0].lba * 4096 + 4096] = b"x" * 4096
EOF2

say "== a flushed write lost, unflushed ones kept"
damaged "" 'lost although flushed' --flush-every 100 <<'EOF2'
at = single[0].lba * 4096
disk[at:at + 4096] = bytes(4096)
EOF2

say "== a hole in the order of unflushed writes"
damaged "" 'not a prefix' --flush-every 0 --fua 0 <<'EOF2'
at = single[0].lba * 4096
disk[at:at + 4096] = bytes(4096)
EOF2

say "== a suffix of unflushed writes missing is allowed"
rm -f journal
truncate -s 0 disk && truncate -s 32M disk
serve file disk
durability load --uri "$PEER" --journal journal --writes 500 --depth 1 --flush-every 0 --fua 0 --zero 0 --seed 6
cp disk after500
durability load --uri "$PEER" --journal journal --writes 100 --depth 1 --flush-every 0 --fua 0 --zero 0 --seed 7
stop
mv after500 disk
serve file disk
durability check --uri "$PEER" --journal journal
stop
