# A node that is stopped and started goes on where it was, with clients on it or not; volumes, sizes, names
# and settings stay.

node_start
pstorage volume create a --size 64M
pstorage volume create b --size 1T
pstorage volume create c --size 16M
pstorage volume rename c renamed
pstorage volume resize a --size 128M
durability load --uri "$NBD/a" --journal journal --writes 2000
for _ in 1 2 3; do
    node_stop
    node_start
    same "$(pstorage volume show a --json | field size_bytes)" $((128 << 20)) "size of a"
    same "$(pstorage volume show b --json | field size_bytes)" $((1 << 40)) "size of b"
    pstorage volume show renamed >/dev/null
    durability check --uri "$NBD/a" --journal journal --durable --atomic
done

say "== asked to stop under load: it answers what it took, or nothing"
background client.log "$HERE/durability" load --uri "$NBD/a" --journal journal --survive --writes 1000000 --seconds 300
client=$PID
until_true 30 grep -q '^writes are answered' client.log || fail "no writes are answered: $(cat client.log)"
node_stop
reap "$client" || fail "the client failed otherwise than by the end of its connection"
node_start
durability check --uri "$NBD/a" --journal journal --durable --atomic

say "== killed while it starts, at some points on the way"
node_stop
for spins in 1 30 60 100 200 400 800; do
    node_command
    background "$TMP/node.log" "${COMMAND[@]}"
    NODE_PID=$PID
    for ((i = 0; i < spins; i++)); do kill -0 "$NODE_PID"; read -r _ <"/proc/$NODE_PID/stat"; done
    node_kill
done
node_start
durability check --uri "$NBD/a" --journal journal --durable --atomic
