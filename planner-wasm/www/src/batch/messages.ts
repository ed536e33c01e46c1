// The messages between the page and the worker of the batch view.
import type { BatchSummary, ObjectSync } from "@syncline/planner";
import type { Verdict } from "../plan";

/** The source of the records. */
export type Source =
  | { readonly kind: "file"; readonly file: File }
  | { readonly kind: "sample"; readonly url: string; readonly rows: number }
  /** The records of the last batch again, under other rules. */
  | { readonly kind: "again" };

export type ToWorker =
  | { readonly type: "plan"; readonly run: number; readonly rules: ObjectSync; readonly source: Source }
  | { readonly type: "cancel" }
  | { readonly type: "open"; readonly row: number };

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
  | { readonly type: "reading"; readonly run: number; readonly rows: number; readonly part: number }
  | { readonly type: "rows"; readonly run: number; readonly rows: readonly Row[]; readonly part: number }
  | { readonly type: "done"; readonly run: number; readonly summary: BatchSummary; readonly tookMs: number; readonly cancelled: boolean }
  | { readonly type: "failed"; readonly run: number; readonly why: string }
  | { readonly type: "record"; readonly row: number; readonly text: string };
