// The history of one record as the page steps through it.
import type { ObjectRules } from "../planner";
import type { RecordState } from "../record";

/** The kinds of entries that `syncline explain --json` writes. */
export const STEP_KINDS = [
  "observed",
  "decided",
  "discarded",
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
  /** When, as the history says it. */
  readonly at: string;
  readonly title: string;
  /** What else is known of it, name by name. */
  readonly details: readonly (readonly [string, string])[];
  /** What the planner knew, where this was a decision. */
  readonly facts: RecordState | undefined;
  /** The rules it was made by. */
  readonly rules: ObjectRules | undefined;
}

export interface History {
  readonly object: string;
  readonly externalId: string;
  /** How the record stands, in words. */
  readonly state: string;
  /** There are older steps than these. */
  readonly truncated: boolean;
  readonly steps: readonly Step[];
}

export const STEP_NAMES: Readonly<Record<StepKind, string>> = {
  observed: "Seen",
  decided: "Decided",
  discarded: "DiscardedValue",
  conflict_opened: "Conflict",
  conflict_closed: "Conflict closed",
  write_recorded: "Write begun",
  write_ended: "Write ended",
  settled: "Settled",
  stopped: "Stopped",
  resumed: "Resumed",
};
