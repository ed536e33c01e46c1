// The one door between the page and the planner's WebAssembly.
import {
  PlannerError,
  loadPlanner as load,
  type BatchRow,
  type BatchSummary,
  type Mistake,
  type ObjectSync,
  type Planner,
} from "@syncline/planner";
import wasmUrl from "@syncline/planner/planner_wasm_bg.wasm?url";
import { InputError } from "./json";
import { readPlan, type Plan } from "./plan";
import { recordJson, type RecordState } from "./record";
import type { Schema } from "./toml-context";

export type { BatchLane, BatchRow, BatchSummary, Mistake } from "@syncline/planner";

/** The rules of one object, as the planner writes and takes them. */
export type ObjectRules = ObjectSync;

/** One mapped object of a configuration. */
export interface MappedObject {
  readonly tenant: string;
  readonly rules: ObjectRules;
}

export interface CheckedConfig {
  readonly objects: readonly MappedObject[];
  readonly mistakes: readonly Mistake[];
}

let planner: Planner | undefined;

/** Loads the planner. Everything below may be called once this is done. */
export async function loadPlanner(): Promise<void> {
  planner = await load(wasmUrl);
}

function loaded(): Planner {
  if (planner === undefined) throw new InputError("The planner is not loaded.");
  return planner;
}

export function version(): string {
  return loaded().version;
}

/** Returns the JSON Schema of `syncline.toml`. */
export function configSchema(): Schema {
  return loaded().configSchema();
}

/** Checks a `syncline.toml`. Mistakes are an answer; only a text that cannot be read is an error. */
export function checkConfig(toml: string): CheckedConfig {
  const { config, mistakes } = asked(() => loaded().checkConfig(toml));
  const objects = Object.entries(config?.tenants ?? {}).flatMap(([tenant, { objects }]) =>
    objects.map((rules) => ({ tenant, rules })),
  );
  return { objects, mistakes };
}

/** Plans one record. Throws an InputError that names what is wrong with it. */
export function planRecord(rules: ObjectRules, record: RecordState): Plan {
  return planRecordText(rules, recordJson(record));
}

/** Plans one record that is JSON text already. */
export function planRecordText(rules: ObjectRules, record: string): Plan {
  const object = `{"object":${JSON.stringify(rules)},`;
  const input = `${object}${record.slice(1)}`;
  const { text } = loaded();
  return asked(() => readPlan(text.plan_record(input), text.explain(input), text.plan_batch(`${object}"rows":[${record}]}`)));
}

/** Many records, planned chunk by chunk and routed as one round. */
export interface Batch {
  /** Plans a chunk of JSON Lines. A row that cannot be used is refused alone. */
  plan(lines: string): BatchRow[];
  finish(): BatchSummary;
  free(): void;
}

export function beginBatch(rules: ObjectRules): Batch {
  return asked(() => loaded().beginBatch({ object: rules }));
}

/** Every error of the planner says where, what and what to do. */
function asked<Answer>(call: () => Answer): Answer {
  try {
    return call();
  } catch (error) {
    if (error instanceof PlannerError) throw new InputError(`${error.message}; ${error.fix}.`, error.path);
    throw error;
  }
}
