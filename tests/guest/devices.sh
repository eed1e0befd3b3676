# The devices that stories may have. Sourced by `run`; each function adds one controller with one namespace to `devices`.
# shellcheck shell=bash disable=SC2154 # devices is run_story's

# namespace DIR NAME SERIAL SIZE OPTION...: a sparse file behind a namespace of its own controller, which has $controller_options.
namespace()
{
    local dir=$1 name=$2 serial=$3 size=$4
    shift 4
    truncate -s "$size" "$dir/$name.img"
    # A port of its own, so that the controller can be taken away.
    devices+=(-device "pcie-root-port,id=port-$name,chassis=$((${#devices[@]} + 1)),slot=$((${#devices[@]} + 1))"
        -drive "file=$dir/$name.img,if=none,id=$name,format=raw,discard=unmap,detect-zeroes=unmap"
        -device "nvme,id=ctrl-$name,serial=$serial,bus=port-$name${controller_options:-}"
        -device "nvme-ns,drive=$name,bus=ctrl-$name,nsid=1$(printf ',%s' "$@")")
}
device_plain() { namespace "$1" plain PLAIN 2G logical_block_size=4096 physical_block_size=4096; }
device_other() { namespace "$1" other OTHER 2G logical_block_size=512; }
device_third() { namespace "$1" third THIRD 1G logical_block_size=4096 physical_block_size=4096; }
device_spare() { namespace "$1" spare SPARE 1G logical_block_size=4096 physical_block_size=4096; }
# It warns that it is not reliable any more.
device_tired() { controller_options=,smart_critical_warning=4 namespace "$1" tired TIRED 1G logical_block_size=4096 physical_block_size=4096; }
# Too small for a pool.
device_tiny() { namespace "$1" tiny TINY 32M logical_block_size=4096 physical_block_size=4096; }
# Zones of 16 MiB of which 10 MiB can be written, 12 of them at most begun and not full, of which the device closes some by itself.
device_zoned()
{
    namespace "$1" zoned ZONED 640M logical_block_size=4096 physical_block_size=4096 zoned=on zoned.zone_size=16M zoned.zone_capacity=10M \
        zoned.max_active=12 zoned.max_open=4
}
# Zones smaller than a segment: two of 4 MiB make one.
device_small()
{
    namespace "$1" small SMALL 512M logical_block_size=4096 physical_block_size=4096 zoned=on zoned.zone_size=8M \
        zoned.zone_capacity=5M zoned.max_active=14 zoned.max_open=14
}
# Too few active zones for a pool.
device_narrow()
{
    namespace "$1" narrow NARROW 1G logical_block_size=4096 physical_block_size=4096 zoned=on zoned.zone_size=16M zoned.max_active=8 zoned.max_open=8
}
