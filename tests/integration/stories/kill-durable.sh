# SIGKILL in the middle of writes, again and again: every acknowledged write is there, no block is torn, no
# write of up to 128 KiB half there, and nothing that was there before changes.

node_start
pstorage volume create vol --size 64M
for round in 1 2 3 4 5 6 7 8 9 10 11 12; do
    say "== round $round"
    durability load --uri "$NBD/vol" --journal journal --writes 3000 --depth $((1 << (round % 6))) \
        --kill "$NODE_PID" --seed "$round"
    node_gone
    node_start
    durability check --uri "$NBD/vol" --journal journal --durable --atomic
done
say "== and after a clean restart"
node_stop
node_start
durability check --uri "$NBD/vol" --journal journal --durable --atomic
say "== the same with snapshots taken and deleted on the way"
for round in 1 2 3 4; do
    pstorage snapshot create "vol@s$round"
    [ "$round" -lt 3 ] || pstorage snapshot delete "vol@s$((round - 2))"
    nbdcopy "$NBD/vol@s$round" "image$round"
    durability load --uri "$NBD/vol" --journal journal --writes 2000 --kill "$NODE_PID" --seed "10$round"
    node_gone
    node_start
    durability check --uri "$NBD/vol" --journal journal --durable --atomic
    qemu-img compare -f raw -F raw "image$round" "$NBD/vol@s$round"
done
