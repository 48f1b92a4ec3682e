"""Checks the relay's lines in the journal (standard input: `journalctl -o json`): each has the priority of its level, and
no second time."""

import json
import re
import sys

PRIORITIES = {"ERROR": "3", "WARN": "4", "INFO": "6", "DEBUG": "7", "TRACE": "7"}

checked, wrong = 0, []
for entry in map(json.loads, sys.stdin):
    if entry.get("_COMM") != "joltsms-relay":
        continue
    level = re.match(r" *(ERROR|WARN|INFO|DEBUG|TRACE) ", entry["MESSAGE"])
    checked += 1
    if not level or PRIORITIES[level[1]] != entry["PRIORITY"]:
        wrong.append((entry["PRIORITY"], entry["MESSAGE"]))
print(checked, "lines", *wrong, sep="\n")
sys.exit(checked == 0 or bool(wrong))
