// Changes one policy in the text of a syncline.toml and leaves everything else as it was written.

/** Which object: the tenant, and the API name. */
export interface Place {
  readonly tenant: string;
  readonly object: string;
}

/** The policies that the page can set. */
export type PolicyKey = "conflicts" | "seed" | "deletes.on_edit";

/**
 * Returns the text with the policy set, or undefined if the object's section is not written in the way
 * that this edit understands; then a person must edit it.
 */
export function withPolicy(toml: string, place: Place, key: PolicyKey, value: string): string | undefined {
  const lines = toml.split("\n");
  const section = sectionOf(lines, place);
  if (section === undefined) return undefined;
  const [first, end] = section;
  if (key === "deletes.on_edit") return withDeletes(lines, first, end, value);
  const at = lines.findIndex((line, index) => index >= first && index < end && new RegExp(`^\\s*${key}\\s*=`).test(line));
  if (at < 0) lines.splice(first, 0, `${key} = "${value}"`);
  else lines[at] = (lines[at] ?? "").replace(/=\s*("[^"]*"|'[^']*')/, `= "${value}"`);
  return lines.join("\n");
}

/** Returns the lines between the header of the object and the next header. */
function sectionOf(lines: readonly string[], { tenant, object }: Place): [number, number] | undefined {
  const header = new RegExp(`^\\s*\\[\\[\\s*tenant\\.${escaped(tenant)}\\.object\\s*\\]\\]`);
  const named = new RegExp(`^\\s*object\\s*=\\s*["']${escaped(object)}["']`);
  for (let at = 0; at < lines.length; at += 1) {
    if (!header.test(lines[at] ?? "")) continue;
    const next = lines.findIndex((line, index) => index > at && /^\s*\[/.test(line));
    const end = next < 0 ? lines.length : next;
    if (lines.slice(at + 1, end).some((line) => named.test(line))) return [at + 1, end];
  }
  return undefined;
}

function withDeletes(lines: string[], first: number, end: number, value: string): string | undefined {
  const at = lines.findIndex((line, index) => index >= first && index < end && /^\s*deletes\s*[.=]/.test(line));
  if (at < 0) {
    lines.splice(first, 0, `deletes = { on_edit = "${value}" }`);
    return lines.join("\n");
  }
  const line = lines[at] ?? "";
  if (!/=\s*\{.*\}/.test(line)) return undefined;
  lines[at] = /on_edit\s*=/.test(line)
    ? line.replace(/on_edit\s*=\s*("[^"]*"|'[^']*')/, `on_edit = "${value}"`)
    : line.replace(/\s*\}/, /\{\s*\}/.test(line) ? ` on_edit = "${value}" }` : `, on_edit = "${value}" }`);
  return lines.join("\n");
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
