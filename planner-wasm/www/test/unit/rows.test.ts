import assert from "node:assert/strict";
import { test } from "node:test";
import { writeJson, type ObjectSync } from "@syncline/planner";
import { Changes, csvReader, isChangeLine, readChangeLine } from "../../src/batch/rows";
import { sampleRecords } from "../../src/batch/sample";
import { parseJson } from "../../src/json";

const rules = {
  object: "Account",
  external_id: { field: "Key__c", column: "key" },
  fields: { Name: { column: "name", owner: "shared" }, Size__c: { column: "size", owner: "shared" } },
} as unknown as ObjectSync;

function read(csv: string): unknown[] {
  const [header = [], ...rows] = csv.split("\n").map((line) => line.split(","));
  const reader = csvReader(header, rules);
  const records = rows.flatMap((cells) => reader.row(cells) ?? []);
  return [...records, ...reader.rest()].map((record) => JSON.parse(writeJson(record)) as unknown);
}

test("columns of a CSV are named by field or column", () => {
  assert.deepEqual(read("external_id,base.Name,postgres.name,salesforce.Name,postgres.size\nA,Old,New,Old,7"), [
    { external_id: "A", base: { Key__c: "A", Name: "Old" }, postgres: { Key__c: "A", Name: "New", Size__c: 7 }, salesforce: { Key__c: "A", Name: "Old" } },
  ]);
});

test("a side of empty cells lacks the record", () => {
  assert.deepEqual(read("key,base.Name,postgres.Name,postgres.Size__c,salesforce.Name\nA,,Ada,,"), [
    { external_id: "A", base: null, postgres: { Key__c: "A", Name: "Ada", Size__c: null }, salesforce: null },
  ]);
});

test("changes are applied to the base of their record", () => {
  const csv = "key,source,operation,changed_at,Name,Size__c\nA,base,,,Ada,1\nA,postgres,update,2026-05-04T12:00:00Z,Eve,\nA,salesforce,update,,,#N/A\nB,base,,,Bob,\nB,postgres,delete,,,";
  assert.deepEqual(read(csv), [
    {
      external_id: "A",
      base: { Key__c: "A", Name: "Ada", Size__c: 1 },
      postgres: { Key__c: "A", Name: "Eve", Size__c: 1 },
      salesforce: { Key__c: "A", Name: "Ada", Size__c: null },
      changed_at_ms: { postgres: Date.UTC(2026, 4, 4, 12) },
    },
    { external_id: "B", base: { Key__c: "B", Name: "Bob" }, postgres: null, salesforce: { Key__c: "B", Name: "Bob" } },
  ]);
});

test("an external id of digits stays a text", () => {
  assert.deepEqual(read("key,base.Name,postgres.Key__c\n7,1,7"), [{ external_id: "7", base: { Key__c: "7", Name: 1 }, postgres: { Key__c: "7" }, salesforce: null }]);
});

test("a header without key or side is refused", () => {
  assert.throws(() => csvReader(["Name", "source"], rules), /external_id, Key__c or key/);
  assert.throws(() => csvReader(["key", "Name"], rules), /base\.Name/);
  assert.throws(() => csvReader(["key", "source", "Name"], rules).row(["A", "sf", "x"]), /base, postgres or salesforce/);
});

test("a change envelope of the engine is read as one change", () => {
  const line = parseJson(
    '{"key":{"tenant":"acme","object":"Account","external_id":"A"},"source":"salesforce","operation":"update","cursor":"snapshot:1","tombstone":false,"payload":{"Name":"Ada"}}',
  );
  assert.ok(isChangeLine(line));
  const changes = new Changes(rules);
  changes.add(readChangeLine(line));
  assert.deepEqual(changes.records().map((record) => JSON.parse(writeJson(record)) as unknown), [
    { external_id: "A", base: null, postgres: null, salesforce: { Key__c: "A", Name: "Ada" } },
  ]);
});

test("the sample makes the same distinct records each time", () => {
  const airports = [{ icao: "EGLL", name: "London Heathrow Airport", city: "London", country: "GB", elevation: "83", latitude: "51.5", longitude: "-0.5", timezone: "Europe/London" }];
  const once = [...sampleRecords(airports, 50)].map((record) => writeJson(record));
  assert.deepEqual(once, [...sampleRecords(airports, 50)].map((record) => writeJson(record)));
  assert.equal(new Set(once.map((text) => (JSON.parse(text) as { external_id: string }).external_id)).size, 50);
  assert.ok(new Set(once.map((text) => text.replaceAll(/EGLL(-\d+)?|"changed_at_ms".*/g, ""))).size > 3, "they differ in more than their ids");
});
