# A real file system, made from a real tree, goes in and comes out unchanged, by two different clients; it
# deduplicates against its second copy and compresses.

real_tree tree
ext4_image image tree 512M
node_start

say "== in with qemu-img, out with nbdcopy"
pstorage volume create first --size 512M
qemu-img convert -n -f raw -O raw image "$NBD/first"
nbdcopy "$NBD/first" out1
cmp image out1
e2fsck -fn out1
qemu-img compare -f raw -F raw image "$NBD/first"

say "== in with nbdcopy, out with qemu-img; after a restart"
pstorage volume create second --size 512M
nbdcopy --flush --requests=16 image "$NBD/second"
node_stop
node_start
qemu-img convert -f raw -O raw "$NBD/second" out2
cmp image out2
e2fsck -fn out2

say "== the second copy cost next to nothing, the first less than its size"
pstorage status
data=$(nbdinfo --json --map "$NBD/first" | /usr/bin/python3 -c '
import json, sys
print(sum(e["length"] for e in json.load(sys.stdin) if e["type"] == 0))')
stored=$(pstorage metrics --json | field space.stored_bytes)
say "data in the image $data, stored for two copies $stored"
[ "$data" -gt 30000000 ] || fail "only $data bytes of the image are allocated: the tree is too small to tell"
[ "$stored" -lt $((data * 8 / 10)) ] || fail "two copies of $data bytes take $stored"

say "== files read through the volume are the tree's"
debugfs -R "rdump /doc/. rdumped" out2 2>/dev/null || true
mkdir -p rdumped && debugfs -R "rdump /include rdumped" out2
diff -r --no-dereference tree/include rdumped/include
