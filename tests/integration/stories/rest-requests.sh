# Requests made of the node's own OpenAPI document, valid and invalid, from fixed seeds; the node outlives them, and stops as it should.
# shellcheck source=../rest.sh
. "$HERE/rest.sh"

node_start
for seed in 1 2 3; do
    timeout 600 /usr/bin/python3 "$HERE/rest_requests.py" "$API" "$seed" 20 || fail "see above; the same again on an empty node: rest_requests.py URL $seed 20"
done
kill -0 "$NODE_PID" || fail "the node ended"
node_stop
node_start
answers 200 GET /volumes
