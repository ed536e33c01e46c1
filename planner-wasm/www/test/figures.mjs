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

/** One slow load says little on a machine that does something else. */
const LOADS = 5;

const [executablePath, pageFolder, wasmFolder, records] = process.argv.slice(2);

/** Each load has a browser of its own: nothing is compiled or kept from the one before. */
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

async function firstPaint() {
  return load(pageFolder, async (page, url) => {
    const loaded = new Set();
    page.on("response", (response) => loaded.add(response.url().slice(url.length) || "index.html"));
    await page.goto(url);
    await page.getByText("the engine’s own, compiled to WebAssembly").waitFor();
    await page.locator(".cm-content").waitFor();
    const paintMs = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? Number.NaN);
    return { paintMs: Math.round(paintMs), loaded: [...loaded] };
  });
}

const loads = [];
for (let number = 0; number < LOADS; number += 1) loads.push(await firstPaint());
const paints = loads.map(({ paintMs }) => paintMs).sort((one, other) => one - other);
const gzipped = loads[0].loaded.map((name) => gzipSync(readFileSync(join(pageFolder, name))).length);
console.log(
  JSON.stringify({
    page: "first contentful paint, cold, in Chromium",
    loads: LOADS,
    median_ms: paints[Math.floor(LOADS / 2)],
    best_ms: paints[0],
    files: gzipped.length,
    gzipped_bytes: gzipped.reduce((sum, bytes) => sum + bytes, 0),
  }),
);

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
