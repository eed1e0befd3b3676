# A node on zoned namespaces, whose zones are smaller than they are apart, and of which only some may be begun at a time: killed in the middle of
# writes, and all that was acknowledged is there. One whose zones are a segment each, then one with two zones to a segment, which is overwritten
# until segments are collected.
# guest: zoned small narrow
start() { node_start PSTORAGE_FLASH_DEVICES="nvme:$DEVICE" PSTORAGE_GC_THRESHOLD=10 PSTORAGE_DATA_DIR="$DATA"; }
# begun: zones that are begun and neither full nor finished, as the device reports them.
begun() { nvme zns report-zones "$DEVICE" -d 64 -o json | jq '[.zone_list[] | select(.state | test("OPENED|CLOSED"))] | length'; }
# rounds N: loads that end with a kill, each checked after a restart.
rounds()
{
    local round
    for round in $(seq "$1"); do
        durability load --uri "$NBD/vol" --journal "$DATA/journal" --writes 500 --depth $((4 * round)) --kill "$NODE_PID" --seed "$round"
        node_gone
        start
        durability check --uri "$NBD/vol" --journal "$DATA/journal" --durable --atomic
    done
}

node_refuses 'lets 8 zones be written to at a time; a pool needs 12' PSTORAGE_FLASH_DEVICES="nvme:$(device NARROW)"

say "== a zone is a segment"
DEVICE=$(device ZONED) DATA=/tmp/zoned
start
grep -q 'zone_bytes=16777216 capacity=10485760 used_of_each=8388608 max_active=12' /tmp/node.log || fail "zones of 10 MiB are not used as 8 MiB"
pstorage volume create vol --size 32M
rounds 2
node_stop

say "== two zones are a segment"
DEVICE=$(device SMALL) DATA=/tmp/small
start
grep -q 'capacity=5242880 used_of_each=4194304 max_active=14' /tmp/node.log || fail "zones of 5 MiB are not used as 4 MiB"
pstorage volume create vol --size 32M
rounds 2
pstorage volume create churn --size 24M
head -c 25165824 /dev/urandom >/tmp/churn
for round in 1 2 3 4 5; do
    # Every time other data, and the log's segments die only in part.
    head -c 1048576 /dev/urandom | cat - /tmp/churn | head -c 25165824 >/tmp/next
    mv /tmp/next /tmp/churn
    pstorage volume write churn </tmp/churn
    durability load --uri "$NBD/vol" --journal "$DATA/journal" --writes 100 --depth 4 --seed "2$round"
    now=$(begun)
    say "$now zones begun"
    [ "$now" -le 14 ] || fail "more zones are begun than the device lets"
done
pstorage volume read churn | cmp - /tmp/churn
node_kill
start
pstorage volume read churn | cmp - /tmp/churn
durability check --uri "$NBD/vol" --journal "$DATA/journal" --durable --atomic
node_stop
start
pstorage volume read churn | cmp - /tmp/churn
pstorage metrics | grep collect
pstorage status | head -12
refused 'is in the pool' pstorage flash deallocate "$DEVICE" --offset 0 --length 16M
node_stop
