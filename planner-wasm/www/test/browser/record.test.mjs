import assert from "node:assert/strict";
import { test } from "node:test";
import { fieldRow, replaceLine, stage } from "./stage.mjs";

const { open } = await stage();

const decision = (page) => page.getByRole("status", { name: "Decision about the record" });
const written = (page, side) => page.getByRole("region", { name: `Written to ${side}` });

test("each key stroke updates the decision and its reason", () =>
  open({
    hash: "#example=different-fields",
    async use(page) {
      const phone = fieldRow(page, "Phone");
      await phone.getByText("Write to Salesforce").waitFor();
      await phone.getByText("Only Postgres changed it, so the change goes to Salesforce.").waitFor();
      const cell = page.getByRole("textbox", { name: "Phone in Postgres" });
      await cell.fill("+1 555 010");
      assert.match(await written(page, "Salesforce").innerText(), /\+1 555 010$/m);
      await cell.press("End");
      await cell.press("0");
      await phone.getByText("Both sides are equal.").waitFor();
      await written(page, "Salesforce").getByText("Nothing is written").waitFor();
    },
  }));

test("a conflicting field waits and the others are written", () =>
  open({
    async use(page) {
      await decision(page).getByText("Needs a person").waitFor();
      await fieldRow(page, "NumberOfEmployees").getByText("Needs a person").waitFor();
      await fieldRow(page, "Name").getByText("Write to Postgres").waitFor();
      await fieldRow(page, "Industry").getByText("Salesforce owns the field, so both sides get its value.").waitFor();
      assert.match(await written(page, "Salesforce").innerText(), /Phone/);
    },
  }));

test("null, empty text and a field never seen differ", () =>
  open({
    hash: "#example=cleared-field",
    async use(page) {
      const kind = page.getByRole("combobox", { name: "Phone in Salesforce: kind of value" });
      assert.equal(await kind.inputValue(), "null");
      assert.match(await written(page, "Postgres").innerText(), /Phone\s+\+1 555 0100\s*→\s*null/);
      await kind.selectOption("absent");
      await fieldRow(page, "Phone").getByText("One side's value is not known yet").waitFor();
      await written(page, "Postgres").getByText("Nothing is written").waitFor();
      await page.getByRole("textbox", { name: "Phone in Salesforce" }).fill("1");
      assert.equal(await kind.inputValue(), "text");
    },
  }));

test("typed digits stay a number with every digit", () =>
  open({
    hash: "#example=same-change",
    async use(page) {
      await page.getByRole("textbox", { name: "NumberOfEmployees in Postgres" }).fill("12345678901234567.89");
      assert.match(await written(page, "Salesforce").innerText(), /12345678901234567\.89/);
      assert.equal(await page.getByRole("combobox", { name: "NumberOfEmployees in Postgres: kind of value" }).inputValue(), "number");
    },
  }));

test("a deleted record follows the edited delete policy", () =>
  open({
    hash: "#example=delete-against-edit",
    async use(page) {
      await decision(page).getByText("One side deleted what the other edited, and a person must decide.").waitFor();
      await replaceLine(page, "deletes", 0, 'deletes = { on_edit = "edit_wins" }');
      await decision(page).getByText("the edit wins and the record comes back").waitFor();
      await written(page, "Postgres").getByText("Create the record").waitFor();
      await page.getByRole("checkbox", { name: "row exists" }).check();
      await fieldRow(page, "Phone").getByText("Write to Postgres").waitFor();
    },
  }));

test("a mistake is shown; the last good rules stay", () =>
  open({
    hash: "#example=both-edit-one-field",
    async use(page) {
      await replaceLine(page, "conflicts", 0, 'conflicts = "coin_toss"');
      const mistakes = page.getByRole("group", { name: "Mistakes in the configuration" });
      await mistakes.getByText("1 mistake").waitFor();
      assert.match(await mistakes.innerText(), /Line \d+[\s\S]*conflicts[\s\S]*manual_review/);
      await fieldRow(page, "Phone").getByText("Needs a person").waitFor();
      await page.locator(".cm-lint-marker-error").waitFor();
      await mistakes.getByRole("button", { name: /^Line \d+$/ }).click();
      await page.keyboard.insertText('conflicts = "postgres_wins"');
      await page.getByText("No mistakes.").waitFor();
      await fieldRow(page, "Phone").getByText("Both sides changed it, and by policy Postgres wins.").waitFor();
    },
  }));

test("the editor completes keys and values from the schema", () =>
  open({
    hash: "#example=first-contact",
    async use(page) {
      await page.locator(".cm-line", { hasText: "conflicts" }).first().click();
      await page.keyboard.press("End");
      await page.keyboard.press("Enter");
      await page.keyboard.type("see");
      const offered = page.locator(".cm-tooltip-autocomplete");
      await offered.getByText("seed").click();
      await page.keyboard.press("Control+Space");
      await offered.getByText('"salesforce"').click();
      await page.locator(".cm-line", { hasText: 'seed = "salesforce"' }).waitFor();
      await fieldRow(page, "Name").getByText("The sides have never agreed on it, so Salesforce gives the first value.").waitFor();
    },
  }));

test("an added field is ignored until it is mapped", () =>
  open({
    async use(page) {
      await page.getByRole("textbox", { name: "Name of a field to add" }).fill("Fax");
      await page.getByRole("button", { name: "Add field" }).click();
      await fieldRow(page, "Fax").getByText("It is not mapped, so it is left alone.").waitFor();
      await page.getByRole("textbox", { name: "Fax in Postgres" }).fill("1");
      await page.locator(".cm-line", { hasText: "Phone = " }).click();
      await page.keyboard.press("End");
      await page.keyboard.press("Enter");
      await page.keyboard.insertText('Fax = { column = "fax" }');
      await fieldRow(page, "Fax").getByText("Write to Salesforce").waitFor();
      await page.keyboard.press("ControlOrMeta+z");
      await page.getByRole("button", { name: "Remove field Fax" }).click();
      await fieldRow(page, "Fax").waitFor({ state: "detached" });
    },
  }));

test("a write under way and automation withhold a field", () =>
  open({
    hash: "#example=write-under-way",
    async use(page) {
      await fieldRow(page, "Phone").getByText("A write of it is in progress; it is decided afterwards.").waitFor();
      await page.getByRole("group", { name: "A write is under way to" }).getByRole("checkbox", { name: "Phone" }).uncheck();
      await fieldRow(page, "Phone").getByText("Write to Salesforce").waitFor();
      await page.getByRole("group", { name: /^Automation/ }).getByRole("checkbox", { name: "Phone" }).check();
      await fieldRow(page, "Phone").getByText("Salesforce automation keeps changing it back").waitFor();
    },
  }));

test("the keyboard alone reaches everything", () =>
  open({
    async use(page) {
      await page.keyboard.press("Tab");
      await page.keyboard.press("Enter");
      assert.equal(await page.evaluate(() => document.activeElement?.id), "main");
      const reached = new Set();
      for (let steps = 0; steps < 80; steps += 1) {
        await page.keyboard.press("Tab");
        reached.add(await page.evaluate(() => {
          const inside = document.activeElement?.shadowRoot?.activeElement ?? document.activeElement;
          return inside?.getAttribute("aria-label") ?? inside?.textContent?.trim() ?? "";
        }));
      }
      for (const name of ["Configuration, syncline.toml", "Phone in Postgres", "Phone in Salesforce: kind of value", "Add field"]) {
        assert.ok(reached.has(name), `${name} is not reached by Tab`);
      }
    },
  }));
