// The history of one record as the page steps through it.
import type { ObjectSync, RecordFacts } from "@syncline/planner";

/** The kinds of entries that `syncline explain --json` writes. */
export const STEP_KINDS = [
  "observed",
  "decided",
  "discarded_value",
  "conflict_opened",
  "conflict_closed",
  "write_recorded",
  "write_ended",
  "settled",
  "stopped",
  "resumed",
] as const;

export type StepKind = (typeof STEP_KINDS)[number];

/** One thing that happened to the record. */
export interface Step {
  readonly kind: StepKind;
  /** The time, as the history has it. */
  readonly at: string;
  readonly title: string;
  /** What else is known of it, name by name. */
  readonly details: readonly (readonly [string, string])[];
  /** What the planner knew, where this was a decision. */
  readonly facts: RecordFacts | undefined;
  /** The rules it was made by. */
  readonly rules: ObjectSync | undefined;
}

export interface History {
  readonly object: string;
  readonly externalId: string;
  /** The state of the record, in words. */
  readonly state: string;
  /** There are older steps than these. */
  readonly truncated: boolean;
  readonly steps: readonly Step[];
}

export const STEP_NAMES: Readonly<Record<StepKind, string>> = {
  observed: "Seen",
  decided: "Decided",
  discarded_value: "Discarded",
  conflict_opened: "Conflict",
  conflict_closed: "Conflict closed",
  write_recorded: "Write begun",
  write_ended: "Write ended",
  settled: "Settled",
  stopped: "Stopped",
  resumed: "Resumed",
};
