// How the page is built: files only, with relative addresses, so that any static host under any path
// can serve it, and nothing inline, so that its content security policy needs no exception.
import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  build: {
    outDir: process.env["SYNCLINE_PAGE_OUT"] ?? "../../target/page",
    emptyOutDir: true,
    target: "es2023",
    // A data: address would need an exception in the policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  worker: { format: "es" },
});
