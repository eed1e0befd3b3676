# The REST API of one node with curl: each operation, conditions, keys, lists, tokens, limits, wrong requests, slow senders, events.
# shellcheck source=../rest.sh
. "$HERE/rest.sh"

node_start

say "== probes and documents"
answers 200 GET "$API/healthz"
same "$(cat answer)" ok
answers 200 GET "$API/readyz"
same "$(got status)" ready
answers 200 GET "$API/openapi.json"
same "$(got openapi)" 3.1.0
answers 200 GET "$API/metrics"
grep -q '^pstorage_pod_capacity_bytes{pod="default"} ' answer
[ "$(curl -sS -o /dev/null -w '%{http_code} %{size_download}' -I "$API/healthz")" = "200 0" ] || fail "HEAD"

say "== volumes"
answers 201 POST /volumes '{"name": "my-volume", "size_gb": 10}'
same "$(got size_bytes)" 10737418240
same "$(header Location)" "/api/v1/volumes/$(got id)"
etag=$(header ETag)
id=$(got id)
problem 409 EEXISTS POST /volumes '{"name": "my-volume", "size_gb": 10}'
answers 200 GET "/volumes/$id"
same "$(got name)" my-volume
same "$(header ETag)" "$etag"
same "$(curl -sS -X POST "$V1/volumes" -d '{"name": "as-curl-says-it", "size_bytes": 4096}' | field size_bytes)" 4096
answers 200 POST /volumes/my-volume/write '{"offset": 0, "data": "SGVsbG8gV29ybGQh"}'
answers 200 POST /volumes/my-volume/read '{"offset": 0, "length": 12}'
same "$(got data)" SGVsbG8gV29ybGQh

say "== bytes at any place: as a file has them"
/usr/bin/python3 - "$V1" <<'PY'
import base64, json, random, sys, urllib.request
base = sys.argv[1] + "/volumes/my-volume/"
def ask(what, **body):
    request = urllib.request.Request(base + what, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))
model = bytearray(3 << 20)
model[:12] = b"Hello World!"
random.seed(5)
for i in range(120):
    length = random.choice([1, 3, 511, 512, 513, 4096, 5000, 70000, 1 << 20])
    offset = random.randrange(len(model) - length)
    if random.random() < 0.3:
        offset -= offset % 512
    data = random.randbytes(length)
    ask("write", offset=offset, data=base64.b64encode(data).decode())
    model[offset:offset + length] = data
    length = random.choice([1, 512, 1000, 1 << 20])
    offset = random.randrange(len(model) - length)
    assert base64.b64decode(ask("read", offset=offset, length=length)["data"]) == model[offset:offset + length], i
PY
problem 400 ERANGE POST /volumes/my-volume/read '{"offset": 10737418240, "length": 1}'
problem 400 ERANGE POST /volumes/my-volume/write '{"offset": 10737418239, "data": "AAA="}'

answers 200 GET "$API/metrics"
grep -Eq '^pstorage_volume_writes_total\{pod="default",volume="my-volume"\} 1[2-9][0-9]$' answer || fail "its writes are not counted"

say "== narrow writes beside each other lose nothing of each other"
/usr/bin/python3 - "$V1" <<'PY'
import base64, concurrent.futures, json, sys, urllib.request
base = sys.argv[1] + "/volumes/as-curl-says-it/"
def ask(what, **body):
    request = urllib.request.Request(base + what, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))
def write(i):
    ask("write", offset=i * 100, data=base64.b64encode(bytes([i + 1]) * 100).decode())
with concurrent.futures.ThreadPoolExecutor(16) as pool:
    list(pool.map(write, range(40)))
data = base64.b64decode(ask("read", offset=0, length=4096)["data"])
assert data == b"".join(bytes([i + 1]) * 100 for i in range(40)) + bytes(96)
PY

say "== conditions"
answers 200 PATCH "/volumes/$id" '{"size_gb": 12}' -H "If-Match: $etag"
problem 412 ECHANGED PATCH "/volumes/$id" '{"size_gb": 11}' -H "If-Match: $etag"
problem 412 ECHANGED DELETE "/volumes/$id" '' -H 'If-Match: "0000000000000000"'
problem 409 EPRECONDITION PATCH "/volumes/$id" '{"size_gb": 11}'
answers 200 GET "/volumes/$id"
answers 200 PATCH "/volumes/$id" '{"size_gb": 11, "allow_shrink": true, "write_cache": true, "name": "renamed"}' -H "If-Match: $(header ETag)"
same "$(got name) $(got size_gb) $(got write_cache)" "renamed 11.0 true"
problem 404 ENOTFOUND GET /volumes/my-volume
problem 409 EEXISTS PATCH "/volumes/$id" '{"size_gb": 13, "name": "as-curl-says-it"}'
same "$(/usr/bin/python3 -c 'import json; print(json.load(open("answer"))["done"])')" "['size']"

