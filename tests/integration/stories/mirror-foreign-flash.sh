# The flash of another cluster's member under a node's data directory: it is refused and left alone, whatever that cluster
# had agreed on. Flash of its own is taken at the first start after the cluster was formed, when the node has another pod's
# identity than when it started last; and so is blank flash.
. "$HERE/cluster.sh"

start() { member_start "$1" "PSTORAGE_FLASH_DEVICES=file:$TMP/n$1/flash0,size=256M"; }
form()
{
    mediator_start
    start 1
    start 2
    until_true 60 in_sync 1 2 || fail "the pod is not formed after 60 s"
    on 1 volume create vol --size 64M
    durability load --uri "$(uri 1 vol)" --journal "$1" --writes 500
}
# Both know the volume, by their catalogs.
know() { on 1 volume list | grep -q vol && on 2 volume list | grep -q vol; }
end()
{
    local n
    for n in 1 2; do is_down $n || member_kill $n; done
    mediator_kill
}

say "== a cluster whose n2 leads alone at its end"
form journal-other
member_kill 1
until_true 60 serves 2 || fail "n2 does not serve alone after 60 s"
end
mkdir "$TMP/other"
mv "$TMP/n1" "$TMP/n2" "$TMP/mediator" "$TMP/other"

say "== another cluster, killed and started again"
form journal
until_true 60 know || fail "one of the nodes does not know the volume after 60 s"
end
mediator_start
start 1
start 2
until_true 60 in_sync 1 2 || until_true 60 in_sync 2 1 || fail "the pod is not in sync after 60 s: $(tail -3 "$TMP/n1.log" "$TMP/n2.log")"

say "== the first one's flash under n2's data directory"
member_kill 2
mv "$TMP/n2/flash0" "$TMP/own"
cp --sparse=always "$TMP/other/n2/flash0" "$TMP/n2/flash0"
member_command 2 "PSTORAGE_FLASH_DEVICES=file:$TMP/n2/flash0,size=256M"
refused - 'holds another pod.*catalog knows volumes' "${COMMAND[@]}"
cmp "$TMP/other/n2/flash0" "$TMP/n2/flash0" || fail "the flash of another cluster was written to"

say "== its own again; then blank one"
mv "$TMP/own" "$TMP/n2/flash0"
start 2
until_true 60 in_sync 1 2 || fail "n2 is not in sync after 60 s"
member_kill 2
rm "$TMP/n2/flash0"
start 2
until_true 60 in_sync 1 2 || fail "n2 is not in sync on blank flash after 60 s"
durability check --uri "$(uri 1 vol)" --journal journal --durable --atomic
end
