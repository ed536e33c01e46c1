// The package as a bundler leaves it, in a real browser: the bundle finds its module by itself.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { object, project } from "./installed.mjs";

const TYPES = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };
const PAGE = '<!doctype html><title>planner</title><script type="module" src="page.js"></script>';

const PROGRAM = `
import { PlannerError, loadPlanner } from "@syncline/planner";
import wasm from "@syncline/planner/planner_wasm_bg.wasm";

async function planned() {
  const planner = await loadPlanner(new URL(wasm, location.href));
  const plan = planner.planRecord(${JSON.stringify({ object, external_id: "K1", base: null, postgres: { Name: "Zoë" }, salesforce: null })});
  try {
    planner.text.plan_record("{");
  } catch (error) {
    return { plan, typed: error instanceof PlannerError };
  }
}

planned().then(
  (answer) => fetch("answer", { method: "POST", body: JSON.stringify(answer) }),
  (error) => fetch("answer", { method: "POST", body: JSON.stringify({ error: String(error) }) }),
);
`;

function bundle(folder) {
  const esbuild = fileURLToPath(new URL("../node_modules/.bin/esbuild", import.meta.url));
  const program = join(project, "page.mjs");
  writeFileSync(program, PROGRAM);
  writeFileSync(join(folder, "index.html"), PAGE);
  const options = ["--bundle", "--format=esm", "--loader:.wasm=file", "--asset-names=[name]", "--log-level=warning"];
  execFileSync(esbuild, [program, ...options, `--outfile=${join(folder, "page.js")}`], { cwd: project });
}

/** Serves the folder under a path, and gives what the page posts. */
function serve(folder) {
  return new Promise((resolve) => {
    let told;
    const answer = new Promise((tell) => (told = tell));
    const server = createServer((request, response) => {
      if (request.method === "POST") {
        let body = "";
        request.on("data", (part) => (body += part));
        request.on("end", () => {
          response.end();
          told(JSON.parse(body));
        });
        return;
      }
      const name = request.url.replace(/^\/some\/path\//, "") || "index.html";
      try {
        const content = readFileSync(join(folder, name));
        response.writeHead(200, { "content-type": TYPES[extname(name)] ?? "text/plain" }).end(content);
      } catch {
        response.writeHead(404).end();
      }
    });
    server.listen(0, "127.0.0.1", () => resolve({ server, answer, address: `http://127.0.0.1:${server.address().port}/some/path/` }));
  });
}

function browse(address, profile) {
  const chromium = process.env.SYNCLINE_CHROMIUM ?? "chromium";
  const options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
  return spawn(chromium, [...options, `--user-data-dir=${profile}`, address], { stdio: "ignore", detached: true });
}

test("a bundled page loads the planner from under any path and plans a record", { timeout: 120_000 }, async () => {
  const folder = mkdtempSync(join(project, "page-"));
  bundle(folder);
  const { server, answer, address } = await serve(folder);
  const browser = browse(address, join(folder, "profile"));
  const closed = new Promise((resolve, reject) => {
    browser.on("exit", resolve);
    browser.on("error", reject);
  });
  try {
    const told = await Promise.race([answer, closed.then((code) => ({ error: `the browser ended with ${code}` }))]);
    assert.equal(told.error, undefined);
    assert.deepEqual(told.plan.to_salesforce, { write: "create", fields: { Key__c: "K1", Name: "Zoë" } });
    assert.equal(told.typed, true, "errors keep their type");
  } finally {
    // Its own group: a browser is many processes.
    if (browser.pid !== undefined && browser.exitCode === null) process.kill(-browser.pid, "SIGKILL");
    await closed.catch(() => undefined);
    server.closeAllConnections();
    server.close();
  }
});
