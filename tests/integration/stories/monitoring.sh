# A real Prometheus scrapes two nodes: the series are there, names and rules are as Prometheus wants them, and an alert fires when a
# node is stopped.
command -v promtool >/dev/null && command -v prometheus >/dev/null || skip "there is no Prometheus here (deploy/packages monitoring)"
. "$HERE/cluster.sh"
DEPLOY=$ROOT/deploy

read -r PROMETHEUS_PORT < <(free_ports 1)
PROMETHEUS=http://127.0.0.1:$PROMETHEUS_PORT

# answer EXPRESSION: the one number that Prometheus has for it; nothing if there are none or several.
answer()
{
    curl -sS --max-time 20 -G --data-urlencode "query=$1" "$PROMETHEUS/api/v1/query" | /usr/bin/python3 -c '
import json, sys
result = json.load(sys.stdin)["data"]["result"]
if len(result) == 1:
    print(result[0]["value"][1])'
}
is() { [ "$(answer "$1")" = "$2" ]; }
positive() { [[ $(answer "($1) > bool 0") == 1 ]]; }

say "== the rules are sound, and fire when they should"
promtool check rules "$DEPLOY/prometheus/pstorage-alerts.yml"
promtool check config "$DEPLOY/prometheus/prometheus.yml"
promtool test rules "$HERE/monitoring/alerts.yml"

say "== two nodes, and hosts that do all they can"
cluster_start
pstorage volume create vol --size 64M
fio --name=load --ioengine=nbd --uri="$(uri 1 vol)" --rw=randrw --bs=4k --iodepth=4 --size=16M --fsync=16 --output-format=terse >fio.log
/usr/bin/python3 -c '
import nbd, sys
h = nbd.NBD()
h.connect_uri(sys.argv[1])
h.trim(1 << 20, 0)
h.zero(1 << 20, 1 << 20)' "$(uri 1 vol)"

say "== names and units are those that Prometheus asks for"
for n in 1 2; do
    curl -sS --max-time 20 "http://127.0.0.1:${API_PORTS[$n]}/metrics" >"n$n.metrics"
    promtool check metrics <"n$n.metrics" >lint 2>&1 || fail "promtool finds fault with what n$n tells: $(cat lint)"
    [ ! -s lint ] || fail "promtool finds fault with what n$n tells: $(cat lint)"
done

say "== what dashboard and rules name is there, on both nodes"
/usr/bin/python3 - "$DEPLOY/grafana/pstorage.json" "$DEPLOY/prometheus/pstorage-alerts.yml" <<'END'
import json, re, sys
def told(path):
    names, series = set(), set()
    for line in open(path):
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split()
            names |= {name + part for part in ("_bucket", "_sum", "_count")} if kind == "histogram" else {name}
        elif not line.startswith("#"):
            series.add(re.match(r"\w+", line).group())
    return names, series
(first, shown), (second, _) = told("n1.metrics"), told("n2.metrics")
assert first == second, first ^ second
for path in sys.argv[1:]:
    text = open(path).read()
    if path.endswith(".json"):
        board = json.loads(text)
        exprs = [t["expr"] for p in board["panels"] for t in p.get("targets", [])]
        exprs += [v["query"]["query"] for v in board["templating"]["list"] if v["type"] == "query"]
        ids = [p["id"] for p in board["panels"]]
        assert len(ids) == len(set(ids)) and len(exprs) > 20
        text = "\n".join(exprs)
    wanted = set(re.findall(r"\bpstorage_\w+", text))
    assert len(wanted) > 10, path
    # Figures of a cluster are told with samples, too; a primary shows them all.
    assert wanted <= shown, (path, sorted(wanted - shown))
    print(path.rsplit("/", 1)[1], "names", len(wanted), "figures, all there")
END

say "== Prometheus"
sed -e "s|\"127.0.0.1:8000\", \"127.0.0.1:8001\"|\"127.0.0.1:${API_PORTS[1]}\", \"127.0.0.1:${API_PORTS[2]}\"|" \
    -e 's|_interval: 15s|_interval: 1s|' -e "s|- pstorage-alerts.yml|- $DEPLOY/prometheus/pstorage-alerts.yml|" \
    "$DEPLOY/prometheus/prometheus.yml" >prometheus.yml
