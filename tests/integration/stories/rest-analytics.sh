# /analytics of one node with curl: each operation on a node that has just begun, and what it says of what it can't know yet.
# shellcheck source=../rest.sh
. "$HERE/rest.sh"
# checks PROGRAM: Python over the answer, as `a`.
checks() { /usr/bin/python3 -c "import json; a = json.load(open('answer')); $1" || fail "the answer: $(head -c 2000 answer)"; }

node_start PSTORAGE_ANALYTICS_INTERVAL=3600
answers 201 POST /volumes '{"name": "busy", "size_gb": 1}'
id=$(got id)
answers 201 POST /volumes '{"name": "idle", "size_gb": 1}'
for i in {0..19}; do answers 200 POST /volumes/busy/write "{\"offset\": $((i * 4096)), \"data\": \"$(head -c 4096 /dev/urandom | base64 -w0)\"}"; done

say "== made after the last sample, and known all the same"
answers 200 GET /analytics/temperature/busy
checks 'assert a["id"] == '"$id"' and a["name"] == "busy" and len(a["regions"]) == 256 and a["region_bytes"] == 4 << 20, a'
checks 'assert a["hot_bytes"] + a["warm_bytes"] + a["cold_bytes"] + a["frozen_bytes"] == 1 << 30'
answers 200 GET "/analytics/temperature/$id"
same "$(got name)" busy
answers 200 GET /analytics/temperature/idle
same "$(got temperature)" frozen
problem 404 ENOTFOUND GET /analytics/temperature/nothing

say "== a forecast is not guessed"
answers 200 GET /analytics/capacity/forecast
checks 'assert set(a) >= {"current", "predictions", "thresholds", "confidence"}
assert 0 < a["current"]["used_bytes"] < a["current"]["capacity_bytes"] and 0 < a["current"]["utilization_percent"] < 100
assert a["predictions"] == {"7_days": None, "30_days": None, "90_days": None}, a
assert a["thresholds"]["days_until_80_percent"] is None and a["confidence"] == 0
assert a["method"] == "none" and "too little history" in a["why"], a'
answers 200 GET '/analytics/capacity/forecast?plan_bytes=1073741824&plan_bytes_per_day=0'
problem 400 EINVAL GET '/analytics/capacity/forecast?plan_bytes=-1'
problem 400 EINVAL GET '/analytics/capacity/forecast?plan_bytes=18446744073709551616'
problem 400 EINVAL GET '/analytics/capacity/forecast?days=7'

say "== drives, tiers, overview"
node=$(api GET /nodes | field name)
answers 200 GET /analytics/health
checks 'd, = a["drives"]
assert d["node"] == "'"$node"'" and 0 <= d["score"] <= 100 and d["wear_mean_cycles"] is None and d["days_to_end_of_life"] is None, d
assert any("wear" in r for r in d["reasons"]) and a["unreachable"] == [], a'
answers 200 GET /analytics/tiering/recommendations
checks 'assert [v["name"] for v in a["volumes"]] == ["busy", "idle"] and a["total"] == 2 and a["next_cursor"] is None
assert all(abs(v["saving"] - (v["cost_now"] - v["cost_there"])) < 1e-5 and v["reason"] for v in a["volumes"])'
answers 200 GET '/analytics/tiering/recommendations?limit=1'
same "$(got next_cursor)" busy
answers 200 GET '/analytics/tiering/recommendations?limit=1&cursor=busy'
checks 'assert [v["name"] for v in a["volumes"]] == ["idle"] and a["next_cursor"] is None'
answers 200 GET /analytics
checks 'assert a["volumes"]["count"] == 2 and a["drives"]["count"] == 1 and a["capacity"]["confidence"] == 0, a'

say "== one volume"
answers 200 GET /analytics/volume/busy
checks 'assert a["growth"]["stored_bytes_per_day"] is None and a["write_latency"]["requests"] == 20 and a["read_latency"]["requests"] == 0, a
assert a["history"]["step"] == "hour" and sum(p["writes"] for p in a["history"]["points"]) == 20
assert a["logical_bytes"] == 20 * 4096 and 0.9 < a["reduction_ratio"] < 1.1, a
l = a["write_latency"]; assert 0 < l["mean_us"] and 0 < l["p50_us"] <= l["p95_us"] <= l["p99_us"], l'
answers 200 GET '/analytics/volume/busy?step=minute&limit=1'
checks 'assert a["history"]["step"] == "minute" and len(a["history"]["points"]) == 1 and a["history"]["points"][0]["time"].endswith("Z"), a'
answers 200 GET "/analytics/volume/busy?step=day&cursor=1000000000"
checks 'assert a["history"]["points"] == [] and a["history"]["next_cursor"] is None'
problem 400 EINVAL GET '/analytics/volume/busy?step=week'
problem 400 EINVAL GET '/analytics/volume/busy?cursor=yesterday'
problem 404 ENOTFOUND GET /analytics/volume/nothing

say "== flash: what is collected, verified, worn"
answers 200 GET /metrics/flash
checks 'p, = a["pods"]; d, = a["devices"]
assert p["garbage_collection"] == {"segments": 0, "moved_bytes": 0, "read_bytes": 0, "waits": 0}, p
assert p["scrub"]["ended_ms_ago"] is None and p["scrub"]["passes"] == 0 and d["wear_mean_cycles"] is None and d["write_ops"] > 0, a'
pstorage scrub
scrubbed() { answers 200 GET /metrics/flash && [ "$(field scrub.passes <answer)" = 1 ]; }
until_true 30 scrubbed || fail "no pass of the scrub is told: $(cat answer)"
checks 's = a["pods"][0]["scrub"]; assert not s["running"] and s["damaged"] == 0 and s["ended_ms_ago"] is not None, s'

say "== who may: as with other figures"
token=$(pstorage token create looks --role read-only)
for path in /analytics /analytics/capacity/forecast /analytics/health /analytics/tiering/recommendations /analytics/temperature/busy /analytics/volume/busy; do
    answers 200 GET $path '' -H "Authorization: Bearer $token"
    problem 401 ENOTOKEN GET $path '' -H "Authorization: Bearer no-such-token"
    problem 405 EMETHOD DELETE $path
done

say "== a device that tells its wear"
node_stop
rm -rf "$DATA"
node_start "PSTORAGE_FLASH_DEVICES=sim:$TMP/nand,size=1G" PSTORAGE_ANALYTICS_INTERVAL=3600
answers 200 GET /analytics/health
checks 'd, = a["drives"]; assert d["blocks"] > 0 and d["wear_mean_cycles"] is not None, d'
answers 200 GET /metrics/flash
checks 'd, = a["devices"]; assert d["wear_spread_cycles"] >= 0 and d["wear_blocks"] > 0, d'
