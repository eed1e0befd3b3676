# A node's main thread stands still under load, as when it is busy with something long, and the others don't take that for its
# end: heartbeats have a thread of their own. A main thread that hangs is replaced.
. "$HERE/cluster.sh"

# stand_still N SECONDS: the main thread of that node alone; other threads go on.
stand_still()
{
    /usr/bin/python3 - "${PIDS[$1]}" "$2" <<'PYTHON'
import ctypes, os, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes, libc.ptrace.restype = [ctypes.c_long] * 4, ctypes.c_long
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
thread, seconds = int(sys.argv[1]), float(sys.argv[2])
if libc.ptrace(PTRACE_SEIZE, thread, 0, 0) < 0:
    sys.exit(77)
assert libc.ptrace(PTRACE_INTERRUPT, thread, 0, 0) == 0
os.waitpid(thread, WALL)
time.sleep(seconds)
libc.ptrace(PTRACE_DETACH, thread, 0, 0)
PYTHON
}

cluster_start
on 1 volume create vol --size 64M
status=0
stand_still 2 0.01 || status=$?
[ "$status" -ne 77 ] || skip "this system lets nobody stop a thread (ptrace)"
[ "$status" -eq 0 ] || fail "a thread can't be stopped: status $status"
epoch=$(pod_field 1 epoch)

background load.txt durability load --uri "$(uri 1 vol)" --journal journal --writes 100000 --depth 8 --size 32M \
    --seconds 300 --survive
load=$PID
writes() { on 1 --json metrics | field writes; }
goes_on() { [ "$(writes)" -gt $(($1 + 500)) ]; }
# A member that makes nothing durable for 1.5 s is removed, whatever is heard of it.
for stall in "2 1" "1 2" "2 1" "1 2"; do
    read -r n seconds <<<"$stall"
    before=$(writes)
    until_true 30 goes_on "$before" || fail "there is no load: $(cat load.txt)"
    say "== n$n's main thread stands still for $seconds s"
    stand_still "$n" "$seconds"
    before=$(writes)
    until_true 30 goes_on "$before" || fail "writes don't go on: $(on 1 pod show)"
    same "$(pod_field 1 epoch)" "$epoch" "somebody was taken for dead"
    in_sync 1 2 || fail "n2 is not in sync"
done
say "== without writes, n1's for 2.5 s"
kill -TERM "$load"
reap "$load" || true
stand_still 1 2.5
same "$(pod_field 1 epoch)" "$epoch" "somebody was taken for dead"
in_sync 1 2 || fail "n2 is not in sync"

say "== n1's main thread hangs: after 3 s it is silent, and replaced"
since=$(now_ms)
background still.txt stand_still 1 8
still=$PID
resumes 2 vol "$since"
[ "$RESUMED_MS" -ge 3000 ] || fail "it was taken for dead before"
[ "$RESUMED_MS" -le 6500 ] || fail "that is too late"
reap "$still" || fail "the thread was not stopped: $(cat still.txt)"
until_true 30 in_sync 2 1 || fail "n1 is not in sync again: $(on 2 pod show)"
tells 1 fence "names n2 primary"
if serves 1; then fail "two nodes serve"; fi
durability check --uri "$(uri 2 vol)" --journal journal --durable --atomic
member_stop 1
member_stop 2
