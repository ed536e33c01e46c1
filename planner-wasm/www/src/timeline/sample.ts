// A history to look at before one has one's own, in the form that `syncline explain --json` writes.

const RULES = {
  object: "Account",
  table: { schema: "public", table: "account" },
  external_id: { field: "External_Id__c", column: "external_id" },
  conflicts: "manual_review",
  fields: { Name: { column: "name" }, Phone: { column: "phone" }, Industry: { column: "industry", owner: "salesforce" } },
};

type Values = Readonly<Record<string, string | null>>;

const FIRST: Values = { External_Id__c: "C-1042", Name: "Northwind Traders", Phone: "+1 555 0100", Industry: "Retail" };
const PHONED: Values = { ...FIRST, Phone: "+1 555 0199" };
const IN_POSTGRES: Values = { ...PHONED, Phone: "+1 555 0142", Industry: "Wholesale" };
const IN_SALESFORCE: Values = { ...PHONED, Phone: "+1 555 0177", Name: "Northwind Traders Inc." };
const RESOLVED: Values = { ...IN_SALESFORCE, Phone: "+1 555 0142" };

function at(time: string): string {
  return `2026-05-04T${time}Z`;
}

function observed(time: string, side: string, operation: string, values: Values, fate: string) {
  return { at: at(time), kind: "observed", side, operation, values, fate, external_id: "C-1042", observed_at: at(time) };
}

function decided(time: string, rule: string, sides: readonly [Values | null, Values | null, Values | null], writes: readonly [Values | null, Values | null]) {
  const [base, postgres, salesforce] = sides;
  const write = (fields: Values | null) => (fields === null ? { write: "none" } : { write: "update", fields });
  return {
    at: at(time),
    kind: "decided",
    plan: { to_postgres: write(writes[0]), to_salesforce: write(writes[1]), explanation: { record: rule } },
    input: { external_id: "C-1042", base, postgres, salesforce, changed_at_ms: { postgres: Date.parse(at("09:20:11.000")), salesforce: Date.parse(at("09:20:48.000")) } },
    rules: "9f2c",
  };
}

function written(said: string, ended: string, fields: Values) {
  return [
    { at: at(said), kind: "write_said", action: "update", lane: "rest", fields },
    { at: at(ended), kind: "write_ended", state: "applied", refusal: null },
  ];
}

export const SAMPLE_HISTORY = JSON.stringify({
  tenant: "acme",
  object: "Account",
  record_id: "0197f2a0-6b1e-7c31-9a55-0c1d2e3f4a5b",
  external_id: "C-1042",
  salesforce_id: "001Hs00003Abc12IAB",
  state: "in_sync",
  reason: null,
  truncated: false,
  rules: { "9f2c": RULES },
  entries: [
    observed("08:02:10.114", "salesforce", "snapshot", FIRST, "applied"),
    observed("08:02:10.311", "postgres", "backfill", FIRST, "applied"),
    decided("08:02:11.020", "equal", [null, FIRST, FIRST], [null, null]),
    observed("09:14:03.402", "postgres", "update", { Phone: "+1 555 0199" }, "applied"),
    decided("09:14:03.655", "postgres_changed", [FIRST, PHONED, FIRST], [null, { Phone: "+1 555 0199" }]),
    ...written("09:14:03.660", "09:14:03.941", { Phone: "+1 555 0199" }),
    observed("09:14:04.870", "salesforce", "update", { Phone: "+1 555 0199" }, "echo"),
    observed("09:20:11.008", "postgres", "update", { Phone: "+1 555 0142", Industry: "Wholesale" }, "applied"),
    observed("09:20:48.350", "salesforce", "update", { Phone: "+1 555 0177", Name: "Northwind Traders Inc." }, "applied"),
    decided("09:20:48.702", "conflict", [PHONED, IN_POSTGRES, IN_SALESFORCE], [{ Industry: "Retail", Name: "Northwind Traders Inc." }, null]),
    { at: at("09:20:48.702"), kind: "overruled", field: "Industry", side: "postgres", value: "Wholesale", rule: "salesforce_owns" },
    { at: at("09:20:48.702"), kind: "conflict_opened", conflict_id: 17, field: "Phone", base: "+1 555 0199", postgres: "+1 555 0142", salesforce: "+1 555 0177" },
    { at: at("09:41:30.000"), kind: "conflict_closed", conflict_id: 17, field: "Phone", state: "resolved", resolution: "postgres" },
    decided("09:41:30.212", "postgres_changed", [{ ...IN_SALESFORCE }, RESOLVED, IN_SALESFORCE], [null, { Phone: "+1 555 0142" }]),
    ...written("09:41:30.215", "09:41:30.507", { Phone: "+1 555 0142" }),
    observed("09:41:31.390", "salesforce", "update", { Phone: "+1 555 0142" }, "echo"),
  ],
});
