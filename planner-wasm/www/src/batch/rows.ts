// From the columns of a CSV or the members of a JSON line to one record each. Two forms are read:
// states (a line has base and both sides) and changes (a line has the changes of one side).
import { ExactNumber, type ObjectSync, type RecordFacts, type Side, type Value } from "@syncline/planner";
import { InputError, isNumber, isObject, member, type Json, type JsonObject } from "../json";
import { COLUMNS, readFields, type Column, type Fields } from "../record";

/** The text of a CSV cell that means null, as in Salesforce's Data Loader. */
export const NULL_CELL = "#N/A";

/** Reads one kind of rows. */
export interface RowReader {
  /** Returns the record, if the row is one; a change is kept until `rest`. */
  row(cells: readonly string[]): RecordFacts | undefined;
  /** Returns the records that changes make up. */
  rest(): RecordFacts[];
}

/** Chooses how to read a CSV by its first line. Throws an InputError if it names nothing that is known. */
export function csvReader(header: readonly string[], rules: ObjectSync): RowReader {
  const names = header.map((name) => name.trim());
  const key = names.findIndex((name) => isKey(name, rules));
  if (key < 0) {
    throw new InputError(`The first line names no column with the external id: call one external_id, ${rules.external_id.field} or ${rules.external_id.column}.`);
  }
  const source = names.findIndex((name) => name === "source" || name === "side");
  if (source >= 0) return changesReader(names, key, source, rules);
  if (names.some((name) => sideOf(name) !== undefined)) return statesReader(names, key, rules);
  throw new InputError("The first line must name either a column source, or columns such as base.Name, postgres.Name and salesforce.Name.");
}

function isKey(name: string, rules: ObjectSync): boolean {
  return name === "external_id" || name === rules.external_id.field || name === rules.external_id.column;
}

function sideOf(name: string): [Column, string] | undefined {
  const column = COLUMNS.find((side) => name.startsWith(`${side}.`));
  return column && [column, name.slice(column.length + 1)];
}

/** A field may be called by its API name or by its column. */
function fieldOf(name: string, rules: ObjectSync): string {
  if (name === rules.external_id.column) return rules.external_id.field;
  const found = Object.entries(rules.fields).find(([, { column }]) => column === name);
  return found && !Object.hasOwn(rules.fields, name) ? found[0] : name;
}

/** Returns the value of a cell. Digits are a number, except in the external id. */
function cellValue(text: string, isText: boolean): Value {
  if (text === "" || text === NULL_CELL) return null;
  if (isText) return text;
  if (text === "true" || text === "false") return text === "true";
  return isNumber(text) ? new ExactNumber(text) : text;
}

function statesReader(names: readonly string[], key: number, rules: ObjectSync): RowReader {
  const columns = names.map((name) => {
    const side = sideOf(name);
    return side && { column: side[0], field: fieldOf(side[1], rules) };
  });
  return {
    row(cells) {
      const sides: Record<Column, [string, Value][]> = { base: [], postgres: [], salesforce: [] };
      const held = new Set<Column>();
      columns.forEach((place, at) => {
        if (place === undefined) return;
        const text = cells[at] ?? "";
        if (text !== "") held.add(place.column);
        sides[place.column].push([place.field, cellValue(text, place.field === rules.external_id.field)]);
      });
      const externalId = cells[key] ?? "";
      const side = (column: Column): Fields | null => (held.has(column) ? withKey(Object.fromEntries(sides[column]), externalId, rules) : null);
      return { external_id: externalId, base: side("base"), postgres: side("postgres"), salesforce: side("salesforce") };
    },
    rest: () => [],
  };
}

function withKey(fields: Fields, externalId: string, rules: ObjectSync): Fields {
  const { field } = rules.external_id;
  return Object.hasOwn(fields, field) ? fields : { [field]: externalId, ...fields };
}

// Changes: a base and what each side did to it.

