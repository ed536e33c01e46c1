// The page's side of a batch: the results so far, and the user's actions.
import type { ObjectSync } from "@syncline/planner";
import workerUrl from "./worker?worker&url";
import { change, current } from "../store";
import { startWorker } from "../trusted";
import { NO_BATCH, type BatchState } from "./state";
import type { FromWorker, Row, Source, ToWorker } from "./messages";

let worker: Worker | undefined;
let run = 0;
let rows: Row[] = [];
const opened = new Map<number, (text: string) => void>();

function send(message: ToWorker): void {
  if (worker === undefined) {
    worker = startWorker(workerUrl);
    worker.addEventListener("message", ({ data }: MessageEvent<FromWorker>) => receive(data));
    worker.addEventListener("error", () => update({ phase: "done", failed: "The worker of this view has stopped. Load the page again." }));
  }
  worker.postMessage(message);
}

function update(part: Partial<BatchState>): void {
  change({ batch: { ...current().batch, ...part } });
}

/** Plans the records of a source. Discards earlier plans. */
export function planBatch(source: Source, name: string, rules: ObjectSync): void {
  run += 1;
  rows = [];
  change({ batch: { ...NO_BATCH, phase: "reading", name, rules } });
  send({ type: "plan", run, rules, source });
}

export function cancelBatch(): void {
  send({ type: "cancel" });
}

/** Returns the JSON of a row's record. */
export function openRow(row: number): Promise<string> {
  return new Promise((resolve) => {
    opened.set(row, resolve);
    send({ type: "open", row });
  });
}

function receive(message: FromWorker): void {
  if (message.type === "record") {
    opened.get(message.row)?.(message.text);
    opened.delete(message.row);
    return;
  }
  if (message.run !== run) return;
  switch (message.type) {
    case "reading":
      update({ phase: "reading", part: message.part });
      return;
    case "rows":
      rows.push(...message.rows);
      drawSoon(message.part);
      return;
    case "done":
      update({ phase: "done", rows: [...rows], part: 1, summary: message.summary, tookMs: message.tookMs, cancelled: message.cancelled });
      return;
    case "failed":
      update({ phase: "done", failed: message.why });
  }
}

let drawing = false;
let latest = 0;

/** Chunks arrive faster than a screen can show them: one update per frame is enough. */
function drawSoon(part: number): void {
  latest = part;
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (current().batch.phase !== "done") update({ phase: "planning", part: latest });
  });
}
