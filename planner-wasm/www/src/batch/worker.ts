// The worker of the batch view: reads records, plans them chunk by chunk, keeps them to be opened.
// It gives way between chunks, so that a person can stop it at any time.
import { writeJson, type Batch, type BatchRow, type ObjectSync } from "@syncline/planner";
import Papa from "papaparse";
import { InputError, isObject, member, parseJson } from "../json";
import { verdictOf } from "../plan";
import { beginBatch, loadPlanner } from "../planner";
import type { FromWorker, Row, Source, ToWorker } from "./messages";
import { readFile, type Sink } from "./read";
import { sampleRecords } from "./sample";

/** Records of one chunk: about 10 ms of work. */
const CHUNK_ROWS = 500;

/** Bytes of one chunk: half of what the planner takes in one call, whatever the letters. */
const CHUNK_CHARS_MAX = 1 << 18;

let lines: string[] = [];
let cancelled = false;
let busy: Promise<void> = Promise.resolve();

function send(message: FromWorker): void {
  postMessage(message);
}

addEventListener("message", ({ data }: MessageEvent<ToWorker>) => {
  switch (data.type) {
    case "cancel":
      cancelled = true;
      return;
    case "open":
      send({ type: "record", row: data.row, text: lines[data.row] ?? "" });
      return;
    case "plan":
      cancelled = true;
      busy = busy.then(() => plan(data.run, data.rules, data.source));
  }
});

class Cancelled extends Error {}

async function plan(run: number, rules: ObjectSync, source: Source): Promise<void> {
  cancelled = false;
  let batch: Batch | undefined;
  try {
    await loadPlanner();
    await read(run, rules, source);
    batch = beginBatch(rules);
    const started = performance.now();
    const complete = await planLines(run, batch);
    send({ type: "done", run, summary: batch.finish(), tookMs: performance.now() - started, cancelled: !complete });
  } catch (error) {
    if (!(error instanceof Cancelled)) lines = [];
    send({ type: "failed", run, why: whyOf(error) });
  } finally {
    batch?.free();
  }
}

function whyOf(error: unknown): string {
  if (error instanceof Cancelled) return "Cancelled while reading.";
  return error instanceof InputError ? error.message : `It cannot be read: ${error instanceof Error ? error.message : String(error)}`;
}

const turn = new MessageChannel();

/** Lets other messages have their turn. A timer would do so too, but never in less than 4 ms. */
function giveWay(): Promise<void> {
  return new Promise((resolve) => {
    turn.port1.onmessage = () => resolve();
    turn.port2.postMessage(null);
  });
}

async function read(run: number, rules: ObjectSync, source: Source): Promise<void> {
  if (source.kind === "again") return;
  lines = [];
  const sink: Sink = {
    line: (text) => void lines.push(text),
    progress: async (part) => {
      send({ type: "reading", run, rows: lines.length, part });
      await giveWay();
      if (cancelled) throw new Cancelled();
    },
  };
  if (source.kind === "file") await readFile(source.file, rules, sink);
  else await makeSample(source.url, source.rows, sink);
  if (lines.length === 0) throw new InputError("It holds no records.");
}

async function makeSample(url: string, rows: number, sink: Sink): Promise<void> {
  const answer = await fetch(url);
  if (!answer.ok) throw new InputError(`The sample cannot be loaded: status ${answer.status}.`);
  const { data } = Papa.parse<Record<string, string>>(await answer.text(), { header: true, skipEmptyLines: true });
  let made = 0;
  for (const record of sampleRecords(data, rows)) {
    sink.line(writeJson(record));
    made += 1;
    if (made % 5000 === 0) await sink.progress(made / rows);
  }
}

/** Returns whether all lines were planned. */
async function planLines(run: number, batch: Batch): Promise<boolean> {
  let at = 0;
  while (at < lines.length) {
    const chunk = chunkFrom(at);
    const rows = batch.plan(chunk.join("\n")).map((row, index) => listed(row, chunk[index] ?? ""));
    at += chunk.length;
    send({ type: "rows", run, rows, part: at / lines.length });
    await giveWay();
    if (cancelled) return false;
  }
  return true;
}

function chunkFrom(at: number): string[] {
  const chunk: string[] = [];
  let chars = 0;
  for (let next = at; next < lines.length && chunk.length < CHUNK_ROWS; next += 1) {
    const line = lines[next] ?? "";
    if (chunk.length > 0 && chars + line.length > CHUNK_CHARS_MAX) break;
    chars += line.length;
    chunk.push(line);
  }
  return chunk;
}

function listed(row: BatchRow, line: string): Row {
  if (row.outcome === "refused") {
    const why = row.path === "" ? `${row.message}; ${row.fix}` : `${row.path}: ${row.message}; ${row.fix}`;
    return { externalId: idOf(line), outcome: "refused", why, conflicts: "" };
  }
  const conflicts = row.conflicts.map((field) => field ?? "the whole record").join(", ");
  return { externalId: row.external_id, outcome: verdictOf(row.rule, row.conflicts.length, row.to_postgres, row.to_salesforce), why: row.rule, conflicts };
}

/** Returns the external id of a refused line, if it can be read. */
function idOf(line: string): string {
  try {
    const json = parseJson(line);
    const id = isObject(json) ? member(json, "external_id") : undefined;
    return typeof id === "string" ? id.slice(0, 255) : "";
  } catch {
    return "";
  }
}
