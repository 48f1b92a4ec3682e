// Reads deliveries with the official SDK of CloudEvents, strictly.
//
// Arguments: where node_modules lies, and a file with one delivery a line (JSON: headers, body). Prints how many are valid
// events, and how many different ones by source and id.

const { readFileSync } = require("node:fs");
const { createRequire } = require("node:module");

const [tools, path] = process.argv.slice(2);
const { HTTP } = createRequire(tools + "/")("cloudevents");

const seen = new Set();
let accepted = 0;
for (const line of readFileSync(path, "utf-8").trim().split("\n")) {
  const { headers, body } = JSON.parse(line);
  const event = HTTP.toEvent({ headers, body });
  if (event.validate() && event.data.id === event.id && event.type === "com.joltsms.sms.received") accepted += 1;
  seen.add(event.source + " " + event.id);
}
console.log(JSON.stringify({ accepted, different: seen.size }));