say "== the same key again gives the first result"
answers 201 POST /volumes '{"name": "once", "size_gb": 1}' -H 'Idempotency-Key: k-1'
once=$(got id)
answers 201 POST /volumes '{"name": "once", "size_gb": 1}' -H 'Idempotency-Key: k-1'
same "$(got id)" "$once"
problem 422 EKEYREUSED POST /volumes '{"name": "twice", "size_gb": 1}' -H 'Idempotency-Key: k-1'
problem 409 EEXISTS POST /volumes '{"name": "once", "size_gb": 1}' -H 'Idempotency-Key: k-2'
answers 201 POST /volumes '{"name": "brief", "size_gb": 1}' -H 'Idempotency-Key: k-3'
answers 204 DELETE /volumes/brief
problem 404 ENOTFOUND POST /volumes '{"name": "brief", "size_gb": 1}' -H 'Idempotency-Key: k-3'

say "== snapshots and clones"
answers 201 POST /volumes/renamed/snapshots '{"name": "s1"}'
sid=$(got id)
same "$(header Location)" "/api/v1/volumes/$id/snapshots/$sid"
answers 200 GET "$API$(header Location)"
same "$(got name)" renamed@s1
answers 200 GET "/snapshots/renamed@s1"
same "$(got id)" "$sid"
answers 200 GET /volumes/renamed/snapshots
same "$(got total)" 1
answers 200 POST /volumes/renamed/write '{"offset": 0, "data": "R29vZCBieWUuLi4u"}'
answers 201 POST /volumes/renamed/snapshots/s1/clone '{"name": "copy"}'
same "$(got origin_id)" "$sid"
answers 200 POST "/snapshots/$sid/restore"
problem 409 EPRECONDITION DELETE /volumes/renamed
problem 404 ENOTFOUND GET /volumes/copy/snapshots/s1
answers 201 POST /pods/default/snapshots '{"name": "all"}'
same "$(got count)" 4
answers 204 DELETE /volumes/renamed/snapshots/s1
answers 204 DELETE '/volumes/renamed?with_snapshots=true'
problem 404 ENOTFOUND GET "/volumes/$id"

say "== a name that is the id of another is not guessed"
answers 201 POST /volumes "{\"name\": \"$once\", \"size_gb\": 1}"
problem 409 EAMBIGUOUS DELETE "/volumes/$once"
answers 204 DELETE "/volumes/$(curl -sS "$V1/volumes?prefix=$once" | field id)"

say "== lists"
for i in {1..9}; do answers 201 POST /volumes "{\"name\": \"list$i\", \"size_bytes\": $(((i % 3 + 1) * 4096))}"; done
/usr/bin/python3 - "$V1" <<'PY'
import json, sys, urllib.parse, urllib.request
def walk(**parameters):
    names = []
    while True:
        page = json.load(urllib.request.urlopen(sys.argv[1] + "/volumes?" + urllib.parse.urlencode(parameters)))
        assert page["total"] == 9 and len(page["volumes"]) <= 4
        names += [v["name"][4:] for v in page["volumes"]]
        if page["next_cursor"] is None:
            return "".join(names)
        parameters["cursor"] = page["next_cursor"]
assert walk(prefix="list", limit=4) == "123456789"
assert walk(prefix="list", limit=2, sort="-name") == "987654321"
assert walk(prefix="list", limit=4, sort="size_bytes") == "369147258"
PY

say "== pods, nodes, figures"
answers 200 GET /pods
answers 200 GET /pods/default
same "$(got serving)" true
problem 404 ENOTFOUND GET /pods/nosuch
problem 409 EPRECONDITION POST /pods/default/switchover
problem 400 EINVAL POST /pods/default/promote '{"accept_data_loss": false}'
for path in /pods/default/why /nodes /replication /metrics /metrics/reduction /metrics/flash /metrics/replication; do answers 200 GET $path; done
answers 200 GET "/nodes/$(api GET /nodes | field name)"
answers 200 GET '/events?kind=volume.created&limit=2'
same "$(got kind)" volume.created
/usr/bin/python3 -c 'import json; d = json.load(open("answer")); assert len(d["events"]) == 2 and d["next_cursor"]'

