// `loadPlanner()` without arguments, in a real browser: as each way of the README makes a page.
import { execFileSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { PROGRAM, assertPlans, assertPlansAt, takeAnswer, withResolvers } from "./browser.mjs";
import { packageFolder, project } from "./installed.mjs";

/** A browser starts slowly on a busy machine. */
const TIMEOUT = { timeout: 300_000 };

const HTML = '<!doctype html><meta charset="utf-8"><title>planner</title>';

/** Makes a page of its own in the project, which has the package installed. */
function page(name, files) {
  const folder = join(project, name);
  mkdirSync(folder, { recursive: true });
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text);
  return folder;
}

/** Returns a code block of the README that begins with these words. */
function readme(language, start) {
  const text = readFileSync(join(packageFolder, "README.md"), "utf8");
  const blocks = [...text.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms"))].map((match) => match[1]);
  const block = blocks.find((block) => block.includes(start));
  if (block === undefined) throw new Error(`the README has no ${language} block with ${start}`);
  return block;
}

const VITE_FILES = {
  "index.html": `${HTML}<script type="module" src="/main.js"></script>`,
  "main.js": PROGRAM,
};

test("a Vite build loads the planner", TIMEOUT, async () => {
  const { build } = await import("vite");
  const folder = page("vite-build", VITE_FILES);
  await build({ root: folder, base: "./", logLevel: "error", configFile: false });
  await assertPlans(join(folder, "dist"));
});

test("Vite's development server loads the planner", TIMEOUT, async () => {
  const { createServer } = await import("vite");
  const folder = page("vite-dev", VITE_FILES);
  const answer = withResolvers();
  const listen = (server) => {
    server.middlewares.use((request, response, next) => void takeAnswer(request, response, answer.resolve).then((taken) => taken || next()));
  };
  const server = await createServer({
    root: folder,
    configFile: false,
    logLevel: "error",
    server: { host: "127.0.0.1", port: 0, strictPort: false, hmr: false, fs: { allow: [project] } },
    plugins: [{ name: "answer", configureServer: listen }],
  });
  try {
    await server.listen();
    await assertPlansAt(`http://127.0.0.1:${server.httpServer.address().port}/`, answer.promise);
  } finally {
    await server.close();
  }
});

test("a webpack build loads the planner", TIMEOUT, async () => {
  const { default: webpack } = await import("webpack");
  const folder = page("webpack", { "index.html": `${HTML}<script src="main.js"></script>`, "main.mjs": PROGRAM });
  const stats = await new Promise((resolve, reject) => {
    const options = { mode: "production", context: folder, entry: "./main.mjs", output: { path: join(folder, "dist"), filename: "main.js" } };
    webpack(options, (error, stats) => (error ? reject(error) : resolve(stats)));
  });
  if (stats.hasErrors()) throw new Error(stats.toString("errors-only"));
  copyFileSync(join(folder, "index.html"), join(folder, "dist/index.html"));
  await assertPlans(join(folder, "dist"));
});

test("an esbuild bundle loads the planner", TIMEOUT, async () => {
  const folder = page("esbuild", { "index.html": `${HTML}<script type="module" src="main.js"></script>`, "main.js": PROGRAM });
  const bin = fileURLToPath(new URL("../node_modules/.bin", import.meta.url));
  cpSync(join(project, "node_modules"), join(folder, "node_modules"), { recursive: true });
  const commands = readme("sh", "esbuild").replaceAll("npx ", "");
  execFileSync("sh", ["-e", "-c", commands], { cwd: folder, env: { ...process.env, PATH: `${bin}:${process.env.PATH}` } });
  copyFileSync(join(folder, "index.html"), join(folder, "dist/index.html"));
  await assertPlans(join(folder, "dist"));
});

test("plain HTML loads the planner", TIMEOUT, async () => {
  const folder = page("plain", { "index.html": `${HTML}\n${readme("html", "importmap")}\n<script type="module">${PROGRAM}</script>` });
  cpSync(join(project, "node_modules"), join(folder, "node_modules"), { recursive: true });
  await assertPlans(folder);
});
