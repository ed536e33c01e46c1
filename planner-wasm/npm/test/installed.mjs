// The package as a project has it that installed the tarball. The project's folder is given.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

export const project = process.env.SYNCLINE_PLANNER_PROJECT;
if (!project) throw new Error("SYNCLINE_PLANNER_PROJECT is not set: which folder has the package installed?");

export const require = createRequire(join(project, "package.json"));
export const packageFolder = join(project, "node_modules/@syncline/planner");

/** The module that `import` finds in Node. */
export const imported = await import(pathToFileURL(join(packageFolder, "dist/node.js")).href);

export const object = {
  object: "Account",
  table: { schema: "public", table: "account" },
  external_id: { field: "Key__c", column: "key" },
  fields: { Name: { column: "name" }, Phone: { column: "phone", owner: "postgres" } },
};