interface Change {
  readonly externalId: string;
  readonly source: Column;
  readonly deleted: boolean;
  readonly fields: Fields;
  readonly atMs: number | undefined;
}

/** Groups changes by record, in their order. */
export class Changes {
  readonly #records = new Map<string, Change[]>();

  constructor(readonly rules: ObjectSync) {}

  add(change: Change): void {
    const known = this.#records.get(change.externalId);
    if (known) known.push(change);
    else this.#records.set(change.externalId, [change]);
  }

  records(): RecordFacts[] {
    return [...this.#records].map(([externalId, changes]) => this.#record(externalId, changes));
  }

  #record(externalId: string, changes: readonly Change[]): RecordFacts {
    const of = (source: Column) => changes.filter((change) => change.source === source);
    const fold = (start: Fields | null, source: Column): Fields | null =>
      of(source).reduce<Fields | null>(
        (held, { deleted, fields }) => (deleted ? null : withKey({ ...held, ...fields }, externalId, this.rules)),
        start,
      );
    const base = fold(null, "base");
    const times: { [side in Side]?: number } = {};
    for (const { source, atMs } of changes) {
      if (source !== "base" && atMs !== undefined) times[source] = atMs;
    }
    const record = { external_id: externalId, base, postgres: fold(base, "postgres"), salesforce: fold(base, "salesforce") };
    return Object.keys(times).length > 0 ? { ...record, changed_at_ms: times } : record;
  }
}

function changesReader(names: readonly string[], key: number, source: number, rules: ObjectSync): RowReader {
  const changes = new Changes(rules);
  const operation = names.indexOf("operation");
  const at = names.indexOf("changed_at");
  const reserved = new Set([key, source, operation, at]);
  const fields = names.map((name) => fieldOf(name, rules));
  return {
    row(cells) {
      const values = fields.flatMap((field, column): [string, Value][] => {
        const text = cells[column] ?? "";
        return reserved.has(column) || text === "" ? [] : [[field, cellValue(text, field === rules.external_id.field)]];
      });
      changes.add({
        externalId: cells[key] ?? "",
        source: sourceOf(cells[source] ?? ""),
        deleted: (cells[operation] ?? "") === "delete",
        fields: Object.fromEntries(values),
        atMs: momentOf(cells[at] ?? ""),
      });
      return undefined;
    },
    rest: () => changes.records(),
  };
}

function sourceOf(text: string): Column {
  const source = COLUMNS.find((column) => column === text.trim().toLowerCase());
  if (source === undefined) throw new InputError(`It must be base, postgres or salesforce, not ${JSON.stringify(text.slice(0, 40))}.`, "source");
  return source;
}

function momentOf(text: string): number | undefined {
  const ms = /^\d+$/.test(text) ? Number(text) : Date.parse(text);
  return Number.isNaN(ms) ? undefined : ms;
}

// JSON Lines.

/** Returns whether a line is a change: it names the side that it comes from. */
export function isChangeLine(json: Json): json is JsonObject {
  return isObject(json) && member(json, "source") !== undefined;
}

/** Reads a change: either flat, or an envelope as the engine writes them (`key`, `payload`). */
export function readChangeLine(json: JsonObject): Change {
  const key = member(json, "key");
  const externalId = isObject(key) ? member(key, "external_id") : member(json, "external_id");
  if (typeof externalId !== "string") throw new InputError("It is missing, or not a text.", "external_id");
  const payload = member(json, "payload") ?? member(json, "fields") ?? null;
  const at = member(json, "changed_at_ms") ?? member(json, "changed_at");
  return {
    externalId,
    source: sourceOf(String(member(json, "source"))),
    deleted: member(json, "operation") === "delete" || member(json, "tombstone") === true,
    fields: payload === null ? {} : readFields(payload, "payload"),
    atMs: typeof at === "number" ? at : typeof at === "string" ? momentOf(at) : undefined,
  };
}
