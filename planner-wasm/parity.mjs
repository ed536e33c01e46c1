// Runs the cases that the native planner answered through its WebAssembly build, and compares byte
// for byte.
//
//   node parity.mjs FOLDER < cases.jsonl
//
// FOLDER holds planner_wasm.js, built for Node. A case is {"call", "input", "ok" or "error"}.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const folder = process.argv[2];
if (!folder) {
  console.error("error: which folder holds planner_wasm.js?");
  process.exit(2);
}
const planner = createRequire(import.meta.url)(resolve(folder, "planner_wasm.js"));

/** Plans a batch in one chunk: its options stand on the first line, a row on each other. */
function batch(input) {
  const [options, ...lines] = input.split("\n");
  const batch = new planner.Batch(options);
  try {
    return `${batch.plan(lines.join("\n"))}\n${batch.finish()}`;
  } finally {
    batch.free();
  }
}

function answer({ call, input }) {
  try {
    return { ok: call === "batch" ? batch(input) : planner[call](input) };
  } catch (error) {
    return { error: error.message };
  }
}

let cases = 0;
const calls = {};
for await (const line of createInterface({ input: process.stdin })) {
  const native = JSON.parse(line);
  const wasm = answer(native);
  if (wasm.ok !== native.ok || wasm.error !== native.error) {
    console.error(`error: case ${cases} differs\n${JSON.stringify(native)}\nWebAssembly answers\n${JSON.stringify(wasm)}`);
    process.exit(1);
  }
  cases += 1;
  calls[native.call] = (calls[native.call] ?? 0) + 1;
}
console.log(JSON.stringify({ cases, calls }));
