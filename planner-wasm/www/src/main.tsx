// Starts the page: draws it at once, then loads the planner and follows the address.
import { render } from "preact";
import { App } from "./app";
import { loadPlanner } from "./planner";
import { change, followAddress, type State } from "./store";
import { applyTheme, storedTheme } from "./theme";

applyTheme(storedTheme());
// It is on its way while the page is drawn.
const planner = loadPlanner().then(
  (): State["planner"] => "ready",
  (error: unknown) => ({ failed: `The planner cannot be loaded: ${error instanceof Error ? error.message : String(error)}` }),
);
const page = document.getElementById("page");
if (page !== null) render(<App />, page);

addEventListener("hashchange", () => void followAddress());
await followAddress();
change({ planner: await planner });
