#!/usr/bin/env bash
# The command line against a running array: what a person does with it, and
# what it says when that is wrong. Leaves nothing behind.
#
#   PSTORAGE_ENDPOINT   the array; the CLI's own default otherwise
#   PSTORAGE            the program; "pstorage" otherwise
set -u
pstorage=${PSTORAGE:-pstorage}
id=cli$$
work=$(mktemp -d)
failed=0
passed=0

clean() {
    for v in $($pstorage volume list -q 2>/dev/null | grep "^$id"); do
        $pstorage volume delete "$v" --with-snapshots --force >/dev/null 2>&1
    done
    rm -rf "$work"
}
trap clean EXIT

ok() { passed=$((passed + 1)); }
bad() {
    failed=$((failed + 1))
    echo "FAILED: $*" >&2
}

# run WHAT STATUS COMMAND...: the command ends with this status; its output is kept in $work/out and $work/err.
run() {
    local what=$1 status=$2
    shift 2
    "$@" >"$work/out" 2>"$work/err" </dev/null
    local rc=$?
    if [ $rc -eq "$status" ]; then ok; else bad "$what: status $rc instead of $status: $(cat "$work/err")"; fi
}

# The last command printed this on standard output, or standard error.
says() { if grep -qF -- "$1" "$work/out"; then ok; else bad "\"$1\" is missing in: $(cat "$work/out")"; fi; }
complains() {
    if [ "$(cat "$work/err")" = "pstorage: $1" ]; then ok; else bad "\"pstorage: $1\" was expected, not: $(cat "$work/err")"; fi
}
complains_of() {
    if grep -qF -- "$1" "$work/err" && [ "$(wc -l <"$work/err")" -eq 1 ]; then ok; else bad "one line with \"$1\" was expected, not: $(cat "$work/err")"; fi
}
same() { if cmp -s "$1" "$2"; then ok; else bad "$1 and $2 differ"; fi; }
# json FILE FIELD...: prints the value, as python3 sees it
json() { python3 -c 'import json,sys
v = json.load(open(sys.argv[1]))
for k in sys.argv[2:]: v = v[int(k)] if isinstance(v, list) else v[k]
print(v)' "$@"; }
is() { if [ "$1" = "$2" ]; then ok; else bad "$3: \"$1\" instead of \"$2\""; fi; }
# Data extents of a file, as lines "start length" in blocks of 4096; what touches is one.
extents() {
    python3 -c 'import os,sys
fd = os.open(sys.argv[1], os.O_RDONLY); end = os.fstat(fd).st_size; at = 0; out = []
while at < end:
    try: d = os.lseek(fd, at, os.SEEK_DATA)
    except OSError: break
    at = os.lseek(fd, d, os.SEEK_HOLE)
    print(d // 4096, -(-at // 4096) - d // 4096)' "$1"
}

# ---- volumes
v=$id-vm1
run "create" 0 $pstorage volume create "$v" --size 64M
says "$v created"
run "create twice" 1 $pstorage volume create "$v" --size 64M
complains_of "$v"
run "list" 0 $pstorage volume list
says "$v"
says "64.0 MiB"
run "list names" 0 $pstorage volume list --quiet
is "$(grep -c "^$v$" "$work/out")" 1 "volume list -q"
run "show" 0 $pstorage volume show "$v"
says "64.0 MiB"
run "show json" 0 $pstorage volume show "$v" --json
is "$(json "$work/out" size_bytes)" 67108864 "size_bytes"
is "$(json "$work/out" write_cache)" False "write_cache"
run "set" 0 $pstorage volume set "$v" --write-cache on --json
is "$(json "$work/out" write_cache)" True "write_cache after set"
run "grow" 0 $pstorage volume resize "$v" --size 128M
says "resized to 128.0 MiB"
run "shrink without consent" 1 $pstorage volume resize "$v" --size 64M
complains_of "--allow-shrink"
run "shrink" 0 $pstorage volume resize "$v" --size 64M --allow-shrink
run "rename" 0 $pstorage volume rename "$v" "$id-vm2"
run "show the old name" 3 $pstorage volume show "$v"
complains_of "$v"
run "rename back" 0 $pstorage volume rename "$id-vm2" "$v"

# ---- reading and writing
head -c 1048576 /dev/urandom >"$work/data"
$pstorage volume write "$v" --offset 1M <"$work/data" >"$work/out" 2>"$work/err" && ok || bad "write: $(cat "$work/err")"
says "1048576 bytes written"
$pstorage volume read "$v" --offset 1M --length 1M >"$work/back" && ok || bad "read"
same "$work/data" "$work/back"
$pstorage volume read "$v" -o 1048577 -l 1000 >"$work/back" && ok || bad "read of odd bytes"
tail -c +2 "$work/data" | head -c 1000 >"$work/expected"
same "$work/expected" "$work/back"
$pstorage volume read "$v" >"$work/back" && ok || bad "read of everything"
is "$(stat -c %s "$work/back")" 67108864 "length of everything"
printf hello | $pstorage volume write "$v" --offset 0 >"$work/out" 2>"$work/err"
is $? 2 "writing half a sector"
complains_of "--pad"
printf hello | $pstorage volume write "$v" --offset 0 --pad >"$work/out" 2>"$work/err"
is $? 0 "writing half a sector with --pad"
is "$($pstorage volume read "$v" -l 5)" hello "what was padded"
# Of what can't be written all, what comes before is there.
head -c 4194304 /dev/urandom >"$work/many"
head -c 2197152 "$work/many" | $pstorage volume write "$v" --offset 8M >"$work/out" 2>"$work/err"
is $? 2 "writing many sectors and a half"
complains_of "the input ends 160 bytes into a sector"
$pstorage volume read "$v" --offset 8M --length 2196992 >"$work/back" && ok || bad "read of the whole sectors"
head -c 2196992 "$work/many" >"$work/expected"
same "$work/expected" "$work/back"
cat "$work/many" | $pstorage volume write "$v" --offset $((61 << 20)) >"$work/out" 2>"$work/err"
is $? 2 "writing over the end from a pipe"
complains_of "goes on where the volume ends, at 67108864 bytes; what fits was written"
$pstorage volume read "$v" --offset $((61 << 20)) >"$work/back" && ok || bad "read of what fits"
head -c $((3 << 20)) "$work/many" >"$work/expected"
same "$work/expected" "$work/back"
$pstorage volume write "$v" --offset $((62 << 20)) <"$work/many" >"$work/out" 2>"$work/err"
is $? 2 "writing over the end from a file"
complains_of "only 2.0 MiB from --offset on: nothing was written"
$pstorage volume read "$v" --offset $((61 << 20)) >"$work/back" && ok || bad "read of what was not written over"
same "$work/expected" "$work/back"
run "write at an odd place" 2 $pstorage volume write "$v" --offset 5
complains "--offset 5 is not a multiple of 512"
head -c 4096 /dev/zero | $pstorage volume write "$v" --offset 64M >"$work/out" 2>"$work/err"
is $? 2 "writing beyond the end"
run "read beyond the end" 2 $pstorage volume read "$v" --offset 64M --length 1
complains_of "ends at 67108864"

# ---- snapshots and clones
run "snapshot" 0 $pstorage snapshot create "$v@one"
says "$v@one created"
run "snapshot twice" 1 $pstorage snapshot create "$v@one"
head -c 1048576 /dev/zero | $pstorage volume write "$v" --offset 1M >/dev/null && ok || bad "overwrite"
$pstorage volume read "$v@one" --offset 1M --length 1M >"$work/back" && ok || bad "read of a snapshot"
same "$work/data" "$work/back"
echo | $pstorage volume write "$v@one" --pad >/dev/null 2>"$work/err"
is $? 2 "writing to a snapshot"
run "list of snapshots" 0 $pstorage snapshot list "$v" -q
is "$(cat "$work/out")" "$v@one" "snapshot list"
run "clone" 0 $pstorage clone create "$v@one" "$id-copy"
$pstorage volume read "$id-copy" --offset 1M --length 1M >"$work/back" && ok || bad "read of a clone"
same "$work/data" "$work/back"
run "restore" 0 $pstorage snapshot restore "$v@one"
$pstorage volume read "$v" --offset 1M --length 1M >"$work/back" && ok || bad "read after restore"
same "$work/data" "$work/back"
run "delete with snapshots without saying so" 1 $pstorage volume delete "$v"
complains "volume \"$v\" has 1 snapshot; --with-snapshots deletes it too"
run "delete a snapshot" 0 $pstorage snapshot delete "$v@one"
run "delete it again" 3 $pstorage snapshot delete "$v@one"
run "snapshot of nothing" 3 $pstorage snapshot create "$id-none@x"

# ---- import and export of a sparse file
python3 -c 'import os,sys
f = open(sys.argv[1], "wb"); f.truncate(48 << 20)
def put(at, data): f.seek(at); f.write(data)
put(0, os.urandom(4096))
put((1 << 20) - 4096, os.urandom(12288))
put(5 << 20, os.urandom(3 << 20))
put(20 << 20, b"\xff" * 65536)
for i in range(64): put((30 << 20) + i * 131072, os.urandom(4096))
put((48 << 20) - 4096, os.urandom(4096))' "$work/sparse"
run "import" 0 $pstorage volume import "$work/sparse" "$id-img"
says "created and imported"
run "size of the import" 0 $pstorage volume show "$id-img" --json
is "$(json "$work/out" size_bytes)" 50331648 "size of the import"
data_blocks=$(extents "$work/sparse" | awk '{n += $2} END {print n}')
is "$(json "$work/out" space logical_bytes)" $((data_blocks * 4096)) "what the import holds"
run "export" 0 $pstorage volume export "$id-img" "$work/exported"
says "exported"
same "$work/sparse" "$work/exported"
extents "$work/sparse" >"$work/holes1"
extents "$work/exported" >"$work/holes2"
same "$work/holes1" "$work/holes2"
run "export over a file" 1 $pstorage volume export "$id-img" "$work/exported"
complains_of "--overwrite"
run "export over a file on purpose" 0 $pstorage volume export "$id-img" "$work/exported" --overwrite --json
is "$(json "$work/out" bytes)" 50331648 "bytes of the export"
$pstorage volume export "$id-img" - >"$work/piped" && ok || bad "export to a pipe"
same "$work/sparse" "$work/piped"
run "import over data" 1 $pstorage volume import "$work/data" "$id-img"
complains_of "--overwrite"
# Over data, also the holes must arrive.
head -c 50331648 /dev/urandom | $pstorage volume import - "$id-img" --overwrite >/dev/null && ok || bad "import from a pipe"
run "import over data on purpose" 0 $pstorage volume import "$work/sparse" "$id-img" --overwrite
run "export again" 0 $pstorage volume export "$id-img" "$work/exported" --overwrite
same "$work/sparse" "$work/exported"
extents "$work/exported" >"$work/holes2"
same "$work/holes1" "$work/holes2"
run "import of another size" 1 $pstorage volume import "$work/sparse" "$id-copy" --size 1M --overwrite
run "import of a missing file" 3 $pstorage volume import "$work/none" "$id-none"
complains "cannot open \"$work/none\": No such file or directory"
is "$(yes | $pstorage volume import - "$id-short" --size 1M >/dev/null 2>"$work/err"; echo $?)" 2 "import that does not fit"
complains_of "was not created"
run "what failed left nothing" 3 $pstorage volume show "$id-short"
run "odd size" 0 sh -c "head -c 1000 '$work/data' >'$work/odd' && $pstorage volume import '$work/odd' '$id-odd'"
run "odd size" 0 $pstorage volume show "$id-odd" --json
is "$(json "$work/out" size_bytes)" 4096 "size of the odd import"

# ---- status and events
run "status" 0 $pstorage status
says "Capacity"
run "status json" 0 $pstorage status --json
is "$(json "$work/out" pods 0 state)" online "state of the pod"
run "metrics" 0 $pstorage metrics
says "host_written_bytes"
run "events" 0 $pstorage events
says "$v"
run "events json" 0 $pstorage events --json -n 3
timeout 60 $pstorage events --follow -n 0 --json >"$work/followed" 2>/dev/null &
follower=$!
for i in $(seq 500); do # until the follower is there, each event is a new chance
    $pstorage volume create "$id-event$i" --size 1M >/dev/null
    grep -q "$id-event" "$work/followed" && break
done
kill $follower 2>/dev/null
wait $follower 2>/dev/null
if grep -q "\"text\":.*$id-event" "$work/followed"; then ok; else bad "events --follow saw nothing"; fi

# ---- wrong usage
run "unknown noun" 2 $pstorage volum list
complains 'unknown command "volum"; did you mean "volume"?'
run "unknown option" 2 $pstorage volume list --jsno
complains 'unknown option "--jsno"; did you mean "--json"?'
run "bad size" 2 $pstorage volume create "$id-x" --size huge
complains_of "huge"
run "no size" 2 $pstorage volume create "$id-x"
complains "--size SIZE is missing"
run "bad name" 2 $pstorage volume create "no/slash" --size 1M
complains_of "no/slash"
run "not found" 3 $pstorage volume delete "$id-none"
complains_of "$id-none"
run "not found as json" 3 $pstorage --json volume delete "$id-none"
is "$(json "$work/err" error exit_code)" 3 "exit code in the error object"
is "$(json "$work/err" error status)" ENOTFOUND "status in the error object"
run "unavailable" 4 $pstorage volume list --endpoint tcp://127.0.0.1:1
complains_of "tcp://127.0.0.1:1"
run "second endpoint" 0 $pstorage volume list -e tcp://127.0.0.1:1 -e "${PSTORAGE_ENDPOINT:-tcp://127.0.0.1:9500}"
run "help" 0 $pstorage volume create --help
says "Usage: pstorage volume create NAME"
run "version" 0 $pstorage --version

# ---- completion
cat >"$work/complete" <<'END'
source <("$1" completion bash)
pstorage_path=$1
shift
COMP_WORDS=(pstorage "$@")
COMP_CWORD=$#
COMP_LINE="pstorage $*"
COMP_POINT=${#COMP_LINE}
PATH=$(dirname "$pstorage_path"):$PATH
_pstorage
printf '%s\n' "${COMPREPLY[@]}"
END
path=$(command -v "$pstorage")
complete_words() { bash "$work/complete" "$path" "$@" | sort | tr '\n' ' '; }
is "$(complete_words vol)" "volume " "completion of a noun"
is "$(complete_words snapshot "")" "create delete list restore " "completion of a verb"
is "$(complete_words volume show "$id-vm")" "$v " "completion of a volume"
is "$(complete_words volume set "$v" --write-cache "")" "off on " "completion of a value"
is "$(complete_words volume resize --al)" "--allow-shrink " "completion of an option"
$pstorage snapshot create "$v@done" >/dev/null
is "$(complete_words snapshot delete "$id-v")" "$v@done " "completion of a snapshot"

run "delete everything of it" 0 $pstorage volume delete "$v" --with-snapshots
run "and it is gone" 3 $pstorage volume show "$v"

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
