// What a plan means to a reader.
import { writeJson, type RecordAnswer, type RecordFacts, type Rule, type SideWrite, type Side, type Value, type WriteKind } from "@syncline/planner";
import { member, shown } from "./json";
import type { Fields } from "./record";

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

/** Returns the values that a side will be written. */
export function writtenFields(write: SideWrite): Fields {
  return "fields" in write ? write.fields : {};
}

/** Returns what becomes of one field. */
export function fieldVerdict(plan: RecordAnswer, field: string): Verdict {
  const rule = member(plan.why.fields, field)?.rule;
  if (rule === "conflict" || plan.conflicts.some((conflict) => conflict.field === null)) return "conflict";
  if (rule === "write_under_way" || rule === "not_seen" || rule === "automation_override") return "waits";
  const isWritten = (write: SideWrite): boolean => Object.hasOwn(writtenFields(write), field);
  return written(isWritten(plan.to_postgres), isWritten(plan.to_salesforce));
}

/** Returns the result for the record. A conflict comes first, whatever else is written. */
export function recordVerdict(plan: RecordAnswer): Verdict {
  return verdictOf(plan.why.rule, plan.conflicts.length, plan.to_postgres.write, plan.to_salesforce.write);
}

/** Returns what becomes of a record of which only this is known. */
export function verdictOf(rule: Rule, conflicts: number, toPostgres: WriteKind, toSalesforce: WriteKind): Verdict {
  if (conflicts > 0) return "conflict";
  if (rule === "write_under_way") return "waits";
  return written(toPostgres !== "none", toSalesforce !== "none");
}

function written(postgres: boolean, salesforce: boolean): Verdict {
  if (postgres && salesforce) return "both";
  if (postgres) return "postgres";
  return salesforce ? "salesforce" : "same";
}

/** Returns why a field is decided as it is; where the record as a whole decides, why that is. */
export function fieldReason(plan: RecordAnswer, field: string): string {
  return (member(plan.why.fields, field) ?? plan.why).sentence;
}

/** Returns a side's values after the plan was performed; null if it lacks the record. */
export function afterwards(record: RecordFacts, plan: RecordAnswer, side: Side): Fields | null {
  const write = side === "postgres" ? plan.to_postgres : plan.to_salesforce;
  if (write.write === "delete" || write.write === "soft_delete") return null;
  const held = record[side];
  if (held === null && write.write === "none") return null;
  return { ...held, ...writtenFields(write) };
}

/** Returns whether two values are written alike. */
export function isSame(one: Value | undefined, other: Value | undefined): boolean {
  return one === other || (one !== undefined && other !== undefined && writeJson(one) === writeJson(other));
}

/** Returns a value in words: a null and a field that was never seen are told apart. */
export function inWords(value: Value | undefined): string {
  if (value === undefined) return "not seen";
  return value === null ? "null" : shown(value);
}

export const WRITE_NAMES: Readonly<Record<WriteKind, string>> = {
  none: "Nothing is written",
  create: "Create the record",
  update: "Update these fields",
  delete: "Delete the record",
  soft_delete: "Mark the row as deleted",
};
