import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { deflateRawSync } from "node:zlib";
import { stage } from "./stage.mjs";

const { open, url } = await stage();

const HTML = "<img src=x onerror=\"alert(1)\"><script>alert(2)</script>'\"`${7*7}{{7*7}}";
const deep = `${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}`;

const folder = mkdtempSync(join(tmpdir(), "syncline-page-"));
after(() => rmSync(folder, { recursive: true }));

/** Imports a file of the disk: a text from memory would have to pass through the browser's debugging protocol. */
function importing(page, name, text) {
  const path = join(folder, name);
  writeFileSync(path, text);
  return page.getByLabel("Import").setInputFiles(path);
}

const problem = (page) => page.locator(".notice-problem");
const link = (json) => `#view=record&state=${deflateRawSync(json).toString("base64url")}`;

/** The page still works: an edit is still decided. */
async function assertAlive(page) {
  await page.getByRole("link", { name: "Record" }).click();
  await page.getByRole("combobox", { name: "Example" }).selectOption("different-fields");
  await page.getByRole("textbox", { name: "Phone in Postgres" }).fill("alive");
  await page.getByRole("region", { name: "Written to Salesforce" }).getByText("alive").waitFor();
}

const IMPORTS = [
  ["ten megabytes of JSON", `{"external_id":"${"x".repeat(10_000_000)}"}`, /10,000,0\d\d bytes/],
  ["ten thousand levels", `{"external_id":"A","postgres":{"Name":${deep}}}`, /postgres\.Name|nested too deeply/],
  ["NaN", '{"external_id":"A","postgres":{"Name":NaN}}', /not JSON/],
  ["a number beyond all bounds", '{"external_id":"A","postgres":{"Name":1e999}}', /postgres\.Name/],
  ["__proto__ as a member", '{"external_id":"A","__proto__":{"polluted":1}}', /__proto__: It is unknown/],
  ["HTML where a member should be", `{"external_id":"A",${JSON.stringify(HTML)}:1}`, /<img src=x onerror/],
  ["bytes that are not text", "{\ufffd\u0000", /not JSON/],
];

test("hostile imports end in an error in plain text", (t) =>
  open({
    async use(page) {
      for (const [what, text, says] of IMPORTS) {
        await t.test(`importing ${what} is an error in plain text`, async () => {
          await importing(page, "hostile.json", text);
          await problem(page).waitFor();
          assert.match(await problem(page).innerText(), says);
          await page.getByRole("button", { name: "Close" }).click();
          assert.equal(await page.evaluate(() => ({}).polluted), undefined);
        });
      }
      await assertAlive(page);
    },
  }));

test("HTML in values, keys and names is shown as text", () =>
  open({
    async use(page) {
      const fields = { External_Id__c: HTML, Name: HTML, [HTML]: HTML, __proto__x: HTML };
      const record = { external_id: HTML, base: { ...fields, Name: "1" }, postgres: { ...fields, Name: "2" }, salesforce: fields };
      await importing(page, `${HTML.replaceAll("/", "")}.json`, JSON.stringify(record));
      await page.getByText("Opened the record <img").waitFor();
      assert.equal(await page.getByRole("textbox", { name: "Name in Salesforce" }).inputValue(), HTML);
      assert.equal(await page.getByRole("textbox", { name: "External id" }).inputValue(), HTML);
      await page.getByRole("link", { name: "Policies" }).click();
      await page.getByText(HTML).first().waitFor();
      assert.equal(await page.locator("img, main script").count(), 0);
      await assertAlive(page);
    },
  }));

test("a field called __proto__ or constructor is a field like any other", () =>
  open({
    async use(page) {
      await importing(page, "record.json", '{"external_id":"A","base":{"__proto__":"x"},"postgres":{"__proto__":"y","constructor":"z"},"salesforce":{}}');
      assert.equal(await page.getByRole("textbox", { name: "__proto__ in Postgres" }).inputValue(), "y");
      assert.equal(await page.getByRole("textbox", { name: "constructor in Postgres" }).inputValue(), "z");
      await assertAlive(page);
    },
  }));

test("half a character is named where it stands", () =>
  open({
    hash: "#example=different-fields",
    async use(page) {
      await importing(page, "record.json", '{"external_id":"A","base":{"Name":"a"},"postgres":{"Name":"\\ud83d"},"salesforce":{"Name":"a"}}');
      await page.getByText("It holds half of a character (a lone surrogate).").waitFor();
      await page.getByText(/^This record cannot be planned/).waitFor();
      await page.getByRole("textbox", { name: "Name in Postgres" }).fill("whole");
      await page.getByText(/^This record cannot be planned/).waitFor({ state: "detached" });
    },
  }));

