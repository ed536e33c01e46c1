import init, * as glue from "planner-glue";
import { typed, type Planner } from "./planner.js";

export * from "./index.js";

/** Where the WebAssembly module is. */
export type PlannerSource = URL | string | Response | Promise<Response> | BufferSource | WebAssembly.Module;

let planner: Promise<Planner> | undefined;

/**
 * Loads the planner, once. Without a source it is fetched from beside this module: a browser does so by
 * itself, and bundlers that know `new URL(…, import.meta.url)` put it there.
 */
export function loadPlanner(source?: PlannerSource): Promise<Planner> {
  planner ??= start(source).catch((error: unknown) => {
    planner = undefined;
    throw error;
  });
  return planner;
}

async function start(source: PlannerSource | undefined): Promise<Planner> {
  await init({ module_or_path: source ?? new URL("./planner_wasm_bg.wasm", import.meta.url) });
  return typed(glue);
}
