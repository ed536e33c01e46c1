import assert from "node:assert/strict";
import { test } from "node:test";
import { stage } from "./stage.mjs";

const { open } = await stage();

const step = (page) => page.getByRole("article", { name: "The chosen step" });
const phone = (page) => page.getByRole("row").filter({ has: page.getByRole("rowheader", { name: /^Phone\b/ }) });

test("a decision of the history is planned under another policy", () =>
  open({
    hash: "#view=timeline",
    async use(page) {
      await page.getByRole("button", { name: "Open the example" }).click();
      await step(page).getByText("Seen: insert in Postgres").waitFor();
      await page.getByRole("button", { name: "Next" }).click();
      await step(page).getByText("Decided: created in Postgres").waitFor();
      await page.getByRole("button", { name: /^Decided created/ }).focus();
      await page.keyboard.press("ArrowDown");
      await step(page).getByText("Write begun: create in Salesforce").waitFor();
      await page.getByText(/^Step 3 of \d+$/).waitFor();
      await page.getByRole("button", { name: /^Decided conflict/ }).click();
      await page.getByRole("columnheader", { name: /As it was decided/ }).getByText("Needs a person").waitFor();
      const compare = page.getByRole("combobox", { name: "Compare with" });
      await compare.selectOption("postgres_wins");
      assert.match(await phone(page).innerText(), /decided differently[\s\S]*Needs a person[\s\S]*Write to Salesforce/);
      await compare.selectOption("manual_review");
      assert.doesNotMatch(await phone(page).innerText(), /decided differently/);
    },
  }));

test("refused, resumed and deleted records are shown in words", () =>
  open({
    hash: "#view=timeline",
    async use(page) {
      await page.getByRole("button", { name: "Open the example" }).click();
      await page.getByRole("button", { name: /^Write ended refused/ }).click();
      await step(page).getByText("Only sales may make an account hot").waitFor();
      await page.getByRole("button", { name: /^Stopped FIELD_CUSTOM_VALIDATION_EXCEPTION/ }).click();
      await page.keyboard.press("ArrowDown");
      await step(page).getByText("Resumed: replayed").waitFor();
      await page.getByRole("button", { name: /^Decided deleted in Postgres/ }).click();
      await page.getByRole("columnheader", { name: /As it was decided/ }).getByText("Write to Salesforce").waitFor();
    },
  }));

test("a past decision opens with what was known then", () =>
  open({
    hash: "#view=timeline",
    async use(page) {
      await page.getByRole("button", { name: "Open the example" }).click();
      await page.getByRole("button", { name: /^Decided conflict/ }).click();
      await page.getByRole("button", { name: "Open in the record view" }).click();
      assert.equal(await page.getByRole("textbox", { name: "Phone in Salesforce" }).inputValue(), "+1 555 0177");
      await page.getByRole("link", { name: "Timeline" }).click();
      await step(page).getByText("Decided: conflict").waitFor();
    },
  }));

test("a dropped history opens; an invalid one is refused", () =>
  open({
    hash: "#view=timeline",
    async use(page) {
      const html = "<img src=x onerror=alert(1)>";
      const entry = { at: "2026-05-04T08:00:00Z", kind: "stopped", code: html, message: html };
      const drop = (name, text) => page.getByLabel("Choose a file").setInputFiles({ name, mimeType: "application/json", buffer: Buffer.from(text) });
      await drop("broken.json", `{"entries":${"[".repeat(10_000)}`);
      await page.getByText("broken.json cannot be opened.").waitFor();
      await drop("other.json", '{"rows":[]}');
      await page.getByText("It is not the output of syncline explain").waitFor();
      await drop("history.json", JSON.stringify({ object: html, external_id: html, entries: Array(5_000).fill(entry), rules: {} }));
      await page.getByText(/^Step 1 of 5,000$/).waitFor();
      await step(page).getByText(`Stopped: ${html}`).waitFor();
      assert.equal(await page.locator("img").count(), 0);
      for (const key of ["ArrowUp", "ArrowDown", "ArrowDown"]) await page.getByRole("button", { name: /^Stopped/, exact: false }).and(page.locator("[aria-current=step]")).press(key);
      await page.getByText(/^Step 3 of 5,000$/).waitFor();
    },
  }));