const LINKS = [
  ["text that is not base64", "#state=***", /damaged/],
  ["HTML as a view", `#view=${encodeURIComponent(HTML)}&state=${encodeURIComponent(HTML)}`, /damaged/],
  ["a hundred megabytes, packed", link(`{"config":"${"x".repeat(100_000_000)}"}`), /more than this page can read/],
  ["ten thousand levels, packed", link(deep), /nested too deeply|config/],
  ["an invalid record", link('{"config":"","object":"A","record":{"external_id":7}}'), /external_id: It must be a text/],
];

test("hostile links end in an error; the page still opens", (t) =>
  open({
    hash: "#state=AAAA",
    async use(page) {
      await problem(page).waitFor();
      for (const [what, hash, says] of LINKS) {
        await t.test(`a link that holds ${what} is an error`, async () => {
          await page.getByRole("button", { name: "Close" }).click();
          await page.goto(url + hash);
          await problem(page).waitFor();
          assert.match(await problem(page).innerText(), says);
        });
      }
      await assertAlive(page);
    },
  }));

test("HTML in a link is never run", () =>
  open({
    hash: link(JSON.stringify({ config: `# ${HTML}\n[${HTML}]\n`, object: HTML, record: { external_id: HTML, base: null, postgres: { Name: HTML }, salesforce: null } })),
    async use(page) {
      await page.getByText("Opened the shared link.").waitFor();
      await page.getByRole("group", { name: "Mistakes in the configuration" }).waitFor();
      assert.equal(await page.locator("img, main script").count(), 0);
    },
  }));

test("ten megabytes pasted are refused; the editor still works", () =>
  open({
    async use(page) {
      const toml = `# ${"x".repeat(100)}\n`.repeat(100_000);
      await page.getByLabel("Import").setInputFiles({ name: "small.toml", mimeType: "text/plain", buffer: Buffer.from("# nothing\n") });
      await page.getByRole("group", { name: "Mistakes in the configuration" }).waitFor();
      await page.locator(".cm-content").click();
      await page.evaluate((text) => navigator.clipboard.writeText(text), toml);
      await page.keyboard.press("ControlOrMeta+v");
      await page.getByText(/longer than [\d,]+ bytes/).waitFor();
      await page.keyboard.press("ControlOrMeta+a");
      await page.keyboard.insertText("# nothing again\n");
      await page.getByText(/longer than [\d,]+ bytes/).waitFor({ state: "detached" });
      await page.getByText("# nothing again").waitFor();
    },
  }));

test("a value too long for a cell is named", () =>
  open({
    hash: "#example=different-fields",
    async use(page) {
      await page.getByRole("textbox", { name: "Phone in Postgres" }).fill("x".repeat(400_000));
      const cell = page.getByRole("group", { name: "Phone in Postgres" });
      await cell.getByText("Longer than any Salesforce field: 400,000 characters.").waitFor();
      await cell.getByRole("button", { name: "Clear it" }).click();
      await page.getByRole("textbox", { name: "Phone in Postgres" }).fill("short");
      await page.getByRole("region", { name: "Written to Salesforce" }).getByText("short").waitFor();
    },
  }));

test("a batch of hostile lines is a list of plain reasons", () =>
  open({
    hash: "#view=batch",
    async use(page) {
      const lines = [deep, "NaN", '{"__proto__":{"polluted":1},"external_id":"A"}', JSON.stringify({ external_id: HTML, postgres: { Name: HTML } }), '{"external_id":"B","postgres":{"Name":"\\ud800"}}', "[]", "null"];
      await page.getByLabel("Choose a file").setInputFiles({ name: "hostile.jsonl", mimeType: "text/plain", buffer: Buffer.from(lines.join("\n")) });
      await page.getByText(/records? planned in/).waitFor();
      const rows = await page.getByRole("listbox").getByRole("option").allInnerTexts();
      assert.equal(rows.length, lines.length);
      assert.equal(rows.filter((text) => /Cannot be used/.test(text)).length, lines.length - 1);
      assert.match(rows[3], /<img src=x/);
      assert.equal(await page.locator("img, main script").count(), 0);
      assert.equal(await page.evaluate(() => ({}).polluted), undefined);
    },
  }));
