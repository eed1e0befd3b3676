# A node on simulated flash: what it says of its health, by each way that tells it; killed and started again; worn down until it warns and blocks die,
# while nothing that was answered is lost.

flash() { node_start PSTORAGE_ANALYTICS_INTERVAL=1 "PSTORAGE_FLASH_DEVICES=sim:$TMP/nand,size=$1"; }
health() { pstorage --json flash smart "$TMP/nand" | field "$1"; }
drive() { pstorage --json analytics health | field "$1"; }

say "== a new one"
flash 256M,channels=2,bad=20000,latency=off
pstorage flash list >list.txt
grep -Eq "^$TMP/nand +sim +256.0 MiB +- +- +0 % +good +in the pool +no$" list.txt || fail "the list: $(cat list.txt)"
pstorage flash smart "$TMP/nand" >smart.txt
grep -q '^Warnings *none$' smart.txt || fail "SMART: $(cat smart.txt)"
if grep -q '^Temperature' smart.txt; then fail "it has no thermometer: $(cat smart.txt)"; fi
same "$(health power_cycles)" 1 "power cycles"
same "$(health unsafe_shutdowns)" 0 "unsafe shutdowns"
refused - "no NVMe namespace" pstorage flash identify "$TMP/nand"
refused - "no NVMe namespace" pstorage flash read "$TMP/nand" --length 4K
drive_known() { [ "$(drive life_used_percent)" = 0 ]; }
until_true 30 drive_known || fail "analytics know nothing of it: $(pstorage --json analytics health)"
same "$(drive temperature_celsius)" None "its temperature"
pstorage analytics health >health.txt
if grep -q -- '-273' health.txt; then fail "its temperature: $(cat health.txt)"; fi
curl -sS "http://127.0.0.1:$API_PORT/metrics" >metrics.txt
grep -q '^pstorage_device_life_used_ratio' metrics.txt || fail "Prometheus is not told how worn it is"
if grep -q '^pstorage_device_temperature_celsius{' metrics.txt; then fail "Prometheus is told a temperature"; fi

say "== killed under load"
pstorage volume create vol --size 48M
durability load --uri "$NBD/vol" --journal "$TMP/journal" --writes 2000 --depth 8 --kill "$NODE_PID" --seed 1
node_gone
flash 256M,channels=2,bad=20000,latency=off
durability check --uri "$NBD/vol" --journal "$TMP/journal" --durable --atomic
same "$(health power_cycles)" 2 "power cycles"
same "$(health unsafe_shutdowns)" 1 "unsafe shutdowns"
[ "$(health written_units)" -gt 0 ] || fail "it has not counted what was written"
pstorage volume delete vol --force
node_stop

say "== of another shape, it is left alone"
before=$(sha256sum <"$TMP/nand")
node_refuses "." "PSTORAGE_FLASH_DEVICES=sim:$TMP/nand,size=512M,channels=2,bad=20000,latency=off"
node_refuses "." "PSTORAGE_FLASH_DEVICES=sim:$TMP/nand,size=256M,channels=2,bad=20000,endurance=5,latency=off"
same "$(sha256sum <"$TMP/nand")" "$before" "the file"

say "== worn down"
rm "$TMP/nand"
rm -r "$DATA"
flash 512M,channels=2,endurance=6,spare=4,latency=off
pstorage volume create kept --size 32M
head -c 32M /dev/urandom >"$TMP/noise"
nbdcopy -- "$TMP/noise" "$NBD/kept"
pstorage volume create busy --size 64M
retired() { pstorage events --limit 1000 >events.txt && grep -q ' segment.retired ' events.txt; }
for round in $(seq 60); do
    fio --name=busy --ioengine=nbd --uri="$NBD/busy" --rw=write --bs=128k --iodepth=8 --size=64M --refill_buffers --randseed="$round" >fio.txt || fail "fio: $(cat fio.txt)"
    ! retired || break
done
retired || fail "no block has died: $(pstorage flash smart "$TMP/nand")"
[ "$(health used_percent)" -ge 50 ] || fail "$(health used_percent) % of its life are used"
nbdcopy -- "$NBD/kept" "$TMP/back"
cmp "$TMP/noise" "$TMP/back" || fail "what was written is not what is read"
node_kill
flash 512M,channels=2,endurance=6,spare=4,latency=off
nbdcopy -- "$NBD/kept" "$TMP/back"
cmp "$TMP/noise" "$TMP/back" || fail "what was written is not what is read after a kill"
pstorage flash smart "$TMP/nand"
pstorage analytics health
until_true 30 sh -c "pstorage events --limit 1000 | grep -q 'device.warning.*spare'" || fail "nobody was warned: $(pstorage events; pstorage flash smart "$TMP/nand")"
node_stop
