// Starts the page: draws it at once, then loads the planner and follows the address.
import { render } from "preact";
import { App } from "./app";
import { loadPlanner } from "./planner";
import { change, followAddress } from "./store";
import { applyTheme, storedTheme } from "./theme";

applyTheme(storedTheme());
const page = document.getElementById("page");
if (page !== null) render(<App />, page);

addEventListener("hashchange", () => void followAddress());
await followAddress();
try {
  await loadPlanner();
  change({ planner: "ready" });
} catch (error) {
  change({ planner: { failed: `The planner cannot be loaded: ${error instanceof Error ? error.message : String(error)}` } });
}