grep -q "${API_PORTS[2]}" prometheus.yml || fail "the example's targets are written otherwise now"
background "$TMP/prometheus.log" prometheus --config.file="$TMP/prometheus.yml" --storage.tsdb.path="$TMP/prometheus" \
    --web.listen-address="127.0.0.1:$PROMETHEUS_PORT"
PROMETHEUS_PID=$PID
until_true 60 is 'sum(up{job="pstorage"})' 2 || fail "Prometheus does not see two nodes: $(answer 'sum(up)')"
until_true 20 is 'max(pstorage_pod_serving)' 1 || fail "no primary is seen"
is 'count(pstorage_volume_size_bytes{volume="vol"} == 67108864)' 2 || fail "the volume is not seen on both"
is 'sum(max by (pod, node) (pstorage_replication_member_behind))' 0 || fail "a member is said to be behind"
for operation in read write flush trim; do
    # Counted by the node that served them, and by no other.
    is "count(pstorage_volume_operation_duration_seconds_count{operation=\"$operation\"})" 1 || fail "no latency of $operation"
    positive "histogram_quantile(0.99, sum by (le) (pstorage_volume_operation_duration_seconds_bucket{operation=\"$operation\"}))" ||
        fail "no quantile of $operation"
done
is 'count(pstorage_volume_operation_duration_seconds_bucket{operation="write"})' 11 || fail "not the buckets there should be"
same "$(answer 'pstorage_volume_operation_duration_seconds_count{operation="trim"}')" 2
same "$(answer 'pstorage_volume_operation_duration_seconds_count{operation="write"}')" "$(answer 'max(pstorage_volume_writes_total)')"

say "== each expression of the dashboard is one, and says something"
# Rates take two samples of each figure: not at once.
dashboard_says()
{
    /usr/bin/python3 - "$DEPLOY/grafana/pstorage.json" "$PROMETHEUS" <<'END' 2>silent
import json, sys, urllib.parse, urllib.request
board, url = json.load(open(sys.argv[1])), sys.argv[2]
empty = []
for panel in board["panels"]:
    for t in panel.get("targets", []):
        expr = t["expr"].replace("$__rate_interval", "1m").replace("$pod", ".*").replace("$volume", ".*")
        with urllib.request.urlopen(url + "/api/v1/query?" + urllib.parse.urlencode({"query": expr}), timeout=20) as r:
            answer = json.load(r)
        assert answer["status"] == "success", (panel["title"], answer)
        if not answer["data"]["result"]:
            empty.append(panel["title"])
# Nothing fires, and nothing is read from the cache or not while Prometheus looks.
silent = set(empty) - {"Firing alerts"}
sys.exit(f"nothing for {sorted(silent)}" if silent else 0)
END
}
until_true 60 dashboard_says || fail "$(cat silent)"

say "== a node is stopped: the alert fires, and ends when it is back"
is 'count(ALERTS{alertstate="firing"})' '' || fail "something fires already"
member_stop 2
until_true 60 is "up{instance=\"127.0.0.1:${API_PORTS[2]}\"}" 0 || fail "Prometheus does not notice"
until_true 90 is 'count(ALERTS{alertname="PStorageNodeDown",alertstate="firing"})' 1 || fail "no alert fires"
curl -sS "$PROMETHEUS/api/v1/alerts" | grep -q "Node 127.0.0.1:${API_PORTS[2]} does not answer" || fail "it does not say which node"
# The other one goes on, which is no reason for an alert.
is 'max(pstorage_pod_serving)' 1 || fail "n1 does not serve"
is 'max by (node) (pstorage_replication_member_behind{node="n2"})' 1 || fail "n2 is not told as behind"
member_start 2
until_true 60 is 'count(ALERTS{alertname="PStorageNodeDown",alertstate="firing"})' '' || fail "the alert does not end"
until_true 60 in_sync 1 2 || fail "n2 is not in sync again"

kill -TERM "$PROMETHEUS_PID"
reap "$PROMETHEUS_PID" || fail "Prometheus ended with status $?"
