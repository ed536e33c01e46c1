// A plan as the page reads it: the planner's answer, with every value kept as the digits it has.
import { InputError, isObject, member, members, parseJson, scalarOf, shown, type Json, type JsonObject, type Scalar } from "./json";
import type { BatchLane } from "./planner";
import { SIDE_NAMES, type Column, type Fields, type RecordState, type Side } from "./record";

export type WriteKind = "none" | "create" | "update" | "delete" | "soft_delete";

/** What one side will be written. */
export interface SideWrite {
  readonly write: WriteKind;
  readonly fields: Fields;
}

/** Why a field, or the record, is decided as it is. The sentence is the planner's own. */
export interface Reason {
  readonly rule: string;
  readonly sentence: string;
}

export interface Conflict {
  /** None when one side deleted the record that the other edited. */
  readonly field: string | null;
}

export interface DiscardedValue {
  readonly field: string;
  readonly side: Side;
  readonly value: Scalar;
}

export interface Plan {
  readonly toPostgres: SideWrite;
  readonly toSalesforce: SideWrite;
  /** By which way the record travels to Salesforce if it travels alone. */
  readonly lane: BatchLane;
  readonly conflicts: readonly Conflict[];
  readonly discarded: readonly DiscardedValue[];
  readonly reason: Reason;
  readonly fields: ReadonlyMap<string, Reason>;
}

/** Reads the answers of `plan_record`, `explain` and (for a batch of one) `plan_batch`. */
export function readPlan(planText: string, explainText: string, batchText: string): Plan {
  const plan = asObject(parseJson(planText));
  const said = asObject(parseJson(explainText));
  const summary = asObject(member(asObject(parseJson(batchText)), "summary"));
  const routes = member(summary, "routes");
  return {
    lane: text(Array.isArray(routes) ? routes[0] : undefined) as BatchLane,
    toPostgres: readWrite(member(plan, "to_postgres")),
    toSalesforce: readWrite(member(plan, "to_salesforce")),
    conflicts: list(plan, "conflicts").map((conflict) => ({ field: textOrNull(conflict["field"]) })),
    discarded: list(plan, "discarded").map((lost) => ({
      field: text(lost["field"]),
      side: text(lost["side"]) as Side,
      value: scalarOf(lost["value"] ?? null) ?? "null",
    })),
    reason: readReason(said),
    fields: new Map(members(asObject(member(said, "fields"))).map(([name, line]) => [name, readReason(asObject(line))])),
  };
}

function readWrite(json: Json | undefined): SideWrite {
  const write = asObject(json);
  const fields = member(write, "fields");
  const values = isObject(fields) ? members(fields) : [];
  return {
    write: text(write["write"]) as WriteKind,
    fields: new Map(values.map(([name, value]) => [name, scalarOf(value) ?? "null"])),
  };
}

function readReason(json: JsonObject): Reason {
  return { rule: text(json["rule"]), sentence: text(json["sentence"]) };
}

function asObject(json: Json | undefined): JsonObject {
  if (isObject(json)) return json;
  throw new InputError("The planner's answer has an unknown form.");
}

function list(json: JsonObject, name: string): JsonObject[] {
  const value = member(json, name);
  return Array.isArray(value) ? value.map(asObject) : [];
}

function text(json: Json | undefined): string {
  return typeof json === "string" ? json : "";
}

function textOrNull(json: Json | undefined): string | null {
  return typeof json === "string" ? json : null;
}

// What a plan means to a reader.

/** What becomes of a field or a record, at a glance. */
export type Verdict = "same" | "postgres" | "salesforce" | "both" | "conflict" | "waits";

export const VERDICT_NAMES: Readonly<Record<Verdict, string>> = {
  same: "In step",
  postgres: "Write to Postgres",
  salesforce: "Write to Salesforce",
  both: "Write to both",
  conflict: "Needs a person",
  waits: "Waits",
};

/** Returns what becomes of one field. */
export function fieldVerdict(plan: Plan, field: string): Verdict {
  const rule = plan.fields.get(field)?.rule;
  if (rule === "conflict" || plan.conflicts.some((conflict) => conflict.field === null)) return "conflict";
  if (rule === "write_under_way" || rule === "not_seen" || rule === "automation_override") return "waits";
  return written(plan.toPostgres.fields.has(field), plan.toSalesforce.fields.has(field)) ?? "same";
}

/** Returns what becomes of the record. A conflict comes first, whatever else travels. */
export function recordVerdict(plan: Plan): Verdict {
  if (plan.conflicts.length > 0) return "conflict";
  if (plan.reason.rule === "write_under_way") return "waits";
  return written(plan.toPostgres.write !== "none", plan.toSalesforce.write !== "none") ?? "same";
}

function written(postgres: boolean, salesforce: boolean): Verdict | undefined {
  if (postgres && salesforce) return "both";
  if (postgres) return "postgres";
  return salesforce ? "salesforce" : undefined;
}

/** Returns why a field is decided as it is; where the record as a whole decides, why that is. */
export function fieldReason(plan: Plan, field: string): Reason {
  return plan.fields.get(field) ?? plan.reason;
}

/** Returns what a side holds once the plan is carried out; null if it lacks the record. */
export function afterwards(record: RecordState, plan: Plan, side: Side): Fields | null {
  const write = side === "postgres" ? plan.toPostgres : plan.toSalesforce;
  if (write.write === "delete" || write.write === "soft_delete") return null;
  const held = record[side];
  if (held === null && write.write === "none") return null;
  return new Map([...(held ?? []), ...write.fields]);
}

/** Returns a value in words: a null and a field that was never seen are told apart. */
export function inWords(value: Scalar | undefined): string {
  if (value === undefined) return "not seen";
  return value === "null" ? "null" : shown(value);
}

export const WRITE_NAMES: Readonly<Record<WriteKind, string>> = {
  none: "Nothing is written",
  create: "Create the record",
  update: "Update these fields",
  delete: "Delete the record",
  soft_delete: "Mark the row as deleted",
};

export function sideName(side: Column): string {
  return SIDE_NAMES[side];
}
