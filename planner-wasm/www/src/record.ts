// One record as the page holds it: what both sides agreed on, what each side holds, and the
// circumstances that may change a decision. Reads and writes the planner's JSON.
import { InputError, isObject, members, scalarOf, type Json, type JsonObject, type Scalar } from "./json";

export type Side = "postgres" | "salesforce";
export type Column = "base" | Side;
export const SIDES: readonly Side[] = ["postgres", "salesforce"];
export const COLUMNS: readonly Column[] = ["base", "postgres", "salesforce"];
export const SIDE_NAMES: Readonly<Record<Column, string>> = { base: "Base", postgres: "Postgres", salesforce: "Salesforce" };

/** Values by field. A field that is not there was never seen; a null is a value. */
export type Fields = ReadonlyMap<string, Scalar>;

/** What automation did to a field that we wrote. */
export interface AutomationOverride {
  readonly count: number;
  readonly sent: Scalar;
  readonly stored: Scalar;
}

export interface RecordState {
  readonly externalId: string;
  /** Null if both sides never agreed. */
  readonly base: Fields | null;
  /** Null if the side lacks the record. */
  readonly postgres: Fields | null;
  readonly salesforce: Fields | null;
  readonly changedAtMs: Readonly<Partial<Record<Side, number>>>;
  readonly clockSkewMs: number;
  readonly underWay: readonly string[];
  readonly lateEffects: readonly string[];
  readonly automation_overrides: ReadonlyMap<string, AutomationOverride>;
  /** Facts that a recorded history may hold and that this page keeps as they are. */
  readonly further: ReadonlyMap<string, string>;
}

export const EMPTY_RECORD: RecordState = {
  externalId: "",
  base: null,
  postgres: null,
  salesforce: null,
  changedAtMs: {},
  clockSkewMs: 0,
  underWay: [],
  lateEffects: [],
  automation_overrides: new Map(),
  further: new Map(),
};

/** Members of the planner's `RecordFacts` that have no editor here. */
const FURTHER = ["agreed", "presence", "under_way_action"];

/** Returns the record with one value set; `undefined` makes the field one that was never seen. */
export function withValue(record: RecordState, column: Column, field: string, value: Scalar | undefined): RecordState {
  const fields = new Map(record[column] ?? []);
  if (value === undefined) fields.delete(field);
  else fields.set(field, value);
  return { ...record, [column]: fields };
}

/** Returns the record with a column emptied (the side lacks it), or filled from what is known. */
export function withPresence(record: RecordState, column: Column, present: boolean): RecordState {
  const known = record.base ?? record.postgres ?? record.salesforce ?? new Map();
  // What was recorded about the absence is not true of another one.
  return { ...record, [column]: present ? new Map(known) : null, further: new Map() };
}

// To the planner.

/** Returns the record's members as the planner takes them, without the object's rules. */
export function recordJson(record: RecordState): string {
  const parts = [
    `"external_id":${JSON.stringify(record.externalId)}`,
    ...COLUMNS.map((column) => `"${column}":${fieldsJson(record[column])}`),
  ];
  if (Object.keys(record.changedAtMs).length > 0) parts.push(`"changed_at_ms":${JSON.stringify(record.changedAtMs)}`);
  if (record.clockSkewMs !== 0) parts.push(`"clock_skew_ms":${record.clockSkewMs}`);
  if (record.underWay.length > 0) parts.push(`"under_way":${JSON.stringify(record.underWay)}`);
  if (record.lateEffects.length > 0) parts.push(`"late_writes":${JSON.stringify(record.lateEffects)}`);
  if (record.automation_overrides.size > 0) parts.push(`"automation_overrides":${bouncesJson(record.automation_overrides)}`);
  for (const [name, value] of record.further) parts.push(`${JSON.stringify(name)}:${value}`);
  return `{${parts.join(",")}}`;
}

