// Whatever is given to the package, it returns an answer or throws an error with its place. The module never
// traps, and the planner answers the next call.
import assert from "node:assert/strict";
import { test } from "node:test";
import { imported, object } from "./installed.mjs";

const { PlannerError, loadPlanner, readJson, writeJson } = imported;
const planner = await loadPlanner();
const calls = ["check_config", "plan_record", "plan_change", "merge", "canonical_hash"];
const record = { object, external_id: "K1", base: null, postgres: { Name: "Ada" }, salesforce: null };

/** Runs a call; returns the typed error, or the answer. Anything else that is thrown fails the test. */
function answered(run) {
  try {
    return run();
  } catch (error) {
    assert.ok(error instanceof PlannerError, `${error?.name}: ${error?.message}`);
    assert.ok(error.message.length > 0 && error.fix.length > 0, "it has a message and a fix");
    return error;
  }
}

function stillWorks() {
  assert.equal(planner.planRecord(record).explanation.record, "created_in_postgres");
}

test("every call refuses ten megabytes before copying them", () => {
  const long = `"${"x".repeat(10_000_000)}"`;
  for (const call of calls) {
    const error = answered(() => planner.text[call](long));
    assert.match(error.message, /longer than 1048576 bytes/, call);
  }
  const batch = planner.beginBatch({ object });
  assert.ok(answered(() => batch.plan(long)) instanceof PlannerError);
  batch.free();
  assert.ok(answered(() => planner.planRecord({ ...record, postgres: { Name: long } })) instanceof PlannerError);
  stillWorks();
});

test("a megabyte of short members or wide characters is answered", () => {
  const many = `{${Array.from({ length: 60_000 }, (_, member) => `"m${member}":${member}`).join(",")}}`;
  const wide = `"${"é".repeat(600_000)}"`;
  for (const call of calls) {
    answered(() => planner.text[call](many));
    assert.ok(answered(() => planner.text[call](wide)) instanceof PlannerError, call);
  }
  stillWorks();
});

test("depth 10,000 is refused, in text and in objects", () => {
  for (const [open, close] of [["[", "]"], ['{"a":', "}"]]) {
    const deep = open.repeat(10_000) + "1" + close.repeat(10_000);
    for (const call of calls.filter((call) => call !== "check_config")) {
      assert.ok(answered(() => planner.text[call](deep)) instanceof PlannerError, call);
    }
  }
  let deep = 1;
  for (let level = 0; level < 10_000; level += 1) deep = { a: deep };
  for (const run of [() => planner.canonicalHash(deep), () => planner.merge({ object, source: "postgres", incoming: deep })]) {
    assert.match(answered(run).message, /deeper than/);
  }
  const circle = {};
  circle.a = circle;
  assert.match(answered(() => planner.canonicalHash(circle)).message, /deeper than/);
  for (const toml of [`a = ${"[".repeat(10_000)}${"]".repeat(10_000)}`, `a = ${"{a=".repeat(10_000)}`, `[${"a.".repeat(10_000)}a]`]) {
    assert.ok(planner.checkConfig(toml).mistakes.length > 0);
  }
  stillWorks();
});

test("values that are not JSON are refused with their place", () => {
  for (const value of [NaN, Infinity, -Infinity, () => 1, Symbol("x"), new Date(0), new Map()]) {
    const error = answered(() => planner.planRecord({ ...record, postgres: { Name: value } }));
    assert.ok(error instanceof PlannerError);
    assert.equal(error.path, "postgres.Name");
  }
  for (const text of ["NaN", '{"a":NaN}', "Infinity", "undefined", "", "\u0000", '{"a":1', "{'a':1}", "[1,]", "1 2"]) {
    assert.ok(answered(() => planner.text.canonical_hash(text)) instanceof PlannerError, text);
  }
  for (const value of [null, undefined, 7, {}, []]) {
    assert.ok(answered(() => planner.text.plan_record(value)) instanceof PlannerError);
    assert.ok(answered(() => planner.planRecord(value)) instanceof PlannerError);
  }
  for (const number of ["1e400", "-1e-400", `1${"0".repeat(5_000)}`, "1e999999999999"]) {
    answered(() => planner.text.canonical_hash(number));
    answered(() => planner.text.plan_record(writeJson(record).replace('"Ada"', number)));
  }
  stillWorks();
});

test("half a surrogate pair is refused only as an escape", () => {
  const half = "a\ud800b";
  assert.ok(answered(() => planner.text.canonical_hash('"\\ud800"')) instanceof PlannerError);
  assert.ok(answered(() => planner.planRecord({ ...record, postgres: { Name: half } })) instanceof PlannerError);
  assert.equal(typeof answered(() => planner.text.canonical_hash(`"${half}"`)), "string");
  assert.ok(planner.checkConfig(half).mistakes.length > 0);
  stillWorks();
});

test("keys such as __proto__ pollute no prototype", () => {
  const hostile = '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"toString":1}';
  const text = writeJson({ ...record, postgres: null }).replace('"postgres":null', `"postgres":${hostile}`);
  assert.ok(answered(() => planner.text.plan_record(text)) instanceof PlannerError);
  const merged = planner.merge({ object, source: "salesforce", current: {}, incoming: readJson(hostile) });
  assert.deepEqual(Object.keys(merged.value).sort(), ["__proto__", "constructor", "toString"]);
  assert.equal(writeJson(readJson(`{"__proto__":12345678901234567890}`)), `{"__proto__":12345678901234567890}`);
  const named = planner.planRecord({ ...record, object: { ...object, fields: { constructor: { column: "c" } } }, postgres: { constructor: "x" } });
  assert.equal(named.why.fields.constructor.postgres, "x");
  answered(() => planner.planRecord(readJson('{"__proto__":{"external_id":"K1"}}')));
  answered(() => planner.text.canonical_hash('{"$serde_json::private::Number":"not a number"}'));
  answered(() => planner.text.canonical_hash('{"$serde_json::private::RawValue":"x"}'));
  assert.equal({}.polluted, undefined);
  assert.equal(Object.prototype.polluted, undefined);
  stillWorks();
});

test("markup in values stays the text it is", () => {
  const markup = '<img src=x onerror="globalThis.executed = true"></script><!--';
  const plan = planner.planRecord({ ...record, external_id: markup, postgres: { Name: markup } });
  assert.equal(plan.to_salesforce.fields.Name, markup);
  assert.equal(plan.to_salesforce.fields.Key__c, markup);
  const error = answered(() => planner.planRecord({ ...record, [markup]: 1 }));
  assert.ok(error.message.includes(markup), "an error repeats it as text");
  assert.equal(globalThis.executed, undefined);
});

test("an invalid row does not stop the others of its chunk", () => {
  const batch = planner.beginBatch({ object });
  const good = JSON.stringify({ external_id: "K1", postgres: { Name: "Ada" } });
  const bad = ["{", "null", "[]", "NaN", '{"external_id":7}', '{"external_id":"K1","postgres":{"Name":[1]}}', `{"__proto__":1}`, "[".repeat(10_000)];
  const rows = batch.plan([good, ...bad, "", good].join("\n"));
  assert.deepEqual(rows.map((row) => row.outcome), ["planned", ...bad.map(() => "refused"), "planned"]);
  assert.equal(rows[6].path, "postgres.Name");
  assert.equal(batch.finish().lanes.refused.records, bad.length);
  batch.free();
});
