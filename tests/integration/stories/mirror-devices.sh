# Two mirrored nodes: each gets a second device while hosts write, one loses its flash and is filled with more than one device
# has room for, and one lets a device go while it leads.
. "$HERE/cluster.sh"

DEVICES=(- 0 0)
spec() { printf 'file:%s/n%s/flash%s,size=%s' "$TMP" "$1" "$2" "$([ "$2" = 0 ] && echo 384M || echo 512M)"; }
start()
{
    local n=$1 i list=
    for i in ${DEVICES[n]}; do list+="$(spec "$n" "$i") "; done
    member_start "$n" PSTORAGE_MEMORY_BUDGET=128M PSTORAGE_FLASH_DEVICES="$list"
}
attach()
{
    on "$1" flash attach "$(spec "$1" 1)" >attached.txt
    grep -q 'larger' attached.txt || fail "n$1's pool is not larger: $(cat attached.txt)"
    DEVICES[$1]="0 1"
}
capacity() { on "$1" --json status | field space.capacity_bytes; }
load()
{
    durability load --uri "$(uri 1 vol)" --journal "journal$1" --writes 3000 --depth 8 --seed "$1"
}
check() { durability check --uri "$(uri "$1" vol)" --journal "$2" --durable --atomic; }
# check_pool N: nothing is wrong on the flash of a node that is down.
check_pool()
{
    local i list=
    for i in ${DEVICES[$1]}; do list+="$(spec "$1" "$i") "; done
    member_command "$1" PSTORAGE_MEMORY_BUDGET=128M PSTORAGE_FLASH_DEVICES="$list"
    timeout 120 "${COMMAND[@]}" --check-records >checked.txt 2>checked.log || fail "n$1: found wrong: $(cat checked.txt checked.log)"
    grep -q 'nothing is wrong' checked.txt || fail "n$1: not said that nothing is wrong: $(cat checked.txt)"
}

mediator_start
start 1
start 2
until_true 60 in_sync 1 2 || fail "the pod is not formed after 60 s"
on 1 volume create vol --size 64M
on 1 volume create big --size 512M

say "== a device more for each, while hosts write"
background load1.log load 1
writer=$PID
writes_go_on 1 "before a device is attached"
before=$(capacity 1)
attach 1
attach 2
reap "$writer" || fail "the load failed: $(cat load1.log)"
check 1 journal1
[ "$(capacity 1)" -gt $((before + (400 << 20))) ] || fail "n1 has not grown: $before, $(capacity 1)"
same "$(capacity 2)" "$(capacity 1)"
head -c 400M /dev/urandom >"$TMP/noise"
nbdcopy -- "$TMP/noise" "$(uri 1 big)"

say "== a device is of the node that is named, whoever is asked"
refused - "no node is named 'n3'" env PSTORAGE_ENDPOINT="${RPC[1]}" pstorage flash detach --node n3 "$TMP/n1/flash1"
refused - "no device .* is named" env PSTORAGE_ENDPOINT="${RPC[1]}" pstorage flash detach --node n2 "$TMP/n1/flash1"
refused - "no device .* is named" env PSTORAGE_ENDPOINT="${RPC[1]}" pstorage flash detach "$TMP/n2/flash1"
refused - "$TMP/n2/flash0 holds the pool's label" env PSTORAGE_ENDPOINT="${RPC[1]}" pstorage flash detach --node n2 "$TMP/n2/flash0"

say "== n2 loses its flash, and gets all of it on two devices"
member_kill 2
check_pool 2
rm "$TMP"/n2/flash*
DEVICES[2]=0
start 2
until_true 60 opens_rpc 2 || fail "n2 does not start on a blank device"
attach 2
until_true 120 in_sync 1 2 || fail "n2 is not in sync after 120 s: $(on 1 pod show; on 1 why default)"
load 2
member_kill 1
check_pool 1
until_true 60 serves 2 || fail "n2 does not serve after 60 s"
check 2 journal2
nbdcopy -- "$(uri 2 big)" "$TMP/back"
cmp -n 400M "$TMP/noise" "$TMP/back" || fail "what n2 serves is not what was written"

say "== n2 leads, and lets a device go"
start 1
until_true 60 in_sync 2 1 || fail "n1 is not in sync after 60 s: $(on 2 pod show)"
on 2 volume delete big
background load3.log durability load --uri "$(uri 2 vol)" --journal journal3 --writes 6000 --depth 4 --seed 3
writer=$PID
# It may have garbage to collect first.
leaves() { on 2 flash detach "$TMP/n2/flash1"; }
until_true 60 leaves || fail "flash1 of n2 may not leave: $(on 2 status)"
is_out() { ! on 2 status | grep -q "n2/flash1"; }
until_true 300 is_out || fail "flash1 of n2 does not leave: $(on 2 status)"
reap "$writer" || fail "the load failed: $(cat load3.log)"
check 2 journal3
member_kill 2
DEVICES[2]=0
check_pool 2
until_true 60 serves 1 || fail "n1 does not serve after 60 s"
check 1 journal3
rm "$TMP/n2/flash1"
start 2
until_true 60 in_sync 1 2 || fail "n2 is not in sync after 60 s: $(on 1 pod show)"
member_kill 1
until_true 60 serves 2 || fail "n2 does not serve after 60 s"
check 2 journal3
