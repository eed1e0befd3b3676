# The same by another's judgement: fio writes with checksums, the node is killed while it is under load, and fio
# verifies what it knows to be complete.

node_start
pstorage volume create vol --size 128M
fio_bytes() { pstorage --json volume show "fio$round" | field logical_bytes; }
under_way() { grep -q '^writes are answered' load.log && [ "$(fio_bytes)" -gt $((2 << 20)) ]; }
for round in 1 2 3; do
    say "== round $round"
    rm -f load.log strike ./*.state
    pstorage volume create "fio$round" --size 64M
    fio_job=(fio --name=verify --ioengine=nbd --uri="$NBD/fio$round" --rw=randwrite --bs=4k --iodepth=16 --size=64M
        --randseed="$round" --verify=crc32c --verify_fatal=1 --verify_state_save=1 --thread)
    # fio's trigger saves what was complete and then pulls the plug; the other writer is in the middle then.
    background load.log "$HERE/durability" load --uri "$NBD/vol" --journal journal --survive \
        --offset 64M --size 64M --writes 1000000 --seed "$round"
    load=$PID
    rm -f fio.log
    background fio.log "${fio_job[@]}" --do_verify=0 --rate_iops=1000 --trigger-file=strike --trigger="kill -KILL $NODE_PID"
    fio=$PID
    until_true 60 under_way || fail "there is no load: $(cat fio.log load.log)"
    touch strike
    node_gone
    # All that it saves it has saved before; without its server it may wait for long.
    kill -KILL "$fio" 2>/dev/null || true
    reap "$fio" || true
    reap "$load" || fail "the load failed otherwise than by the kill"
    node_start
    [ -n "$(find . -name '*verify.state')" ] || fail "fio saved no state: $(cat fio.log)"
    timeout 120 "${fio_job[@]}" --verify_only=1 --verify_state_load=1 >fio-verify.log 2>&1 || fail "fio found damage"
    durability check --uri "$NBD/vol" --journal journal --durable --atomic
    pstorage volume delete "fio$round"
done

say "== a whole pass of mixed sizes, verified, then killed, then verified again"
fio_job=(fio --name=whole --ioengine=nbd --uri="$NBD/vol" --rw=randwrite --bsrange=4k-64k --iodepth=16 --size=64M
    --verify=crc32c --verify_fatal=1 --thread)
"${fio_job[@]}" --do_verify=1 >fio.log 2>&1 || fail "fio found damage while writing"
node_kill
node_start
"${fio_job[@]}" --verify_only=1 >fio-verify.log 2>&1 || fail "fio found damage after the kill"
