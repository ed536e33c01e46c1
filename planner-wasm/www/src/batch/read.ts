// Reads a file into lines of one record's JSON each, piece by piece, so that it can be stopped.
import { writeJson, type ObjectSync } from "@syncline/planner";
import Papa from "papaparse";
import { InputError, count, parseJson } from "../json";
import { Changes, csvReader, isChangeLine, readChangeLine, type RowReader } from "./rows";

/** Largest file: a browser tab needs memory for its plans, too. */
export const FILE_BYTES_MAX = 256 << 20;

/** Most records of one batch. The planner takes no more. */
export const ROWS_MAX = 1_000_000;

/** Longest line: no record of Salesforce is longer, and a file of one endless line is not a list. */
const LINE_CHARS_MAX = 1 << 18;

/** Takes each record's JSON as it is read, and reports how much of the file is read. */
export interface Sink {
  line(text: string): void;
  /** Called between pieces; rejects if a person has cancelled. */
  progress(part: number): Promise<void>;
}

export async function readFile(file: File, rules: ObjectSync, sink: Sink): Promise<void> {
  if (file.size > FILE_BYTES_MAX) throw new InputError(`The file has ${count(file.size)} bytes; at most ${count(FILE_BYTES_MAX)} are read.`);
  const start = await file.slice(0, 4096).text();
  if (/^\s*[{[]/.test(start)) await readLines(file, rules, sink);
  else await readCsv(file, rules, sink);
}

/** A row counts as read even if it is invalid: the planner gives the reason, and the others go on. */
class Counted {
  #rows = 0;

  constructor(readonly sink: Sink) {}

  line(text: string): void {
    this.#rows += 1;
    if (this.#rows > ROWS_MAX) throw new InputError(`The file has more than ${count(ROWS_MAX)} records.`);
    this.sink.line(text);
  }
}

// JSON Lines.

async function readLines(file: File, rules: ObjectSync, sink: Sink): Promise<void> {
  const counted = new Counted(sink);
  const changes = new Changes(rules);
  let areChanges: boolean | undefined;
  const take = (line: string, number: number): void => {
    const text = line.trim();
    if (text === "") return;
    areChanges ??= looksLikeChange(text);
    if (!areChanges) {
      counted.line(text);
      return;
    }
    try {
      changes.add(readChangeLine(asChange(text)));
    } catch (error) {
      throw new InputError(`Line ${count(number)}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  await eachLine(file, take, sink);
  for (const record of changes.records()) counted.line(writeJson(record));
}

function looksLikeChange(text: string): boolean {
  try {
    return isChangeLine(parseJson(text));
  } catch {
    return false;
  }
}

function asChange(text: string) {
  const json = parseJson(text);
  if (isChangeLine(json)) return json;
  throw new InputError("It names no source, but the first line does.");
}

async function eachLine(file: File, take: (line: string, number: number) => void, sink: Sink): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  let number = 0;
  let read = 0;
  const reader = file.stream().getReader();
  for (;;) {
    const { done, value } = await reader.read();
    rest += done ? decoder.decode() : decoder.decode(value, { stream: true });
    const lines = rest.split("\n");
    rest = done ? "" : (lines.pop() ?? "");
    if (rest.length > LINE_CHARS_MAX) throw new InputError(`Line ${count(number + lines.length + 1)} is longer than ${count(LINE_CHARS_MAX)} characters.`);
    for (const line of lines) take(line, (number += 1));
    if (done) return;
    read += value.length;
    await sink.progress(read / file.size);
  }
}

// CSV.

async function readCsv(file: File, rules: ObjectSync, sink: Sink): Promise<void> {
  const counted = new Counted(sink);
  let reader: RowReader | undefined;
  let number = 0;
  const take = (cells: readonly string[]): void => {
    number += 1;
    if (reader === undefined) {
      reader = csvReader(cells, rules);
      return;
    }
    try {
      const record = reader.row(cells);
      if (record) counted.line(writeJson(record));
    } catch (error) {
      throw error instanceof InputError && error.path === "source" ? new InputError(`Row ${count(number)}: ${error.message}`) : error;
    }
  };
  await eachCsvPiece(file, (rows) => rows.forEach(take), sink);
  if (reader === undefined) throw new InputError("The file is empty.");
  for (const record of (reader as RowReader).rest()) counted.line(writeJson(record));
}

function eachCsvPiece(file: File, take: (rows: readonly string[][]) => void, sink: Sink): Promise<void> {
  return new Promise((resolve, reject) => {
    let read = 0;
    Papa.parse<string[], File>(file, {
      skipEmptyLines: "greedy",
      chunkSize: 1 << 20,
      chunk: ({ data, meta }, parser) => {
        // An odd quotation mark makes the rest of a file one cell.
        const long = data.find((cells) => cells.some((cell) => cell.length > LINE_CHARS_MAX));
        try {
          if (long) throw new InputError(`A cell is longer than ${count(LINE_CHARS_MAX)} characters. Is a quotation mark missing?`);
          take(data);
        } catch (error) {
          // To abort is to complete: the reason must come first.
          reject(error as Error);
          parser.abort();
          return;
        }
        read = meta.cursor;
        parser.pause();
        sink.progress(Math.min(read / file.size, 1)).then(
          () => parser.resume(),
          (error: unknown) => {
            reject(error as Error);
            parser.abort();
          },
        );
      },
      complete: () => resolve(),
      error: (error) => reject(new InputError(`The file cannot be read: ${error.message}`)),
    });
  });
}
