// The cursor's position in a syncline.toml, and what may be written there. Answers from the text before the
// cursor and the JSON Schema; it knows no key of its own.

/** The part of JSON Schema that syncline.schema.json uses. */
export interface Schema {
  readonly type?: string;
  readonly description?: string;
  readonly enum?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly required?: readonly string[];
}

/** What the cursor is in. */
export interface Context {
  readonly expects: "header" | "key" | "value";
  /** The keys from the top of the file down to the table that the cursor is in. */
  readonly path: readonly string[];
  /** The key whose value is expected. */
  readonly key: string | undefined;
  /** What is typed already, and where it starts. */
  readonly prefix: string;
  readonly from: number;
}

export interface Suggestion {
  readonly label: string;
  readonly apply: string;
  readonly detail: string;
  readonly info: string;
}

const HEADER = /^\s*\[\[?\s*([^\]]*?)\s*\]\]?/;

/** Reads the context of the cursor, which is at the end of `before`. */
export function contextOf(before: string): Context | undefined {
  const lineStart = before.lastIndexOf("\n") + 1;
  const line = before.slice(lineStart);
  const header = /^\s*\[\[?\s*([\w.-]*)$/.exec(line);
  if (header) {
    const prefix = header[1] ?? "";
    return { expects: "header", path: [], key: undefined, prefix, from: before.length - prefix.length };
  }
  return inLine(line, tableAbove(before.slice(0, lineStart)), lineStart);
}

/** Returns the path of the last header above. */
function tableAbove(text: string): string[] {
  const headers = text.split("\n").map((line) => HEADER.exec(line)?.[1]);
  return headers.findLast((header) => header !== undefined)?.split(".") ?? [];
}

type Token = { readonly kind: "key" | "text" | "=" | "{" | "}" | "," | "other"; readonly text: string; readonly from: number };

function inLine(line: string, table: readonly string[], lineStart: number): Context | undefined {
  const path = [...table];
  let key: string | undefined;
  let valueExpected = false;
  const tokens = tokensOf(line);
  const last = tokens.at(-1);
  const typing = last && (last.kind === "key" || (last.kind === "text" && !closed(last.text))) ? last : undefined;
  for (const token of tokens) {
    if (token === typing) break;
    if (token.kind === "key" && !valueExpected) key = token.text;
    else if (token.kind === "=") valueExpected = true;
    else if (token.kind === "{") {
      if (key !== undefined) path.push(...key.split("."));
      [key, valueExpected] = [undefined, false];
    } else if (token.kind === "}") {
      path.pop();
      valueExpected = true;
    } else if (token.kind === ",") [key, valueExpected] = [undefined, false];
    else if (token.kind === "other" && token.text === "#") return undefined;
  }
  const from = lineStart + (typing?.from ?? line.length);
  const prefix = typing?.text ?? "";
  if (!valueExpected) return typing?.kind === "text" ? undefined : { expects: "key", path, key: undefined, prefix, from };
  const answered = last !== undefined && last !== typing && last.kind !== "=";
  return answered ? undefined : { expects: "value", path, key, prefix, from };
}

function tokensOf(line: string): Token[] {
  const tokens: Token[] = [];
  for (const match of line.matchAll(/[\w.-]+|"(?:[^"\\]|\\.)*"?|[={},#]|[^\s\w]/g)) {
    const text = match[0];
    const kind = /^[\w.-]/.test(text) ? "key" : text.startsWith('"') ? "text" : /^[={},]$/.test(text) ? (text as "=") : "other";
    tokens.push({ kind, text, from: match.index });
  }
  return tokens;
}

function closed(text: string): boolean {
  return text.length > 1 && text.endsWith('"') && !text.endsWith('\\"');
}

// What the schema allows.

/** Returns the schema of the table at `path`. */
export function schemaAt(schema: Schema, path: readonly string[]): Schema | undefined {
  let at: Schema | undefined = schema;
  for (const name of path) {
    if (at?.items) at = at.items;
    const more: boolean | Schema | undefined = at?.additionalProperties;
    at = at?.properties && Object.hasOwn(at.properties, name) ? at.properties[name] : typeof more === "object" ? more : undefined;
  }
  return at?.items ?? at;
}

/** Returns what may be written at the cursor. `tenants` are the names that the file already uses. */
export function suggestions(schema: Schema, context: Context, tenants: readonly string[]): Suggestion[] {
  if (context.expects === "header") return headers(schema, tenants);
  const table = schemaAt(schema, context.path);
  if (context.expects === "key") return keys(table);
  const value = context.key === undefined ? undefined : schemaAt(schema, [...context.path, ...context.key.split(".")]);
  return values(value);
}

function keys(table: Schema | undefined): Suggestion[] {
  return Object.entries(table?.properties ?? {}).map(([name, key]) => ({
    label: name,
    apply: key.type === "object" && key.properties ? `${name} = { ` : `${name} = `,
    detail: table?.required?.includes(name) ? "required" : "",
    info: key.description ?? "",
  }));
}

function values(value: Schema | undefined): Suggestion[] {
  const texts = (value?.enum ?? []).map((choice) => ({ label: `"${choice}"`, apply: `"${choice}"`, detail: "", info: value?.description ?? "" }));
  const flags = value?.type === "boolean" ? ["true", "false"] : [];
  return [...texts, ...flags.map((flag) => ({ label: flag, apply: flag, detail: "", info: value?.description ?? "" }))];
}

function headers(schema: Schema, tenants: readonly string[]): Suggestion[] {
  const tenant = schema.properties?.["tenant"]?.additionalProperties;
  const known = tenants.length > 0 ? tenants : ["NAME"];
  const info = typeof tenant === "object" ? (tenant.properties?.["object"]?.description ?? "") : "";
  return known.flatMap((name) => [
    { label: `tenant.${name}`, apply: `tenant.${name}`, detail: "a tenant", info: schema.properties?.["tenant"]?.description ?? "" },
    { label: `tenant.${name}.object`, apply: `tenant.${name}.object`, detail: "[[an object]]", info },
    { label: `tenant.${name}.object.fields`, apply: `tenant.${name}.object.fields`, detail: "its fields", info: "" },
  ]);
}

/** Returns the tenants that the file names. */
export function tenantsIn(toml: string): string[] {
  const names = [...toml.matchAll(/^\s*\[\[?\s*tenant\.([\w-]+)/gm)].map((match) => match[1] ?? "");
  return [...new Set(names)];
}
