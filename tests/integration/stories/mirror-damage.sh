# Bits flip in one member's flash: hosts get what the other member has, and the events tell. What both have lost is an
# error, for that part alone.
. "$HERE/cluster.sh"

# rot N MEGABYTE...: a byte in the middle of the record that holds the data at this offset, in node N's flash.
rot()
{
    /usr/bin/python3 - "$TMP/n$1/flash0" "$TMP/noise" "${@:2}" <<'PYTHON'
import mmap, os, sys
with open(sys.argv[1], "r+b") as flash, open(sys.argv[2], "rb") as noise:
    stored = mmap.mmap(flash.fileno(), 0)
    for megabyte in map(int, sys.argv[3:]):
        noise.seek((megabyte << 20) + 5000)
        at = stored.find(noise.read(64), 0, len(stored) - 1)
        assert at > 0, f"what was written at {megabyte}M is not in {sys.argv[1]}"
        stored[at] ^= 0x10
    stored.flush()
    os.fsync(flash.fileno())
PYTHON
}
# read_of N MEGABYTE: what node N serves there is what was written; fails as the read does.
read_of()
{
    timeout 30 /usr/bin/python3 - "$(uri "$1" vol)" "$2" "$TMP/noise" <<'PYTHON'
import nbd, sys
offset = int(sys.argv[2]) << 20
host = nbd.NBD()
host.connect_uri(sys.argv[1])
with open(sys.argv[3], "rb") as noise:
    noise.seek(offset)
    assert host.pread(1 << 20, offset) == noise.read(1 << 20), "other bytes than were written"
PYTHON
}
happened() { on "$1" events | grep -c "$2"; }

cluster_start
on 1 volume create vol --size 32M
head -c 32M /dev/urandom >"$TMP/noise"
nbdcopy -- "$TMP/noise" "$(uri 1 vol)"
until_true 30 in_sync 1 2 || fail "n2 is not in sync"

say "== n2's flash has lost twelve records; n2 leads, and its hosts don't notice"
rot 2 0 2 3 5 7 11 13 17 19 23 29 31
on 2 pod switchover default n2
until_true 30 in_sync 2 1 || fail "n2 does not lead: $(on 2 pod show)"
nbdcopy -- "$(uri 2 vol)" "$TMP/back"
cmp "$TMP/noise" "$TMP/back" || fail "what n2 serves is not what was written"
same "$(happened 2 pod.repaired)" 12 "records read from the other member"
same "$(happened 2 pod.data_loss)" 0 "records lost"

say "== n1's flash loses one of these, which n2 has written anew, and another one"
member_stop 1
rot 1 7 8
member_start 1
until_true 60 in_sync 2 1 || fail "n1 is not in sync again: $(on 2 pod show)"
on 1 pod switchover default n1
until_true 30 in_sync 1 2 || fail "n1 does not lead: $(on 1 pod show)"
read_of 1 7 || fail "what n2 has written anew is not read"
read_of 1 8 || fail "what n2 still has is not read"
same "$(happened 1 pod.repaired)" 2 "records read from n2"

say "== a scrub of n2, where nobody reads, finds two more and has them repaired; the next one finds none"
rot 2 14 15
scrubbed() { [ "$(on 2 --json metrics | field scrub_passes)" -ge "$1" ]; }
have_happened() { [ "$(happened 2 pod.repaired)" -eq "$1" ]; }
shows 2 '0.0 % gone through, 0 B read' scrub || fail "a scrub that was begun: $(cat shown.txt)"
until_true 60 scrubbed 1 || fail "the scrub does not end: $(on 2 scrub --status)"
same "$(on 2 --json metrics | field scrub_damaged)" 2 "damaged records"
until_true 30 have_happened 14 || fail "they are not repaired: $(on 2 events)"
on 2 scrub
until_true 60 scrubbed 2 || fail "the second scrub does not end: $(on 2 scrub --status)"
same "$(on 2 --json metrics | field scrub_damaged)" 0 "damaged records"
shows 2 'verified .* ago, .* read, 0 records damaged' scrub --status || fail "status: $(cat shown.txt)"

say "== what both have lost is lost, and nothing else"
rot 1 25
rot 2 25
if read_of 1 25 2>"$TMP/error.txt"; then fail "what both have lost is read"; fi
grep -q "Input/output error" "$TMP/error.txt" || fail "another error than EIO: $(cat "$TMP/error.txt")"
same "$(happened 1 pod.data_loss)" 1 "records lost"
shows 1 "^Records are lost: 'pstorage scrub --status'" status || fail "status does not tell of it: $(cat shown.txt)"
refused 1 "of the 1048576 bytes at 26214400 some are lost" pstorage --endpoint "${RPC[1]}" volume read vol --offset 25M --length 1M
read_of 1 27 || fail "the records beside it are not read"
same "$(on 1 --json metrics | field repaired_reads)" 2 "repaired reads in the metrics"

say "== hosts write it anew"
nbdcopy -- "$TMP/noise" "$(uri 1 vol)"
read_of 1 25 || fail "what was written anew is not read"
member_stop 1
member_stop 2
