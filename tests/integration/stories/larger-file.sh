# A flash file that is given a larger size makes a larger pool at the next start; one that was cut, or that is
# given a smaller size, is refused and left alone.

FLASH_SIZE=256M
capacity() { pstorage --json status | field capacity_bytes; }
node_start
pstorage volume create vol --size 192M
durability load --uri "$NBD/vol" --journal journal --writes 1500 --seed 1
before=$(capacity)
[ "$before" -lt $((256 << 20)) ] || fail "a pool of 256 MiB has $before bytes"
node_kill

say "== a larger size: the same data in a larger pool, also after a kill"
FLASH_SIZE=512M
node_start
after=$(capacity)
[ $((after - before)) -eq $((256 << 20)) ] || fail "the pool had $before bytes and has $after"
pstorage events | grep 'pool.grown.*256M.*512M' || fail "no event tells it: $(pstorage events)"
[ "$(stat -c %s "$DATA/flash0")" -eq $((512 << 20)) ] || fail "the file has $(stat -c %s "$DATA/flash0") bytes"
[ "$(($(stat -c %b "$DATA/flash0") * 512))" -ge $((512 << 20)) ] || [ "$(stat -f -c %T "$DATA")" = tmpfs ] ||
    fail "its space is not reserved"
durability check --uri "$NBD/vol" --journal journal --durable --atomic
durability load --uri "$NBD/vol" --journal journal --writes 1500 --seed 2
node_kill
node_start
durability check --uri "$NBD/vol" --journal journal --durable --atomic
[ "$(capacity)" = "$after" ] || fail "the pool has $(capacity) bytes after a restart"
say "== more fits than before"
pstorage volume create more --size 1G
head -c 300M /dev/urandom >noise
nbdcopy noise "$NBD/more"
cmp -n $((300 << 20)) noise <(nbdcopy "$NBD/more" -) || fail "what was written is not read"
node_stop

say "== a smaller size, and a file that was cut"
FLASH_SIZE=256M
node_refuses '512M instead of size=256M: .*smaller'
FLASH_SIZE=1G
cp --sparse=always "$DATA/flash0" kept
truncate -s 300M "$DATA/flash0"
node_refuses '300M instead of size=1G: it was cut, or its pool of 512M has had further devices'
[ "$(stat -c %s "$DATA/flash0")" -eq $((300 << 20)) ] || fail "what was refused was changed"
mv kept "$DATA/flash0"

say "== a check with a size that is not set yet changes nothing"
node_command -- --check
"${COMMAND[@]}" || fail "the check says $?"
[ "$(stat -c %s "$DATA/flash0")" -eq $((512 << 20)) ] || fail "the check changed the file"
FLASH_SIZE=512M
node_start
durability check --uri "$NBD/vol" --journal journal --durable --atomic
node_stop
