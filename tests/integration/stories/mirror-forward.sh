# Hosts attach wherever they like: clients on both nodes at once, at the one that does not lead as well, while the pod moves
# from one to the other and back, and while its primary is killed.
. "$HERE/cluster.sh"

cluster_start
on 1 volume create vol --size 64M
on 1 volume create disk --size 48M

say "== the same exports with the same sizes on both, a moment after they were made too"
on 1 volume create young --size 12M
same "$(nbdinfo --size "$(uri 2 young)")" $((12 << 20))
same "$(nbdinfo --json "$(uri 2 vol)" | field is_read_only)" false
exports() { nbdinfo --list --json "nbd://127.0.0.1:${NBD_PORTS[$1]}" | grep -E '"export-(name|size)"'; }
same_exports() { [ "$(exports 1)" = "$(exports 2)" ]; }
until_true 60 same_exports || fail "the lists differ: $(exports 1) and $(exports 2)"
refused - 'no volume or snapshot is named' env LIBNBD_DEBUG=1 nbdinfo "$(uri 2 nothing)"
on 2 volume delete young

say "== a disk image goes in at the node that does not lead, and comes out at both"
mkdir tree
cp -aL /usr/bin/b* tree
ext4_image disk.img tree 48M
qemu-img convert -n -f raw -O raw disk.img "$(uri 2 disk)"
qemu-img compare -f raw -F raw disk.img "$(uri 1 disk)"
qemu-img compare -f raw -F raw disk.img "$(uri 2 disk)"
nbdcopy --connections=4 "$(uri 2 disk)" out.img
cmp disk.img out.img
same "$(nbdinfo --map --json "$(uri 2 disk)" | sha256sum)" "$(nbdinfo --map --json "$(uri 1 disk)" | sha256sum)" \
    "what is allocated"

say "== a snapshot is read there, and not written to"
on 2 snapshot create disk@first
same "$(nbdinfo --json "$(uri 2 disk@first)" | field is_read_only)" true
nbdcopy "$(uri 2 disk@first)" out.img
cmp disk.img out.img
py "$(uri 2 disk@first)" <<'PY'
assert h.is_read_only()
expect_errno("EPERM", h.pwrite, bytes(512), 0)
PY

say "== every command, errors too, and a request as long as there can be"
py "$(uri 2 vol)" <<'PY'
big = random.Random(1).randbytes(32 << 20)
h.pwrite(big, 0)
assert h.pread(32 << 20, 0) == big
h.trim(1 << 20, 1 << 20)
assert h.pread(1 << 20, 1 << 20) == bytes(1 << 20)
h.zero(1 << 20, 3 << 20, nbd.CMD_FLAG_NO_HOLE)
assert h.pread(3 << 20, 2 << 20) == big[2 << 20:3 << 20] + bytes(1 << 20) + big[4 << 20:5 << 20]
h.pwrite(b"x" * 512, 4096 + 512, nbd.CMD_FLAG_FUA)
assert h.pread(4096, 4096) == big[4096:4608] + b"x" * 512 + big[5120:8192]
h.cache(1 << 20, 0)
h.flush()
size = h.get_size()
h.set_strict_mode(0)
expect_errno("ENOSPC", h.pwrite, bytes(4096), size)
expect_errno("EINVAL", h.pread, 4096, size)
expect_errno("EINVAL", h.pwrite, bytes(100), 0)
h.trim(size, 0)
PY

say "== the command line gets along with that node alone"
echo hello >hello
on 2 volume write vol --offset 4096 --pad <hello
same "$(on 2 volume read vol --offset 4096 --length 512 | tr -d '\0')" hello
same "$(on 1 volume read vol --offset 4096 --length 512 | tr -d '\0')" hello

fio_at() # fio_at N OFFSET OPTION...
{
    local n=$1 offset=$2
    shift 2
    fio --name=verify --ioengine=nbd --uri="$(uri "$n" vol)" --rw=randwrite --bsrange=4k-64k --iodepth=16 \
        --offset="$offset" --size=8M --verify=crc32c --verify_fatal=1 --thread "$@"
}
# load_at N NUMBER [OPTION...]: in the background, in 8 MiB of its own, until it is told to end; returns when it is under way.
load_at()
{
    local n=$1 number=$2
    shift 2
    rm -f "load$number.txt"
    # The program itself: it is told to end.
    background "load$number.txt" "$HERE/durability" load --uri "$(uri "$n" vol)" --journal "journal$number" --depth 8 \
        --offset $((16 + number * 8))M --size 8M --seed "$number" --writes 1000000 --seconds 600 "$@"
    LOADS[number]=$PID
    until_true 60 grep -q '^writes are answered' "load$number.txt" || fail "load $number does not begin: $(cat "load$number.txt")"
}
runs() { [[ $(ps -o stat= -p "${LOADS[$1]}") == [!Z]* ]]; }
# Those that are to be there all along, and no others.
run_still() { local number; for number; do runs "$number" || fail "load $number has ended: $(cat "load$number.txt")"; done; }
# It may have ended by itself when its node went.
end_load()
{
    ! runs "$1" || kill -TERM "${LOADS[$1]}" || true
    reap "${LOADS[$1]}" || fail "load $1 ended with status $?: $(cat "load$1.txt")"
    tail -n 1 "load$1.txt"
}
check_loads()
{
    local number n
    for number in 1 2 3 4; do
        n=$((number % 2 + 1))
        durability check --uri "$(uri $n vol)" --journal "journal$number" --durable --atomic
    done
}
LOADS=()

