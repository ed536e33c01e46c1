// What the page costs in Chromium: first paint on a cold load, bytes that are loaded, decisions a
// second. Prints one line of JSON for each; nothing is asserted, because a busy machine is slow.
//
//   node figures.mjs CHROMIUM PAGE WASM-FOR-BROWSERS RECORDS.jsonl
import { copyFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { chromium } from "playwright-core";
import { ARGUMENTS } from "./browser/arguments.mjs";
import { serve } from "./serve.mjs";

/** One load is not enough on a machine that does something else. */
const LOADS = 9;

const [executablePath, pageFolder, wasmFolder, records] = process.argv.slice(2);

/** Each load has a browser and a profile of its own: nothing is compiled or kept from the one before. */
async function load(folder, use) {
  const host = await serve(folder);
  const browser = await chromium.launch({ executablePath, args: ARGUMENTS });
  try {
    return await use(await browser.newPage(), host.url);
  } finally {
    await browser.close();
    host.close();
  }
}

/** Milliseconds from the start of the navigation: the first paint, and a record that is decided. */
async function coldLoad() {
  return load(pageFolder, async (page, url) => {
    const loaded = new Set();
    page.on("response", (response) => loaded.add(response.url().slice(url.length) || "index.html"));
    await page.addInitScript(() => {
      const seen = new MutationObserver(() => {
        if (document.querySelector(".verdict") !== null) globalThis.decidedMs ??= performance.now();
      });
      seen.observe(document, { childList: true, subtree: true });
    });
    await page.goto(url);
    await page.locator(".verdict").first().waitFor();
    await page.locator(".cm-content").waitFor();
    const figures = await page.evaluate(() => {
      const paint = performance.getEntriesByName("first-contentful-paint")[0];
      return { paintMs: paint?.startTime ?? Number.NaN, decidedMs: globalThis.decidedMs };
    });
    return { ...figures, loaded: [...loaded] };
  });
}

function spread(figures) {
  const sorted = figures.map(Math.round).sort((one, other) => one - other);
  return { min_ms: sorted[0], median_ms: sorted[Math.floor(sorted.length / 2)], max_ms: sorted.at(-1) };
}

const loads = [];
for (let number = 0; number < LOADS; number += 1) loads.push(await coldLoad());
const gzipped = loads[0].loaded.map((name) => gzipSync(readFileSync(join(pageFolder, name))).length);
const cold = { loads: LOADS, files: gzipped.length, gzipped_bytes: gzipped.reduce((sum, bytes) => sum + bytes, 0) };
console.log(JSON.stringify({ page: "first contentful paint, cold, in Chromium", ...spread(loads.map(({ paintMs }) => paintMs)), ...cold }));
console.log(JSON.stringify({ page: "first record decided, cold, in Chromium", ...spread(loads.map(({ decidedMs }) => decidedMs)), loads: LOADS }));

const folder = mkdtempSync(join(tmpdir(), "syncline-figures-"));
try {
  cpSync(wasmFolder, folder, { recursive: true });
  copyFileSync(records, join(folder, "records.txt"));
  writeFileSync(join(folder, "index.html"), "<!doctype html><title>Figures</title>");
  const decided = await load(folder, async (page, url) => {
    await page.goto(url);
    return page.evaluate(async (base) => {
      const planner = await import(`${base}planner_wasm.js`);
      await planner.default({ module_or_path: `${base}planner_wasm_bg.wasm` });
      const lines = (await (await fetch(`${base}records.txt`)).text()).split("\n");
      const started = performance.now();
      for (const line of lines) planner.plan_record(line);
      return { records: lines.length, seconds: (performance.now() - started) / 1000 };
    }, url);
  });
  console.log(
    JSON.stringify({
      planner: "WebAssembly in Chromium",
      records: decided.records,
      seconds: Math.round(decided.seconds * 1000) / 1000,
      decisions_per_second: Math.round(decided.records / decided.seconds),
    }),
  );
} finally {
  rmSync(folder, { recursive: true });
}
