// One record as the planner takes it (`RecordFacts`): what both sides agreed on, what each side holds,
// and the circumstances that may change a decision.
import type { RecordFacts, Side, Value } from "@syncline/planner";
import { InputError, isObject, isValue, member, type Json } from "./json";

export type Column = "base" | Side;
export const SIDES: readonly Side[] = ["postgres", "salesforce"];
export const COLUMNS: readonly Column[] = ["base", "postgres", "salesforce"];
export const SIDE_NAMES: Readonly<Record<Column, string>> = { base: "Base", postgres: "Postgres", salesforce: "Salesforce" };

/** Values by field. A field that is not there was never seen; a null is a value. */
export type Fields = { readonly [field: string]: Value };

/** Returns the value of a field in a column, if the column has the record and the field. */
export function valueIn(record: RecordFacts, column: Column, field: string): Value | undefined {
  const fields = record[column];
  return fields === null ? undefined : member(fields, field);
}

/** Returns the names of the fields in any column, each once. */
export function fieldsOf(record: RecordFacts): string[] {
  return [...new Set(COLUMNS.flatMap((column) => Object.keys(record[column] ?? {})))];
}

/** Returns the record with one value set; `undefined` makes the field one that was never seen. */
export function withValue(record: RecordFacts, column: Column, field: string, value: Value | undefined): RecordFacts {
  const fields = record[column] ?? {};
  return { ...record, [column]: value === undefined ? without(fields, field) : { ...fields, [field]: value } };
}

/** Returns the record without a field. */
export function withoutField(record: RecordFacts, field: string): RecordFacts {
  const left = (column: Column) => record[column] && without(record[column], field);
  return { ...record, base: left("base"), postgres: left("postgres"), salesforce: left("salesforce") };
}

/** Returns the record with a column emptied (the side lacks it), or filled from what is known. */
export function withPresence(record: RecordFacts, column: Column, present: boolean): RecordFacts {
  const known = record.base ?? record.postgres ?? record.salesforce ?? {};
  // What was recorded about the absence is not true of another one.
  const { agreed: _agreed, presence: _presence, under_way_action: _action, ...rest } = record;
  return { ...rest, [column]: present ? { ...known } : null };
}

function without<T>(object: { readonly [name: string]: T }, name: string): { [name: string]: T } {
  return Object.fromEntries(Object.entries(object).filter(([other]) => other !== name));
}

// From JSON. The planner judges a record; here only its shape is checked, so that it can be shown.

/** Reads a record. Throws an InputError that names the member that is wrong. */
export function readRecord(json: Json): RecordFacts {
  if (!isObject(json)) throw new InputError("A record is a JSON object.");
  const read: [string, Json][] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name === "object" || value === null) continue;
    const check = member(CHECKS, name);
    if (check === undefined) throw new InputError("It is unknown.", name);
    check(value, name);
    read.push([name, value]);
  }
  if (member(json, "external_id") === undefined) throw new InputError("It is missing.", "external_id");
  const { external_id, base = null, postgres = null, salesforce = null, ...rest } = Object.fromEntries(read) as Partial<RecordFacts>;
  return { external_id: external_id ?? "", base, postgres, salesforce, ...rest };
}

type Check = (json: Json, path: string) => void;

const CHECKS: { readonly [name in keyof RecordFacts]-?: Check } = {
  external_id: must("It must be a text.", (json) => typeof json === "string"),
  base: readFields,
  postgres: readFields,
  salesforce: readFields,
  soft_deleted: readFields,
  agreed: must("It must be true or false.", isFlag),
  filtered_out: must("It must be true or false.", isFlag),
  presence: must("It must be an object.", isObject),
  changed_at_ms: each((json, path) => wholeOrNull(json, path)),
  edited: each((json, path) => {
    if (!isObject(json)) throw new InputError("It must be an object.", path);
    for (const [field, time] of Object.entries(json)) {
      if (!isObject(time)) throw new InputError("It must be an object.", `${path}.${field}`);
      whole(member(time, "at_ms") ?? null, `${path}.${field}.at_ms`);
      wholeOrNull(member(time, "since_ms") ?? null, `${path}.${field}.since_ms`);
    }
  }),
  late_writes: must("It must be a list of fields.", isListOfTexts),
  automation_overrides: each((json, path) => {
    if (!isObject(json)) throw new InputError("It must be an object.", path);
    whole(member(json, "count") ?? 0, `${path}.count`);
    for (const name of ["sent", "stored"]) value(member(json, name) ?? null, `${path}.${name}`);
  }),
  overwritten: each((json, path) => {
    if (!isObject(json)) throw new InputError("It must be an object.", path);
    for (const name of ["value", "base"]) value(member(json, name) ?? null, `${path}.${name}`);
  }),
  under_way: must("It must be a list of fields.", isListOfTexts),
  under_way_action: must("It must be a text.", (json) => typeof json === "string"),
  clock_skew_ms: whole,
};

function must(message: string, holds: (json: Json) => boolean): Check {
  return (json, path) => {
    if (!holds(json)) throw new InputError(message, path);
  };
}

function isFlag(json: Json): boolean {
  return typeof json === "boolean";
}

function isListOfTexts(json: Json): boolean {
  return Array.isArray(json) && json.every((name) => typeof name === "string");
}

function each(check: Check): Check {
  return (json, path) => {
    if (!isObject(json)) throw new InputError("It must be an object.", path);
    for (const [name, inner] of Object.entries(json)) check(inner, `${path}.${name}`);
  };
}

function whole(json: Json, path: string): void {
  if (!Number.isSafeInteger(json)) throw new InputError("It must be a whole number.", path);
}

function wholeOrNull(json: Json, path: string): void {
  if (json !== null) whole(json, path);
}

function value(json: Json, path: string): void {
  if (!isValue(json)) throw new InputError("A field's value is a text, a number, true, false or null.", path);
}

/** Reads values by field. */
export function readFields(json: Json, path: string): Fields {
  if (!isObject(json)) throw new InputError("It must be an object of fields, or null.", path);
  for (const [name, held] of Object.entries(json)) value(held, `${path}.${name}`);
  return json as Fields;
}
