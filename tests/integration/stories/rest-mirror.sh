# The REST API of a mirrored cluster: any node answers for all of it, before and after who leads has changed.
. "$HERE/cluster.sh"
# shellcheck source=../rest.sh
. "$HERE/rest.sh"
export PSTORAGE_CLUSTER_KEY=a-key-that-only-this-story-knows

# at N: what follows asks node N.
at() { V1=http://127.0.0.1:${API_PORTS[$1]}/api/v1; }
ready() { [ "$(curl -sS -o /dev/null -w '%{http_code}' "http://127.0.0.1:${API_PORTS[$1]}/readyz")" = "${2-200}" ]; }

cluster_start
for n in 1 2; do until_true 10 ready $n || fail "n$n is not ready"; done

say "== what one node was told, the other one knows at once"
at 2
answers 201 POST /volumes '{"name": "vol", "size_gb": 1}' -H 'Idempotency-Key: key'
id=$(got id) etag=$(header ETag)
for i in {1..20}; do
    at $((i % 2 + 1))
    answers 200 POST /volumes/vol/write "{\"offset\": $((i * 700)), \"data\": \"$(head -c 600 /dev/urandom | base64 -w0)\"}"
    answers 201 POST /volumes "{\"name\": \"v$i\", \"size_gb\": 1}"
    at $(((i + 1) % 2 + 1))
    answers 200 GET "/volumes/v$i"
    answers 200 GET "/volumes?prefix=v$i"
    grep -q "\"name\":\"v$i\"" answer || fail "the list does not show v$i"
done
answers 200 POST /volumes/vol/read '{"offset": 0, "length": 20000}'
cp answer at_2
at 1
answers 200 POST /volumes/vol/read '{"offset": 0, "length": 20000}'
cmp answer at_2

say "== a key and a condition hold on every node"
answers 201 POST /volumes '{"name": "vol", "size_gb": 1}' -H 'Idempotency-Key: key'
same "$(got id)" "$id"
at 2
answers 200 PATCH /volumes/vol '{"size_gb": 2}' -H "If-Match: $etag"
at 1
problem 412 ECHANGED PATCH /volumes/vol '{"size_gb": 3}' -H "If-Match: $etag"

say "== members and lag, as the primary sees them"
for n in 1 2; do
    at $n
    answers 200 GET /replication
    same "$(got primary)" n1
    /usr/bin/python3 -c '
import json
members = {m["node"]: m for m in json.load(open("answer"))["pods"][0]["members"]}
assert members["n1"]["role"] == "primary" and members["n2"]["role"] == "sync", members
assert members["n2"]["lag_bytes"] is not None'
    answers 200 GET "http://127.0.0.1:${API_PORTS[$n]}/metrics"
    grep -q '^pstorage_replication_lag_bytes{pod="default",node="n2"} ' answer || fail "no lag among the figures"
    grep -q '^pstorage_replication_member_in_sync{pod="default",node="n2"} 1$' answer || fail "n2 is not told as in sync"
done
answers 200 GET /nodes
same "$(/usr/bin/python3 -c 'import json; print(*sorted(n["name"] for n in json.load(open("answer"))["nodes"]))')" "n1 n2"

say "== analytics: either node tells what the primary saw, and the drives of both"
drives() { /usr/bin/python3 -c 'import json; a = json.load(open("answer")); print(*sorted(d["node"] for d in a["drives"]), *a["unreachable"], sep=",")'; }
for n in 1 2; do
    at $n
    answers 200 GET /analytics/temperature/vol
    same "$(got id)" "$id"
    /usr/bin/python3 -c 'import json; assert json.load(open("answer"))["writes_per_hour"] > 0' || fail "n$n does not know the writes: $(cat answer)"
    answers 200 GET /analytics/volume/vol
    same "$(field write_latency.requests <answer)" 20
    answers 200 GET '/analytics/tiering/recommendations?limit=1000'
    same "$(got total)" 21
    answers 200 GET /analytics/capacity/forecast
    same "$(got method)" none
    answers 200 GET /analytics
    answers 200 GET /analytics/health
    same "$(drives)" n1,n2
done

say "== a token made once is good on both"
token=$(pstorage token create ops --role operator)
for n in 1 2; do
    at $n
    answers 200 GET /volumes '' -H "Authorization: Bearer $token"
    problem 403 EFORBIDDEN POST /pods/default/switchover '' -H "Authorization: Bearer $token"
done
pstorage token delete ops
for n in 1 2; do
    at $n
    problem 401 ENOTOKEN GET /volumes '' -H "Authorization: Bearer $token"
done

say "== the node that does not lead is told to switch over, and events of it come"
at 2
curl -sSN --max-time 120 "$V1/events?follow=true&kind=pod." >stream &
STARTED+=($!)
until_true 10 grep -q retry stream
answers 200 PATCH /pods/default '{"preferred": null}'
answers 200 POST /pods/default/switchover '{"node": "n2"}'
until_true 20 serves 2 || fail "n2 does not lead"
until_true 20 in_sync 2 1 || fail "n1 does not follow"
until_true 10 grep -q '^event: pod.lead' stream || fail "the event does not come: $(cat stream)"
at 1
answers 201 POST /volumes '{"name": "after", "size_gb": 1}'
answers 200 GET /pods/default
same "$(got primary)" n2
answers 200 GET /pods/default/why
same "$(got node)" n1

say "== the primary is killed: the other one goes on"
member_kill 2
until_true 20 ready 1 || fail "n1 is not ready"
answers 200 POST /volumes/vol/read '{"offset": 0, "length": 20000}'
cmp answer at_2
answers 201 POST /volumes '{"name": "alone", "size_gb": 1}'
answers 200 GET /analytics/health
same "$(drives)" n1,n2
same "$(got unreachable)" "['n2']"
refused - 'not known on node n2' pstorage token create late --role read-only
pstorage token delete late || true

say "== it comes back, and answers for all again"
member_start 2
until_true 30 in_sync 1 2 || fail "n2 is not in sync again"
until_true 20 ready 2 || fail "n2 is not ready"
at 2
answers 200 GET /volumes/alone
answers 200 POST /volumes/vol/write '{"offset": 1, "data": "QUJD"}'
at 1
answers 200 POST /volumes/vol/read '{"offset": 1, "length": 3}'
same "$(got data)" QUJD

say "== without a primary there is a reason, soon, and figures all the same"
kill -STOP "$MEDIATOR_PID"
mediator_seen() { [ "$(pod_field 2 mediator_ok)" = true ]; }
until_true 20 eval '! mediator_seen' || fail "n2 does not notice that the mediator is silent"
member_kill 1
until_true 20 ready 2 503 || fail "n2 says that it is ready"
at 2
problem 503 ENOTPRIMARY GET /volumes
same "$(header Retry-After)" 1
problem 503 ENOTPRIMARY POST /volumes '{"name": "lost", "size_gb": 1}'
answers 200 GET /pods/default
same "$(got serving)" false
answers 200 GET "http://127.0.0.1:${API_PORTS[2]}/metrics"
answers 200 GET /metrics/flash
answers 200 GET /events
kill -CONT "$MEDIATOR_PID"
