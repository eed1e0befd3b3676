# A node's main thread stands still under load, as when it is busy with something long, and the others don't take that for its
# end: heartbeats have a thread of their own. A main thread that hangs is replaced.
#
# A member is missed when nothing is heard of it for 0.75 s, heartbeats being sent every 0.25 s, and when it makes nothing durable for
# 1.5 s; a primary's hosts are let go after 2 s, and one is replaced that stood still for 3 s. A machine that is too slow adds to what
# the story does, and then a replacement is right. So what the story did is measured, and what the machine added: how much longer
# than meant the thread stood still, and how long a program beside the nodes, which does no more than wait and write durably, was held
# up at most. Up to SLACK_MS of both nobody may be replaced. Beyond that, if somebody was, the step is done again, and the story
# is skipped if that never goes well.
. "$HERE/cluster.sh"

SLACK_MS=400

# THREAD MS: it alone stands still for so long, or until this is told to end; tells how long, in ms.
cat >still.py <<'PYTHON'
import ctypes, os, signal, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes, libc.ptrace.restype = [ctypes.c_long] * 4, ctypes.c_long
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
thread, ms = int(sys.argv[1]), int(sys.argv[2])
if libc.ptrace(PTRACE_SEIZE, thread, 0, 0) < 0:
    sys.exit(77)
begin = time.monotonic()
assert libc.ptrace(PTRACE_INTERRUPT, thread, 0, 0) == 0
os.waitpid(thread, WALL)
print(f"stopped at {time.time_ns() // 1000000} ms", flush=True)
signal.sigtimedwait([signal.SIGTERM], ms / 1000)
assert libc.ptrace(PTRACE_DETACH, thread, 0, 0) == 0
print(f"stood still for {(time.monotonic() - begin) * 1000:.0f} ms")
PYTHON
# FILE: a durable write of 4 KiB every 20 ms, until this is told to end; tells how long one took at most, the wait included, in ms.
cat >turns.py <<'PYTHON'
import os, signal, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
longest, turn, told = 0, time.monotonic(), None
print("begun", flush=True)
while not told:
    told = signal.sigtimedwait([signal.SIGTERM], 0.02)
    os.pwrite(file, bytes(4096), 0)
    os.fdatasync(file)
    turn, before = time.monotonic(), turn
    longest = max(longest, turn - before)
print(f"at most {longest * 1000:.0f} ms")
PYTHON
# number PATTERN FILE: the one in it, for \1.
number() { sed -n "s/^$1$/\1/p" "$2"; }
watch_begin()
{
    rm -f turns.txt
    background turns.txt /usr/bin/python3 turns.py turns
    WATCH=$PID
    until_true 60 grep -q '^begun' turns.txt || fail "the watch does not begin: $(cat turns.txt)"
}
# Since watch_begin the machine held a program up for $HELD_UP ms at most.
watch_end()
{
    kill -TERM "$WATCH"
    reap "$WATCH" || fail "the watch failed: $(cat turns.txt)"
    HELD_UP=$(number 'at most \([0-9]*\) ms' turns.txt)
}

status=0
cluster_start
/usr/bin/python3 still.py "${PIDS[2]}" 10 || status=$?
[ "$status" -ne 77 ] || skip "this system lets nobody stop a thread (ptrace)"
[ "$status" -eq 0 ] || fail "a thread can't be stopped: status $status"
on 1 volume create vol --size 64M

# Both in sync, and hosts, if there are any, wrote at whoever leads.
goes_on() { whole && { [ -z "$LOAD" ] || writes_exceed "$LEADER" $((BEFORE[LEADER] + 200)); }; }
# stands_still N MS: node N's main thread does, and all go on. $REPLACED tells whether somebody was taken for dead because the machine
# was too slow; without that reason it is a failure.
stands_still()
{
    local epoch stood beyond
    REPLACED=false
    epoch=$(pod_field 1 epoch)
    watch_begin
    /usr/bin/python3 still.py "${PIDS[$1]}" "$2" >still.txt
    BEFORE=(- "$(writes_at 1)" "$(writes_at 2)")
    until_true 60 goes_on || fail "they don't go on: $(on 1 pod show; on 1 why default; tail -n 3 load.txt)"
    watch_end
    stood=$(number 'stood still for \([0-9]*\) ms' still.txt)
    beyond=$((stood - $2 + HELD_UP))
    say "n$1's main thread stood still for $stood ms; the machine held others up for $HELD_UP ms"
    [ "$beyond" -le "$SLACK_MS" ] || TOO_SLOW=true
    [ "$LEADER" != 1 ] || [ "$(pod_field 1 epoch)" != "$epoch" ] || return 0
    [ "$beyond" -gt "$SLACK_MS" ] || fail "somebody was taken for dead: $(on "$LEADER" why default)"
    REPLACED=true
}
# spares N MS: so it is, within a few attempts.
spares()
{
    local attempt
    for attempt in 1 2 3 4 5; do
        say "== n$1's main thread stands still for $2 ms${LOAD:+ under load}, attempt $attempt"
        [ -z "$LOAD" ] || writes_go_on 1 "before a main thread stands still"
        stands_still "$@"
        $REPLACED || return 0
        say "the machine was too slow: somebody was replaced, rightly"
        until_true 60 leads_again || fail "n1 does not lead again: $(on 1 pod show; cat order.txt)"
    done
    NEVER+="${NEVER:+, }n$1 $2 ms"
}
leads_again() { in_sync 1 2 || { serves 2 && on 2 pod switchover default n1 >order.txt 2>&1; false; }; }
NEVER= TOO_SLOW=false

# The program itself: it is told to end.
background load.txt "$HERE/durability" load --uri "$(uri 1 vol)" --journal journal --writes 1000000 --depth 8 --size 32M \
    --seconds 600 --survive --reconnect
LOAD=$PID
for _ in 1 2; do
    spares 2 900
    spares 1 1500
done
kill -TERM "$LOAD"
reap "$LOAD" || fail "the load ended with status $?: $(cat load.txt)"
tail -n 1 load.txt
$TOO_SLOW || grep -q 'connected again 0 times' load.txt || fail "hosts lost their connection"
LOAD=
spares 1 1500

say "== n1's main thread hangs: after 3 s it is silent, and replaced"
watch_begin
background hangs.txt /usr/bin/python3 still.py "${PIDS[1]}" 120000
hangs=$PID
stopped() { [ -n "$(stopped_at hangs.txt)" ]; }
until_true 60 stopped || fail "the thread was not stopped: $(cat hangs.txt)"
resumes 2 vol "$(stopped_at hangs.txt)"
watch_end
if [ "$RESUMED_MS" -lt 3000 ]; then
    [ "$HELD_UP" -gt "$SLACK_MS" ] || fail "it was taken for dead before"
    NEVER+="${NEVER:+, }n1 until it counts as hung"
fi
kill -TERM "$hangs"
reap "$hangs" || fail "the thread did not stand still until then: $(cat hangs.txt)"
until_true 60 in_sync 2 1 || fail "n1 is not in sync again: $(on 2 pod show)"
tells 1 fence "names n2 primary"
serves_not 1 || fail "two nodes serve"
durability check --uri "$(uri 2 vol)" --journal journal --durable --atomic
member_stop 1
member_stop 2
[ -z "$NEVER" ] || skip "the machine was too slow for: $NEVER"
