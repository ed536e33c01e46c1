// The page's state as a fragment of its address. A fragment never leaves the browser, so a shared
// link shows a record to everyone who has the link and to no server.
import { writeJson, type RecordFacts } from "@syncline/planner";
import { InputError, isObject, member, parseJson } from "./json";
import { readRecord } from "./record";

export const VIEWS = ["record", "policies", "batch", "timeline"] as const;
export type View = (typeof VIEWS)[number];

/** What a link carries. */
export interface Shared {
  readonly config: string;
  readonly object: string;
  readonly record: RecordFacts;
}

/** What an address asks for. */
export interface Address {
  readonly view: View | undefined;
  readonly example: string | undefined;
  readonly state: string | undefined;
}

/** Longest fragment that is read, and longest text that it may unfold to. */
const FRAGMENT_CHARS_MAX = 200_000;
const STATE_BYTES_MAX = 1 << 20;

export function readAddress(hash: string): Address {
  if (hash.length > FRAGMENT_CHARS_MAX) throw new InputError("The link is too long to be read.");
  const asked = new URLSearchParams(hash.replace(/^#/, ""));
  const view = VIEWS.find((name) => name === asked.get("view"));
  return { view, example: asked.get("example") ?? undefined, state: asked.get("state") ?? undefined };
}

export function writeAddress(view: View, state?: string): string {
  return state === undefined ? `#view=${view}` : `#view=${view}&state=${state}`;
}

/** Returns the state as JSON text: what a link carries and what Export writes. */
export function sharedJson({ config, object, record }: Shared): string {
  return writeJson({ syncline_page: 1, config, object, record });
}

/** Reads a state. Throws an InputError that a person can read. */
export function readShared(text: string): Shared {
  const json = parseJson(text);
  if (!isObject(json)) throw new InputError("A saved state is a JSON object.");
  const config = member(json, "config");
  const object = member(json, "object");
  if (typeof config !== "string") throw new InputError("It must be the text of a syncline.toml.", "config");
  if (typeof object !== "string") throw new InputError("It must be the name of an object.", "object");
  return { config, object, record: readRecord(member(json, "record") ?? null) };
}

/** Packs a state for an address. */
export async function pack(shared: Shared): Promise<string> {
  const packed = await collect(through(sharedJson(shared), new CompressionStream("deflate-raw")), Number.POSITIVE_INFINITY);
  const binary = Array.from(packed, (byte) => String.fromCharCode(byte)).join("");
  const state = btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  if (state.length > FRAGMENT_CHARS_MAX / 2) throw new InputError("It is too large for a link. Export it as a file instead.");
  return state;
}

/** Unpacks what an address carries. */
export async function unpack(state: string): Promise<Shared> {
  let bytes: Uint8Array<ArrayBuffer>;
  try {
    const binary = atob(state.replaceAll("-", "+").replaceAll("_", "/"));
    bytes = Uint8Array.from(binary, (char) => char.charCodeAt(0));
  } catch {
    throw new InputError("The link is damaged: it is not base64.");
  }
  let text: string;
  try {
    const unpacked = await collect(through(bytes, new DecompressionStream("deflate-raw")), STATE_BYTES_MAX);
    text = new TextDecoder("utf-8", { fatal: true }).decode(unpacked);
  } catch (error) {
    throw error instanceof InputError ? error : new InputError("The link is damaged: it cannot be unpacked.");
  }
  return readShared(text);
}

function through(data: BlobPart, transform: CompressionStream | DecompressionStream): ReadableStream<Uint8Array> {
  return new Blob([data]).stream().pipeThrough<Uint8Array>(transform as unknown as ReadableWritablePair<Uint8Array, Uint8Array<ArrayBuffer>>);
}

/** A small link may unfold to gigabytes: reading stops at the limit. */
async function collect(stream: ReadableStream<Uint8Array>, bytesMax: number): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    length += value.length;
    if (length > bytesMax) {
      await reader.cancel();
      throw new InputError("The link contains more than this page can read.");
    }
    chunks.push(value);
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}
