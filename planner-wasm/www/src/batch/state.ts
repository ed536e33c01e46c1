// What the page knows of the batch.
import type { BatchSummary, ObjectSync } from "@syncline/planner";
import type { Row } from "./messages";

export interface BatchState {
  readonly phase: "idle" | "reading" | "planning" | "done";
  /** What is planned, in words. */
  readonly name: string;
  readonly rules: ObjectSync | undefined;
  readonly rows: readonly Row[];
  readonly part: number;
  readonly summary: BatchSummary | undefined;
  readonly tookMs: number;
  readonly cancelled: boolean;
  readonly failed: string | undefined;
}

export const NO_BATCH: BatchState = {
  phase: "idle",
  name: "",
  rules: undefined,
  rows: [],
  part: 0,
  summary: undefined,
  tookMs: 0,
  cancelled: false,
  failed: undefined,
};
