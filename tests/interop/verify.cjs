// Verifies signed deliveries with the published library, and tries altered ones.
//
// Arguments: where node_modules lies, a file with one delivery a line (JSON: headers, body), then the secrets. Prints what
// was accepted and refused.

const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");

const [tools, path, ...secrets] = process.argv.slice(2);
const { Webhook, WebhookVerificationError } = createRequire(tools + "/")("standardwebhooks");

function accepts(secret, body, headers) {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
}

function altered(body, headers) {
  const turn = (part) => part.slice(0, 3) + (part[3] === "A" ? "B" : "A") + part.slice(4);
  const signatures = headers["webhook-signature"].split(" ").map(turn).join(" ");
  return [
    [body.replace("{", "{ "), headers],
    [body, { ...headers, "webhook-id": headers["webhook-id"] + "x" }],
    [body, { ...headers, "webhook-timestamp": String(Number(headers["webhook-timestamp"]) + 1) }],
    [body, { ...headers, "webhook-signature": signatures }],
  ];
}

const counts = { deliveries: 0, accepted: 0, altered_accepted: 0, altered_refused: 0 };
for (const line of readFileSync(path, "utf-8").trim().split("\n")) {
  const { headers, body } = JSON.parse(line);
  counts.deliveries += 1;
  for (const secret of secrets) {
    counts.accepted += accepts(secret, body, headers) ? 1 : 0;
    for (const [otherBody, otherHeaders] of altered(body, headers)) {
      counts[accepts(secret, otherBody, otherHeaders) ? "altered_accepted" : "altered_refused"] += 1;
    }
  }
}
console.log(JSON.stringify(counts));
