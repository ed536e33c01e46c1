// The only place where the page calls the planner.
import {
  PlannerError,
  loadPlanner as load,
  type Batch,
  type Mistake,
  type ObjectSync,
  type Planner,
  type RecordAnswer,
  type RecordFacts,
} from "@syncline/planner";
import { InputError } from "./json";
import type { Schema } from "./toml-context";

/** One mapped object of a configuration. */
export interface MappedObject {
  readonly tenant: string;
  readonly rules: ObjectSync;
}

export interface CheckedConfig {
  readonly objects: readonly MappedObject[];
  readonly mistakes: readonly Mistake[];
}

let planner: Planner | undefined;

/** Loads the planner. Everything below may be called once this is done. */
export async function loadPlanner(): Promise<void> {
  planner = await load();
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
export function planRecord(rules: ObjectSync, record: RecordFacts): RecordAnswer {
  return asked(() => loaded().planRecord({ ...record, object: rules }));
}

export function beginBatch(rules: ObjectSync): Batch {
  return asked(() => loaded().beginBatch({ object: rules }));
}

/** Every error of the planner names its place and what to do. */
function asked<Answer>(call: () => Answer): Answer {
  try {
    return call();
  } catch (error) {
    if (error instanceof PlannerError) throw new InputError(`${error.message}; ${error.fix}.`, error.path);
    throw error;
  }
}
