// A static host as small as one can be: the files of one folder, under a path of their own, on this
// machine only.
//
//   node serve.mjs FOLDER
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const KINDS = {
  ".css": "text/css",
  ".csv": "text/csv",
  ".html": "text/html",
  ".js": "text/javascript",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
  ".wasm": "application/wasm",
  ".woff2": "font/woff2",
};

/** Where the page stands on the host: it must not need to stand at the top. */
export const PATH = "/some/where/planner/";

/** Serves `folder` on a free port. Returns the page's address and a way to stop. */
export async function serve(folder) {
  const server = createServer((request, response) => void answer(folder, request, response));
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  return { url: `http://127.0.0.1:${port}${PATH}`, close: () => server.close() };
}

async function answer(folder, request, response) {
  const { pathname } = new URL(request.url, "http://localhost");
  const inside = pathname.startsWith(PATH) ? normalize(decodeURIComponent(pathname.slice(PATH.length))) : undefined;
  const file = inside === undefined || inside.startsWith("..") ? undefined : join(folder, inside === "." ? "index.html" : inside);
  const known = file !== undefined && (await stat(file).catch(() => undefined))?.isFile();
  if (!known) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { "content-type": KINDS[extname(file)] ?? "application/octet-stream" });
  createReadStream(file).pipe(response);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await serve(resolve(process.argv[2] ?? "."));
  console.log(url);
}
