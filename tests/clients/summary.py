"""Prints one line for each client of a report: scenarios and calls, passed of tried.

A call is a request or rpc that the org received. It passed if its scenario did, which checks every
answer.
"""

import json
import re
import sys
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
REQUIREMENTS = HERE.parent.parent / "scripts" / "requirements"


def versions():
    """Returns the pinned version of every package, by name."""
    found = {}
    for file in REQUIREMENTS.glob("*.txt"):
        found |= dict(re.findall(r"^([\w.-]+)==(\S+)$", file.read_text(), re.MULTILINE))
    for file in HERE.glob("*/package.json"):
        found |= json.loads(file.read_text())["dependencies"]
    manifest = (HERE / "force" / "Cargo.toml").read_text()
    found |= dict(re.findall(r'^(force) = .*?"=?([\d.]+)"', manifest, re.MULTILINE))
    return found


def summary(path):
    """Prints the lines; returns whether there are any and every scenario passed."""
    clients = defaultdict(list)
    for line in path.read_text().splitlines() if path.exists() else []:
        scenario = json.loads(line)
        clients[scenario["client"]].append(scenario)
    pinned = versions()
    for client, scenarios in sorted(clients.items()):
        passed = [one for one in scenarios if one["passed"]]
        calls = [sum(one["calls"] for one in some) for some in (passed, scenarios)]
        name = f"{client} {pinned[client]}"
        print(f"{name:<40}{len(passed):>3} of {len(scenarios):>2} scenarios{calls[0]:>6} of {calls[1]:>4} calls passed")
    return bool(clients) and all(one["passed"] for each in clients.values() for one in each)


if __name__ == "__main__":
    sys.exit(0 if summary(Path(sys.argv[1])) else 1)
