import assert from "node:assert/strict";
import { test } from "node:test";
import schema from "../../../../syncline.schema.json";
import { SAMPLE_CONFIG } from "../../src/examples";
import { contextOf, suggestions, type Schema } from "../../src/toml-context";
import { withPolicy } from "../../src/toml-edit";

function offered(before: string): string[] {
  const context = contextOf(before);
  return context === undefined ? [] : suggestions(schema as unknown as Schema, context, ["acme"]).map(({ label }) => label);
}

test("keys and values of an object are offered", () => {
  assert.ok(offered("[[tenant.acme.object]]\nconf").includes("conflicts"));
  assert.deepEqual(offered('[[tenant.acme.object]]\nconflicts = "').slice(0, 2), ['"manual_review"', '"field_ownership"']);
  assert.deepEqual(offered("[[tenant.acme.object]]\nauto_assign = "), ["true", "false"]);
});

test("inside an inline table its own keys and values are offered", () => {
  assert.deepEqual(offered("[[tenant.acme.object]]\ndeletes = { "), ["column", "max_per_day", "max_per_hour", "mode", "on_edit"]);
  assert.ok(offered('[[tenant.acme.object]]\ndeletes = { mode = "soft", on_edit = ').includes('"edit_wins"'));
  assert.deepEqual(offered('[tenant.acme.object.fields]\nName = { column = "name", owner = "'), ['"shared"', '"salesforce"', '"postgres"']);
  assert.deepEqual(offered('[tenant.acme.object.fields]\nName = { column = "name", '), ["column", "owner", "references"]);
});

test("a header is offered for each tenant of the file", () => {
  assert.deepEqual(offered("[[ten"), ["tenant.acme", "tenant.acme.object", "tenant.acme.object.fields"]);
});

test("nothing is offered in a comment or after a value", () => {
  assert.deepEqual(offered("[[tenant.acme.object]]\n# conf"), []);
  assert.deepEqual(offered('[[tenant.acme.object]]\ntable = "account" '), []);
});

const account = { tenant: "acme", object: "Account" };

test("setting a policy changes its one line and nothing else", () => {
  const set = withPolicy(SAMPLE_CONFIG, account, "conflicts", "salesforce_wins");
  assert.equal(set, SAMPLE_CONFIG.replace('conflicts = "manual_review"', 'conflicts = "salesforce_wins"'));
});

test("a policy is set in the section of its own object", () => {
  const set = withPolicy(SAMPLE_CONFIG, { tenant: "acme", object: "Airport__c" }, "conflicts", "postgres_wins") ?? "";
  assert.ok(set.indexOf('conflicts = "postgres_wins"') > set.indexOf('object = "Airport__c"'));
  assert.ok(set.includes('conflicts = "manual_review"'));
});

test("a policy that is not written yet is added below the header", () => {
  const set = withPolicy(SAMPLE_CONFIG, account, "seed", "postgres");
  assert.equal(set, SAMPLE_CONFIG.replace("[[tenant.acme.object]]\n", '[[tenant.acme.object]]\nseed = "postgres"\n'));
});

test("the delete policy is set within its inline table", () => {
  assert.ok(withPolicy(SAMPLE_CONFIG, account, "deletes.on_edit", "edit_wins")?.includes('deletes = { mode = "propagate", on_edit = "edit_wins" }'));
  const none = SAMPLE_CONFIG.replace(/deletes = .*\n/, "deletes = {}\n");
  assert.ok(withPolicy(none, account, "deletes.on_edit", "edit_wins")?.includes('deletes = { on_edit = "edit_wins" }'));
});

test("an object written in another way is left unchanged", () => {
  assert.equal(withPolicy(SAMPLE_CONFIG, { tenant: "acme", object: "Contact" }, "seed", "postgres"), undefined);
  assert.equal(withPolicy('[tenant.acme]\nobject = [{ object = "Account" }]', account, "seed", "postgres"), undefined);
  const dotted = SAMPLE_CONFIG.replace(/deletes = .*\n/, 'deletes.mode = "soft"\n');
  assert.equal(withPolicy(dotted, account, "deletes.on_edit", "edit_wins"), undefined);
});
