// What a batch costs against an org's limits, under assumptions that a person can change.
import type { BatchSummary } from "@syncline/planner";

export interface Assumptions {
  /** API requests that the org may make in 24 hours. */
  readonly callsADay: number;
  /** How long one REST call takes. */
  readonly secondsACall: number;
  /** REST calls that are under way at once. */
  readonly callsAtOnce: number;
}

/** A developer org has 15,000 calls a day, an Enterprise org 100,000 and more for each licence. */
export const USUAL: Assumptions = { callsADay: 100_000, secondsACall: 0.8, callsAtOnce: 4 };

/** Calls of Bulk jobs mostly wait for Salesforce, a poll at a time. */
const BULK_POLL_SECONDS = 30;

export interface Cost {
  readonly calls: number;
  /** Part of a day's calls. */
  readonly part: number;
  readonly seconds: number;
}

export function costOf(summary: BatchSummary, { callsADay, secondsACall, callsAtOnce }: Assumptions): Cost {
  const bulk = summary.lanes.bulk?.calls ?? 0;
  const rest = summary.calls - bulk;
  const seconds = (rest * secondsACall) / Math.max(callsAtOnce, 1) + (bulk > 0 ? BULK_POLL_SECONDS : 0);
  return { calls: summary.calls, part: summary.calls / Math.max(callsADay, 1), seconds };
}

export function duration(seconds: number): string {
  if (seconds === 0) return "no time";
  if (seconds < 1) return "under a second";
  if (seconds < 90) return `about ${Math.round(seconds)} s`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min`;
  return `about ${(seconds / 3600).toFixed(1)} h`;
}
