import assert from "node:assert/strict";
import { test } from "node:test";
import { fieldRow, replaceLine, stage } from "./stage.mjs";

const { open } = await stage();

const file = (name, text) => ({ name, mimeType: "text/plain", buffer: Buffer.from(text) });
const drop = (page, name, text) => page.getByLabel("Choose a file").setInputFiles(file(name, text));
const list = (page) => page.getByRole("listbox", { name: /^Records of the batch/ });
const done = (page) => page.getByText(/records? planned in/);

const state = (id, fields) => JSON.stringify({ external_id: id, base: { External_Id__c: id, Name: "Ada", Phone: "1" }, ...fields });
const side = (id, fields = {}) => ({ External_Id__c: id, Name: "Ada", Phone: "1", ...fields });

test("outcomes, lanes and calls of the airports add up", () =>
  open({
    hash: "#view=batch",
    async use(page) {
      await page.getByRole("button", { name: "Plan 3,000 airports" }).click();
      await done(page).waitFor();
      const counts = async (title) => {
        const bars = await page.getByRole("figure", { name: title }).locator(".bar-value").allInnerTexts();
        return bars.map((text) => Number(/^[\d,]+/.exec(text)[0].replaceAll(",", ""))).reduce((sum, number) => sum + number, 0);
      };
      assert.equal(await counts("By outcome"), 3000);
      assert.equal(await counts("By lane"), 3000);
      const lanes = await page.getByRole("figure", { name: "By lane" }).locator(".bar-note").allInnerTexts();
      const calls = lanes.map((text) => Number(/^([\d,]+) call/.exec(text)[1].replaceAll(",", ""))).reduce((sum, number) => sum + number, 0);
      assert.equal(await page.locator(".limits-figure b").innerText(), String(calls));
      await page.getByRole("spinbutton", { name: "Calls a day" }).fill("1000");
      await page.getByText(`${(calls / 10).toFixed(2)} % of a day’s calls`).waitFor();
    },
  }));

test("a conflict found by its filter opens as counted", () =>
  open({
    hash: "#view=batch",
    async use(page) {
      await page.getByRole("button", { name: "Plan 3,000 airports" }).click();
      await done(page).waitFor();
      await page.getByRole("button", { name: /^Needs a person/ }).click();
      await page.getByRole("searchbox").fill("name");
      const first = list(page).getByRole("option").first();
      await first.getByText("Conflict in Name").waitFor();
      const id = await first.locator(".row-id").innerText();
      await first.click();
      assert.equal(await page.getByRole("textbox", { name: "External id" }).inputValue(), id);
      assert.equal(await page.getByRole("combobox", { name: "Object" }).inputValue(), "Airport__c");
      await fieldRow(page, "Name").getByText("Needs a person").waitFor();
      await page.getByRole("link", { name: "Batch" }).click();
      await done(page).waitFor();
    },
  }));

test("the keyboard reaches the last record and opens it", () =>
  open({
    hash: "#view=batch",
    async use(page) {
      await page.getByRole("button", { name: "Plan 3,000 airports" }).click();
      await done(page).waitFor();
      await list(page).focus();
      await page.keyboard.press("End");
      const chosen = list(page).getByRole("option", { selected: true });
      assert.equal(await chosen.getAttribute("aria-posinset"), "3000");
      await page.keyboard.press("PageUp");
      await page.keyboard.press("ArrowUp");
      const id = await chosen.locator(".row-id").innerText();
      await page.keyboard.press("Enter");
      assert.equal(await page.getByRole("textbox", { name: "External id" }).inputValue(), id);
    },
  }));

test("an invalid JSON line is explained and stops no other", () =>
  open({
    hash: "#view=batch",
    async use(page) {
      const lines = [
        state("A-1", { postgres: side("A-1", { Phone: "2" }), salesforce: side("A-1") }),
        "{ broken",
        state("A-2", { postgres: side("A-2"), salesforce: side("A-2", { Name: { nested: true } }) }),
        state("A-3", { postgres: side("A-3", { Phone: "2" }), salesforce: side("A-3", { Phone: "3" }) }),
        state("A-4", { postgres: side("A-4"), salesforce: side("A-4") }),
      ];
      await drop(page, "records.jsonl", lines.join("\n"));
      await done(page).waitFor();
      const rows = await list(page).getByRole("option").allInnerTexts();
      assert.match(rows[0], /A-1\s+Write to Salesforce/);
      assert.match(rows[1], /\(no external id\)\s+Cannot be used/);
      assert.match(rows[2], /A-2\s+Cannot be used\s+salesforce/);
      assert.match(rows[3], /A-3\s+Needs a person\s+Conflict in Phone/);
      assert.match(rows[4], /A-4\s+In step/);
      await list(page).getByText("(no external id)").click();
      await page.getByText("This record cannot be opened. It is not JSON").waitFor();
    },
  }));

