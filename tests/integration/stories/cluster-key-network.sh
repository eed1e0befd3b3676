# Two machines, played by two network namespaces: the cluster key opens the node to the other one, and a node without
# a key serves nobody but its own.

[ "$(id -u)" -eq 0 ] || skip "network namespaces need root"
A=psa$$ B=psb$$
at_home() { ip netns exec "$A" "$@"; }
far_away() { ip netns exec "$B" "$@"; }
# In place of the runner's clean-up, which follows with the story's status. The veth pair goes with the namespaces.
leave()
{
    ip netns delete "$A" 2>/dev/null || true
    ip netns delete "$B" 2>/dev/null || true
    set +e
    (exit "$1")
    cleanup
}
trap 'leave $?' EXIT
ip netns add "$A" 2>/dev/null && ip netns add "$B" 2>/dev/null || skip "no network namespaces to be had here"
ip link add veth0 netns "$A" type veth peer name veth0 netns "$B" 2>/dev/null || skip "no veth pairs to be had here"
for namespace in "$A" "$B"; do ip -n "$namespace" link set lo up && ip -n "$namespace" link set veth0 up; done
ip -n "$A" address add 192.0.2.1/30 dev veth0
ip -n "$B" address add 192.0.2.2/30 dev veth0
FAR=tcp://192.0.2.1:$RPC_PORT

# node_at_home COMMAND...: starts it there and waits until it serves.
node_at_home()
{
    background "$TMP/node.log" ip netns exec "$A" "$@"
    NODE_PID=$PID
    until_true 60 at_home bash -c "exec 3<>/dev/tcp/127.0.0.1/$NBD_PORT" || fail "the node does not start"
}

(umask 077 && pstorage key create >"$TMP/right" && pstorage key create >"$TMP/wrong")
export PSTORAGE_CLUSTER_KEY_FILE=$TMP/right
node_command "PSTORAGE_RPC_LISTEN=tcp://0.0.0.0:$RPC_PORT"
node_at_home "${COMMAND[@]}"

say "== with the key, from the other machine too"
until_true 30 far_away pstorage -e "$FAR" status || fail "the right key does not open: $(far_away pstorage -e "$FAR" status 2>&1)"
far_away pstorage -e "$FAR" volume create far --size 64M
at_home pstorage volume show far >/dev/null

say "== without it, or with another one, from neither"
for place in "$A" "$B"; do
    refused 1 'this cluster needs a key: set PSTORAGE_CLUSTER_KEY_FILE' \
        ip netns exec "$place" env -u PSTORAGE_CLUSTER_KEY_FILE pstorage -e "$FAR" status
    refused 1 "the client's cluster key is not the server's" \
        ip netns exec "$place" pstorage -e "$FAR" --cluster-key-file "$TMP/wrong" status
done
grep -F '(192.0.2.2:' "$TMP/node.log" >/dev/null || fail "the node's log does not name the machine that it refused"

# A node without a key may listen on localhost. If that name is another address, each peer's own address counts.
say "== a node without a key, heard over the network by mistake"
node_stop
unset PSTORAGE_CLUSTER_KEY_FILE
printf '192.0.2.1 localhost\n' >"$TMP/hosts"
node_command "PSTORAGE_RPC_LISTEN=tcp://localhost:$RPC_PORT"
node_at_home unshare --mount bash -c 'mount --bind "$0" /etc/hosts && exec "$@"' "$TMP/hosts" "${COMMAND[@]}"
until_true 30 far_away bash -c "exec 3<>/dev/tcp/192.0.2.1/$RPC_PORT" || fail "the node does not listen as it was meant to"
refused 1 "without a cluster key only clients on the server's machine are accepted: set PSTORAGE_CLUSTER_KEY_FILE" \
    ip netns exec "$B" pstorage -e "$FAR" status
node_stop

say "== and on its own machine as ever"
node_command
node_at_home "${COMMAND[@]}"
at_home pstorage volume show far >/dev/null
node_stop
