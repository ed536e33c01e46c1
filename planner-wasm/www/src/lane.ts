// Why a record goes by its lane, in words. The lane itself is the planner's choice.
import type { Lane, RecordAnswer } from "@syncline/planner";
import { BULK_NOTE } from "./batch/words";

export interface LaneWords {
  readonly name: string;
  readonly reason: string;
}

const WORDS: Readonly<Record<Lane, LaneWords>> = {
  noop: { name: "No lane.", reason: "Nothing needs to be sent." },
  postgres: { name: "No lane.", reason: "The row is written in Postgres; Salesforce needs no call." },
  conflict: { name: "No lane.", reason: "Nothing is sent to Salesforce until a person has decided." },
  single: { name: "Single REST call.", reason: "It replaces a value that was set in Salesforce, so it goes alone and is checked alone." },
  collections: { name: "sObject Collections.", reason: "It is sent with up to 199 other records in one REST call." },
  composite_graph: { name: "Composite graph.", reason: "It depends on other records, and all go in one call." },
  bulk: { name: "Bulk API 2.0.", reason: `So many records are sent together that a Bulk job costs less. ${BULK_NOTE}` },
  refused: { name: "No lane.", reason: "The record cannot be used." },
};

/** Returns the lane of a record that is sent alone. */
export function laneOf({ lane, discarded }: RecordAnswer): LaneWords {
  const discardsEdit = discarded.some(({ side }) => side === "salesforce");
  if (lane === "single" && !discardsEdit) {
    return { ...WORDS.single, reason: "It could replace an edit in Salesforce that is not known yet, so it goes alone: Salesforce refuses it if the record has changed." };
  }
  if (lane === "collections" && discardsEdit) {
    return { ...WORDS.collections, reason: "The configuration allows no single calls, so it is sent with up to 199 other records." };
  }
  return WORDS[lane];
}
