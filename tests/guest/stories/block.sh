# A node on a block namespace: killed in the middle of writes, and all that was acknowledged is there.
# guest: plain
DEVICE=$(device PLAIN)
node_start PSTORAGE_FLASH_DEVICES="nvme:$DEVICE"
grep -q 'engine=io_uring' /tmp/node.log || fail "not driven by io_uring"
pstorage volume create vol --size 32M
for round in 1 2 3; do
    durability load --uri "$NBD/vol" --journal /tmp/journal --writes 600 --depth $((4 * round)) --kill "$NODE_PID" --seed "$round"
    node_gone
    node_start PSTORAGE_FLASH_DEVICES="nvme:$DEVICE"
    durability check --uri "$NBD/vol" --journal /tmp/journal --durable --atomic
done
pstorage status
node_stop
