# ./deploy/quickstart does what the README promises, twice, and stops when asked.

[ "$BUILD" = "$ROOT/build/release" ] || skip "tests another build than the quickstart's"
read -r rpc nbd api < <(free_ports 3)
ports=(--dir "$TMP/quick" --nbd-port "$nbd" --rpc-port "$rpc" --api-port "$api")
stop_quickstart() { "$ROOT/deploy/quickstart" --stop --dir "$TMP/quick" >/dev/null; }
trap 'stop_quickstart || true; cleanup' EXIT

"$ROOT/deploy/quickstart" "${ports[@]}" >first.log 2>&1 || fail "the first run failed: $(tail -n 20 first.log)"
grep -q 'of [0-9]* acknowledged writes all there' first.log || fail "the run proved nothing"
PSTORAGE_ENDPOINT=tcp://127.0.0.1:$rpc pstorage volume show vm1 >/dev/null || fail "the node does not go on running"

say "== again, over the running one, whose programs were built anew meanwhile"
for program in pstoraged pstorage-mediator; do
    cp "$BUILD/bin/$program" "$BUILD/bin/$program.new"
    mv "$BUILD/bin/$program.new" "$BUILD/bin/$program"
done
"$ROOT/deploy/quickstart" "${ports[@]}" >second.log 2>&1 || fail "the second run failed: $(tail -n 20 second.log)"

say "== a directory that is not its own stays untouched"
mkdir other
echo mine >other/file
refused 1 'not empty' "$ROOT/deploy/quickstart" --dir "$TMP/other" --nbd-port "$nbd" --rpc-port "$rpc" --api-port "$api"
same "$(cat other/file)" mine

say "== stopped"
"$ROOT/deploy/quickstart" --stop --dir "$TMP/quick"
! listening "$nbd" || fail "the node runs on"
[ ! -e quick ] || fail "its directory is still there"