say "== wrong requests"
problem 404 ENOROUTE GET /nothing
problem 404 ENOROUTE GET "$API/"
problem 405 EMETHOD PUT /volumes '{}'
same "$(header Allow)" "GET, HEAD, POST"
problem 415 EMEDIATYPE POST /volumes '' -H 'Content-Type: text/plain' --data-binary '{}'
for body in '{' '[]' '{"name": "v"}' '{"name": "v", "size_gb": -1}' '{"name": "v", "size_gb": 1e9}' '{"name": "v", "size_gb": "1"}' \
    '{"name": "v", "size_gb": 99999999999999999999999}' '{"name": 7, "size_gb": 1}' '{"name": "v", "size_gb": 1, "colour": "red"}' \
    '{"name": "v", "name": "w", "size_gb": 1}' '{"name": "a/b", "size_gb": 1}' '{"name": "v", "size_bytes": 5000}' $'{"name": "\xff", "size_gb": 1}' \
    "{\"name\": $(printf '[%.0s' {1..5000})"; do
    problem 400 EINVAL POST /volumes "$body"
done
problem 400 EINVAL POST /volumes/once/write '{"offset": 0, "data": "not base64"}'
problem 400 EINVAL POST /volumes/once/write '{"offset": -1, "data": "AAAA"}'
problem 400 EINVAL POST /volumes/once/read '{"offset": 0, "length": 1048577}'
problem 400 EINVAL GET '/volumes?limit=0'
problem 400 EINVAL GET '/volumes?colour=red'
problem 400 EINVAL GET '/volumes/%zz'
answers 404 GET '/volumes/..%2f..%2fetc%2fpasswd'
head -c 1600000 /dev/zero | tr '\0' ' ' >large
problem 413 ETOOLARGE POST /volumes '' -H 'Content-Type: application/json' --data-binary @large
problem 413 ETOOLARGE POST /volumes '' -H 'Content-Type: application/json' -H 'Transfer-Encoding: chunked' --data-binary @large
# Longer than any header may be: libmicrohttpd's own answer.
status=$(curl -sS -o /dev/null -w '%{http_code}' -H "X-Long: $(head -c 40000 /dev/zero | tr '\0' x)" "$V1/volumes")
[ "$status" = 431 ] || [ "$status" = 413 ] || fail "a header of 40,000 bytes: status $status"

say "== a page from elsewhere changes nothing"
problem 403 EFORBIDDEN POST /volumes '{"name": "evil", "size_gb": 1}' -H 'Origin: http://evil.example'
problem 403 EFORBIDDEN POST /volumes '{"name": "evil", "size_gb": 1}' -H 'Host: evil.example'

say "== request ids"
answers 200 GET /volumes '' -H 'X-Request-Id: my-own-id.1'
same "$(header X-Request-Id)" my-own-id.1
# The log takes so many lines of a kind in a while: what came before this may have used them up.
tries=0
is_logged()
{
    answers 201 POST /volumes "{\"name\": \"logged$((++tries))\", \"size_gb\": 1}"
    grep -q "id=$(header X-Request-Id) method=POST target=/api/v1/volumes status=201 by=local" node.log
}
until_true 60 is_logged || fail "no request is in the log"

say "== events as they happen"
curl -sSN --max-time 60 "$V1/events?follow=true&kind=volume." >stream &
follower=$!
STARTED+=("$follower")
until_true 10 grep -q retry stream
answers 201 POST /volumes '{"name": "followed", "size_gb": 1}'
until_true 10 grep -q 'volume followed created\|"text":"[^"]*followed' stream || fail "the event does not come: $(cat stream)"
cursor=$(sed -n 's/^id: //p' stream | tail -n 1)
kill "$follower"
wait "$follower" 2>/dev/null || true
answers 204 DELETE /volumes/followed
curl -sSN --max-time 60 -H "Last-Event-ID: $cursor" "$V1/events?follow=true" >stream &
follower=$!
STARTED+=("$follower")
until_true 10 grep -q '^event: volume.deleted' stream || fail "what happened meanwhile does not come: $(cat stream)"
[ "$(sed -n 's/^id: //p' stream | head -n 1)" -eq $((cursor + 1)) ] || fail "not from where it was"

say "== slow senders and idle connections hold up nobody, and are given up"
/usr/bin/python3 - "$API_PORT" <<'PY'
import socket, sys, time
port = int(sys.argv[1])
def connect():
    s = socket.create_connection(("127.0.0.1", port))
    s.settimeout(60)
    return s
slow = [connect() for _ in range(60)]
for s in slow[:20]:
    s.sendall(b"GET /api/v1/volumes HT")
