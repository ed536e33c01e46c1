// A page in a real browser: what it posts is its answer.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { object } from "./installed.mjs";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };

const OPTIONS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** Where the page stands on the host: it must not need to stand at the top. */
const PATH = "/some/path/";

const RECORD = { object, external_id: "K1", base: null, postgres: { Name: "Zoë" }, salesforce: null };

/** Loads the planner as the README does, without arguments, and posts the plan of a record. */
export const PROGRAM = `
import { PlannerError, loadPlanner } from "@syncline/planner";

async function planned() {
  const planner = await loadPlanner();
  const plan = planner.planRecord(${JSON.stringify(RECORD)});
  try {
    planner.text.plan_record("{");
  } catch (error) {
    return { plan, typed: error instanceof PlannerError };
  }
}

planned().then(
  (answer) => fetch("/answer", { method: "POST", body: JSON.stringify(answer) }),
  (error) => fetch("/answer", { method: "POST", body: JSON.stringify({ error: String(error) }) }),
);
`;

/** Opens the page of a folder, and fails unless it plans the record. */
export async function assertPlans(folder) {
  const answer = withResolvers();
  const server = createServer((request, response) => void respond(folder, request, response, answer.resolve));
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  try {
    await assertPlansAt(`http://127.0.0.1:${server.address().port}${PATH}`, answer.promise);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** Opens a page whose own server takes what it posts, and fails unless it plans the record. */
export async function assertPlansAt(address, answer) {
  const profile = mkdtempSync(join(tmpdir(), "syncline-browser-"));
  const chromium = process.env.SYNCLINE_CHROMIUM ?? "chromium";
  const browser = spawn(chromium, [...OPTIONS, `--user-data-dir=${profile}`, address], { stdio: "ignore", detached: true });
  const closed = new Promise((resolve, reject) => {
    browser.on("exit", resolve);
    browser.on("error", reject);
  });
  try {
    const { error, plan, typed } = await Promise.race([answer, closed.then((code) => ({ error: `the browser ended with ${code}` }))]);
    assert.equal(error, undefined);
    assert.deepEqual(plan.to_salesforce, { write: "create", fields: { Key__c: "K1", Name: "Zoë" } });
    assert.equal(typed, true, "errors keep their type");
  } finally {
    // Its own group: a browser is many processes.
    if (browser.pid !== undefined && browser.exitCode === null) process.kill(-browser.pid, "SIGKILL");
    await closed.catch(() => undefined);
  }
}

export function withResolvers() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}

/** Takes what the page posts. Returns whether the request was such a post. */
export async function takeAnswer(request, response, resolve) {
  if (request.method !== "POST") return false;
  let body = "";
  for await (const part of request) body += part;
  response.end();
  resolve(JSON.parse(body));
  return true;
}

async function respond(folder, request, response, resolve) {
  if (await takeAnswer(request, response, resolve)) return;
  const { pathname } = new URL(request.url, "http://localhost");
  const name = pathname.startsWith(PATH) ? normalize(pathname.slice(PATH.length)) : undefined;
  try {
    const content = readFileSync(join(folder, name === "." ? "index.html" : name));
    response.writeHead(200, { "content-type": TYPES[extname(name)] ?? "text/html" }).end(content);
  } catch {
    response.writeHead(404).end();
  }
}
