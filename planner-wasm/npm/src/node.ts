import { readFile } from "node:fs/promises";
import init, * as glue from "planner-glue";
import { typed, type Planner } from "./planner.js";

export * from "./index.js";

/** The WebAssembly module, if it is not the one next to this file. */
export type PlannerSource = BufferSource | WebAssembly.Module;

let planner: Promise<Planner> | undefined;

/** Loads the planner, once. Without a source it is read from the folder of this module. */
export function loadPlanner(source?: PlannerSource): Promise<Planner> {
  planner ??= start(source).catch((error: unknown) => {
    planner = undefined;
    throw error;
  });
  return planner;
}

async function start(source: PlannerSource | undefined): Promise<Planner> {
  await init({ module_or_path: source ?? (await readFile(new URL("./planner_wasm_bg.wasm", import.meta.url))) });
  return typed(glue);
}
