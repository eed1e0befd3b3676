# A node loses its flash while it is down and more is written than the primary keeps of its log: it comes back as a new
# member, is given a full copy and what was written meanwhile, and takes over with all that was acknowledged. Then one
# that keeps its flash is away for too long.
. "$HERE/cluster.sh"

start() { member_start "$1" "PSTORAGE_FLASH_DEVICES=file:$TMP/n$1/flash0,size=256M"; }
# load SEED: several times the volume, in sequence of its own; what is acknowledged is in the journal.
load()
{
    durability load --uri "$(uri 1 vol)" --journal "journal$1" --writes 4000 --depth 8 --seed "$1"
}

mediator_start
start 1
start 2
until_true 60 in_sync 1 2 || fail "the pod is not formed after 60 s"
on 1 volume create vol --size 64M
on 1 volume create other --size 64M
fill()
{
    local i
    for i in 1 2 3 4 5 6; do
        head -c 64M /dev/urandom >"$TMP/noise"
        nbdcopy -- "$TMP/noise" "$(uri "$1" other)"
    done
}

say "== n2 loses its flash, and the log that is kept does not reach back to the beginning"
member_kill 2
rm "$TMP/n2/flash0"
fill 1
load 1
start 2
until_true 60 in_sync 1 2 || fail "n2 is not in sync after 60 s: $(on 1 pod show; on 1 why default)"
tells 1 copy "n2 is filled: the pod as of batch [0-9]+"
tells 1 copy "n2 has the pod as of batch [0-9]+"
durability check --uri "$(uri 1 vol)" --journal journal1 --durable --atomic

say "== it takes over, with all of it"
member_kill 1
until_true 60 serves 2 || fail "n2 does not serve after 60 s"
durability check --uri "$(uri 2 vol)" --journal journal1 --durable --atomic
start 1
until_true 60 in_sync 2 1 || fail "n1 is not in sync after 60 s: $(on 2 pod show)"
nbdcopy -- "$(uri 2 other)" "$TMP/back"
cmp "$TMP/noise" "$TMP/back" || fail "what n2 serves of 'other' is not what was written"

say "== n1 is away for too long, with its flash"
member_kill 1
until_true 60 serves 2 || fail "n2 does not serve alone after 60 s"
fill 2
start 1
until_true 60 in_sync 2 1 || fail "n1 is not in sync after 60 s: $(on 2 pod show; on 2 why default)"
tells 2 copy "n1 has the pod as of batch [0-9]+"
member_kill 2
until_true 60 serves 1 || fail "n1 does not serve after 60 s"
nbdcopy -- "$(uri 1 other)" "$TMP/back"
cmp "$TMP/noise" "$TMP/back" || fail "what n1 serves of 'other' is not what was written"
