// JSON that a person brings: read by the planner's package, so that no digit is lost, and with errors
// that a person can read.
import { ExactNumber, readJson, type Value } from "@syncline/planner";

/** JSON as parsed. */
export type Json = Value | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [name: string]: Json;
}

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

/** Returns the JSON value in `text`. Throws an InputError that a person can read. */
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

/** Returns whether JSON is a field's value. An exponent may be too large even for a number of few digits. */
export function isValue(json: Json | undefined): json is Value {
  if (typeof json === "number") return Number.isFinite(json);
  return json === null || typeof json === "boolean" || typeof json === "string" || json instanceof ExactNumber;
}

/** Returns a member that the object has itself; `__proto__` is a name like any other. */
export function member<T>(object: { readonly [name: string]: T }, name: string): T | undefined {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

/** Returns a value as a person reads it: nothing for a null. */
export function shown(value: Value): string {
  return value === null ? "" : String(value);
}

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

export function isNumber(text: string): boolean {
  return NUMBER.test(text);
}

export function count(number: number): string {
  return number.toLocaleString("en-US");
}
