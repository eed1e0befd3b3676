# write_cache=on: a kill may cost what was not flushed, and only the end of it, in order. FUA and flush keep.

node_start
pstorage volume create vol --size 64M --write-cache
same "$(pstorage volume show vol --json | field write_cache)" true "write_cache"
for round in 1 2 3 4 5 6 7 8 9 10; do
    say "== round $round"
    durability load --uri "$NBD/vol" --journal journal --writes 3000 --depth 16 --kill "$NODE_PID" \
        --seed "$round" --flush-every $((round % 2 ? 100 : 1000)) --fua 0.005
    node_gone
    node_start
    durability check --uri "$NBD/vol" --journal journal --atomic
done
say "== the setting survived; a clean stop loses nothing"
same "$(pstorage volume show vol --json | field write_cache)" true "write_cache"
durability load --uri "$NBD/vol" --journal journal --writes 3000 --flush-every 0 --fua 0 --seed 11
node_stop
node_start
durability check --uri "$NBD/vol" --journal journal --durable --atomic
