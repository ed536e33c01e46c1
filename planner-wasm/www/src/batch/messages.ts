// What the page and the worker of the batch view say to each other.
import type { BatchLane, BatchSummary, ObjectRules } from "../planner";
import type { Verdict } from "../plan";

/** Where the records come from. */
export type Source =
  | { readonly kind: "file"; readonly file: File }
  | { readonly kind: "sample"; readonly url: string; readonly rows: number }
  /** The records of the last batch again, under other rules. */
  | { readonly kind: "again" };

export type ToWorker =
  | { readonly say: "plan"; readonly run: number; readonly rules: ObjectRules; readonly source: Source }
  | { readonly say: "cancel" }
  | { readonly say: "open"; readonly row: number };

/** What became of a row. */
export type RowOutcome = Verdict | "refused";

/** One row, as the page lists it. */
export interface Row {
  readonly externalId: string;
  readonly outcome: RowOutcome;
  /** The planner's rule, or why the row cannot be used. */
  readonly why: string;
  /** Fields that wait for a person. */
  readonly conflicts: string;
}

export type FromWorker =
  | { readonly say: "reading"; readonly run: number; readonly rows: number; readonly part: number }
  | { readonly say: "rows"; readonly run: number; readonly rows: readonly Row[]; readonly part: number }
  | { readonly say: "done"; readonly run: number; readonly summary: BatchSummary; readonly tookMs: number; readonly cancelled: boolean }
  | { readonly say: "failed"; readonly run: number; readonly why: string }
  | { readonly say: "record"; readonly row: number; readonly text: string };

export type { BatchLane };
