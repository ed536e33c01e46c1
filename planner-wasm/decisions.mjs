// How many records a second the WebAssembly build decides in Node: one by one, and as rows of a batch.
//
//   node decisions.mjs FOLDER RECORDS.jsonl
//
// FOLDER holds planner_wasm.js, built for Node; the records are those that the native planner decided.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

/** Rows of one chunk, as the page sends them. */
const CHUNK_ROWS = 500;

const [folder, file] = process.argv.slice(2);
const planner = createRequire(import.meta.url)(resolve(folder, "planner_wasm.js"));
const records = readFileSync(file, "utf8").split("\n");

/** Runs `plan` over all records and prints one line of JSON. */
function measure(name, plan) {
  const started = performance.now();
  plan();
  const seconds = (performance.now() - started) / 1000;
  console.log(
    JSON.stringify({
      planner: `WebAssembly in Node, ${name}`,
      records: records.length,
      seconds: Math.round(seconds * 1000) / 1000,
      decisions_per_second: Math.round(records.length / seconds),
      microseconds_per_record: Math.round((seconds * 1e7) / records.length) / 10,
    }),
  );
}

measure("one by one", () => {
  for (const record of records) planner.plan_record(record);
});

const { object } = JSON.parse(records[0]);
const rows = records.map((record) => JSON.stringify({ ...JSON.parse(record), object: undefined }));
measure("as a batch", () => {
  const batch = new planner.Batch(JSON.stringify({ object }));
  for (let from = 0; from < rows.length; from += CHUNK_ROWS) batch.plan(rows.slice(from, from + CHUNK_ROWS).join("\n"));
  batch.finish();
  batch.free();
});
