# A client whose types are made of the node's own OpenAPI document, on one node: without a token, and with one.
# shellcheck source=../rest.sh
. "$HERE/rest.sh"

node_start PSTORAGE_ANALYTICS_INTERVAL=3600
client_make "$API"
node "$CLIENT" "$API"
token=$(pstorage token create client --role operator)
node "$CLIENT" "$API" "$token"