for s in slow[20:40]:
    s.sendall(b"POST /api/v1/volumes HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
start = time.time()
quick = connect()
quick.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
assert quick.recv(100).startswith(b"HTTP/1.1 200"), "held up"
assert time.time() - start < 5
# A byte now and then does not keep a connection.
gone = 0
while time.time() - start < 50 and gone < len(slow):
    gone = 0
    for i, s in enumerate(slow):
        try:
            s.setblocking(False)
            try:
                data = s.recv(4096)
                gone += data == b"" or b"HTTP/1.1 4" in data
                if data:
                    slow[i].shutdown(socket.SHUT_RDWR)
            except BlockingIOError:
                s.send(b" " if i < 40 else b"")
        except OSError:
            gone += 1
    time.sleep(1)
assert gone == len(slow), f"{len(slow) - gone} slow connections live after {time.time() - start:.0f} s"
print(f"all given up after {time.time() - start:.0f} s")
PY

say "== tokens"
reader=$(pstorage token create reader --role read-only)
operator=$(pstorage token create operator --role operator)
admin=$(pstorage token create admin --role admin)
refused 1 'already' pstorage token create admin --role admin
refused 2 'no role' pstorage token create other --role king
same "$(pstorage token list -q | tr '\n' ' ')" "admin operator reader "
answers 200 GET /volumes '' -H "Authorization: Bearer $reader"
problem 403 EFORBIDDEN POST /volumes '{"name": "t", "size_gb": 1}' -H "Authorization: Bearer $reader"
answers 201 POST /volumes '{"name": "t", "size_gb": 1}' -H "Authorization: Bearer $operator"
problem 403 EFORBIDDEN POST /pods/default/switchover '' -H "Authorization: Bearer $operator"
problem 409 EPRECONDITION POST /pods/default/switchover '' -H "Authorization: Bearer $admin"
problem 401 ENOTOKEN GET /volumes '' -H "Authorization: Bearer wrong"
! grep -q "$admin" node.log || fail "a token is in the log"
! grep -aq "$admin" "$DATA"/catalog.db* || fail "a token is in the catalog"
pstorage token delete operator
refused 3 'no token' pstorage token delete operator
problem 401 ENOTOKEN GET /volumes '' -H "Authorization: Bearer $operator"

say "== they outlive a restart; the follower's stream ends with the node"
node_stop
wait "$follower" 2>/dev/null || true
node_start
answers 200 GET /volumes '' -H "Authorization: Bearer $reader"
problem 401 ENOTOKEN GET /volumes '' -H "Authorization: Bearer $operator"
answers 201 POST /volumes '{"name": "once", "size_gb": 1}' -H 'Idempotency-Key: k-1'
same "$(got id)" "$once"
node_stop

say "== other machines, and TLS"
address=$(hostname -I | cut -d' ' -f1)
openssl req -x509 -newkey rsa:2048 -nodes -keyout tls.key -out tls.crt -days 2 -subj /CN=localhost \
    -addext "subjectAltName=DNS:localhost,IP:127.0.0.1${address:+,IP:$address}" 2>/dev/null
chmod 644 tls.key
node_refuses 'PSTORAGE_API_TLS_CERT_FILE.*chmod 600' PSTORAGE_API_TLS_CERT_FILE=tls.crt PSTORAGE_API_TLS_KEY_FILE=tls.key
chmod 600 tls.key
node_refuses 'both a certificate and its key' PSTORAGE_API_TLS_CERT_FILE=tls.crt
node_refuses 'no PEM' PSTORAGE_API_TLS_CERT_FILE=/etc/hostname PSTORAGE_API_TLS_KEY_FILE=tls.key
node_start PSTORAGE_API_TLS_CERT_FILE=tls.crt PSTORAGE_API_TLS_KEY_FILE=tls.key PSTORAGE_API_LISTEN=0.0.0.0
V1=https://127.0.0.1:$API_PORT/api/v1
answers 201 POST /volumes '{"name": "by-tls", "size_gb": 1}' --cacert tls.crt
answers 200 POST /volumes/by-tls/read '{"offset": 0, "length": 1048576}' --cacert tls.crt
! curl -sS --max-time 10 "http://127.0.0.1:$API_PORT/healthz" >/dev/null 2>&1 || fail "without TLS it is served"
if [ -n "$address" ]; then
    V1=https://$address:$API_PORT/api/v1
    answers 200 GET /volumes '' --cacert tls.crt
    problem 401 ENOTOKEN POST /volumes '{"name": "remote", "size_gb": 1}' --cacert tls.crt
    same "$(header WWW-Authenticate)" 'Bearer realm="pstorage"'
    answers 201 POST /volumes '{"name": "remote", "size_gb": 1}' --cacert tls.crt -H "Authorization: Bearer $admin"
fi
node_stop
