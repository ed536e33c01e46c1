import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { fieldRow, stage } from "./stage.mjs";

const { open, url } = await stage();

test("a shared link shows the same record and decision", () =>
  open({
    hash: "#example=both-edit-one-field",
    async use(page) {
      await page.getByRole("textbox", { name: "Phone in Postgres" }).fill('<b>"5%"</b> ✓');
      await page.getByRole("textbox", { name: "External id" }).fill("C-77");
      await page.getByRole("button", { name: "Share" }).click();
      await page.getByText("The link is copied.").waitFor();
      const link = await page.evaluate(() => navigator.clipboard.readText());
      assert.equal(link, page.url());
      await open({
        hash: link.slice(url.length),
        async use(other) {
          await other.getByText("Opened the shared link.").waitFor();
          assert.equal(await other.getByRole("textbox", { name: "Phone in Postgres" }).inputValue(), '<b>"5%"</b> ✓');
          assert.equal(await other.getByRole("textbox", { name: "External id" }).inputValue(), "C-77");
          await fieldRow(other, "Phone").getByText("Needs a person").waitFor();
        },
      });
    },
  }));

test("an exported state is imported as it was", () =>
  open({
    hash: "#example=owned-field",
    async use(page) {
      const saved = page.waitForEvent("download");
      await page.getByRole("combobox", { name: "Export" }).selectOption("state");
      const download = await saved;
      assert.equal(download.suggestedFilename(), "syncline-C-1042.json");
      const text = await readFile(await download.path(), "utf8");
      await page.getByRole("combobox", { name: "Example" }).selectOption("created");
      await page.getByLabel("Import").setInputFiles({ name: "saved.json", mimeType: "application/json", buffer: Buffer.from(text) });
      await page.getByText("Opened saved.json.").waitFor();
      assert.equal(await page.getByRole("textbox", { name: "Industry in Postgres" }).inputValue(), "Wholesale");
    },
  }));

test("a configuration file is imported into the editor", () =>
  open({
    async use(page) {
      const toml = '[tenant.t]\nsalesforce = { login_url = "https://x.example", client_id = "c", auth = "client_credentials", secret = "env:S" }\npostgres = { url = "env:U" }\n[[tenant.t.object]]\nobject = "Lead"\ntable = "lead"\nexternal_id = { field = "Key__c", column = "key" }\n[tenant.t.object.fields]\nCompany = { column = "company" }\n';
      await page.getByLabel("Import").setInputFiles({ name: "syncline.toml", mimeType: "text/plain", buffer: Buffer.from(toml) });
      await fieldRow(page, "Company").waitFor();
      assert.equal(await page.getByRole("combobox", { name: "Object" }).inputValue(), "Lead");
    },
  }));

test("a chosen theme survives a reload right after the click", () =>
  open({
    // What the page does after a frame or a while never happens: only what a click does at once counts.
    before: () => {
      globalThis.requestAnimationFrame = () => 0;
      globalThis.setTimeout = () => 0;
    },
    async use(page) {
      await page.getByRole("button", { name: /^Theme: system/ }).click();
      await page.getByRole("button", { name: /^Theme: light/ }).click();
      await page.getByRole("button", { name: /^Theme: dark/ }).waitFor();
      await page.reload();
      await page.getByRole("button", { name: /^Theme: dark/ }).waitFor();
      assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "dark");
    },
  }));
