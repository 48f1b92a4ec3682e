// Runs the recipe for Playwright (docs/recipes.md) as it is written there: its files, Playwright's own test runner, and a
// headless Chromium, on a page that sends a code by SMS.
//
// Usage: node tests/interop/recipe.mjs. Environment: as for page.mjs.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");
const target = resolve(root, process.env.CARGO_TARGET_DIR ?? "target");
const tools = process.env.TOOLS ?? join(target, "tools/interop");
const relay = process.env.RELAY ?? join(target, "debug/joltsms-relay");
const simulator = process.env.SIMULATOR ?? join(target, "debug/joltsms-simulator");
const DEADLINE = 120_000;
const NUMBER = "+16505550100";

// The files of the recipe: each block of JavaScript begins with the name of its file.
const recipe = readFileSync(join(root, "docs/recipes.md"), "utf8");
const blocks = [...recipe.matchAll(/```js\n\/\/ (\S+?\.mjs)\b([\s\S]*?)```/g)];
assert.deepEqual(blocks.map((block) => block[1]), ["sms.mjs", "sign-in.spec.mjs"]);

const work = mkdtempSync(join(tmpdir(), "joltsms-recipe-"));
const children = [];
const start = (program, args, env) => {
  const child = spawn(program, args, { cwd: work, env: { HOME: work, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  child.text = "";
  for (const pipe of [child.stdout, child.stderr]) pipe.on("data", (data) => { child.text += data; });
  children.push(child);
  return child;
};

// The page under test sends a code to the number, and lets in whoever knows the code.
const site = (api) => {
  let code;
  const page = (text) => `<!doctype html><html lang="en"><title>Sign in</title><form method="post">${text}</form>`;
  const send = async (number) => {
    code = String(Math.floor(100000 + Math.random() * 900000));
    const message = { to: number, from: "SHOP", body: `Your code is ${code}`, code };
    const answer = await fetch(`${api}/_simulator/send`, { method: "POST", body: JSON.stringify(message) });
    assert.ok(answer.ok, await answer.text());
  };
  const show = async (form) => {
    if (form.has("phone")) {
      await send(form.get("phone"));
      return '<label>Code <input name="code"></label><button>Sign in</button>';
    }
    if (form.has("code")) return form.get("code") === code ? "<p>Welcome</p>" : "<p>Wrong code</p>";
    return '<label>Phone <input name="phone"></label><button>Send code</button>';
  };
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const part of request) body += part;
    const shown = await show(new URLSearchParams(body)).catch((error) => `<p>${error}</p>`);
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(page(shown));
  });
  return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server)));
};

const ended = (child) => new Promise((done) => child.on("close", done));

let server;
try {
  const api = start(simulator, ["--port", "0", "--messages", "5"], {});
  const [url, key] = await new Promise((done, failed) => {
    const late = setTimeout(() => failed(new Error(`the simulator does not listen: ${api.text}`)), DEADLINE);
    api.stdout.on("data", () => {
      const found = api.text.match(/url=(\S+) key=(\S+)/);
      if (found) {
        clearTimeout(late);
        done(found.slice(1));
      }
    });
  });
  server = await site(url);
  for (const [, name, text] of blocks) writeFileSync(join(work, name), text.replace(/^.*\n/, ""));
  const options = {
    baseURL: `http://127.0.0.1:${server.address().port}`,
    launchOptions: { executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] },
  };
  writeFileSync(join(work, "playwright.config.mjs"), `export default { reporter: "line", use: ${JSON.stringify(options)} };\n`);
  symlinkSync(join(tools, "node_modules"), join(work, "node_modules"));
  const cli = join(tools, "node_modules/@playwright/test/cli.js");
  const run = start(process.execPath, [cli, "test"], {
    PATH: `${dirname(resolve(relay))}:${process.env.PATH}`,
    SMS_NUMBER: NUMBER,
    JOLTSMS_API_URL: url,
    JOLTSMS_API_KEY: key,
    JOLTSMS_RELAY_STATE__DIR: join(work, "state"),
  });
  const code = await ended(run);
  assert.equal(code, 0, run.text);
  assert.match(run.text, /1 passed/);
  console.log("the recipe for Playwright works in a browser");
} finally {
  server?.close();
  for (const child of children) child.kill("SIGKILL");
  rmSync(work, { recursive: true, force: true });
  setTimeout(() => process.exit(), 100).unref();
}
