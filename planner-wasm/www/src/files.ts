// What a person brings to the page and takes from it as a file. Nothing is sent anywhere.
import { writeJson } from "@syncline/planner";
import { InputError, count, isObject, member, parseJson } from "./json";
import { readRecord } from "./record";
import { pack, readShared, sharedJson, writeAddress } from "./share";
import { change, current, notify, takeShared } from "./store";

/** Largest file that Import reads: what the planner takes as one input. */
const IMPORT_BYTES_MAX = 1 << 20;

/** Opens a saved state, one record, or a syncline.toml. */
export async function importFile(file: File): Promise<void> {
  try {
    if (file.size > IMPORT_BYTES_MAX) {
      throw new InputError(`It has ${count(file.size)} bytes; at most ${count(IMPORT_BYTES_MAX)} are read here. Open large files in the batch view.`);
    }
    take(await file.text(), file.name);
  } catch (error) {
    notify(`${file.name} cannot be opened. ${error instanceof Error ? error.message : String(error)}`, "problem");
  }
}

function take(text: string, name: string): void {
  if (!/\.jsonl?$/i.test(name) && !/^\s*\{\s*["}]/.test(text)) {
    change({ config: text, notice: { text: `Opened the configuration ${name}.`, kind: "done" } });
    return;
  }
  const json = parseJson(text);
  if (isObject(json) && member(json, "config") !== undefined) takeShared(readShared(text), name);
  else change({ record: readRecord(json), example: undefined, notice: { text: `Opened the record ${name}.`, kind: "done" } });
}

/** Saves what the page shows. */
export function exportState(): void {
  const { config, object, record } = current();
  download(`syncline-${fileName(record.external_id)}.json`, sharedJson({ config, object, record }));
}

/** Saves the record alone, as one line of a batch. */
export function exportRecord(): void {
  const { record } = current();
  download(`${fileName(record.external_id)}.jsonl`, `${writeJson(record)}\n`);
}

export function exportConfig(): void {
  download("syncline.toml", current().config);
}

function fileName(text: string): string {
  return text.replace(/[^\w-]+/g, "-").slice(0, 60) || "record";
}

function download(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}

/** Puts the state into the address and the address into the clipboard. */
export async function share(): Promise<void> {
  const { view, config, object, record } = current();
  try {
    const shownAs = view === "policies" ? view : "record";
    history.replaceState(null, "", writeAddress(shownAs, await pack({ config, object, record })));
  } catch (error) {
    notify(`It cannot be shared. ${error instanceof Error ? error.message : String(error)}`, "problem");
    return;
  }
  try {
    await navigator.clipboard.writeText(location.href);
    notify("The link is copied. It holds the configuration and the record, and goes to no server.");
  } catch {
    notify("The link is in the address bar. It holds the configuration and the record, and goes to no server.");
  }
}
