// Runs the page's tests, says what fails as it fails and what passed in one line.
//
//   node run.mjs FOLDER-OF-UNIT-TESTS [PATTERN]
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { run } from "node:test";
import { fileURLToPath } from "node:url";

const [units = "", pattern] = process.argv.slice(2);
const browser = fileURLToPath(new URL("browser", import.meta.url));
const isTest = (name) => /\.test\.m?js$/.test(name);
const files = [units, browser].flatMap((folder) => readdirSync(folder).filter(isTest).map((name) => join(folder, name)));

const counts = { passed: 0, failed: 0, skipped: 0 };
/** A page that hangs must not hang its tests: this is far beyond what any file of them needs. */
const FILE_MS_MAX = 600_000;
const tests = run({ files, concurrency: 2, timeout: FILE_MS_MAX, ...(pattern && { testNamePatterns: [new RegExp(pattern)] }) });

// A suite or a file is no test of its own; a file that breaks before its first test is a failure.
tests.on("test:pass", ({ details, skip }) => {
  if (details.type === "suite") return;
  if (skip === undefined) counts.passed += 1;
  else counts.skipped += 1;
});
tests.on("test:fail", ({ name, file, details }) => {
  if (details.type === "suite") return;
  counts.failed += 1;
  const cause = details.error?.cause ?? details.error;
  console.error(`FAILED  ${name}${file ? ` (${file})` : ""}\n${cause?.stack ?? cause}`);
});
tests.on("test:stderr", ({ message }) => process.stderr.write(message));
tests.on("test:stdout", ({ message }) => process.stdout.write(message));
tests.on("end", () => {
  const ok = counts.failed === 0 && counts.passed > 0;
  console.log(`${ok ? "ok      " : "FAILED  "}page: ${counts.passed} tests passed, ${counts.failed} failed${counts.skipped ? `, ${counts.skipped} skipped` : ""}`);
  process.exitCode = ok ? 0 : 1;
});
