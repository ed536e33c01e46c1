import assert from "node:assert/strict";
import { test } from "node:test";
import { writeJson } from "@syncline/planner";
import { parseJson } from "../../src/json";
import { STEP_KINDS } from "../../src/timeline/history";
import { readHistory } from "../../src/timeline/read";
import SAMPLE_HISTORY from "../../src/timeline/history.json?raw";

const read = (json: unknown) => readHistory(parseJson(JSON.stringify(json)));

test("every entry becomes a step; decisions keep their facts", () => {
  const history = readHistory(parseJson(SAMPLE_HISTORY));
  assert.equal(history.steps.length, (JSON.parse(SAMPLE_HISTORY) as { entries: unknown[] }).entries.length);
  const decisions = history.steps.filter(({ kind }) => kind === "decided");
  assert.ok(decisions.length > 2);
  for (const { facts, rules } of decisions) {
    assert.equal(facts?.external_id, "C-1042");
    assert.equal(rules?.object, "Account");
  }
  assert.deepEqual(history.steps.map(({ at }) => at), history.steps.map(({ at }) => at).sort());
  const kinds = new Set(history.steps.map(({ kind }) => kind));
  assert.deepEqual(STEP_KINDS.filter((kind) => !kinds.has(kind)), [], "every kind of step is in it");
  for (const { title } of history.steps) assert.notEqual(title, "");
});

test("a decision without input is a step without facts", () => {
  const history = read({ object: "A", external_id: "1", rules: {}, entries: [{ at: "t", kind: "decided", plan: { explanation: { record: "both_changed" } }, input: null, rules: null }] });
  assert.deepEqual([history.steps[0]?.title, history.steps[0]?.facts, history.steps[0]?.rules], ["both changed", undefined, undefined]);
});

test("facts keep what this page has no editor for", () => {
  const input = { external_id: "1", base: null, postgres: null, salesforce: null, agreed: true, presence: { postgres: "deleted" }, under_way_action: "delete" };
  const history = read({ entries: [{ kind: "decided", input }] });
  assert.deepEqual(JSON.parse(writeJson(history.steps[0]?.facts ?? assert.fail("no facts"))), input);
});

for (const [what, json, says] of [
  ["a list instead of an object", [], /no entries/],
  ["nothing in it", { entries: [] }, /no entries/],
  ["an unknown kind", { entries: [{ kind: "constructor" }] }, /entries\[0\]\.kind/],
  ["an invalid entry", { entries: [null] }, /entries\[0\]/],
  ["broken facts", { entries: [{ kind: "decided", input: { external_id: 7 } }] }, /entries\[0\]\.input: external_id/],
  ["more entries than the engine writes", { entries: Array(10_001).fill({ kind: "settled" }) }, /more than 10000/],
] as const) {
  test(`a history with ${what} is refused with the place`, () => {
    assert.throws(() => read(json), says);
  });
}
