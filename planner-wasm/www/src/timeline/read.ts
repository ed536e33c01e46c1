// Reads what `syncline explain --json` writes.
import type { ObjectSync, RecordFacts } from "@syncline/planner";
import { InputError, isObject, isValue, member, shown, type Json, type JsonObject } from "../json";
import { inWords as valueInWords } from "../plan";
import { readRecord } from "../record";
import { STEP_KINDS, type History, type Step, type StepKind } from "./history";

/** Most entries that are read; the engine writes no more. */
const ENTRIES_MAX = 10_000;

/** Reads a history. Throws an InputError that names the entry that is wrong. */
export function readHistory(json: Json): History {
  const entries = isObject(json) ? member(json, "entries") : undefined;
  if (!isObject(json) || !Array.isArray(entries)) throw new InputError("It is not the output of syncline explain --json: it has no entries.");
  if (entries.length === 0) throw new InputError("The history has no entries.");
  if (entries.length > ENTRIES_MAX) throw new InputError(`The history has more than ${ENTRIES_MAX} entries.`);
  const rules = member(json, "rules");
  const byHash = isObject(rules) ? rules : {};
  return {
    object: word(json, "object"),
    externalId: word(json, "external_id"),
    state: member(json, "state") === null ? "gone from both sides" : [spaced(word(json, "state")), word(json, "reason")].filter((text) => text !== "").join(": "),
    truncated: member(json, "truncated") === true,
    steps: entries.map((entry, index) => readStep(entry, byHash, `entries[${index}]`)),
  };
}

function readStep(json: Json, rules: JsonObject, path: string): Step {
  if (!isObject(json)) throw new InputError("An entry is an object.", path);
  const kind = STEP_KINDS.find((name) => name === member(json, "kind"));
  if (kind === undefined) throw new InputError(`It must be one of ${STEP_KINDS.join(", ")}.`, `${path}.kind`);
  const decision = kind === "decided";
  const used = decision ? member(rules, word(json, "rules")) : undefined;
  return {
    kind,
    at: word(json, "at"),
    title: TITLES[kind](json),
    details: detailsOf(json, kind),
    facts: decision ? factsOf(json, path) : undefined,
    rules: isObject(used) ? (used as unknown as ObjectSync) : undefined,
  };
}

function factsOf(json: JsonObject, path: string): RecordFacts | undefined {
  const input = member(json, "input") ?? null;
  if (input === null) return undefined;
  try {
    return readRecord(input);
  } catch (error) {
    throw error instanceof InputError ? new InputError(error.message, `${path}.input`) : error;
  }
}

/** A member as a word; empty if it is missing, a list or an object. */
function word(json: JsonObject, name: string): string {
  const value = member(json, name);
  return isValue(value) ? shown(value) : "";
}

function spaced(text: string): string {
  return text.replaceAll("_", " ").replace(/\bsalesforce\b/, "Salesforce").replace(/\bpostgres\b/, "Postgres");
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function fieldOf(json: JsonObject): string {
  return word(json, "field") || "the whole record";
}

const TITLES: Readonly<Record<StepKind, (json: JsonObject) => string>> = {
  observed: (json) => `${word(json, "operation")} in ${spaced(word(json, "side"))}`,
  decided: (json) => spaced(ruleOf(json)),
  discarded_value: (json) => `${fieldOf(json)} of ${spaced(word(json, "side"))} lost`,
  conflict_opened: (json) => `${fieldOf(json)} waits for a person`,
  conflict_closed: (json) => `${fieldOf(json)}: ${spaced(word(json, "resolution") || word(json, "state"))}`,
  write_recorded: (json) => `${word(json, "action")} in Salesforce`,
  write_ended: (json) => spaced(word(json, "state")),
  settled: (json) => spaced(word(json, "operation")),
  stopped: (json) => word(json, "code"),
  resumed: (json) => spaced(word(json, "outcome")),
};

function ruleOf(json: JsonObject): string {
  const plan = member(json, "plan");
  const explanation = isObject(plan) ? member(plan, "explanation") : undefined;
  return isObject(explanation) ? word(explanation, "record") : "";
}

/** Members that the title, or the decision made again, shows already. */
const SHOWN_ELSEWHERE = new Set(["at", "kind", "plan", "input", "rules", "operation", "side", "action"]);

function detailsOf(json: JsonObject, kind: StepKind): [string, string][] {
  const rows = Object.entries(json).flatMap(([name, value]): [string, string][] => {
    if (SHOWN_ELSEWHERE.has(name) || value === null) return [];
    if (isObject(value)) return Object.entries(value).map(([field, held]) => [field, inWords(held)]);
    return [[capital(spaced(name)), inWords(value)]];
  });
  const plan = member(json, "plan");
  return kind === "decided" && isObject(plan) ? [...writesOf(plan), ...rows] : rows;
}

function writesOf(plan: JsonObject): [string, string][] {
  return (["to_postgres", "to_salesforce"] as const).map((side) => {
    const write = member(plan, side);
    const fields = isObject(write) ? member(write, "fields") : undefined;
    const values = isObject(fields) ? Object.entries(fields).map(([field, value]) => `${field} = ${inWords(value)}`) : [];
    return [capital(spaced(side)), [isObject(write) ? spaced(word(write, "write")) : "none", ...values].join(", ")];
  });
}

/** Longest value that is shown whole. */
const SHOWN_CHARS_MAX = 2_000;

function inWords(json: Json): string {
  const text = isValue(json) ? valueInWords(json) : JSON.stringify(json);
  return text.length > SHOWN_CHARS_MAX ? `${text.slice(0, SHOWN_CHARS_MAX)} …` : text;
}
