// Outcomes and lanes of a batch, in words.
import type { Lane } from "@syncline/planner";
import type { IconName } from "../parts/icon";
import { VERDICT_NAMES } from "../plan";
import type { RowOutcome } from "./messages";

interface Words {
  readonly label: string;
  readonly icon: IconName;
  readonly tone: string;
}

export const OUTCOMES: Readonly<Record<RowOutcome, Words>> = {
  same: { label: VERDICT_NAMES.same, icon: "same", tone: "same" },
  postgres: { label: VERDICT_NAMES.postgres, icon: "postgres", tone: "postgres" },
  salesforce: { label: VERDICT_NAMES.salesforce, icon: "salesforce", tone: "salesforce" },
  both: { label: VERDICT_NAMES.both, icon: "both", tone: "both" },
  conflict: { label: VERDICT_NAMES.conflict, icon: "conflict", tone: "conflict" },
  waits: { label: VERDICT_NAMES.waits, icon: "waits", tone: "waits" },
  refused: { label: "Cannot be used", icon: "close", tone: "refused" },
};

export const LANES: Readonly<Record<Lane, Words>> = {
  single: { label: "Single REST calls", icon: "salesforce", tone: "salesforce" },
  collections: { label: "sObject Collections", icon: "salesforce", tone: "salesforce" },
  composite_graph: { label: "Composite graph", icon: "salesforce", tone: "salesforce" },
  bulk: { label: "Bulk API 2.0", icon: "salesforce", tone: "salesforce" },
  postgres: { label: "Postgres only", icon: "postgres", tone: "postgres" },
  conflict: { label: "Waits for a person", icon: "conflict", tone: "conflict" },
  noop: { label: "Nothing to send", icon: "same", tone: "same" },
  refused: { label: "Cannot be used", icon: "close", tone: "refused" },
};

/** Shown beside the lane Bulk: the planner knows it, the engine does not use it yet. */
export const BULK_NOTE = "This is what the batch could cost by Bulk. The engine does not open Bulk jobs yet; it sends batches of any size by sObject Collections.";
