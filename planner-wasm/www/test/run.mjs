// Runs the page's tests. Prints each failure at once, and the number of passed tests in one line.
//
//   node run.mjs FOLDER-OF-UNIT-TESTS [PATTERN]
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { run } from "node:test";
import { fileURLToPath } from "node:url";

/** A page that hangs must not hang its tests: this is far beyond what any file of them needs. */
const FILE_MS_MAX = 600_000;

const [units = "", pattern] = process.argv.slice(2);
const browser = fileURLToPath(new URL("browser", import.meta.url));
const isTest = (name) => /\.test\.m?js$/.test(name);
const files = [units, browser].flatMap((folder) => readdirSync(folder).filter(isTest).map((name) => join(folder, name)));

// A run that ends early has failed.
process.exitCode = 1;
const counts = { passed: 0, failed: 0 };

/** A file is not counted as a test, but one that breaks before its first test is a failure. */
function count({ type, data }) {
  if (type === "test:pass" && data.skip === undefined && !files.includes(data.name)) counts.passed += 1;
  if (type !== "test:fail") return;
  counts.failed += 1;
  const cause = data.details.error?.cause ?? data.details.error;
  console.error(`FAILED  ${data.name}\n${cause?.stack ?? cause}`);
}

for await (const event of run({ files, concurrency: 2, timeout: FILE_MS_MAX, ...(pattern && { testNamePatterns: [new RegExp(pattern)] }) })) {
  if (event.type === "test:stdout") process.stdout.write(event.data.message);
  else if (event.type === "test:stderr") process.stderr.write(event.data.message);
  else count(event);
}

const ok = counts.failed === 0 && counts.passed > 0;
console.log(`${ok ? "ok      " : "FAILED  "}page: ${counts.passed} tests passed, ${counts.failed} failed`);
process.exitCode = ok ? 0 : 1;
