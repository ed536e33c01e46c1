// JSON without lost digits. JavaScript's numbers have 15 reliable significant digits; a database's numbers
// can have more.

import { PlannerError } from "./error.js";

/** A number with more digits than a JavaScript number reliably has. */
export class ExactNumber {
  /** The number as JSON writes it. */
  readonly digits: string;

  constructor(digits: string) {
    if (!/^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(digits)) {
      throw new PlannerError({ path: "", message: `${digits.slice(0, 40)} is not a number`, fix: "write it as JSON does" });
    }
    this.digits = digits;
  }

  toString(): string {
    return this.digits;
  }

  /** Shown as text wherever something else writes it as JSON: it would lose digits as a number. */
  toJSON(): string {
    return this.digits;
  }
}

/** Any JSON value. */
export type Json = null | boolean | number | bigint | ExactNumber | string | readonly Json[] | { readonly [member: string]: Json | undefined };

/** Objects and arrays within one another, as far as the planner reads them. */
const DEPTH_MAX = 127;

/** Reads a JSON text. A number with more than 15 significant digits becomes an `ExactNumber`. */
export function readJson(text: string): unknown {
  if (!/[\d.]{16}/.test(text)) return JSON.parse(text);
  // Numbers that are too long are wrapped as texts that start as no text of the input does.
  let mark = "number ";
  while (text.includes(mark)) mark = `${mark}of `;
  const wrapped = text.replace(/"(?:[^"\\]+|\\.)*"|-?\d[\d.eE+-]*/gs, (token) =>
    token.startsWith('"') || significantDigits(token) <= 15 ? token : `"${mark}${token}"`,
  );
  JSON.parse(text);
  return JSON.parse(wrapped, (_, value: unknown) =>
    typeof value === "string" && value.startsWith(mark) ? new ExactNumber(value.slice(mark.length)) : value,
  );
}

function significantDigits(number: string): number {
  const mantissa = number.replace(/[eE].*$/, "").replace(/[-.]/g, "");
  return mantissa.replace(/^0+/, "").length;
}

/** Writes a value as JSON, every digit of its numbers with it. */
export function writeJson(value: unknown): string {
  return writeJsonAt(value, "");
}

/** Writes a value that is at `path` of an input. */
export function writeJsonAt(value: unknown, path: string): string {
  return written(value, path, 0);
}

function written(value: unknown, path: string, depth: number): string {
  switch (typeof value) {
    case "string":
    case "boolean":
      return JSON.stringify(value);
    case "bigint":
      return value.toString();
    case "number":
      if (Number.isFinite(value)) return JSON.stringify(value);
      throw new PlannerError({ path, message: `${value} is not a JSON value`, fix: "give a finite number, or null" });
    case "object":
      if (value === null) return "null";
      if (value instanceof ExactNumber) return value.digits;
      if (depth >= DEPTH_MAX) throw new PlannerError({ path, message: `it is deeper than ${DEPTH_MAX} levels`, fix: "give a flatter value" });
      return Array.isArray(value) ? writtenArray(value, path, depth) : writtenObject(value, path, depth);
    case "undefined":
    case "function":
    case "symbol":
      throw new PlannerError({ path, message: `${typeof value} is not a JSON value`, fix: "leave it out, or give null" });
  }
}

function writtenArray(items: readonly unknown[], path: string, depth: number): string {
  const parts: string[] = [];
  for (let index = 0; index < items.length; index += 1) {
    parts.push(written(items[index], `${path}[${index}]`, depth + 1));
  }
  return `[${parts.join(",")}]`;
}

function writtenObject(object: object, path: string, depth: number): string {
  const prototype: unknown = Object.getPrototypeOf(object);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    throw new PlannerError({ path, message: "it is neither a plain object nor an array", fix: "give dates as ISO 8601 text" });
  }
  const parts: string[] = [];
  for (const [name, member] of Object.entries(object)) {
    if (member === undefined) continue;
    const inside = path === "" ? name : `${path}.${name}`;
    parts.push(`${JSON.stringify(name)}:${written(member, inside, depth + 1)}`);
  }
  return `{${parts.join(",")}}`;
}
