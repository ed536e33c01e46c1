// The exports of wasm-bindgen's glue for the web; the build puts it next to this package's modules.
import type { PlannerText } from "./planner.js";

export type Source = URL | string | Response | Promise<Response> | BufferSource | WebAssembly.Module;
export default function init(options?: { module_or_path?: Source }): Promise<unknown>;
export const version: PlannerText["version"];
export const config_schema: PlannerText["config_schema"];
export const check_config: PlannerText["check_config"];
export const plan_record: PlannerText["plan_record"];
export const plan_change: PlannerText["plan_change"];
export const merge: PlannerText["merge"];
export const canonical_hash: PlannerText["canonical_hash"];
export const Batch: PlannerText["Batch"];
