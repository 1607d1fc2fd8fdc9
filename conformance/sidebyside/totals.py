"""totals.py REPORT...: adds up the reports of run_asl_cases.py."""
import collections
import json
import sys

total = collections.Counter()
for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as file:
        total.update(json.load(file)["summary"]["total"])
run, compared = total["run"], total["hrun"]
print(f"{run} cases: results {total['result']} ({100 * total['result'] / run:.1f} %), "
      f"histories {total['history']} of {compared} ({100 * total['history'] / compared:.1f} %)")
