// A real browser with the built page in it. It watches for everything that must never happen: an error of
// a script, a violation of the content security policy, a request to another origin.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { after } from "node:test";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { serve } from "../serve.mjs";
import { ARGUMENTS } from "./arguments.mjs";

/** Longest wait: far more than a page needs on a busy machine, so that only a hang exceeds it. */
const WAIT_MS_MAX = 60_000;

export const SIZES = { wide: { width: 1440, height: 1000 }, phone: { width: 390, height: 844 } };

function variable(name) {
  const value = process.env[name];
  assert.ok(value, `${name} is not set: run scripts/page test`);
  return value;
}

/** The built page. */
export const pageFolder = variable("SYNCLINE_PAGE");

/** Starts browser and host; both end with the test file. */
export async function stage() {
  const host = await serve(pageFolder);
  const browser = await chromium.launch({ executablePath: variable("SYNCLINE_CHROMIUM"), args: ARGUMENTS, timeout: WAIT_MS_MAX });
  after(async () => {
    await browser.close();
    host.close();
  });
  return {
    url: host.url,
    /** Opens the page; `finish` of the answer checks that nothing forbidden happened. */
    open: (options) => openPage(browser, host.url, options),
    /** Opens a page whose scripts never come. */
    openWithoutScripts: (options) => openWithoutScripts(browser, host.url, options),
  };
}

/**
 * Runs `use` with a page of its own, in which `before` ran ahead of all scripts. Whatever it does, no
 * script may fail, the policy must hold, and no request may leave the origin.
 */
async function openPage(browser, url, { hash = "", theme = "light", size = SIZES.wide, before, use }) {
  const context = await browser.newContext({ viewport: size, colorScheme: theme, reducedMotion: "reduce", permissions: ["clipboard-read", "clipboard-write"] });
  context.setDefaultTimeout(WAIT_MS_MAX);
  const seen = { errors: [], requests: [] };
  const page = await context.newPage();
  page.on("pageerror", (error) => seen.errors.push(`error of a script: ${error.message}`));
  page.on("console", (message) => message.type() === "error" && seen.errors.push(`console: ${message.text()}`));
  page.on("dialog", (dialog) => {
    seen.errors.push(`a dialog opened: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", (request) => seen.requests.push(request.url()));
  await page.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) => console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
  });
  if (before) await page.addInitScript(before);
  try {
    await page.goto(url + hash);
    await page.getByText("the engine’s planner, compiled to WebAssembly").waitFor();
    await use(page, { requests: seen.requests });
    assert.deepEqual(seen.errors, []);
    const origin = new URL(url).origin;
    assert.deepEqual(seen.requests.filter((address) => !address.startsWith(`${origin}/`) && !address.startsWith("blob:")), []);
  } finally {
    await context.close();
  }
}

async function openWithoutScripts(browser, url, { use }) {
  const context = await browser.newContext({ viewport: SIZES.wide });
  context.setDefaultTimeout(WAIT_MS_MAX);
  const requests = [];
  try {
    const page = await context.newPage();
    page.on("request", (request) => requests.push(request.url()));
    await page.route(/\.js$/, () => undefined);
    await page.addInitScript(() => {
      globalThis.firstContentfulPaint = new Promise((resolve) => {
        const observer = new PerformanceObserver((entries) => {
          if (entries.getEntriesByName("first-contentful-paint").length > 0) resolve(true);
        });
        observer.observe({ type: "paint", buffered: true });
      });
    });
    await page.goto(url, { waitUntil: "commit" });
    await use(page, { requests });
  } finally {
    await context.close();
  }
}

const AXE = createRequire(import.meta.url)("axe-core").source;

/** Fails if the page is not accessible. */
export async function assertAccessible(page, where) {
  await page.evaluate(AXE);
  const violations = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"] });
    return violations.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `${id} at ${target.join(" ")}: ${failureSummary}`));
  });
  assert.deepEqual(violations, [], `${where} is not accessible`);
}

/** Writes what the page looks like, whole. */
export async function screenshot(page, name) {
  const folder = variable("SYNCLINE_SCREENS");
  mkdirSync(folder, { recursive: true });
  await page.evaluate(async () => {
    await document.fonts.ready;
    scrollTo(0, 0);
  });
  await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
}

/** Returns the row of a field in the record view. */
export function fieldRow(page, field) {
  return page.getByRole("row").filter({ has: page.getByRole("rowheader", { name: new RegExp(`^${field}\\b`) }) });
}

/**
 * Puts another text in the place of the configuration's nth line that begins with `key`, as a person
 * would by typing.
 *
 * The editor draws the lines in view only, and at first not even these: a line is named by its number,
 * never as the last one, which may be another a moment later.
 */
export async function replaceLine(page, key, nth, text) {
  await page.locator(".cm-line", { hasText: new RegExp(`^${key} =`) }).nth(nth).click();
  // A long line is wrapped: once leads to the end of what is seen, twice to the end of the line.
  for (const key of ["Home", "Home", "Shift+End", "Shift+End"]) await page.keyboard.press(key);
  await page.keyboard.insertText(text);
  await page.locator(".cm-line", { hasText: text }).waitFor();
}
