# Several clients at once: on regions of one volume with a kill under all of them, and fio jobs side by side.

node_start
pstorage volume create vol --size 128M
nbdinfo --can multi-conn "$NBD/vol"

say "== four writers on one volume, one of them kills the node"
for round in 1 2 3; do
    clients=()
    rm -f client?.log
    for client in 0 1 2; do
        background "client$client.log" "$HERE/durability" load --uri "$NBD/vol" --journal "journal$client" --survive \
            --offset "$((client * 32))M" --size 32M --writes 1000000 --seed "$round$client"
        clients+=("$PID")
    done
    for client in 0 1 2; do
        until_true 30 grep -q '^writes are answered' "client$client.log" || fail "client $client does not write: $(cat "client$client.log")"
    done
    durability load --uri "$NBD/vol" --journal journal3 --offset 96M --size 32M --writes 2000 \
        --kill "$NODE_PID" --seed "${round}3"
    node_gone
    for client in "${clients[@]}"; do reap "$client" || fail "a client failed otherwise than by the kill"; done
    node_start
    for client in 0 1 2 3; do durability check --uri "$NBD/vol" --journal "journal$client" --durable --atomic; done
done

say "== what one connection wrote, another reads; a flush on one covers all"
py "$NBD/vol" <<'PYTHON'
other = nbd.NBD()
other.connect_uri(sys.argv[1])
for i in range(200):
    data = bytes([i + 1]) * 4096
    (h if i % 2 else other).pwrite(data, i * 4096)
    assert (other if i % 2 else h).pread(4096, i * 4096) == data
h.flush()
h.shutdown(); other.shutdown()
PYTHON

say "== four fio jobs with verify, and a reader that comes and goes"
jobs=()
for job in 0 1 2 3; do
    background "fio$job.log" fio --name="job$job" --ioengine=nbd --uri="$NBD/vol" --rw=randwrite --bs=4k \
        --iodepth=8 --offset="$((job * 32))M" --size=8M --verify=crc32c --verify_fatal=1 --do_verify=1
    jobs+=("$PID")
done
for _ in 1 2 3 4 5 6 7 8 9 10; do nbdcopy "$NBD/vol" null:; done
for job in "${jobs[@]}"; do reap "$job" || fail "a fio job failed"; done
