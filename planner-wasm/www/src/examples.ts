// The examples of the page, each with a name that a link can carry: `#example=both-edit-one-field`.
import { EMPTY_RECORD, type Fields, type RecordState } from "./record";

export interface Example {
  readonly name: string;
  readonly title: string;
  readonly record: RecordState;
}

export const SAMPLE_CONFIG = `# What is mapped, who owns which field, and who wins.
# Edit it: every decision on the right follows.

[tenant.acme]
salesforce = { login_url = "https://acme.my.salesforce.com", client_id = "3MVG9", auth = "client_credentials", secret = "env:SALESFORCE_SECRET" }
postgres = { url = "env:DATABASE_URL" }

[[tenant.acme.object]]
object = "Account"
table = "account"
external_id = { field = "External_Id__c", column = "external_id" }
conflicts = "manual_review"
deletes = { mode = "propagate", on_edit = "manual" }

[tenant.acme.object.fields]
Name = { column = "name" }
Phone = { column = "phone" }
Industry = { column = "industry", owner = "salesforce" }
Rating = { column = "rating", owner = "postgres" }
NumberOfEmployees = { column = "employees" }

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

type Values = Readonly<Record<string, string | number | null>>;

const AGREED: Values = {
  External_Id__c: "C-1042",
  Name: "Northwind Traders",
  Phone: "+1 555 0100",
  Industry: "Retail",
  Rating: "Warm",
  NumberOfEmployees: 120,
};

const NOON_MS = Date.UTC(2026, 4, 4, 12);
const MINUTE_MS = 60_000;

function fields(...layers: Values[]): Fields {
  const merged: Values = Object.assign({}, ...layers) as Values;
  return new Map(Object.entries(merged).map(([name, value]) => [name, JSON.stringify(value)]));
}

function record(postgres: Values | null, salesforce: Values | null, more: Partial<RecordState> = {}): RecordState {
  return {
    ...EMPTY_RECORD,
    externalId: "C-1042",
    base: fields(AGREED),
    postgres: postgres && fields(AGREED, postgres),
    salesforce: salesforce && fields(AGREED, salesforce),
    changedAtMs: { postgres: NOON_MS, salesforce: NOON_MS + 5 * MINUTE_MS },
    ...more,
  };
}

export const EXAMPLES: readonly [Example, ...Example[]] = [
  {
    name: "a-day-in-the-life",
    title: "Several edits at once",
    record: record(
      { Phone: "+1 555 0199", NumberOfEmployees: 128, Industry: "Wholesale" },
      { Name: "Northwind Traders Inc.", NumberOfEmployees: 131, Rating: "Hot" },
    ),
  },
  {
    name: "different-fields",
    title: "Each side edits another field",
    record: record({ Phone: "+1 555 0199" }, { Name: "Northwind Traders Inc." }),
  },
  {
    name: "both-edit-one-field",
    title: "Both sides edit the same field",
    record: record({ Phone: "+1 555 0199" }, { Phone: "+1 555 0142" }),
  },
  {
    name: "same-change",
    title: "Both sides make the same edit",
    record: record({ Phone: "+1 555 0199" }, { Phone: "+1 555 0199" }),
  },
  {
    name: "owned-field",
    title: "A field is edited on the side that does not own it",
    record: record({ Industry: "Wholesale" }, { Rating: "Hot" }),
  },
  {
    name: "cleared-field",
    title: "A field is cleared",
    record: record({}, { Phone: null }),
  },
  {
    name: "delete-against-edit",
    title: "Deleted in Postgres, edited in Salesforce",
    record: record(null, { Phone: "+1 555 0142" }),
  },
  {
    name: "deleted",
    title: "Deleted in Salesforce",
    record: record({}, null),
  },
  {
    name: "created",
    title: "New in Postgres",
    record: record({ Name: "Fabrikam" }, null, { base: null }),
  },
  {
    name: "first-contact",
    title: "Found on both sides, never agreed",
    record: record({ Phone: null }, { Name: "Northwind Traders Inc." }, { base: null }),
  },
  {
    name: "automation",
    title: "A flow in Salesforce keeps changing a field back",
    record: record({ Phone: "+1 555 0199" }, {}, {
      bounces: new Map([["Phone", { count: 2, sent: '"+1 555 0199"', stored: '"+1 555 0100"' }]]),
    }),
  },
  {
    name: "write-under-way",
    title: "A write is under way",
    record: record({ Phone: "+1 555 0199", Name: "Northwind" }, {}, { underWay: ["Phone"] }),
  },
];

export function exampleNamed(name: string): Example | undefined {
  return EXAMPLES.find((example) => example.name === name);
}
