# A node on one file gets a second one and a third one under fio's eyes, holds more than the first had room for, and lets two
# of them go again while hosts write.

disk() { printf '%s/disk%s' "$DATA" "$1"; }
size_of() { case $1 in 0) echo 512M ;; 1) echo 768M ;; *) echo 400M ;; esac; }
spec() { printf 'file:%s,size=%s' "$(disk "$1")" "$(size_of "$1")"; }
disks()
{
    local i list=
    for i in "$@"; do list+="$(spec "$i") "; done
    printf '%s' "$list"
}
start() { node_start PSTORAGE_MEMORY_BUDGET=128M PSTORAGE_FLASH_DEVICES="$(disks "$@")"; }
# refuses PATTERN DEVICE...
refuses() { node_refuses "$1" PSTORAGE_MEMORY_BUDGET=128M PSTORAGE_FLASH_DEVICES="$(disks "${@:2}")"; }
state_of()
{
    pstorage --json status | /usr/bin/python3 -c '
import json, sys
print(next((d["state"] for d in json.load(sys.stdin)["devices"] if d["name"] == sys.argv[1]), "none"))' "$(disk "$1")"
}
is() { [ "$(state_of "$1")" = "$2" ]; }
capacity() { pstorage --json status | field space.capacity_bytes; }
event()
{
    pstorage events --limit 1000 >events.txt
    grep -q " $1 .*$2" events.txt
}

# check DEVICE...: nothing is wrong on them.
check()
{
    node_command PSTORAGE_MEMORY_BUDGET=128M PSTORAGE_FLASH_DEVICES="$(disks "$@")" -- --check-records
    timeout 120 "${COMMAND[@]}" >checked.txt 2>checked.log || fail "found wrong: $(cat checked.txt checked.log)"
    grep -q 'nothing is wrong' checked.txt || fail "not said that nothing is wrong: $(cat checked.txt)"
}

# job NAME MIB [OPTION...]: leaves in $JOB a fio that writes all of a volume at random, and verifies what it wrote.
job()
{
    JOB=(fio --name="$1" --ioengine=nbd --uri="$NBD/$1" --rw=randwrite --bs=16k --iodepth=8 --size="$2M"
        --verify=crc32c --verify_fatal=1 --thread --randseed=1 "${@:3}")
}
verify()
{
    job "$1" "$2" --verify_only=1
    "${JOB[@]}" >"verify-$1.log" 2>&1 || fail "fio found damage in $1: $(cat "verify-$1.log")"
}

mkdir -p "$DATA"
start 0
pstorage volume create vol --size 160M
alone=$(capacity)

say "== a second device, while hosts write"
refused - "one device" pstorage flash detach "$(disk 0)"
refused - "zoned" pstorage flash attach "sim:$TMP/simulated,size=4G"
head -c 64M /dev/urandom >"$(disk 9)"
refused - "holds something" pstorage flash attach "file:$(disk 9),size=64M"
job vol 160 --do_verify=1 --rate_iops=1500
background fio.log "${JOB[@]}"
fio=$PID
written() { [ "$(pstorage --json volume show "$1" | field logical_bytes)" -gt "$2" ]; }
until_true 300 written vol $((8 << 20)) || fail "there is no load: $(cat fio.log)"
pstorage flash attach "$(spec 1)" >attached.txt
grep -q 'PSTORAGE_FLASH_DEVICES' attached.txt || fail "not said what to name: $(cat attached.txt)"
both=$(capacity)
[ "$both" -gt $((alone + (600 << 20))) ] || fail "the pool has not grown: $alone, $both"
same "$(state_of 0) $(state_of 1)" "in in"
event device.attached "$(disk 1)" || fail "no event tells of it"
curl -sS "http://127.0.0.1:$API_PORT/metrics" >metrics.txt
for gauge in out leaving; do
    grep -qF "pstorage_device_$gauge{device=\"$(disk 1)\"} 0" metrics.txt || fail "Prometheus is not told whether disk1 is $gauge"
done
curl -sS "http://127.0.0.1:$API_PORT/api/v1/metrics/flash" | grep -q '"vacated_percent":0' || fail "REST does not tell that nothing leaves"
reap "$fio" || fail "fio found damage while writing: $(cat fio.log)"

say "== more than the first one has room for"
pstorage volume create big --size 640M
job big 640 --do_verify=1
"${JOB[@]}" >big.log 2>&1 || fail "fio found damage: $(cat big.log)"
verify vol 160
refused - "label" pstorage flash detach "$(disk 0)"
refused - "would be left" pstorage flash detach "$(disk 1)"
same "$(state_of 1)" in

say "== restarts: both, in another order; one is missing; others are named"
node_stop
check 0 1
refuses "name them all: $(disk 1)" 0
refuses "name them all: $(disk 0)" 1
mv "$(disk 1)" "$TMP"
refuses "name them all: $(disk 1)" 0 1
rm -f "$(disk 1)"
mv "$TMP/disk1" "$DATA"
node_refuses "holds something that is no part of this array" PSTORAGE_FLASH_DEVICES="$(disks 0 1) file:$(disk 9),size=64M"
node_refuses "512M instead of size=1G.*size= was raised" PSTORAGE_FLASH_DEVICES="file:$(disk 0),size=1G $(disks 1)"
start 1 0
same "$(capacity)" "$both"
verify vol 160
verify big 640

say "== killed, and a third one"
node_kill
check 0 1
start 0 1
pstorage flash attach "$(spec 2)" >attached.txt
verify big 640

say "== the second and the third one leave, while hosts write"
pstorage volume create other --size 64M
job other 64 --do_verify=1
"${JOB[@]}" >other.log 2>&1 || fail "fio found damage: $(cat other.log)"
pstorage volume delete big
pstorage volume create busy --size 96M
job busy 96 --do_verify=1 --rate_iops=400
background busy.log "${JOB[@]}"
busy=$PID
until_true 300 written busy $((1 << 20)) || fail "there is no load: $(cat busy.log)"
leaves()
{
    pstorage flash detach "$(disk "$1")" >detached.txt
    grep -q 'is being emptied' detached.txt || fail "not said that it is being emptied: $(cat detached.txt)"
    until_true 300 is "$1" none || fail "disk$1 does not leave: $(pstorage status)"
    event device.detached "$(disk "$1")" || fail "no event tells that disk$1 is out"
}
leaves 1
refused - "no device" pstorage flash detach "$(disk 1)"
leaves 2
reap "$busy" || fail "fio found damage while the devices left: $(cat busy.log)"
verify vol 160
verify other 64
after=$(capacity)
[ "$after" -le $((alone + (16 << 20))) ] || fail "the pool is not smaller: $alone, $both, $after"
cmp -n 1M "$(disk 1)" /dev/zero || fail "disk1 is not blank"
node_stop
check 0
rm "$(disk 1)" "$(disk 2)"
start 0
verify vol 160
verify other 64
verify busy 96

say "== power goes while one leaves: it is still in"
pstorage flash attach "$(spec 1)"
same "$(capacity)" "$both"
pstorage volume create big --size 128M
job big 128 --do_verify=0
"${JOB[@]}" >big.log 2>&1 || fail "fio cannot write: $(cat big.log)"
node_stop
start 0 1
pstorage flash detach "$(disk 1)"
node_kill
check 0 1
start 0 1
same "$(state_of 1)" in
verify big 128
verify vol 160
verify busy 96
node_stop
check 0 1
