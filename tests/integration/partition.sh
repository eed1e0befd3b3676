# The frame of the stories about faults: a cluster with a network of its own (network.sh) under two loads at once.
#
# - block_hosts (hosts/main.c): hosts that write and read the same blocks through both nodes, by NBD and RPC, and never
#   stop; what all of them saw must be one disk's, with nothing acknowledged lost, nothing stale, nothing late.
# - fio, which saves what it knows to be complete in the moment of the fault, for it to be verified at the one who goes on.
#
# A story is: scene; strike COMMAND; what must come of it; mended; … ; finish.
# shellcheck shell=bash
# shellcheck source=cluster.sh
. "$HERE/cluster.sh"
# shellcheck source=network.sh
. "$HERE/network.sh"

HOSTS_BYTES=$((16 << 20))
HEAL_LIMIT=180

# ---- hosts

# hosts WORDS...: tells block_hosts; its answer is in $ANSWER.
hosts()
{
    ANSWER=
    printf '%s\n' "$*" >&"$TO_HOSTS" && IFS= read -r -t 120 ANSWER <&"$FROM_HOSTS" ||
        fail "block_hosts does not answer '$*': $(cat hosts.log)"
    [[ $ANSWER == ok* ]]
}
hosts_start()
{
    mkfifo to_hosts from_hosts
    enter "$CLIENTS"
    "${ENTER[@]}" "$BUILD/tests/block_hosts" vol "$HOSTS_BYTES" "1=$(uri 1 vol)" "2=$(uri 2 vol)" "1=${RPC[1]}" "2=${RPC[2]}" \
        "0=${RPC[1]} ${RPC[2]}" "0=${RPC[2]} ${RPC[1]}" <to_hosts >from_hosts 2>hosts.log &
    STARTED+=("$!")
    exec {TO_HOSTS}>to_hosts {FROM_HOSTS}<from_hosts
}
# answered N NODE: they got N more answers through that node; 0: any.
answered() { hosts more "$1" "$2" 30000 || fail "hosts get no answers through node $2: $ANSWER; $(on "$P" pod show)"; }

# silent N MS: that node answers no host, for so long.
silent()
{
    ! hosts more 1 "$1" "$2" || fail "n$1 answered, alone"
    same "$ANSWER" "failed: 0 answers"
}

# ---- fio