test("a CSV of changes becomes one record per external id", () =>
  open({
    hash: "#view=batch",
    async use(page) {
      await drop(page, "changes.csv", 'external_id,source,operation,Name,phone\nA-1,base,,"Ada, Countess",1\nA-1,postgres,update,,2\nA-1,salesforce,update,Ada Lovelace,\nA-2,base,,Bob,1\nA-2,postgres,delete,,\n');
      await done(page).waitFor();
      const rows = await list(page).getByRole("option").allInnerTexts();
      assert.match(rows[0], /A-1\s+Write to both/);
      assert.match(rows[1], /A-2\s+Write to Salesforce\s+Deleted in Postgres/);
      await list(page).getByText("A-1").click();
      assert.equal(await page.getByRole("textbox", { name: "Name in Base" }).inputValue(), "Ada, Countess");
    },
  }));

test("an unreadable file is refused with the reason", () =>
  open({
    hash: "#view=batch",
    async use(page) {
      for (const [name, text, says] of [
        ["empty.csv", "", /The file is empty|holds no records/],
        ["columns.csv", "a,b\n1,2\n", /names no column with the external id/],
        ["source.csv", "external_id,source\nA,oracle\n", /Row 2: source: It must be base, postgres or salesforce/],
        ["quote.csv", `external_id,base.Name\nA,"${"x".repeat(400_000)}`, /Is a quotation mark missing/],
        ["line.jsonl", `{"external_id":"${"x".repeat(400_000)}`, /longer than 262,144 characters/],
      ]) {
        await drop(page, name, text);
        const problem = page.getByRole("alert");
        await problem.waitFor();
        assert.match(await problem.innerText(), says);
        await page.getByRole("button", { name: "Another batch" }).click();
      }
    },
  }));

test("a hundred thousand records leave the page responsive", () =>
  open({
    hash: "#view=batch",
    async use(page) {
      // Counts the frames that the page draws meanwhile: a page that is blocked draws none.
      await page.evaluate(() => {
        globalThis.frames = 0;
        const draw = () => void (globalThis.frames += 1, requestAnimationFrame(draw));
        requestAnimationFrame(draw);
      });
      await page.getByRole("button", { name: "Plan 100,000 records" }).click();
      const seen = new Set();
      const bar = page.getByRole("progressbar");
      while (!(await done(page).isVisible())) {
        const value = await bar.getAttribute("value", { timeout: 1000 }).catch(() => undefined);
        if (value) seen.add(value);
      }
      assert.ok(seen.size > 3, `progress was seen at ${[...seen].join(", ")} only`);
      assert.ok((await page.evaluate(() => globalThis.frames)) > 10, "the page drew nothing meanwhile");
      console.log(`page: ${await done(page).innerText()}`);
      assert.match(await page.locator(".rows-count").innerText(), /^100,000 of 100,000$/);
      await list(page).focus();
      await page.keyboard.press("End");
      assert.equal(await list(page).getByRole("option", { selected: true }).getAttribute("aria-posinset"), "100000");
      assert.ok((await list(page).getByRole("option").count()) < 60, "the list draws more than what is seen");
      await page.getByRole("searchbox").fill("EGLL-9");
      assert.match(await page.locator(".rows-count").innerText(), /^1 of 100,000$/);
    },
  }));

test("cancelling keeps what was planned so far", () =>
  open({
    hash: "#view=batch",
    async use(page) {
      await page.getByRole("button", { name: "Plan 100,000 records" }).click();
      await page.getByText(/^Planning … [1-9]/).waitFor();
      await page.getByRole("button", { name: "Cancel" }).click();
      await page.getByText(/^Cancelled: the first [\d,]+ records were planned/).waitFor();
      const [, listed] = /^([\d,]+) of/.exec(await page.locator(".rows-count").innerText());
      assert.ok(Number(listed.replaceAll(",", "")) < 100_000);
    },
  }));

test("a batch is planned again when the rules change", () =>
  open({
    hash: "#view=batch",
    async use(page) {
      await page.getByRole("button", { name: "Plan 3,000 airports" }).click();
      await done(page).waitFor();
      const conflicts = async () => Number(/\d+/.exec(await page.getByRole("button", { name: /^Needs a person/ }).innerText())[0]);
      const before = await conflicts();
      await page.getByRole("link", { name: "Record" }).click();
      await replaceLine(page, "conflicts", 1, 'conflicts = "postgres_wins"');
      await page.getByText("No mistakes.").waitFor();
      await page.getByRole("link", { name: "Batch" }).click();
      await page.getByRole("button", { name: /plan again$/ }).click();
      await page.getByRole("button", { name: /plan again$/ }).waitFor({ state: "detached" });
      await done(page).waitFor();
      // What is left are records that one side deleted and the other edited.
      assert.ok((await conflicts()) < before);
    },
  }));
