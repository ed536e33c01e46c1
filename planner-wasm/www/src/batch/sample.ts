// The built-in sample: real airports, edited on both sides by a generator that always makes the same
// edits.
import { ExactNumber, type RecordFacts, type Value } from "@syncline/planner";

/** The object that the sample is about. */
export const SAMPLE_OBJECT = "Airport__c";

type Values = { readonly [field: string]: Value };

/** Numbers between 0 and 1, the same ones each time (mulberry32). */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Why the sample's records differ, in parts of 100. */
const STORIES: readonly [number, (base: Values, next: () => number) => [Values | null, Values | null]][] = [
  [52, (base) => [base, base]],
  [14, (base) => [{ ...base, Name: renamed(base) }, base]],
  [12, (base) => [base, { ...base, City__c: `Greater ${text(base["City__c"])}` }]],
  [6, (base) => [{ ...base, Name: renamed(base) }, { ...base, City__c: null }]],
  [4, (base) => [{ ...base, Name: renamed(base) }, { ...base, Name: text(base["Name"]).toUpperCase() }]],
  [3, (base, next) => [base, { ...base, Elevation__c: Math.round(next() * 9000) }]],
  [3, (base) => [{ ...base, Timezone__c: "UTC" }, base]],
  [2, (base) => [null, base]],
  [2, (base) => [base, null]],
  [2, (base) => [null, { ...base, Name: renamed(base) }]],
];

function renamed(base: Values): string {
  return text(base["Name"]).replace(/ Airport$/, " International Airport");
}

function text(value: Value | undefined): string {
  return typeof value === "string" ? value : "";
}

/** Returns `count` records from the airports, which are repeated under other ids if there are fewer. */
export function* sampleRecords(airports: readonly Readonly<Record<string, string>>[], count: number): Generator<RecordFacts> {
  const next = numbers(20260905);
  for (let index = 0; index < count; index += 1) {
    const airport = airports[index % airports.length];
    if (airport === undefined) return;
    const round = Math.floor(index / airports.length);
    const externalId = round === 0 ? (airport["icao"] ?? "") : `${airport["icao"]}-${round + 1}`;
    const base = valuesOf(airport, externalId);
    const isNew = next() < 0.02;
    const [postgres, salesforce] = isNew ? [base, null] : story(next)(base, next);
    yield {
      external_id: externalId,
      base: isNew ? null : base,
      postgres,
      salesforce,
      changed_at_ms: { postgres: Date.UTC(2026, 4, 4, 12) + Math.round(next() * 3_600_000), salesforce: Date.UTC(2026, 4, 4, 12, 30) },
    };
  }
}

function story(next: () => number): (typeof STORIES)[number][1] {
  let left = next() * 100;
  const found = STORIES.find(([share]) => (left -= share) < 0);
  return found?.[1] ?? ((base) => [base, base]);
}

function valuesOf(airport: Readonly<Record<string, string>>, externalId: string): Values {
  const word = (name: string): Value => airport[name] || null;
  const number = (name: string): Value => (airport[name] ? new ExactNumber(airport[name]) : null);
  return {
    Icao__c: externalId,
    Name: word("name"),
    City__c: word("city"),
    Country__c: word("country"),
    Elevation__c: number("elevation"),
    Latitude__c: number("latitude"),
    Longitude__c: number("longitude"),
    Timezone__c: word("timezone"),
  };
}
