// Every view in every look: pictures for people, and what a person with a disability would stumble
// over.
import { test } from "node:test";
import { SIZES, assertAccessible, screenshot, stage } from "./stage.mjs";

const { open } = await stage();

const LOOKS = [
  ["light", "light", SIZES.wide],
  ["dark", "dark", SIZES.wide],
  ["phone", "light", SIZES.phone],
  ["phone-dark", "dark", SIZES.phone],
];

const VIEWS = [
  ["record", "", (page) => page.locator(".cm-content").waitFor()],
  [
    "mistakes",
    "#example=delete-against-edit",
    async (page) => {
      await page.locator(".cm-line", { hasText: "conflicts" }).first().click();
      await page.keyboard.press("End");
      await page.keyboard.type(" ?");
      await page.getByText("1 mistake").waitFor();
      await page.getByText("Circumstances").click();
    },
  ],
  ["policies", "#example=both-edit-one-field&view=policies", (page) => page.getByText("policies differ").waitFor()],
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
];

for (const [look, theme, size] of LOOKS) {
  for (const [view, hash, prepare] of VIEWS) {
    test(`the view ${view} is accessible in the look ${look}`, () =>
      open({
        hash,
        theme,
        size,
        async use(page) {
          await prepare(page);
          await screenshot(page, `${view}-${look}`);
          await assertAccessible(page, `${view} in ${look}`);
        },
      }));
  }
}
