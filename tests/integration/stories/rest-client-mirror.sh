# The generated client on a mirrored cluster: the node that leads and the one that does not answer it alike.
. "$HERE/cluster.sh"
# shellcheck source=../rest.sh
. "$HERE/rest.sh"
export PSTORAGE_CLUSTER_KEY=a-key-that-only-this-story-knows

ready() { [ "$(curl -sS -o /dev/null -w '%{http_code}' "http://127.0.0.1:${API_PORTS[$1]}/readyz")" = 200 ]; }
cluster_start
for n in 1 2; do until_true 10 ready $n || fail "n$n is not ready"; done
client_make "http://127.0.0.1:${API_PORTS[2]}"
for n in 2 1 2; do node "$CLIENT" "http://127.0.0.1:${API_PORTS[$n]}"; done