fio_job()
{
    enter "$CLIENTS"
    FIO=("${ENTER[@]}" fio --ioengine=nbd --rw=randwrite --bs=4k --verify=crc32c --verify_fatal=1 --thread "$@")
}
# In the first half of the volume, until the fault: `strike` is carried out by fio, once it has saved its state.
fio_start()
{
    rm -f fio.strike fio.struck ./*verify.state
    fio_job --name=fio --uri="$(uri "$P" fio)" --iodepth=8 --size=32M --rate_iops=400 --verify_state_save=1 --do_verify=0 \
        --randseed=$((++FIO_RUN)) --trigger-file=fio.strike --trigger="sh $TMP/strike"
    background fio.log "${FIO[@]}"
    FIO_PID=$PID
}
fio_bytes() { on "$P" --json volume show fio | field logical_bytes; }
# What was complete then is there, by what node N serves.
fio_verify()
{
    kill -KILL "$FIO_PID" 2>/dev/null || true
    reap "$FIO_PID" || true
    fio_job --name=fio --uri="$(uri "$1" fio)" --iodepth=8 --size=32M --randseed="$FIO_RUN" --verify_only=1 --verify_state_load=1
    timeout 120 "${FIO[@]}" >fio-verify.log 2>&1 || fail "fio finds damage at n$1: $(cat fio-verify.log)"
}
# A whole pass in the other half, and its verification, at whoever leads; begun anew when the connection is lost.
fio_pass()
{
    local end=$((SECONDS + 60))
    until find_leader 2>/dev/null && fio_once --uri="$(uri "$LEADER" fio)" --do_verify=1; do
        ! grep -aEq 'verify: |verify failed' fio-pass.log || fail "fio finds damage at n$LEADER: $(cat fio-pass.log)"
        [ $SECONDS -lt $end ] || fail "fio gets through at nobody: $(cat fio-pass.log)"
    done
}
fio_once()
{
    fio_job --name=pass --iodepth=8 --offset=32M --size=6M --randseed=5 "$@"
    timeout 60 "${FIO[@]}" >fio-pass.log 2>&1
}
fio_verify_pass() { fio_once --uri="$(uri "$1" fio)" --verify_only=1 || fail "fio finds damage at n$1: $(cat fio-pass.log)"; }

# ---- the frame

# Whoever leads is P, the other one S.
cast()
{
    until_true "$HEAL_LIMIT" whole || fail "the mirror is not in sync after $HEAL_LIMIT s: $(on 1 pod show; on 2 pod show; on 1 why default)"
    P=$LEADER S=$((3 - LEADER))
    EPOCH=$(pod_field "$P" epoch)
}

scene()
{
    cluster_start "$@"
    on 1 volume create vol --size "$HOSTS_BYTES" >/dev/null
    on 1 volume create fio --size 40M >/dev/null
    FIO_RUN=0
    cast
    hosts_start
}

# strike COMMAND: a line of shell, in the middle of both loads. All that resumes is measured from here.
strike()
{
    local base
    cast
    printf '%s\n' "$1" "touch $TMP/fio.struck" >strike
    base=$(fio_bytes)
    fio_start
    answered 500 "$P"
    # Some blocks are written again, and don't count: from one strike to the next fewer are new.
    fio_writes() { [ "$(fio_bytes)" -gt $((base + (256 << 10))) ]; }
    until_true 60 fio_writes || fail "fio does not write: $(cat fio.log)"
    touch fio.strike
    struck() { [ -e fio.struck ]; }
    until_true 60 struck || fail "fio does not strike: $(cat fio.log)"
    hosts mark
}
# Hosts write again.
resumed()
{
    hosts resumed "$RESUME_LIMIT_MS" || fail "after $RESUME_LIMIT_MS ms $ANSWER: $(on 1 pod show; on 2 pod show)"
    say "writes are answered ${ANSWER#ok } ms after ${1-the fault}"
}
# Another node leads: what the former one was asked is settled.
taken_over()
{
    until_true 20 serves "$S" || fail "n$S does not take over: $(on "$S" pod show; on "$S" why default)"
    hosts fence "$P"
    resumed
    answered 200 "$S"
    fio_verify "$S"
}
# One node goes on, whichever of them.
one_goes_on()
{
    resumed
    until_true 20 find_leader || fail "nobody leads: $(on 1 pod show; on 2 pod show)"
    say "n$LEADER goes on; n$P led before"
    [ "$LEADER" = "$P" ] || hosts settle "$P"
    answered 500 "$LEADER"
    is_down $((3 - LEADER)) || serves_not $((3 - LEADER)) || fail "two nodes serve"
    fio_verify "$LEADER"
}
# The one that led leads on, in the same configuration.
unmoved()
{
    resumed
    answered 1000 "$P"
    same "$(pod_field "$P" epoch)" "$EPOCH" "the configuration changed"
    serves "$P" || fail "n$P does not lead any more: $(on "$P" pod show)"
    fio_verify "$P"
}
# Everything is as it should be again. mended SINCE_MS
mended()
{
    cast
    say "in sync $(($(now_ms) - $1)) ms after the repair; n$P leads"
    hosts mark
    resumed "that"
    answered 200 "$P"
}

# Both members hold the same, by what they serve, and what was seen was one disk's.
finish()
{
    local volume
    fio_pass
    cast
    hosts stop
    hosts fence 0
    hosts sweep $((P - 1)) || fail "n$P: $ANSWER"
    for volume in vol fio; do nbdcopy -- "$(uri "$P" $volume)" "$TMP/$volume.$P"; done
    pstorage pod switchover default "n$S" >/dev/null
    until_true 20 serves "$S" || fail "n$S does not serve after the switchover: $(on "$S" pod show)"
    hosts sweep $((S - 1)) || fail "n$S: $ANSWER"
    for volume in vol fio; do
        nbdcopy -- "$(uri "$S" $volume)" "$TMP/$volume.$S"
        cmp "$TMP/$volume.1" "$TMP/$volume.2" || fail "the members differ in $volume"
    done
    fio_verify_pass "$S"
    hosts verdict "$TMP/record.txt" || fail "$ANSWER"
    say "$ANSWER"
    member_stop "$S"
    member_stop "$P"
}
