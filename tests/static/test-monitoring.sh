#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
#
# scripts/monitoring: promtool accepts the rules, they fire when they should,
# and the dashboard is what Grafana reads.  That their metrics exist is
# tested by server/test-metrics.sh.

set -e

monitoring=$SRCDIR/scripts/monitoring
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

"${PYTHON:-python3}" - "$monitoring/grafana-dashboard.json" <<'END'
import json, sys
with open(sys.argv[1]) as f:
    d = json.load(f)
assert d["title"] and d["uid"] and d["schemaVersion"] >= 30
variables = {v["name"] for v in d["templating"]["list"]}
assert variables == {"datasource", "instance"}, variables
assert len(d["panels"]) >= 8
assert len({p["id"] for p in d["panels"]}) == len(d["panels"]), "ids"
taken = set()
for p in d["panels"]:
    assert p["title"] and p["targets"], p
    g = p["gridPos"]
    for x in range(g["x"], g["x"] + g["w"]):
        for y in range(g["y"], g["y"] + g["h"]):
            assert x < 24 and (x, y) not in taken, "panels overlap"
            taken.add((x, y))
    assert len({t["refId"] for t in p["targets"]}) == len(p["targets"])
    for t in p["targets"]:
        assert "nbdzram_" in t["expr"] and "$instance" in t["expr"], t
        assert t["expr"].count("(") == t["expr"].count(")"), t
        assert t["legendFormat"], t
END

command -v promtool >/dev/null || {
  echo "needs promtool (package prometheus)"
  exit 77
}
promtool check rules "$monitoring/prometheus-rules.yml"
cp "$monitoring/prometheus-rules.yml" \
   "$SRCDIR/tests/static/monitoring-rules-test.yml" "$tmp"
cd "$tmp"
promtool test rules monitoring-rules-test.yml

# The dashboard's expressions are expressions: as rules, promtool parses them.
"${PYTHON:-python3}" - "$monitoring/grafana-dashboard.json" >dashboard.yml <<'END'
import json, sys
with open(sys.argv[1]) as f:
    d = json.load(f)
rules = [{"record": "a:b", "labels": {"n": "%d %s" % (p["id"], t["refId"])},
          "expr": t["expr"].replace("$__rate_interval", "5m")}
         for p in d["panels"] for t in p["targets"]]
print(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
END
promtool check rules dashboard.yml
