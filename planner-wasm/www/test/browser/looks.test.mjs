// Every view in every look: takes pictures, and checks accessibility.
import { test } from "node:test";
import { SIZES, assertAccessible, screenshot, stage } from "./stage.mjs";

const { open, url } = await stage();

const LOOKS = [
  ["light", "light", SIZES.wide],
  ["dark", "dark", SIZES.wide],
  ["phone", "light", SIZES.phone],
];

/** Name, address, and what a person does there first. The last one leaves a broken configuration. */
const VIEWS = [
  ["record", "#view=record&example=a-day-in-the-life", (page) => page.locator(".cm-content").waitFor()],
  ["policies", "#view=policies&example=both-edit-one-field", (page) => page.getByText("policies differ").waitFor()],
  ["batch-start", "#view=batch", (page) => page.getByText("What a file may hold").click()],
  [
    "batch",
    "#view=batch",
    async (page) => {
      await page.getByRole("button", { name: "Plan 3,000 airports" }).click();
      await page.getByText(/records planned in/).waitFor();
    },
  ],
  ["timeline-start", "#view=timeline", (page) => page.getByText("Open the example").waitFor()],
  [
    "timeline",
    "#view=timeline",
    async (page) => {
      await page.getByRole("button", { name: "Open the example" }).click();
      await page.getByRole("button", { name: /^Decided conflict/ }).click();
      await page.getByText("decided differently").first().waitFor();
    },
  ],
  [
    "mistakes",
    "#view=record&example=delete-against-edit",
    async (page) => {
      await page.locator(".cm-line", { hasText: "conflicts" }).first().click();
      await page.keyboard.press("End");
      await page.keyboard.type(" ?");
      await page.getByText("1 mistake").waitFor();
      await page.getByText("Circumstances").click();
    },
  ],
];

for (const [look, theme, size] of LOOKS) {
  test(`every view is accessible in the look ${look}`, (t) =>
    open({
      theme,
      size,
      async use(page) {
        for (const [view, hash, prepare] of VIEWS) {
          await t.test(`the view ${view} is accessible in the look ${look}`, async () => {
            await page.goto(url + hash);
            await prepare(page);
            await screenshot(page, `${view}-${look}`);
            await assertAccessible(page, `${view} in ${look}`);
          });
        }
      },
    }));
}
