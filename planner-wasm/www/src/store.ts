// The one state of the page and the only place that changes it. What is derived from it (the checked
// configuration, the plan) is computed here too, once per change.
import type { RecordAnswer, RecordFacts, Value } from "@syncline/planner";
import { useLayoutEffect, useState } from "preact/hooks";
import { NO_BATCH, type BatchState } from "./batch/state";
import { SAMPLE_CONFIG, exampleNamed, firstExample } from "./examples";
import { InputError } from "./json";
import { checkConfig, planRecord, type CheckedConfig, type MappedObject } from "./planner";
import { withPresence, withValue, type Column } from "./record";
import { readAddress, unpack, writeAddress, type Shared, type View } from "./share";
import type { History } from "./timeline/history";

export interface State {
  /** The planner is loaded, or why it is not. */
  readonly planner: "loading" | "ready" | { readonly failed: string };
  readonly view: View;
  readonly config: string;
  /** The object that the record belongs to. */
  readonly object: string;
  readonly record: RecordFacts;
  /** The example that the record was taken from and not changed since. */
  readonly example: string | undefined;
  readonly batch: BatchState;
  /** The history in the timeline, and the selected entry. */
  readonly history: History | undefined;
  readonly step: number;
  /** What a person is to be told; screen readers read it out. */
  readonly notice: Notice | undefined;
}

export interface Notice {
  readonly text: string;
  readonly kind: "done" | "problem";
}

/** What follows from the state. */
export interface Derived {
  readonly checked: CheckedConfig;
  /** Objects of the configuration; of the last one without mistakes while this one has some. */
  readonly objects: readonly MappedObject[];
  readonly mapped: MappedObject | undefined;
  readonly plan: RecordAnswer | undefined;
  /** Why there is no plan. */
  readonly problem: InputError | undefined;
}

const NOTHING: Derived = { checked: { objects: [], mistakes: [] }, objects: [], mapped: undefined, plan: undefined, problem: undefined };

let state: State = {
  planner: "loading",
  view: "record",
  config: SAMPLE_CONFIG,
  object: "Account",
  record: firstExample().record,
  example: firstExample().name,
  batch: NO_BATCH,
  history: undefined,
  step: 0,
  notice: undefined,
};
let derived: Derived = NOTHING;
const listeners = new Set<() => void>();

export function current(): State {
  return state;
}

export function currentDerived(): Derived {
  return derived;
}

/** Changes the state, computes what follows and draws again what shows it. */
export function change(part: Partial<State>): void {
  const before = state;
  state = { ...state, ...part };
  if (state.planner === "ready") derived = derive(before);
  for (const listener of listeners) listener();
}

function derive(before: State): Derived {
  const sameConfig = before.config === state.config && before.planner === "ready";
  const checked = sameConfig ? derived.checked : check(state.config);
  const objects = checked.objects.length > 0 ? checked.objects : derived.objects;
  const mapped = objects.find(({ rules }) => rules.object === state.object) ?? objects[0];
  if (mapped === undefined) return { checked, objects, mapped, plan: undefined, problem: undefined };
  const sameRecord = before.record === state.record && before.object === state.object;
  if (sameConfig && sameRecord) return { ...derived, checked };
  return { checked, objects, mapped, ...plan(mapped) };
}

function check(config: string): CheckedConfig {
  try {
    return checkConfig(config);
  } catch (error) {
    const problem = error instanceof InputError ? error.message : String(error);
    return { objects: [], mistakes: [{ line: 1, path: "", problem, fix: "Shorten it." }] };
  }
}

function plan(mapped: MappedObject): Pick<Derived, "plan" | "problem"> {
  try {
    return { plan: planRecord(mapped.rules, state.record), problem: undefined };
  } catch (error) {
    return { plan: undefined, problem: error instanceof InputError ? error : new InputError(String(error)) };
  }
}

/** Gives a component the state, again after each change. */
export function useStore(): State & { readonly derived: Derived } {
  const [, draw] = useState(0);
  // Before the browser paints: a change between drawing and listening would be missed, and the planner
  // may be loaded just then.
  useLayoutEffect(() => {
    const listener = (): void => draw((count) => count + 1);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }, []);
  return { ...state, derived };
}

// What a person does.

export function notify(text: string, kind: Notice["kind"] = "done"): void {
  change({ notice: { text, kind } });
}

export function setValue(column: Column, field: string, value: Value | undefined): void {
  change({ record: withValue(state.record, column, field, value), example: undefined });
}

export function setPresence(column: Column, present: boolean): void {
  change({ record: withPresence(state.record, column, present), example: undefined });
}

export function setRecord(record: RecordFacts): void {
  change({ record, example: undefined });
}

export function show(view: View): void {
  change({ view });
  history.replaceState(null, "", writeAddress(view));
}

export function chooseExample(name: string): void {
  const example = exampleNamed(name);
  if (example) change({ record: example.record, example: name, object: "Account" });
}

export function takeShared({ config, object, record }: Shared, from: string): void {
  change({ config, object, record, example: undefined, notice: { text: `Opened ${from}.`, kind: "done" } });
}

/** Follows the address. A link that cannot be read changes nothing and shows the reason. */
export async function followAddress(): Promise<void> {
  try {
    const address = readAddress(location.hash);
    if (address.view) change({ view: address.view });
    if (address.example) chooseExample(address.example);
    if (address.state) takeShared(await unpack(address.state), "the shared link");
  } catch (error) {
    notify(error instanceof Error ? error.message : String(error), "problem");
  }
}
