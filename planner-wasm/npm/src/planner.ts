import { PlannerError } from "./error.js";
import { readJson, writeJson, writeJsonAt, type Json } from "./exact.js";
import type {
  BatchRow,
  BatchSummary,
  ChangeEnvelope,
  ConfigAnswer,
  Deletes,
  FieldSync,
  MergeOutcome,
  ObjectSync,
  PlanDecision,
  RecordAnswer,
  RecordFacts,
  Side,
} from "./engine.js";

/** The exports of the WebAssembly module, JSON texts in and out. */
export interface PlannerText {
  version(): string;
  config_schema(): string;
  check_config(toml: string): string;
  plan_record(input: string): string;
  plan_change(input: string): string;
  merge(input: string): string;
  canonical_hash(json: string): string;
  Batch: new (input: string) => { plan(lines: string): string; finish(): string; free(): void };
}

/** The rules of an object as one may write them: what is left out has its default. */
export type ObjectRules = Pick<ObjectSync, "object" | "table" | "external_id"> &
  Partial<Omit<ObjectSync, "fields" | "deletes">> & {
    deletes?: Partial<Deletes>;
    fields: { [field: string]: Pick<FieldSync, "column"> & Partial<FieldSync> };
  };

/** One record and its rules. */
export type RecordInput = { object: ObjectRules } & RecordFacts;

/** What a batch is planned by. */
export interface BatchOptions {
  /** The rules of its records. */
  object: ObjectRules;
  /** Composite graphs may be used; they may unless it is false. */
  graph?: boolean;
  /** Bulk jobs may be used; they may unless it is false. */
  bulk?: boolean;
  /** REST calls that may be spent in all; limits single calls. */
  calls_max?: number | null;
}

/** One record of a batch. */
export type BatchRowInput = RecordFacts & {
  /** A person waits for it. */
  urgent?: boolean;
  /** It depends on records of this batch, or they on it. */
  has_dependencies?: boolean;
};

/** A batch that arrives in chunks. */
export interface Batch {
  /**
   * Plans a chunk of JSON Lines, one `BatchRowInput` a line, at most 1 MiB, and returns what each row
   * became. An invalid row does not stop the others.
   */
  plan(lines: string): BatchRow[];
  /** Routes all rows given so far as one round, and counts what that costs. */
  finish(): BatchSummary;
  /** Releases its memory. Afterwards the other two throw. */
  free(): void;
}

/** A batch that came in one call. */
export interface BatchAnswer {
  /** The result of each row, in order. */
  rows: BatchRow[];
  /** The batch as a whole. */
  summary: BatchSummary;
}

/** One change and what the planner needs besides it. */
export interface ChangeInput {
  context: {
    object: ObjectRules;
    /** The record on the other side; null if it does not exist there. */
    current_payload?: Json;
    /** What both sides agreed on last; null if they never did. */
    base_payload?: Json;
    batch_size?: number;
    urgent?: boolean;
    has_dependencies?: boolean;
  };
  envelope: Pick<ChangeEnvelope, "key" | "source" | "operation" | "cursor"> & { tombstone?: boolean; payload?: Json };
}

/** Two payloads. */
export interface MergeInput {
  object: ObjectRules;
  /** The record on the other side; left out if it does not exist there. A null is a payload. */
  current?: Json;
  /** Whose payload comes in. */
  source: Side;
  incoming: Json;
}

/** The planner. Every call that cannot use its input throws a `PlannerError`. */
export interface Planner {
  /** The version of the planner. */
  readonly version: string;
  /** Returns the JSON Schema of `syncline.toml`, for editors. */
  configSchema(): { [member: string]: unknown };
  /** Checks a `syncline.toml`. Mistakes are an answer, not an error. */
  checkConfig(toml: string): ConfigAnswer;
  /** Decides what one record needs on both sides, with the reasons in words and the lane. */
  planRecord(record: RecordInput): RecordAnswer;
  /** Plans and routes records that are all there. */
  planBatch(batch: BatchOptions & { rows: readonly BatchRowInput[] }): BatchAnswer;
  /** Begins a batch that comes in chunks. */
  beginBatch(options: BatchOptions): Batch;
  /** Decides what one change means for the other side. */
  planChange(change: ChangeInput): PlanDecision;
  /** Merges two payloads that have no base. */
  merge(payloads: MergeInput): MergeOutcome;
  /** Returns the BLAKE3 hash of the canonical form: equal content, equal hash. */
  canonicalHash(json: Json): string;
  /** The same calls with JSON texts in and out, for those who keep the texts. They throw alike. */
  readonly text: PlannerText;
}

