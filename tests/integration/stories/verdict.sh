# block_hosts, whose verdict the stories about partitions rest on, is against a mirror that is none. No node here: other
# NBD servers play the good and the bad ones.

read -r ONE TWO < <(free_ports 2)
mkfifo to_hosts from_hosts
# told WORDS...: block_hosts is told so; its answer is in $ANSWER.
told()
{
    ANSWER=
    printf '%s\n' "$*" >&"$TO" && IFS= read -r -t 60 ANSWER <&"$FROM" || fail "block_hosts does not answer '$*'"
    say "$ANSWER"
}
obeyed() { told "$@" && [[ $ANSWER == ok* ]] || fail "'$*': $ANSWER"; }
# judged COMMAND...: hosts use the servers at both ports, which are empty, for a while, COMMAND is done, they go on. Leaves what is said of it in
# $VERDICT, with which status they ended in $STATUS, and their record, if it is against it, in record.txt.
judged()
{
    local hosts n
    rm -f record.txt
    "$BUILD/tests/block_hosts" vol 16777216 "1=nbd://127.0.0.1:$ONE" "2=nbd://127.0.0.1:$TWO" <to_hosts >from_hosts &
    hosts=$!
    STARTED+=("$hosts")
    exec {TO}>to_hosts {FROM}<from_hosts
    for n in 1 2; do obeyed more 500 $n 30000; done
    obeyed mark
    "$@"
    for n in 1 2; do obeyed more 500 $n 30000; done
    told verdict "$TMP/record.txt"
    VERDICT=$ANSWER STATUS=0
    exec {TO}>&- {FROM}<&-
    reap "$hosts" || STATUS=$?
}
# is_against WHAT: it was, by what hosts saw.
is_against()
{
    [[ $VERDICT == "failed: block "* && $VERDICT != *"another run"* ]] || fail "block_hosts takes $1 for one disk: $VERDICT"
    same "$STATUS" 1 "its status"
    [ -s record.txt ] || fail "the record was not written"
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
    SERVER=$PID
}
FIRST=$ONE SECOND=$TWO

say "== one server is one disk"
TWO=$FIRST
serve "$ONE"
SERVER=$PID
judged true
[[ $VERDICT =~ ^ok:\ [1-9][0-9]*\ writes\ and\ [1-9][0-9]*\ reads ]] || fail "block_hosts is against a good server: $VERDICT"
same "$STATUS" 0 "its status"

say "== one that forgets what it had"
forget
judged forget
is_against "one that forgot all"

say "== two that don't know of each other"
end "$SERVER"
TWO=$SECOND
serve "$ONE"
serve "$TWO"
judged true
is_against "two"
