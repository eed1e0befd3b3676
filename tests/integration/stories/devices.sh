# A node on six flash files with two of parity: one is overwritten and one cut short under fio's eyes, both are
# replaced while it serves, and then two others are gone.

disk() { printf '%s/disk%s' "$DATA" "$1"; }
disks()
{
    local i list=
    for i in "$@"; do list+="file:$(disk "$i"),size=200M "; done
    printf '%s' "$list"
}
start() { node_start PSTORAGE_ANALYTICS_INTERVAL=1 PSTORAGE_MEMORY_BUDGET=128M PSTORAGE_REBUILD_RATE=1G PSTORAGE_FLASH_DEVICES="$(disks "$@")"; }
# refuses PATTERN DEVICES [NAME=VALUE...]
refuses() { node_refuses "$1" PSTORAGE_MEMORY_BUDGET=128M PSTORAGE_FLASH_DEVICES="$2" "${@:3}"; }
state_of()
{
    pstorage --json status | /usr/bin/python3 -c '
import json, sys
print(next((d["state"] for d in json.load(sys.stdin)["devices"] if d["name"] == sys.argv[1]), "none"))' "$(disk "$1")"
}
is_in() { [ "$(state_of "$1")" = in ]; }
event()
{
    pstorage events --limit 1000 >events.txt
    grep -q " $1 " events.txt
}

# check PATTERN DEVICE...: nothing is wrong on them, the pattern is said, and no file was written to.
check()
{
    local pattern=$1 before after
    shift
    before=$(stat -c '%n %y %z' "$DATA"/disk*)
    node_command PSTORAGE_MEMORY_BUDGET=128M PSTORAGE_FLASH_DEVICES="$(disks "$@")" -- --check-records
    timeout 120 "${COMMAND[@]}" >checked.txt 2>checked.log || fail "found wrong: $(cat checked.txt checked.log)"
    after=$(stat -c '%n %y %z' "$DATA"/disk*)
    [ "$before" = "$after" ] || fail "a check has written to the devices: $before; $after"
    grep -q 'nothing is wrong' checked.txt || fail "not said that nothing is wrong: $(cat checked.txt)"
    grep -Eq -- "$pattern" checked.txt || fail "not said: $pattern; but $(cat checked.txt)"
}

mkdir -p "$DATA"
start 0 1 2 3 4 5
pstorage volume create vol --size 160M
fio_job=(fio --name=vol --ioengine=nbd --uri="$NBD/vol" --rw=randwrite --bsrange=4k-64k --iodepth=16 --size=160M
    --verify=crc32c --verify_fatal=1 --thread --randseed=1)

say "== a device is overwritten and another one cut short, under load"
background fio.log "${fio_job[@]}" --do_verify=1
fio=$PID
written() { [ "$(pstorage --json volume show vol | field logical_bytes)" -gt $((40 << 20)) ]; }
until_true 300 written || fail "there is no load: $(cat fio.log)"
dd if=/dev/urandom of="$(disk 2)" bs=1M seek=4 count=196 conv=notrunc oflag=direct status=none
truncate -s 12M "$(disk 3)"
reap "$fio" || fail "fio found damage while writing: $(cat fio.log)"
"${fio_job[@]}" --verify_only=1 >fio-verify.log 2>&1 || fail "fio found damage: $(cat fio-verify.log)"
event pod.repaired || fail "nobody noticed that a device was overwritten"

say "== both are replaced while hosts write"
pstorage volume create busy --size 64M
background busy.log fio --name=busy --ioengine=nbd --uri="$NBD/busy" --rw=randwrite --bs=16k --iodepth=4 --size=64M \
    --rate_iops=200 --verify=crc32c --verify_fatal=1 --do_verify=1 --thread
busy=$PID
# Both at first: a rebuild trusts whatever is in.
for old in 2 3; do
    [ "$(state_of "$old")" = out ] || pstorage flash detach "$(disk "$old")"
done
drive_is()
{
    pstorage --json analytics health | /usr/bin/python3 -c '
import json, sys
drives = {d["name"]: d for d in json.load(sys.stdin)["drives"]}
sys.exit(len(drives) != 6 or drives[sys.argv[1]]["score"] != int(sys.argv[2]))' "$(disk "$1")" "$2"
}
for old in 2 3; do until_true 20 drive_is "$old" 0 || fail "health of disk$old, which is out: $(pstorage analytics health)"; done
drive_is 1 100 || fail "health of disk1, which is in: $(pstorage analytics health)"
curl -sS "http://127.0.0.1:$API_PORT/metrics" >metrics.txt
grep -qF "pstorage_device_out{device=\"$(disk 2)\"} 1" metrics.txt || fail "Prometheus is not told that disk2 is out"
grep -qF "pstorage_device_out{device=\"$(disk 1)\"} 0" metrics.txt || fail "Prometheus is told that disk1 is out"
curl -sS "http://127.0.0.1:$API_PORT/api/v1/metrics/flash" | grep -q '"state":"out"' || fail "REST does not tell that a device is out"
for new in 6 7; do
    pstorage flash attach "file:$(disk "$new"),size=200M"
    until_true 300 is_in "$new" || fail "disk$new is not rebuilt: $(state_of "$new")"
done
refused - "no device" pstorage flash attach "file:$(disk 8),size=200M"
reap "$busy" || fail "fio found damage on the busy volume: $(cat busy.log)"
"${fio_job[@]}" --verify_only=1 >fio-verify.log 2>&1 || fail "fio found damage after the rebuild"
event device.rebuilt || fail "nobody was told of the rebuild"

say "== killed, and checked without a write: all devices, without two, with one that was taken out before"
node_kill
check '6 devices, 2 of parity, 0 lost; it was not closed: .* not settled' 4 0 1 5 6 7
mv "$(disk 1)" "$(disk 5)" "$TMP"
check '2 lost; it was not closed' 0 1 6 7 4 5
grep -q "device.lost: $(disk 1) is missing" checked.txt || fail "not said what is missing: $(cat checked.txt)"
mv "$TMP/disk1" "$TMP/disk5" "$DATA"
check "device.unused: $(disk 2) was taken out of the array" 0 1 6 7 4 5 2

say "== the devices are named in another order"
refuses "missing.*name them all" "$(disks 0 1 6 7 4)"
head -c 200M /dev/urandom >"$(disk 9)"
refuses "no part of this array" "$(disks 0 1 6 7 4 5 9)"
refuses "can ?not change" "$(disks 0 1 6 7 4 5)" PSTORAGE_ERASURE_CODING=1
start 5 7 1 0 6 4
"${fio_job[@]}" --verify_only=1 >fio-verify.log 2>&1 || fail "fio found damage after the kill"
node_stop

say "== two others are lost"
rm "$(disk 0)"
truncate -s 100M "$(disk 4)"
start 0 1 4 5 6 7
same "$(state_of 0)" out
same "$(state_of 4)" out
"${fio_job[@]}" --verify_only=1 >fio-verify.log 2>&1 || fail "fio found damage without two devices"
"${fio_job[@]}" --do_verify=1 --randseed=2 >fio-verify.log 2>&1 || fail "fio found damage while writing without two"
refused - "attach another" pstorage flash detach "$(disk 5)"
node_kill
start 0 1 4 5 6 7
"${fio_job[@]}" --verify_only=1 --randseed=2 >fio-verify.log 2>&1 || fail "fio found damage without two devices, after a kill"
node_stop
rm "$(disk 5)"
refuses "parity makes up for 2" "$(disks 0 1 4 5 6 7)"
