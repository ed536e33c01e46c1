// How many records a second are decided by the WebAssembly build in Node.
//
//   node decisions.mjs FOLDER RECORDS.jsonl
//
// FOLDER holds planner_wasm.js, built for Node; the records are those that the native planner decided.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [folder, file] = process.argv.slice(2);
const planner = createRequire(import.meta.url)(resolve(folder, "planner_wasm.js"));
const records = readFileSync(file, "utf8").split("\n");

const started = performance.now();
for (const record of records) planner.plan_record(record);
const seconds = (performance.now() - started) / 1000;
console.log(
  JSON.stringify({
    planner: "WebAssembly in Node",
    records: records.length,
    seconds: Math.round(seconds * 1000) / 1000,
    decisions_per_second: Math.round(records.length / seconds),
  }),
);
