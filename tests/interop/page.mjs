// Tries the status page in a real browser: a headless Chromium, driven by playwright-core (a part of @playwright/test), checked by axe-core.
//
// The script starts a simulated account, two receivers and a relay on loopback. It presses every button, uses every
// filter, and fails if the page logs an error, asks another host for anything, or breaks a rule of axe. Screenshots in
// three sizes and two themes go to target/page/.
//
// Usage: node tests/interop/page.mjs. Environment: TOOLS, the folder with node_modules (target/tools/interop); RELAY and
// SIMULATOR, the programs (target/debug/...); CHROMIUM (/usr/bin/chromium).

import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import assert from "node:assert/strict";

const root = resolve(import.meta.dirname, "../..");
const target = resolve(root, process.env.CARGO_TARGET_DIR ?? "target");
const tools = process.env.TOOLS ?? join(target, "tools/interop");
const require = createRequire(join(tools, "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const out = join(target, "page");
mkdirSync(out, { recursive: true });

const TOKEN = "0123456789abcdef0123456789abcdef";
const DEADLINE = 60_000;
const SIZES = { desktop: [1440, 1000], tablet: [820, 1180], phone: [390, 844] };
const work = mkdtempSync(join(tmpdir(), "joltsms-page-"));
const children = [];

const start = (program, args, env) => {
  const child = spawn(program, args, { env: { PATH: process.env.PATH, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  child.text = "";
  for (const pipe of [child.stdout, child.stderr]) pipe.on("data", (data) => { child.text += data; });
  children.push(child);
  return child;
};

const until = async (what, condition) => {
  const end = Date.now() + DEADLINE;
  for (;;) {
    const found = await condition();
    if (found) return found;
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await new Promise((done) => setTimeout(done, 100));
  }
};

const receiver = async () => {
  const server = createServer((request, response) => {
    request.resume().on("end", () => {
      server.count += 1;
      response.writeHead(server.status).end();
    });
  });
  Object.assign(server, { status: 200, count: 0 });
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  server.url = `http://127.0.0.1:${server.address().port}/`;
  return server;
};

const startRelay = (api, key, sinks, more) => {
  const relay = start(process.env.RELAY ?? join(target, "debug/joltsms-relay"), ["--state-dir", join(work, "state")], {
    JOLTSMS_API_URL: api,
    JOLTSMS_API_KEY: key,
    JOLTSMS_RELAY_POLL__START: "beginning",
    JOLTSMS_RELAY_ADMIN__LISTEN: `127.0.0.1:${more.port ?? 0}`,
    JOLTSMS_RELAY_ADMIN__TOKEN: TOKEN,
    JOLTSMS_RELAY_SINKS__CRM__TYPE: "http",
    JOLTSMS_RELAY_SINKS__CRM__URL: sinks.crm.url,
    JOLTSMS_RELAY_SINKS__ARCHIVE__TYPE: "http",
    JOLTSMS_RELAY_SINKS__ARCHIVE__URL: sinks.archive.url,
    JOLTSMS_RELAY_SINKS__ARCHIVE__REJECT_STATUS: "422",
    ...more.env,
  });
  return until("the relay listens", () => {
    if (relay.exitCode !== null) throw new Error(relay.text);
    const port = relay.text.match(/the admin endpoint listens address=127\.0\.0\.1:(\d+)/)?.[1];
    return port && Object.assign(relay, { port, address: `http://127.0.0.1:${port}` });
  });
};

const problems = [];
const watch = (page, isOwn) => {
  page.on("console", (line) => { if (["error", "warning"].includes(line.type())) problems.push(`console: ${line.text()}`); });
  page.on("pageerror", (error) => problems.push(`script: ${error}`));
  page.on("request", (request) => { if (!isOwn(request.url())) problems.push(`request to ${request.url()}`); });
};

const audit = async (page, what) => {
  // The policy of the page forbids foreign scripts, so axe runs in the world of the debugger.
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ["violations"] }));
  for (const { id, help, nodes } of violations) problems.push(`axe, ${what}: ${id}: ${help}: ${nodes.map((node) => node.html).join(" ")}`);
};

let browser;
try {
  const simulator = start(process.env.SIMULATOR ?? join(target, "debug/joltsms-simulator"), ["--port", "0", "--messages", "9", "--history", "20m", "--numbers", "2"], {});
  const [api, key] = await until("the simulator listens", () => {
    const url = simulator.text.match(/http:\/\/127\.0\.0\.1:\d+/)?.[0];
    const found = simulator.text.match(/jolt_sk_[0-9a-f]+/)?.[0];
    return url && found && [url, found];
  });
  const add = (message) => fetch(`${api}/_simulator/messages`, { method: "POST", body: JSON.stringify(message) });
  const sinks = { crm: await receiver(), archive: await receiver() };
  sinks.archive.status = 422;
  let relay = await startRelay(api, key, sinks, {});
  const { port, address } = relay;

  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
  const context = await browser.newContext({ viewport: { width: 1440, height: 1000 } });
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: address });
  const page = await context.newPage();
  watch(page, (url) => url.startsWith(address));
  const shows = (text) => page.getByText(text).first().waitFor({ timeout: DEADLINE });

  // The login.
  await page.goto(address);
  assert.equal(page.url(), `${address}/login`);
  await audit(page, "login");
  for (const theme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: theme });
    await page.screenshot({ path: join(out, `login-${theme}.png`) });
  }
  await page.getByLabel("Token").fill(TOKEN);
  await page.getByRole("button", { name: "Log in" }).click();
  await shows("Live");
  await shows(/rejected/);

  // Live: a message appears without a reload, and the list waits while text is selected.
  await add({ from: "PayPal", body: "PayPal: 482913 is your code. Do not share it.", code: "482913" });
  const row = page.locator("#message-list tr", { hasText: "PayPal" }).first();
  await row.waitFor({ timeout: DEADLINE });
  await page.evaluate(() => getSelection().selectAllChildren(document.querySelector("#health p")));
  await shows("Paused while text is selected");
  await add({ from: "Selected", body: "no code in here" });
  await until("the receiver has the message", () => sinks.crm.count >= 11);
  assert.equal(await page.locator("#message-list tr", { hasText: "Selected" }).count(), 0);
  await page.evaluate(() => getSelection().removeAllRanges());
  await page.locator("#message-list tr", { hasText: "Selected" }).first().waitFor({ timeout: DEADLINE });

  // Masked, copied, shown.
  assert.ok(!(await page.content()).includes("482913"));
  await row.getByRole("button", { name: /^Copy code of/ }).click();
  await row.getByText("Copied").waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "482913");
  await row.getByRole("link", { name: /^Show the code/ }).click();
  await page.locator(".code", { hasText: "482913" }).waitFor();
  await page.getByRole("link", { name: "Mask all codes and texts" }).click();
  await until("the code is masked", async () => !(await page.content()).includes("482913"));

  // Each filter.
  const filter = page.getByRole("search");
  for (const [label, value, count] of [["From", "paypal", 1], ["From", "nobody", 0], ["To", "+*", null], ["Since", "1m", null], ["At most", "2", 2]]) {
    await page.goto(`${address}/`);
    await filter.getByLabel(label, { exact: true }).fill(value);
    await filter.getByRole("button", { name: "Filter" }).click();
    await page.waitForURL(/[?&](from|to|since|limit)=./);
    assert.equal(await filter.getByLabel(label, { exact: true }).inputValue(), value);
    const rows = await page.locator("#message-list tbody tr").count();
    if (count !== null) assert.equal(rows, count, `${label} ${value}`);
  }
  // The messages that fit a filter are sent again.
  await page.goto(`${address}/?from=paypal`);
  const before = sinks.crm.count;
  await page.locator("#message-list summary", { hasText: "Send again" }).click();
  await page.screenshot({ path: join(out, "replay.png") });
  await page.locator("#message-list").getByRole("button", { name: "Send all that fit again" }).click();
  await page.locator("#notice", { hasText: "crm" }).waitFor({ timeout: DEADLINE });
  assert.match(page.url(), /[?&]from=paypal/);
  await until("the message comes again", () => sinks.crm.count === before + 1);
  await page.goto(`${address}/?limit=2`);
  assert.equal(await page.locator("#message-list summary").count(), 0, "a number of rows selects nothing");

  await page.getByRole("link", { name: "All messages" }).click();
  await page.waitForURL((url) => url.search === "");

  // A sink that fails, a pause, a walk through the screenshots.
  sinks.crm.status = 503;
  for (let number = 0; number < 3; number += 1) await add({ from: "Bank", body: `Your login code is 55010${number}`, code: `55010${number}` });
  await page.locator(".sink.bad, .sink.waiting", { hasText: "crm" }).first().waitFor({ timeout: DEADLINE });
  await shows(/last answer/);
  for (const [size, [width, height]] of Object.entries(SIZES)) {
    for (const theme of ["light", "dark"]) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme: theme });
      await audit(page, `${size} ${theme}`);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (overflow > 0) problems.push(`${size}: ${overflow} px wider than the window`);
      await page.evaluate(() => scrollTo(0, 0));
      await page.screenshot({ path: join(out, `status-${size}-${theme}.png`), fullPage: true });
    }
  }
  await page.setViewportSize({ width: 1440, height: 1000 });

  // Each button.
  const crm = page.locator("article.sink", { hasText: "crm" });
  const archive = page.locator("article.sink", { hasText: "archive" });
  const press = async (card, name, result) => {
    await card.getByRole("button", { name, exact: typeof name === "string" }).click();
    await page.locator("#notice", { hasText: result }).waitFor({ timeout: DEADLINE });
  };
  await press(crm, "Send a test", "crm did not accept a test message: 503");
  await press(crm, "Resume", "crm is not paused; its last attempts failed");
  sinks.crm.status = 200;
  await press(crm, "Send a test", "crm accepted a test message (200)");
  await press(crm, "Pause", "crm is paused");
  await press(crm, "Resume", "crm is resumed");
  await press(page.locator("#dead-letters tbody tr").first(), "Retry", "1 dead letter is sent again");
  await until("the message is a dead letter again", () => sinks.archive.count > 14);
  await press(archive, /^Retry \d+ dead letters/, /dead letters are sent again/);
  // The page may still show the number from before.
  await until("the receiver has refused them again", () => sinks.archive.count >= 28);
  await page.locator("#dead-letters .choices", { hasText: "all sinks 14" }).waitFor({ timeout: DEADLINE });
  sinks.archive.status = 200;
  await page.getByRole("link", { name: /^archive/ }).first().click();
  await page.locator("#dead-letters summary").click();
  await page.screenshot({ path: join(out, "confirm.png") });
  await press(page.locator("#dead-letters"), /^Drop \d+ dead letter/, /given up/);
  await shows("There are no dead letters.");

  // The stream breaks, and comes back with the relay.
  relay.kill("SIGTERM");
  await until("the relay has ended", () => relay.exitCode !== null);
  await shows("Not live");
  const expected = problems.filter((problem) => /ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|net::ERR/.test(problem));
  relay = await startRelay(api, key, sinks, { port, env: { JOLTSMS_RELAY_ADMIN__READ_ONLY: "true" } });
  await shows("Live");
  expected.push(...problems.filter((problem) => /net::ERR/.test(problem)));
  await until("the buttons are gone", async () => (await page.locator("article.sink button").count()) === 0);
  await audit(page, "read-only");
  await page.screenshot({ path: join(out, "read-only.png"), fullPage: true });
  await page.getByRole("button", { name: "Log out" }).click();
  await page.waitForURL(`${address}/login`);

  const left = problems.filter((problem) => !expected.includes(problem));
  assert.deepEqual(left, []);
  console.log(`the page works; screenshots are in ${out}`);
} catch (error) {
  console.error(problems.join("\n"));
  console.error(children.map((child) => child.text.slice(-3000)).join("\n---\n"));
  throw error;
} finally {
  await browser?.close();
  for (const child of children) child.kill("SIGKILL");
  rmSync(work, { recursive: true, force: true });
  setTimeout(() => process.exit(), 100).unref();
}
