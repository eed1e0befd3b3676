# block_hosts, whose verdict the stories about partitions rest on, is against a mirror that is none. No node here: other
# NBD servers play the good and the bad ones.

read -r ONE TWO < <(free_ports 2)
mkfifo to_hosts from_hosts
# judged COMMAND...: hosts use the servers at both ports for a while, COMMAND is done, they go on; the verdict.
judged()
{
    local answer hosts
    "$BUILD/tests/block_hosts" vol 16777216 "1=nbd://127.0.0.1:$ONE" "2=nbd://127.0.0.1:$TWO" <to_hosts >from_hosts &
    hosts=$!
    STARTED+=("$hosts")
    exec {to}>to_hosts {from}<from_hosts
    told() { printf '%s\n' "$*" >&"$to" && IFS= read -r -t 60 answer <&"$from" && say "$answer"; }
    told more 1000 0 30000
    told mark
    "$@"
    told more 1000 0 30000
    told verdict "$TMP/record.txt"
    exec {to}>&- {from}<&-
    reap "$hosts"
}
# serve PORT: an empty disk.
serve()
{
    background peer.log nbdkit -f -i 127.0.0.1 -p "$1" memory 16M
    until_true 20 listening "$1" || fail "nbdkit does not listen"
}
end()
{
    kill -KILL "$1"
    reap "$1" || true
}
forget()
{
    end "$SERVER"
    serve "$ONE"
}
FIRST=$ONE SECOND=$TWO

say "== one server is one disk"
TWO=$FIRST
serve "$ONE"
SERVER=$PID
judged true || fail "block_hosts is against a good server"

say "== one that forgets what it had"
forget
SERVER=$PID
! judged forget || fail "block_hosts does not notice that all was forgotten"

say "== two that don't know of each other"
end "$PID"
TWO=$SECOND
serve "$ONE"
serve "$TWO"
! judged true || fail "block_hosts takes two disks for one"
[ -s record.txt ] || fail "the record was not written"
