import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { imported, object, packageFolder, project, require } from "./installed.mjs";

const base = { Key__c: "K1", Name: "Ada", Phone: "1" };
const record = { object, external_id: "K1", base, postgres: { ...base, Name: "Zoë 🎈" }, salesforce: base };

function run(script) {
  return execFileSync(process.execPath, [script], { cwd: project, encoding: "utf8", timeout: 60_000 });
}

test("import and require give the same plan", async () => {
  const required = await require("@syncline/planner").loadPlanner();
  const planner = await imported.loadPlanner();
  assert.deepEqual(planner.planRecord(record).to_salesforce, { write: "update", fields: { Name: "Zoë 🎈" } });
  assert.deepEqual(required.planRecord(record), planner.planRecord(record));
  assert.equal(require("@syncline/planner/package.json").version, planner.version);
});

test("every example of the README prints what its comments show", () => {
  const readme = readFileSync(join(packageFolder, "README.md"), "utf8");
  const examples = [...readme.matchAll(/^```js\n(.*?)^```/gms)].map((match) => match[1]);
  const runnable = examples.filter((example) => example.includes("loadPlanner"));
  assert.ok(runnable.length >= 3, "there are examples");
  runnable.forEach((example, index) => {
    const script = join(project, `example-${index}.mjs`);
    writeFileSync(script, example);
    const expected = [...example.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].map((match) => match[1]);
    assert.deepEqual(run(script).trimEnd().split("\n"), expected, `example ${index}`);
  });
});

test("a batch in chunks equals the same batch in one call", async () => {
  const planner = await imported.loadPlanner();
  const rows = Array.from({ length: 700 }, (_, row) => ({
    external_id: `K${row}`,
    base: { ...base, Key__c: `K${row}` },
    postgres: row % 3 === 0 ? null : { ...base, Key__c: `K${row}`, Phone: `${row}` },
    salesforce: { ...base, Key__c: `K${row}`, Name: row % 2 === 0 ? "Ada" : "Eve" },
    urgent: row % 100 === 1,
  }));
  const whole = planner.planBatch({ object, rows });
  const batch = planner.beginBatch({ object });
  const chunked = [];
  for (let from = 0; from < rows.length; from += 123) {
    chunked.push(...batch.plan(rows.slice(from, from + 123).map((row) => JSON.stringify(row)).join("\n")));
  }
  assert.deepEqual(chunked, whole.rows);
  assert.deepEqual(batch.finish(), whole.summary);
  batch.free();
  assert.equal(whole.summary.routes.length, 700);
  assert.ok(whole.summary.lanes.single.records > 0, "urgent rows go alone");
  assert.ok(whole.summary.to_salesforce.delete > 0, "rows that are gone are deleted");
});

test("a number keeps every digit through the planner", async () => {
  const planner = await imported.loadPlanner();
  for (const digits of ["12345678901234567.89", "-0.1234567890123456789", "9007199254740993"]) {
    const name = imported.readJson(digits);
    assert.ok(name instanceof imported.ExactNumber, digits);
    const plan = planner.planRecord({ ...record, postgres: { ...base, Name: name } });
    assert.equal(`${plan.to_salesforce.fields.Name}`, digits);
    assert.equal(imported.writeJson(plan.to_salesforce.fields), `{"Name":${digits}}`);
  }
  const plan = planner.planRecord({ ...record, postgres: { ...base, Name: 9007199254740993n } });
  assert.equal(`${plan.to_salesforce.fields.Name}`, "9007199254740993");
  const text = '{"a":"number 12345678901234567890","b":[1.5,-2e-3],"c":"\\\\\\"1234567890123456789"}';
  assert.deepEqual(imported.readJson(text), JSON.parse(text));
});

test("the types accept a right program and refuse a wrong one", () => {
  const compiler = join(import.meta.dirname ?? new URL(".", import.meta.url).pathname, "../node_modules/.bin/tsc");
  const compiles = (name, body) => {
    const file = join(project, name);
    writeFileSync(file, `import { loadPlanner } from "@syncline/planner";\nconst planner = await loadPlanner();\n${body}\n`);
    const options = ["--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom", file];
    try {
      execFileSync(compiler, options, { cwd: project, encoding: "utf8" });
      return "";
    } catch (error) {
      return `${error.stdout}`;
    }
  };
  const rules = `const object = ${JSON.stringify(object).replace('"postgres"', '"postgres" as const')};`;
  const good = `${rules}\nconst plan = planner.planRecord({ object, external_id: "K1", base: null, postgres: { Name: 1 }, salesforce: null });
    if (plan.to_salesforce.write === "create") console.log(plan.to_salesforce.fields.Name);
    const row = planner.planBatch({ object, rows: [] }).rows[0]; if (row?.outcome === "refused") console.log(row.fix);`;
  assert.equal(compiles("good.mts", good), "");
  assert.match(compiles("bad.mts", `${rules}\nplanner.planRecord({ object, external_id: 7, base: null, postgres: null, salesforce: null });`), /number/);
});

test("a batch of several megabytes is planned in one call", async () => {
  const planner = await imported.loadPlanner();
  const rows = Array.from({ length: 3_000 }, (_, row) => ({ external_id: `K${row}`, base: null, postgres: { Name: "é".repeat(500) }, salesforce: null }));
  const { rows: planned, summary } = planner.planBatch({ object, rows });
  assert.equal(planned.at(-1).external_id, "K2999");
  assert.deepEqual(summary.to_salesforce, { create: 3_000 });
  assert.deepEqual(planner.planBatch({ object, rows: [] }).rows, []);
});

test("a row that is not JSON is named by its place", async () => {
  const planner = await imported.loadPlanner();
  const rows = [{ external_id: "K1", base: null, postgres: { Name: NaN }, salesforce: null }];
  assert.throws(() => planner.planBatch({ object, rows }), { name: "PlannerError", path: "rows[0].postgres.Name" });
  assert.throws(() => planner.planBatch({ object }), { name: "PlannerError", path: "rows" });
});

test("a freed batch throws a clear error", async () => {
  const planner = await imported.loadPlanner();
  const batch = planner.beginBatch({ object });
  batch.free();
  batch.free();
  for (const call of [() => batch.plan(""), () => batch.finish()]) {
    assert.throws(call, { name: "PlannerError", message: "the batch was freed", fix: "begin another batch" });
  }
});

test("unmapped fields of a record are listed", async () => {
  const planner = await imported.loadPlanner();
  assert.deepEqual(planner.planRecord(record).unmapped, []);
  assert.deepEqual(planner.planRecord({ ...record, postgres: { ...base, phone: "2" } }).unmapped, ["phone"]);
});
