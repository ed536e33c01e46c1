import assert from "node:assert/strict";
import { test } from "node:test";
import { stage } from "./stage.mjs";

const { open } = await stage();

const outcomes = async (page, field) => {
  const row = page.getByRole("row").filter({ has: page.getByRole("rowheader", { name: new RegExp(`^${field}\\b`) }) });
  return (await row.getByRole("cell").allInnerTexts()).map((text) => text.replace(/\s+/g, " "));
};

test("one conflict is shown under each of five policies", () =>
  open({
    hash: "#example=both-edit-one-field&view=policies",
    async use(page) {
      const [manual, ownership, later, salesforce, postgres] = await outcomes(page, "Phone");
      assert.match(manual, /Postgres \+1 555 0199 Salesforce \+1 555 0142 Needs a person/);
      assert.match(ownership, /Needs a person/);
      assert.match(later, /^\+1 555 0142 Write to Postgres Both sides changed it, and the later edit wins/);
      assert.match(salesforce, /^\+1 555 0142 Write to Postgres/);
      assert.match(postgres, /^\+1 555 0199 Write to Salesforce/);
      assert.equal((await outcomes(page, "Rating")).length, 5);
      await page.getByText("policies differ").waitFor();
    },
  }));

test("one button writes a policy into the configuration", () =>
  open({
    hash: "#example=both-edit-one-field&view=policies",
    async use(page) {
      await page.getByRole("button", { name: "Use this policy: Postgres wins" }).click();
      await page.getByText("Account: conflicts is now postgres_wins.").waitFor();
      assert.match(await page.getByRole("columnheader", { name: /Postgres wins/ }).innerText(), /in the configuration/);
      await page.getByRole("link", { name: "Record" }).click();
      await page.locator(".cm-line", { hasText: 'conflicts = "postgres_wins"' }).waitFor();
      await page.getByText("Both sides changed it, and by policy Postgres wins.").waitFor();
    },
  }));

test("a delete against an edit selects the delete policies", () =>
  open({
    hash: "#example=delete-against-edit&view=policies",
    async use(page) {
      assert.ok(await page.getByRole("radio", { name: "One side deleted what the other edited" }).isChecked());
      const [manual, deleted, edited] = await outcomes(page, "Phone");
      assert.match(manual, /Needs a person/);
      assert.match(deleted, /^no record/);
      assert.match(edited, /^\+1 555 0142/);
    },
  }));

test("a record without a base selects the seed policies", () =>
  open({
    hash: "#example=first-contact&view=policies",
    async use(page) {
      const [refuse, salesforce, postgres] = await outcomes(page, "Name");
      assert.match(refuse, /Needs a person/);
      assert.match(salesforce, /^Northwind Traders Inc\./);
      assert.match(postgres, /^Northwind Traders Write to Salesforce/);
      await page.getByText("Both sides changed a field").click();
      assert.equal((await outcomes(page, "Name")).length, 5);
    },
  }));
