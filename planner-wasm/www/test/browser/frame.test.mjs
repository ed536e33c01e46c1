// What is seen before any script has come: the frame, from the page's HTML and one style sheet.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { pageFolder, stage } from "./stage.mjs";

const { open, openWithoutScripts } = await stage();

/** What arrives in the first round trip of a new connection: ten segments (RFC 6928). */
const FIRST_BYTES_MAX = 14_600;

/** The parts of the frame that are written twice: in index.html and in src/app.tsx. */
const FRAME = ["a.skip", "h1.brand", "nav", "footer p:first-child"];

function frameOf(page) {
  return page.evaluate((parts) => {
    const markup = parts.map((part) => document.querySelector(part)?.outerHTML ?? `no ${part}`);
    return markup.map((html) => html.replaceAll(' aria-current="page"', "").replace(/\s+/g, " ").replace(/> | </g, (edge) => edge.trim()));
  }, FRAME);
}

test("the frame painted before the scripts equals theirs", async () => {
  let painted;
  await openWithoutScripts({
    async use(page, { requests }) {
      await page.getByRole("link", { name: "Timeline" }).waitFor();
      await page.evaluate(() => globalThis.firstContentfulPaint);
      assert.deepEqual(requests.filter((address) => /\.wasm$|worker/.test(address)), [], "what is large waits");
      painted = await frameOf(page);
    },
  });
  await open({
    async use(page) {
      assert.deepEqual(await frameOf(page), painted);
    },
  });
});

test("the first paint needs one round trip", () => {
  const html = readFileSync(join(pageFolder, "index.html"), "utf8");
  const sheets = [...html.matchAll(/<link rel="stylesheet"[^>]* href="([^"]+)"/g)].map(([, name]) => name);
  assert.equal(sheets.length, 1);
  assert.doesNotMatch(html.replace(/<script type="module"[^>]*><\/script>/, ""), /<script/, "a script would hold the paint");
  const bytes = [html, ...sheets.map((name) => readFileSync(join(pageFolder, name)))].map((file) => gzipSync(file).length);
  assert.ok(bytes.reduce((sum, size) => sum + size, 0) <= FIRST_BYTES_MAX, `${bytes.join(" and ")} bytes, gzipped`);
});

test("a planner loaded before the first frame is not missed", () =>
  open({
    before: () => {
      const { setTimeout: later } = globalThis;
      globalThis.requestAnimationFrame = (draw) => later(() => draw(performance.now()), 2000);
      globalThis.setTimeout = (call, milliseconds, ...values) => later(call, Math.max(milliseconds ?? 0, 2000), ...values);
    },
    async use(page) {
      await page.getByRole("status", { name: "Decision about the record" }).getByText("a person must decide").waitFor();
    },
  }));
