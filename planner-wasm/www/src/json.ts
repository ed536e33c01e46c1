// JSON without loss: a Salesforce number may have more digits than JavaScript's numbers hold, so a
// value is kept here as the JSON text it was written with.
import { ExactNumber, readJson } from "@syncline/planner";

/** JSON as parsed. */
export type Json = null | boolean | string | number | ExactNumber | Json[] | JsonObject;
export interface JsonObject {
  readonly [name: string]: Json;
}

/** The JSON text of one null, boolean, number or string: how a field's value is kept here. */
export type Scalar = string;

/** Why an input cannot be used. `path` names the member that is wrong; empty for the whole. */
export class InputError extends Error {
  constructor(
    message: string,
    readonly path = "",
  ) {
    super(path === "" ? message : `${path}: ${message}`);
    this.name = "InputError";
  }
}

/** Longest text that is read as one JSON value. The planner takes no more. */
export const JSON_CHARS_MAX = 1 << 20;

/** Returns what `text` says. Throws an InputError that a person can read. */
export function parseJson(text: string, charsMax = JSON_CHARS_MAX): Json {
  if (text.length > charsMax) {
    throw new InputError(`It has ${count(text.length)} characters; at most ${count(charsMax)} are read as one JSON value.`);
  }
  try {
    return readJson(text) as Json;
  } catch (error) {
    if (error instanceof RangeError) throw new InputError("It is nested too deeply.");
    throw new InputError(`It is not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
}

export function isObject(json: Json | undefined): json is JsonObject {
  return typeof json === "object" && json !== null && !Array.isArray(json) && !(json instanceof ExactNumber);
}

/** Returns a member that the object has itself; `__proto__` is a name like any other. */
export function member(object: JsonObject, name: string): Json | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

/** Returns the members in order, own ones only. */
export function members(object: JsonObject): [string, Json][] {
  return Object.entries(object);
}

/** Returns the JSON text of a null, boolean, number or string; none for anything else. */
export function scalarOf(json: Json): Scalar | undefined {
  if (json instanceof ExactNumber) return json.digits;
  // An exponent may be too large even for a number of few digits.
  if (typeof json === "number" && !Number.isFinite(json)) return undefined;
  return typeof json === "object" && json !== null ? undefined : JSON.stringify(json);
}

export type ScalarKind = "text" | "number" | "boolean" | "null";

/** Returns what kind of value a scalar is. */
export function kindOf(scalar: Scalar): ScalarKind {
  if (scalar === "null") return "null";
  if (scalar === "true" || scalar === "false") return "boolean";
  return scalar.startsWith('"') ? "text" : "number";
}

/** Returns a scalar as a person reads it: text without quotation marks, nothing for a null. */
export function shown(scalar: Scalar): string {
  const kind = kindOf(scalar);
  if (kind === "text") return JSON.parse(scalar) as string;
  return kind === "null" ? "" : scalar;
}

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

export function isNumber(text: string): boolean {
  return NUMBER.test(text);
}

export function count(number: number): string {
  return number.toLocaleString("en-US");
}
