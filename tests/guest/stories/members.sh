# A node on three namespaces: one is pulled out under load, another one put in its place, a third taken out and used for something else.
# guest: plain other third spare zoned tiny
PLAIN=$(device PLAIN) OTHER=$(device OTHER) THIRD=$(device THIRD) SPARE=$(device SPARE) ZONED=$(device ZONED) TINY=$(device TINY)
state_of() { pstorage status --json | jq -r --arg name "$1" '.devices[] | select(.name == $name) | .state'; }
is() { [ "$(state_of "$1")" = "$2" ]; }
# load ROUND: writes in the background, its process in $LOAD.
load()
{
    durability load --uri "$NBD/vol" --journal /tmp/journal --writes 800 --depth 8 --seed "$1" >load.txt 2>&1 &
    LOAD=$!
    WRITTEN=$(pstorage metrics --json | jq .pods[0].activity.writes)
    until_true 60 written_since || fail "there is no load: $(cat load.txt)"
}
written_since() { [ "$(pstorage metrics --json | jq .pods[0].activity.writes)" -gt $((WRITTEN + 100)) ]; }
load_ends() { wait "$LOAD" || fail "hosts noticed $1: $(cat load.txt)"; }
check() { durability check --uri "$NBD/vol" --journal /tmp/journal --durable --atomic; }
in_pool() { pstorage flash list --json | jq -c '[.devices[] | select(.in_pool) | .serial] | sort'; }

say "== a device is pulled out under load"
node_start PSTORAGE_FLASH_DEVICES="nvme:$PLAIN nvme:$OTHER nvme:$THIRD" PSTORAGE_FLASH_RAW_DEVICES="$PLAIN $OTHER $THIRD $SPARE"
same "$(in_pool)" '["OTHER","PLAIN","THIRD"]' "the pool's devices"
pstorage volume create vol --size 32M
load 1
echo 1 >"/sys/class/nvme/$(basename "$(controller THIRD)")/device/remove"
load_ends "that a device was pulled out"
same "$(state_of "$THIRD")" out "the state of what was pulled out"
pstorage events | grep -q "device.lost.*$THIRD" || fail "nobody was told: $(pstorage events)"
check

say "== what can't take its place"
pstorage flash write "$SPARE" --offset 0 < <(head -c 65536 /dev/urandom)
refused 'something else|not blank|holds' pstorage flash attach "nvme:$SPARE"
pstorage flash write "$SPARE" --offset 0 < <(head -c 1048576 /dev/zero)
refused zoned pstorage flash attach "nvme:$ZONED"
refused 'needs at least' pstorage flash attach "nvme:$TINY"
refused 'in use' pstorage flash attach "nvme:$(device ROOT)"
refused 'in use' pstorage flash attach "nvme:$PLAIN"
refused "can't find it" pstorage flash attach nvme:/dev/nvme9n1
refused 'no block device' pstorage flash attach "nvme:$(controller SPARE)"
same "$(in_pool)" '["OTHER","PLAIN"]' "the pool's devices"

say "== another one does, under load"
load 2
pstorage flash attach "nvme:$SPARE"
refused 'is in the pool' pstorage flash write "$SPARE" --offset 0 < <(head -c 4096 /dev/zero)
load_ends "that a device was attached"
until_true 60 is "$SPARE" in || fail "$SPARE is not rebuilt: $(pstorage status)"
check

say "== one is taken out and used for something else"
refused 'no device' pstorage flash detach "$TINY"
pstorage flash detach "$OTHER"
same "$(in_pool)" '["PLAIN","SPARE"]' "the pool's devices"
refused 'attach another' pstorage flash detach "$PLAIN"
head -c 1048576 /dev/urandom >payload
pstorage flash write "$OTHER" --offset 0 <payload
pstorage flash read "$OTHER" --offset 0 --length 1M | cmp - payload
check
node_kill
node_refuses 'no part of this array|something else' PSTORAGE_FLASH_DEVICES="nvme:$PLAIN nvme:$OTHER nvme:$SPARE"
dd if="$OTHER" bs=1M count=1 iflag=direct 2>/dev/null | cmp - payload
dd if=/dev/zero of="$OTHER" bs=1M count=1 oflag=direct 2>/dev/null
node_start PSTORAGE_FLASH_DEVICES="nvme:$PLAIN nvme:$OTHER nvme:$SPARE"
check
pstorage flash attach "nvme:$OTHER"
until_true 60 is "$OTHER" in || fail "$OTHER is not rebuilt: $(pstorage status)"
check
node_stop
