// One value, editable: what is typed, and what kind of value it is. Null and "never seen" are kinds
// of their own, so that they cannot be taken for an empty text.
import type { JSX } from "preact";
import { ExactNumber, type Value } from "@syncline/planner";
import { count, isNumber, shown } from "../json";

export type CellKind = "text" | "number" | "boolean" | "null" | "absent";

const KIND_NAMES: Readonly<Record<CellKind, string>> = {
  text: "text",
  number: "number",
  boolean: "yes / no",
  null: "null",
  absent: "not seen",
};

/** Longest value: the limit of a long text area in Salesforce. */
export const VALUE_CHARS_MAX = 131_072;

export interface CellProps {
  readonly label: string;
  readonly value: Value | undefined;
  /** Another column has a number: digits that are typed here are a number, too. */
  readonly numeric: boolean;
  readonly changed: boolean;
  readonly onChange: (value: Value | undefined) => void;
}

export function Cell({ label, value, numeric, changed, onChange }: CellProps): JSX.Element {
  const kind = kindOf(value);
  const problem = problemOf(value);
  if (typeof value === "string" && value.length > VALUE_CHARS_MAX) return <LongCell label={label} value={value} onChange={onChange} />;
  return (
    <div class={`cell cell-${kind}${changed ? " cell-changed" : ""}`}>
      {kind === "boolean" ? (
        <select class="cell-value" aria-label={label} value={String(value)} onChange={(event) => onChange(event.currentTarget.value === "true")}>
          <option value="true">true</option>
          <option value="false">false</option>
        </select>
      ) : (
        <input
          class="cell-value"
          type="text"
          spellcheck={false}
          autocomplete="off"
          aria-label={label}
          aria-invalid={problem !== undefined}
          placeholder={kind === "null" ? "null" : kind === "absent" ? "not seen" : ""}
          value={value === undefined ? "" : shown(value)}
          onInput={(event) => onChange(typed(event.currentTarget.value, kind, numeric))}
        />
      )}
      <span class="cell-notes">
        <select
          class="cell-kind"
          aria-label={`${label}: kind of value`}
          value={kind}
          onChange={(event) => onChange(converted(value, event.currentTarget.value as CellKind))}
        >
          {Object.entries(KIND_NAMES).map(([name, words]) => (
            <option key={name} value={name}>
              {words}
            </option>
          ))}
        </select>
        {changed && <span class="cell-mark">changed</span>}
      </span>
      {problem && <span class="problem">{problem}</span>}
    </div>
  );
}

/** A browser takes seconds to draw a text field of megabytes. */
function LongCell({ label, value, onChange }: Pick<CellProps, "label" | "onChange"> & { readonly value: string }): JSX.Element {
  return (
    <div class="cell" role="group" aria-label={label}>
      <span class="problem">Longer than any Salesforce field: {count(value.length)} characters.</span>{" "}
      <button type="button" class="link" onClick={() => onChange(null)}>
        Clear it
      </button>
    </div>
  );
}

/** What a typed text means. An emptied field is null: Salesforce knows no empty text. */
function typed(text: string, kind: CellKind, numeric: boolean): Value {
  if (text === "") return null;
  const digits = isNumber(text) && (kind === "number" || (numeric && kind !== "text"));
  return digits ? new ExactNumber(text) : text;
}

function converted(value: Value | undefined, kind: CellKind): Value | undefined {
  const text = value === undefined ? "" : shown(value);
  switch (kind) {
    case "absent":
      return undefined;
    case "null":
      return null;
    case "boolean":
      return text === "true";
    case "number":
      return new ExactNumber(isNumber(text) ? text : "0");
    case "text":
      return text;
  }
}

/** Returns the kind of a value: `number` also for one with more digits than JavaScript's numbers. */
export function kindOf(value: Value | undefined): CellKind {
  if (value === undefined) return "absent";
  if (value === null) return "null";
  if (typeof value === "boolean") return "boolean";
  return typeof value === "string" ? "text" : "number";
}

function problemOf(value: Value | undefined): string | undefined {
  return typeof value === "string" && /\p{Surrogate}/u.test(value) ? "It holds half of a character (a lone surrogate)." : undefined;
}