/** Longest text of one call, in bytes. */
export const INPUT_BYTES_MAX = 1 << 20;

/** Gives the exports of the module their types. */
export function typed(raw: PlannerText): Planner {
  const text = guarded(raw);
  return {
    version: text.version(),
    text,
    configSchema: () => readJson(text.config_schema()) as { [member: string]: unknown },
    checkConfig: (toml) => readJson(text.check_config(toml)) as ConfigAnswer,
    planRecord: (record) => readJson(text.plan_record(writeJson(record))) as RecordAnswer,
    planBatch: ({ rows, ...options }) => {
      const batch = begin(text, options);
      try {
        return { rows: chunksOf(rows).flatMap((lines) => batch.plan(lines)), summary: batch.finish() };
      } finally {
        batch.free();
      }
    },
    planChange: (change) => readJson(text.plan_change(writeJson(change))) as PlanDecision,
    merge: (payloads) => readJson(text.merge(writeJson(payloads))) as MergeOutcome,
    canonicalHash: (json) => text.canonical_hash(writeJson(json)),
    beginBatch: (options) => begin(text, options),
  };
}

function begin(text: PlannerText, options: BatchOptions): Batch {
  const batch = new text.Batch(writeJson(options));
  return {
    plan: (lines) => readJson(batch.plan(lines)) as BatchRow[],
    finish: () => readJson(batch.finish()) as BatchSummary,
    free: () => batch.free(),
  };
}

/** A character has at most three bytes in UTF-8 (a pair of surrogates four). */
const CHUNK_CHARS_MAX = Math.floor(INPUT_BYTES_MAX / 3);

/** Returns the rows as JSON Lines, as many as fit into one call each. */
function chunksOf(rows: readonly BatchRowInput[]): string[] {
  if (!Array.isArray(rows)) throw new PlannerError({ path: "rows", message: "it is not an array", fix: "give an array of records" });
  const chunks: string[] = [];
  let lines: string[] = [];
  let chars = 0;
  rows.forEach((row, index) => {
    const line = writeJsonAt(row, `rows[${index}]`);
    if (lines.length > 0 && chars + line.length > CHUNK_CHARS_MAX) {
      chunks.push(lines.join("\n"));
      [lines, chars] = [[], 0];
    }
    lines.push(line);
    chars += line.length + 1;
  });
  if (lines.length > 0) chunks.push(lines.join("\n"));
  return chunks;
}

function guarded(raw: PlannerText): PlannerText {
  const call = (run: (input: string) => string) => (input: string) => attempt(input, run);
  return {
    version: () => raw.version(),
    config_schema: () => raw.config_schema(),
    check_config: call(raw.check_config),
    plan_record: call(raw.plan_record),
    plan_change: call(raw.plan_change),
    merge: call(raw.merge),
    canonical_hash: call(raw.canonical_hash),
    Batch: class {
      #batch: InstanceType<PlannerText["Batch"]> | undefined;
      constructor(input: string) {
        this.#batch = attempt(input, (text) => new raw.Batch(text));
      }
      plan(lines: string): string {
        const batch = this.#open();
        return attempt(lines, (text) => batch.plan(text));
      }
      finish(): string {
        return this.#open().finish();
      }
      free(): void {
        this.#batch?.free();
        this.#batch = undefined;
      }
      #open(): InstanceType<PlannerText["Batch"]> {
        if (this.#batch !== undefined) return this.#batch;
        throw new PlannerError({ path: "", message: "the batch was freed", fix: "begin another batch" });
      }
    },
  };
}

/** Refuses what is too long before it is copied, and gives errors their type. */
function attempt<Answer>(input: string, run: (input: string) => Answer): Answer {
  if (typeof input !== "string") {
    throw new PlannerError({ path: "", message: "it is not a text", fix: "give a string" });
  }
  if (input.length > INPUT_BYTES_MAX) {
    const fix = "send less at once: a batch may be sent in chunks";
    throw new PlannerError({ path: "", message: `it is longer than ${INPUT_BYTES_MAX} bytes`, fix });
  }
  try {
    return run(input);
  } catch (error) {
    throw error instanceof Error && error.message.startsWith('{"path":') ? new PlannerError(JSON.parse(error.message)) : error;
  }
}
