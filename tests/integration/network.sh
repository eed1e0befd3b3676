# A network of its own for a story's cluster: the mediator (0), two nodes (1, 2) and the clients (3) each in a network
# namespace, at one switch in another, which drops what it is told to. Sourced after cluster.sh; the story's own commands
# that reach the nodes run at the clients'.
# shellcheck shell=bash

[ "$(id -u)" -eq 0 ] || skip "network namespaces need root"
command -v nft >/dev/null || skip "nft is not installed (nftables)"

NETWORK=ps$BASHPID
MACHINES=("$NETWORK-m" "$NETWORK-1" "$NETWORK-2" "$NETWORK-c")
SWITCH=$NETWORK-s
CLIENTS=3

# In place of the runner's clean-up, which follows with the story's status.
leave()
{
    local namespace
    for namespace in "${MACHINES[@]}" "$SWITCH"; do ip netns delete "$namespace" 2>/dev/null || true; done
    set +e
    (exit "$1")
    cleanup
}
trap 'leave $?' EXIT

address_of() { echo "192.0.2.$((10 + $1))"; }
# A switch with a cable to each machine. What goes from one machine to another one while the pair is in `cuts` is lost.
network_start()
{
    local n namespace
    for namespace in "${MACHINES[@]}" "$SWITCH"; do
        ip netns add "$namespace" 2>/dev/null || skip "no network namespaces to be had here"
        ip -n "$namespace" link set lo up
    done
    ip -n "$SWITCH" link add switch type bridge 2>/dev/null || skip "no bridges to be had here"
    ip -n "$SWITCH" link set switch up
    for n in 0 1 2 3; do
        ip link add eth0 netns "${MACHINES[$n]}" type veth peer name "port$n" netns "$SWITCH" 2>/dev/null ||
            skip "no veth pairs to be had here"
        ip -n "$SWITCH" link set "port$n" master switch up
        ip -n "${MACHINES[$n]}" address add "$(address_of "$n")/24" dev eth0
        ip -n "${MACHINES[$n]}" link set eth0 up
    done
    ip netns exec "$SWITCH" nft -f - 2>/dev/null <<'RULES' || skip "no packet filter for bridges to be had here"
table bridge cables {
    set cuts { type ipv4_addr . ipv4_addr; }
    chain forward { type filter hook forward priority 0; ip saddr . ip daddr @cuts drop; }
}
RULES
}
network_start

# cut_command N M [N M...]: prints what cuts the way from N to M, one direction alone, established connections too.
cut_command()
{
    printf 'ip netns exec %s nft add element bridge cables cuts "{' "$SWITCH"
    while [ $# -gt 0 ]; do
        printf ' %s . %s,' "$(address_of "$1")" "$(address_of "$2")"
        shift 2
    done
    printf ' }"\n'
}
# All ways are open again.
mend() { ip netns exec "$SWITCH" nft flush set bridge cables cuts; }

# ---- the cluster lives there

ADDRESS=("$(address_of 0)" "$(address_of 1)" "$(address_of 2)")
MEDIATOR=tcp://${ADDRESS[0]}:9510
RPC=(- "tcp://${ADDRESS[1]}:9500" "tcp://${ADDRESS[2]}:9500")
NBD_PORTS=(- 10809 10809)
API_PORTS=(- 8000 8000)
CLUSTER_PORTS=(9510)
export PSTORAGE_ENDPOINT="${RPC[1]} ${RPC[2]}"
(umask 077 && "$BIN/pstorage" key create >"$TMP/cluster.key")
export PSTORAGE_CLUSTER_KEY_FILE=$TMP/cluster.key
enter() { ENTER=(ip netns exec "${MACHINES[$1]}"); }

at_clients() { ip netns exec "${MACHINES[$CLIENTS]}" "$@"; }
pstorage() { at_clients "$BIN/pstorage" "$@"; }
nbdinfo() { at_clients /usr/bin/nbdinfo "$@"; }
nbdcopy() { at_clients /usr/bin/nbdcopy "$@"; }
# Of the mediator; the nodes are asked by name.
listening() { at_clients bash -c "exec 3<>/dev/tcp/${ADDRESS[0]}/$1" 2>/dev/null; }
