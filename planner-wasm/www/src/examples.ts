// The examples of the page and of docs/merging.md, each with a name that a link can carry:
// `#example=both-edit-one-field`. They are the files of `planner-wasm/examples`.
import type { RecordFacts } from "@syncline/planner";
import accounts from "../../examples/syncline.toml?raw";
import { InputError, isObject, member, parseJson } from "./json";
import { readRecord } from "./record";

export interface Example {
  readonly name: string;
  readonly title: string;
  readonly record: RecordFacts;
}

/** What the built-in sample of the batch view maps. */
const AIRPORTS = `
[[tenant.acme.object]]
object = "Airport__c"
table = "airport"
external_id = { field = "Icao__c", column = "icao" }
conflicts = "manual_review"

[tenant.acme.object.fields]
Name = { column = "name" }
City__c = { column = "city" }
Country__c = { column = "country" }
Elevation__c = { column = "elevation", owner = "postgres" }
Latitude__c = { column = "latitude" }
Longitude__c = { column = "longitude" }
Timezone__c = { column = "timezone", owner = "salesforce" }
`;

export const SAMPLE_CONFIG = `${accounts}${AIRPORTS}`;

/** In the order in which one understands them. A file that is not named here comes last. */
const ORDER = [
  "a-day-in-the-life",
  "different-fields",
  "both-edit-one-field",
  "same-change",
  "owned-field",
  "cleared-field",
  "delete-against-edit",
  "deleted",
  "created",
  "first-contact",
  "automation",
  "write-under-way",
];

const FILES = import.meta.glob<string>("../../examples/*.json", { query: "?raw", import: "default", eager: true });

export const EXAMPLES: readonly Example[] = Object.values(FILES)
  .map(readExample)
  .sort((one, other) => rank(one.name) - rank(other.name));

function rank(name: string): number {
  const at = ORDER.indexOf(name);
  return at < 0 ? ORDER.length : at;
}

function readExample(text: string): Example {
  const json = parseJson(text);
  const name = isObject(json) ? member(json, "name") : undefined;
  const title = isObject(json) ? member(json, "title") : undefined;
  if (!isObject(json) || typeof name !== "string" || typeof title !== "string") throw new InputError("An example has a name and a title.");
  return { name, title, record: readRecord(member(json, "record") ?? null) };
}

/** The example that the page opens with. */
export function firstExample(): Example {
  const [first] = EXAMPLES;
  if (first === undefined) throw new InputError("The page was built without examples.");
  return first;
}

export function exampleNamed(name: string): Example | undefined {
  return EXAMPLES.find((example) => example.name === name);
}
