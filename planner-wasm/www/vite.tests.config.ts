// The unit tests as Node runs them: one module per file of test/unit.
import { readdirSync } from "node:fs";
import { defineConfig } from "vite";

const folder = "test/unit";
const files = readdirSync(folder).filter((name) => name.endsWith(".test.ts"));

export default defineConfig({
  // The tests stand outside of this folder, where no package is found.
  ssr: { noExternal: true },
  build: {
    ssr: true,
    outDir: process.env["SYNCLINE_TESTS_OUT"] ?? "../../target/page-tests",
    emptyOutDir: true,
    target: "node20",
    copyPublicDir: false,
    rollupOptions: {
      input: Object.fromEntries(files.map((name) => [name.replace(/\.ts$/, ""), `${folder}/${name}`])),
      output: { entryFileNames: "[name].mjs" },
    },
  },
});
