import assert from "node:assert/strict";
import { test } from "node:test";
import { writeJson } from "@syncline/planner";
import { InputError, isObject, isValue, member, parseJson } from "../../src/json";
import { readRecord } from "../../src/record";

function problem(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    assert.ok(error instanceof InputError, `it threw ${String(error)}`);
    return error.message;
  }
  return assert.fail("it was read");
}

test("a number keeps every digit from the text to the planner and back", () => {
  const text = '{"external_id":"A","base":null,"postgres":{"Price__c":12345678901234567.89},"salesforce":null}';
  assert.equal(writeJson(readRecord(parseJson(text))), text);
});

test("null, empty text and a field never seen differ", () => {
  const record = readRecord(parseJson('{"external_id":"A","postgres":{"Null__c":null,"Empty__c":""}}'));
  assert.deepEqual(record.postgres, { Null__c: null, Empty__c: "" });
});

test("__proto__ is a field like any other and changes no prototype", () => {
  const json = parseJson('{"__proto__":{"polluted":true},"external_id":"A"}');
  assert.ok(isObject(json));
  assert.deepEqual(Object.keys(json), ["__proto__", "external_id"]);
  assert.equal(member(json, "toString"), undefined);
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
  assert.match(problem(() => readRecord(json)), /^__proto__: It is unknown/);
  const fields = readRecord(parseJson('{"external_id":"A","postgres":{"__proto__":"x"}}'));
  assert.equal(member(fields.postgres ?? {}, "__proto__"), "x");
  assert.equal(writeJson(fields), '{"external_id":"A","base":null,"postgres":{"__proto__":"x"},"salesforce":null}');
});

test("ten megabytes are refused before they are parsed", () => {
  assert.match(problem(() => parseJson(`"${"x".repeat(10_000_000)}"`)), /10,000,002 characters/);
});

test("ten thousand levels are an error, not an overflow", () => {
  const deep = `${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}`;
  assert.match(problem(() => readRecord(parseJson(`{"external_id":"A","postgres":{"f":${deep}}}`))), /postgres\.f|nested too deeply/);
});

test("NaN, infinities and numbers out of range are invalid", () => {
  for (const text of ["NaN", "Infinity", "-Infinity", "01", "1."]) assert.match(problem(() => parseJson(text)), /not JSON/);
  assert.equal(isValue(parseJson("1e999")), false);
  assert.match(problem(() => readRecord(parseJson('{"external_id":"A","base":{"n":1e999}}'))), /^base\.n: /);
});

test("an object or a list is invalid as a value", () => {
  for (const value of ["{}", "[1]"]) {
    assert.match(problem(() => readRecord(parseJson(`{"external_id":"A","salesforce":{"Name":${value}}}`))), /^salesforce\.Name: /);
  }
});

test("every circumstance survives being written and read", () => {
  const text =
    '{"external_id":"A","base":{"F":1},"postgres":{"F":2},"salesforce":{"F":true},"changed_at_ms":{"postgres":5,"salesforce":-6},' +
    '"clock_skew_ms":7,"under_way":["F"],"late_writes":["F"],"automation_overrides":{"F":{"count":2,"sent":1.50,"stored":null}},"agreed":false}';
  assert.equal(writeJson(readRecord(parseJson(text))), text.replace("1.50", "1.5"));
});