say "== fio verifies at both at once"
background fio1.txt fio_at 1 0
first=$PID
fio_at 2 8M >fio2.txt || fail "fio found damage: $(cat fio2.txt)"
reap "$first" || fail "fio found damage: $(cat fio1.txt)"

say "== the pod is handed over and back under load: nobody is disconnected"
# fio_passes N OFFSET: one after the other until there is the file `enough`.
fio_passes()
{
    until [ -e enough ]; do fio_at "$@" || return; done
}
for number in 1 2 3 4; do load_at $((number % 2 + 1)) $number; done
background fio1.txt fio_passes 1 0
first=$PID
background fio2.txt fio_passes 2 8M
second=$PID
for n in 2 1 2 1; do
    writes_go_on $((3 - n)) "before the pod goes to n$n"
    pstorage pod switchover default n$n
    until_true 60 serves $n || fail "n$n does not serve after the switchover"
    until_true 60 in_sync $n $((3 - n)) || fail "n$((3 - n)) does not follow after the switchover"
done
writes_go_on 1 "after all that"
run_still 1 2 3 4
for number in 1 2 3 4; do end_load $number; done
touch enough
reap "$first" || fail "fio at n1: $(cat fio1.txt)"
reap "$second" || fail "fio at n2: $(cat fio2.txt)"
check_loads

leader=1 other=2
for round in 1 2; do
    say "== round $round: n$leader is killed while hosts use the other one"
    for number in 1 3; do load_at $other $number --reconnect; done
    for number in 2 4; do load_at $leader $number --survive; done
    writes_go_on $leader "before it is killed"
    killed=$(now_ms)
    member_kill $leader
    resumes $other vol "$killed"
    writes_go_on $other "after n$leader was killed"
    run_still 1 3
    for number in 1 2 3 4; do end_load $number; done
    for number in 1 2 3 4; do
        durability check --uri "$(uri $other vol)" --journal "journal$number" --durable --atomic
    done
    member_start $leader
    until_true 60 in_sync $other $leader || fail "n$leader is not in sync again after 60 s: $(on $other pod show)"
    check_loads
    leader=$other other=$((3 - other))
done

say "== n$leader is frozen while hosts use the other one, and goes on"
for number in 1 3; do load_at $other $number --reconnect; done
writes_go_on $leader "before it is frozen"
kill -STOP "${PIDS[$leader]}"
until_true 20 serves $other || fail "n$other does not take over: $(on $other pod show)"
writes_go_on $other "while n$leader is frozen"
kill -CONT "${PIDS[$leader]}"
until_true 60 in_sync $other $leader || fail "n$leader is not in sync again after 60 s: $(on $other pod show)"
run_still 1 3
for number in 1 3; do end_load $number; done
check_loads

say "== the node that hosts use stands still and goes on: they connect again"
load_at $leader 1 --reconnect
writes_go_on $other "before n$leader stands still"
kill -STOP "${PIDS[$leader]}"
alone() { member_has $other n$leader role behind pod.serving true; }
until_true 20 alone || fail "n$other does not go on alone: $(on $other pod show)"
kill -CONT "${PIDS[$leader]}"
until_true 60 in_sync $other $leader || fail "n$leader is not in sync again after 60 s: $(on $other pod show)"
writes_go_on $other "after n$leader stood still"
run_still 1
end_load 1
check_loads

say "== nobody leads: hosts are told after a while"
# The mediator is away, and the primary dies before the other one may go on alone.
py "$(uri $leader vol)" <<PY
import select, signal, time
h.pread(512, 0)
for pid in $MEDIATOR_PID, ${PIDS[$other]}:
    process = os.pidfd_open(pid)
    signal.pidfd_send_signal(process, signal.SIGKILL)
    ended = select.poll()
    ended.register(process, select.POLLIN)
    assert ended.poll(20000), "a killed process does not end"
began = time.monotonic()
try:
    h.pread(512, 0)
except nbd.Error as error:
    assert h.aio_is_dead() or h.aio_is_closed(), f"an error, yet the connection lives: {error.string}"
else:
    raise AssertionError("answered without a primary")
took = time.monotonic() - began
assert 1 < took < 8, f"after {took} s"
print(f"closed after {took:.1f} s")
PY
