"""Reads a dashboard with the model that Grafana publishes (grafana-foundation-sdk), and writes it again.

    dashboard.py FILE

Prints every field that the model does not know, or reads as something else, and fails if there is one.
"""

import json
import pathlib
import sys
from typing import Any, Iterator

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def differences(given: Any, kept: Any, place: str) -> Iterator[str]:
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            if name in kept:
                yield from differences(value, kept[name], f"{place}.{name}")
            # The text that Grafana's list of variables shows of a query; the model lacks it.
            elif name != "definition":
                yield f"{place}.{name} is not known"
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (one, other) in enumerate(zip(given, kept)):
            yield from differences(one, other, f"{place}[{number}]")
    elif given != kept:
        yield f"{place}: {given!r} is read as {kept!r}"


register_default_plugins()
given = json.loads(pathlib.Path(sys.argv[1]).read_text())
kept = json.loads(JSONEncoder().encode(Dashboard.from_json(given)))
found = list(differences(given, kept, "dashboard"))
print("\n".join(found))
sys.exit(bool(found))
