# Snapshots keep what was, clones start there and go their own way, restore goes back; all of it by content,
# with the node restarted and killed in between.

node_start
pstorage volume create vol --size 64M
say "== three generations, a snapshot of each"
for generation in 1 2 3; do
    durability load --uri "$NBD/vol" --journal "journal$generation" --writes 1200 --seed "$generation"
    durability check --uri "$NBD/vol" --journal "journal$generation" --durable --atomic
    pstorage snapshot create "vol@s$generation"
    nbdcopy "$NBD/vol" "image$generation"
    # The next generation overwrites what this one left.
    cp "journal$generation" "journal$((generation + 1))"
done
pstorage snapshot list

check_all()
{
    for generation in 1 2 3; do
        nbdcopy "$NBD/vol@s$generation" got
        cmp "image$generation" got || fail "snapshot $generation changed ($1)"
    done
}
check_all "while the volume went on"

say "== a snapshot is read-only"
nbdinfo --is read-only "$NBD/vol@s1"
py "$NBD/vol@s1" <<'PYTHON'
h.set_strict_mode(0)
expect_errno("EPERM", h.pwrite, b"x" * 4096, 0)
expect_errno("EPERM", h.trim, 4096, 0)
PYTHON

say "== a clone starts as the snapshot and goes its own way"
pstorage clone create vol@s2 copy
qemu-img compare -f raw -F raw image2 "$NBD/copy"
durability load --uri "$NBD/copy" --journal journal-copy --writes 600 --seed 9
durability check --uri "$NBD/copy" --journal journal-copy --durable --atomic
nbdcopy "$NBD/copy" copy-image
check_all "while a clone was written"
pstorage snapshot create copy@own
pstorage clone create copy@own grandchild
qemu-img compare -f raw -F raw copy-image "$NBD/grandchild"

say "== killed: all images are what they were"
node_kill
node_start
check_all "after a kill"
qemu-img compare -f raw -F raw copy-image "$NBD/copy"
qemu-img compare -f raw -F raw copy-image "$NBD/copy@own"
qemu-img compare -f raw -F raw image3 "$NBD/vol"

say "== restore"
pstorage snapshot restore vol@s1
qemu-img compare -f raw -F raw image1 "$NBD/vol"
check_all "after a restore"

say "== the origin goes, the clone stays"
refused 1 'snapshot' pstorage volume delete vol
for generation in 1 2 3; do pstorage snapshot delete "vol@s$generation"; done
pstorage volume delete vol
qemu-img compare -f raw -F raw copy-image "$NBD/copy"
node_stop
node_start
qemu-img compare -f raw -F raw copy-image "$NBD/copy"
qemu-img compare -f raw -F raw copy-image "$NBD/grandchild"
refused 3 'not found|no volume|does not exist' pstorage volume show vol
