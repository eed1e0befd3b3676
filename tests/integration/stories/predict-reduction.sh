# What predict-reduction says of a file, and what importing it then gives: within five points.

# check FILE [ARGUMENT...]: predicts, imports as v.FILE, compares.
check()
{
    local file=$1
    pstorage --json analytics predict-reduction "$@" >predicted
    pstorage volume import "$file" "v.$file" >/dev/null
    pstorage --json volume show "v.$file" >real
    /usr/bin/python3 - "$file" <<'END'
import json, sys
p, v = json.load(open("predicted")), json.load(open("real"))
data, real = p["data_bytes"], v["space"]["stored_bytes"]
off = 100 * (p["occupied_bytes"] - real) / data
print("%s: %.1f %% predicted (%.1f to %.1f), %.1f %% real, off by %.2f points" % (sys.argv[1], *(
    100 * p[n] / data for n in ("occupied_bytes", "occupied_low_bytes", "occupied_high_bytes")), 100 * real / data, off))
assert abs(off) < (1 if p["exact"] else 5)
assert p["exact"] or p["occupied_low_bytes"] <= p["occupied_bytes"] <= p["occupied_high_bytes"]
parts = sum(p[n] for n in ("pattern_bytes", "stored_already_bytes", "duplicate_bytes", "unique_bytes"))
assert abs(parts - data) < data / 1000, (parts, data)
END
}
p() { field "$1" <predicted; }

node_start
mkdir tree
cp -a /usr/include tree
cp -aL /usr/bin/b* tree
ext4_image fs.img tree $(($(du -sm tree | cut -f1) * 3 / 2))M
head -c 40M /dev/urandom >random.img
find tree -name '*.h' -type f | sort | xargs cat >text.img
[ "$(stat -c %s text.img)" -gt 1000000 ] || fail "there is hardly any text here"
head -c 5000 /dev/urandom >odd.img

say "== what is looked at whole is exact"
check random.img
[ "$(p unique_bytes)" = $((40 << 20)) ] || fail "random data is not unique: $(cat predicted)"
check text.img
check odd.img
same "$(p size_bytes)" 5000
check fs.img
same "$(p exact)" true
same "$(p sampled_bytes)" "$(p data_bytes)"
[ "$(p data_bytes)" -lt "$(p size_bytes)" ] || fail "holes count as data"

say "== what is stored already takes nothing, until it is deleted"
cp fs.img again.img
check again.img
[ "$(p occupied_bytes)" -lt $((1 << 20)) ] || fail "a copy of what is there would take room: $(cat predicted)"
pstorage volume delete v.again.img
pstorage volume delete v.fs.img
pstorage volume delete v.random.img
gone() { [ "$(pstorage --json metrics | field releasing)" = 0 ]; }
until_true 60 gone || fail "deleted volumes are not released"

say "== duplicates within the file, and a sample of it"
cat fs.img random.img fs.img >twice.img
pstorage --json analytics predict-reduction twice.img --sample 16M >predicted
same "$(p exact)" false
[ "$(p sampled_bytes)" -le $((16 << 20)) ] || fail "more was looked at than was asked for"
pstorage analytics predict-reduction twice.img --sample 16M >shown
grep -Eq '^Would occupy +[0-9.]+ [MG]iB .*; between .* and .* in 95 of 100 cases$' shown || fail "$(cat shown)"
pstorage --json analytics predict-reduction twice.img --sample 4M >predicted
[ $(($(p occupied_high_bytes) - $(p occupied_low_bytes))) -gt $(($(p data_bytes) / 10)) ] || fail "4 MiB say enough: $(cat predicted)"

say "== which is doubled until it says enough"
check twice.img --sample 4M --within 5
[ "$(p sampled_bytes)" -gt $((4 << 20)) ] || fail "no more was looked at: $(cat predicted)"
for bound in low high; do
    off=$(($(p "occupied_${bound}_bytes") - $(p occupied_bytes)))
    [ "${off#-}" -le $(($(p data_bytes) / 20)) ] || fail "wider than asked for: $(cat predicted)"
done
[ "$(p duplicate_bytes)" -gt $(($(p data_bytes) / 5)) ] || fail "the second copy is not seen: $(cat predicted)"

say "== to people, and what is wrong"
pstorage analytics predict-reduction random.img >shown
grep -q 'all looked at' shown || fail "$(cat shown)"
truncate -s 1G hole.img
pstorage --json analytics predict-reduction hole.img >predicted
same "$(p occupied_bytes)" 0
refused 2 "can't be sampled" pstorage analytics predict-reduction - </dev/null
refused 3 'No such file' pstorage analytics predict-reduction absent.img
: >empty.img
refused 2 'is empty' pstorage analytics predict-reduction empty.img
refused 2 '1M to 64G' pstorage analytics predict-reduction random.img --sample 4K
refused 2 '1 to 100' pstorage analytics predict-reduction random.img --within 101

say "== nothing was changed by looking"
before=$(pstorage --json metrics | field stored_bytes)
pstorage analytics predict-reduction fs.img >/dev/null
same "$(pstorage --json metrics | field stored_bytes)" "$before"
node_stop
