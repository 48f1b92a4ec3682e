"""Verifies signed deliveries with the published library, and tries altered ones.

Arguments: a file with one delivery a line (JSON: headers, body), then the secrets. Prints what was accepted and refused.
"""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError


def accepts(secret, body, headers):
    try:
        Webhook(secret).verify(body, headers)
        return True
    except WebhookVerificationError:
        return False


def altered(body, headers):
    yield body.replace("{", "{ ", 1), headers
    yield body, headers | {"webhook-id": headers["webhook-id"] + "x"}
    yield body, headers | {"webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}
    # Another first letter in each of the signatures.
    turned = [part[:3] + ("B" if part[3] == "A" else "A") + part[4:] for part in headers["webhook-signature"].split(" ")]
    yield body, headers | {"webhook-signature": " ".join(turned)}


path, *secrets = sys.argv[1:]
counts = {"deliveries": 0, "accepted": 0, "altered_accepted": 0, "altered_refused": 0}
for line in open(path, encoding="utf-8"):
    delivery = json.loads(line)
    counts["deliveries"] += 1
    for secret in secrets:
        counts["accepted"] += accepts(secret, delivery["body"], delivery["headers"])
        for body, headers in altered(delivery["body"], delivery["headers"]):
            word = "altered_accepted" if accepts(secret, body, headers) else "altered_refused"
            counts[word] += 1
print(json.dumps(counts))