function fieldsJson(fields: Fields | null): string {
  if (fields === null) return "null";
  return `{${[...fields].map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;
}

function bouncesJson(automation_overrides: ReadonlyMap<string, AutomationOverride>): string {
  const lines = [...automation_overrides].map(
    ([name, { count, sent, stored }]) => `${JSON.stringify(name)}:{"count":${count},"sent":${sent},"stored":${stored}}`,
  );
  return `{${lines.join(",")}}`;
}

// From JSON.

/** Reads a record. Throws an InputError that names the member that is wrong. */
export function readRecord(json: Json): RecordState {
  if (!isObject(json)) throw new InputError("A record is a JSON object.");
  const read = new Map(members(json));
  const take = (name: string): Json | undefined => {
    const value = read.get(name);
    read.delete(name);
    return value === null ? undefined : value;
  };
  take("object");
  const record: RecordState = {
    externalId: text(take("external_id"), "external_id"),
    base: fields(take("base"), "base"),
    postgres: fields(take("postgres"), "postgres"),
    salesforce: fields(take("salesforce"), "salesforce"),
    changedAtMs: moments(take("changed_at_ms")),
    clockSkewMs: whole(take("clock_skew_ms"), "clock_skew_ms") ?? 0,
    underWay: names(take("under_way"), "under_way"),
    lateEffects: names(take("late_writes"), "late_writes"),
    automation_overrides: automation_overrides(take("automation_overrides")),
    further: new Map(FURTHER.flatMap((name) => furtherOf(name, take(name)))),
  };
  const [unknown] = read.keys();
  if (unknown !== undefined) throw new InputError("It is unknown.", unknown);
  return record;
}

function furtherOf(name: string, json: Json | undefined): [string, string][] {
  return json === undefined ? [] : [[name, JSON.stringify(json)]];
}

function text(json: Json | undefined, path: string): string {
  if (typeof json === "string") return json;
  throw new InputError(json === undefined ? "It is missing." : "It must be a text.", path);
}

function fields(json: Json | undefined, path: string): Fields | null {
  return json === undefined ? null : readFields(json, path);
}

/** Reads values by field. */
export function readFields(json: Json, path: string): Fields {
  if (!isObject(json)) throw new InputError("It must be an object of fields, or null.", path);
  return new Map(members(json).map(([name, value]) => [name, scalar(value, `${path}.${name}`)]));
}

function scalar(json: Json, path: string): Scalar {
  const value = scalarOf(json);
  if (value === undefined) throw new InputError("A field's value is a text, a number, true, false or null.", path);
  return value;
}

function whole(json: Json | undefined, path: string): number | undefined {
  if (json === undefined) return undefined;
  if (typeof json === "number" && Number.isSafeInteger(json)) return json;
  throw new InputError("It must be a whole number.", path);
}

function moments(json: Json | undefined): RecordState["changedAtMs"] {
  const read: Partial<Record<Side, number>> = {};
  for (const side of SIDES) {
    const at = whole(object(json, "changed_at_ms")?.[side], `changed_at_ms.${side}`);
    if (at !== undefined) read[side] = at;
  }
  return read;
}

function object(json: Json | undefined, path: string): JsonObject | undefined {
  if (json === undefined || isObject(json)) return json;
  throw new InputError("It must be an object.", path);
}

function names(json: Json | undefined, path: string): string[] {
  if (json === undefined) return [];
  if (Array.isArray(json) && json.every((name) => typeof name === "string")) return json as string[];
  throw new InputError("It must be a list of fields.", path);
}

function automation_overrides(json: Json | undefined): ReadonlyMap<string, AutomationOverride> {
  const read = object(json, "automation_overrides") ?? {};
  return new Map(
    members(read).map(([name, value]) => {
      const path = `automation_overrides.${name}`;
      const bounce = object(value, path) ?? {};
      return [
        name,
        {
          count: whole(bounce["count"], `${path}.count`) ?? 0,
          sent: scalar(bounce["sent"] ?? null, `${path}.sent`),
          stored: scalar(bounce["stored"] ?? null, `${path}.stored`),
        },
      ];
    }),
  );
}
