"""Compares the messages of the simulator with those that the receiver accepted.

    compare.py ACCEPTED REPEATS-ALLOWED    (standard input: the simulator's list of messages)

Prints one line, and fails if a message is missing, or if messages came again more often than allowed.
"""

import collections
import json
import pathlib
import sys

accepted = collections.Counter(pathlib.Path(sys.argv[1]).read_text().split())
sent = {listed["message"]["id"] for listed in json.load(sys.stdin)}
lost = sent - accepted.keys()
repeated = sum(count - 1 for count in accepted.values())
print(f"{len(sent)} messages, {len(lost)} lost, {repeated} repeated")
sys.exit(bool(lost) or repeated > int(sys.argv[2]))
