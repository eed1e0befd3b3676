# A port that is taken ends the start with its name; the node that has it does not notice.

node_start
pstorage volume create vol --size 16M
other=("PSTORAGE_DATA_DIR=$TMP/other" "PSTORAGE_FLASH_DEVICES=file:$TMP/other/flash0,size=256M")
read -r rpc nbd api < <(free_ports 3)
node_refuses "PSTORAGE_NBD_LISTEN|$NBD_PORT.*in use" "${other[@]}" "PSTORAGE_RPC_LISTEN=tcp://127.0.0.1:$rpc" \
    PSTORAGE_API_PORT="$api"
node_refuses "PSTORAGE_RPC_LISTEN|$RPC_PORT.*in use" "${other[@]}" PSTORAGE_NBD_LISTEN="127.0.0.1:$nbd" \
    PSTORAGE_API_PORT="$api"
node_refuses "PSTORAGE_API_PORT|$API_PORT.*in use" "${other[@]}" "PSTORAGE_RPC_LISTEN=tcp://127.0.0.1:$rpc" \
    PSTORAGE_NBD_LISTEN="127.0.0.1:$nbd"
pstorage volume show vol >/dev/null
nbdinfo --size "$NBD/vol"

say "== a unix socket left behind by a killed node is taken over, one in use is not"
DATA=$TMP/data-unix
sock=$TMP/nbd.sock
read -r rpc < <(free_ports 1)
settings=(PSTORAGE_NBD_LISTEN="unix:$sock localhost:$nbd" PSTORAGE_RPC_LISTEN="tcp://127.0.0.1:$rpc"
    PSTORAGE_API_PORT="$api")
start_on_socket()
{
    node_command "${settings[@]}"
    background "$TMP/unix.log" "${COMMAND[@]}"
    SECOND=$PID
    until_true 30 env PSTORAGE_ENDPOINT="tcp://127.0.0.1:$rpc" pstorage status || fail "no answer"
}
start_on_socket
export PSTORAGE_ENDPOINT=tcp://127.0.0.1:$rpc
pstorage volume create vol --size 16M
nbdinfo --size "nbd+unix:///vol?socket=$sock"
nbdinfo --size "nbd://127.0.0.1:$nbd/vol" # beside the socket, by the name of a host
read -r rpc2 < <(free_ports 1)
node_refuses 'nbd.sock|PSTORAGE_NBD_LISTEN' "${other[@]}" PSTORAGE_NBD_LISTEN="unix:$sock" \
    PSTORAGE_RPC_LISTEN="tcp://127.0.0.1:$rpc2" PSTORAGE_API_PORT="$api"
nbdinfo --size "nbd+unix:///vol?socket=$sock"
kill -KILL "$SECOND"
reap "$SECOND" || true
start_on_socket
nbdinfo --size "nbd+unix:///vol?socket=$sock"
