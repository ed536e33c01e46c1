// Every record of the batch, filtered as a person likes, each to open in the record view.
import type { Lane } from "@syncline/planner";
import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { openRow } from "../batch/client";
import type { Row, RowOutcome } from "../batch/messages";
import { LANES, OUTCOMES } from "../batch/words";
import { count, parseJson } from "../json";
import { readRecord } from "../record";
import { change, current, notify, show } from "../store";
import { Icon } from "./icon";
import { VirtualList } from "./virtual-list";

export interface BatchRowsProps {
  readonly rows: readonly Row[];
  readonly routes: readonly Lane[];
  readonly outcome: string | undefined;
  readonly lane: string | undefined;
  readonly onOutcome: (key: string | undefined) => void;
  readonly onLane: (key: string | undefined) => void;
}

export function BatchRows({ rows, routes, outcome, lane, onOutcome, onLane }: BatchRowsProps): JSX.Element {
  const [search, setSearch] = useState("");
  const wanted = search.trim().toLowerCase();
  const found = useMemo(
    () => matching(rows, (row, index) => (outcome === undefined || row.outcome === outcome) && (lane === undefined || routes[index] === lane) && holds(row, wanted)),
    [rows, routes, outcome, lane, wanted],
  );
  return (
    <section class="rows" aria-labelledby="rows-title">
      <header class="rows-head">
        <h3 id="rows-title">Records</h3>
        <label class="search">
          <Icon name="search" />
          <span class="visually-hidden">Find by external id, field or rule</span>
          <input type="search" placeholder="External id, field or rule" value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
        </label>
        <Choice label="Outcome" value={outcome} words={OUTCOMES} onChange={onOutcome} />
        <Choice label="Lane" value={lane} words={LANES} onChange={onLane} />
        <p class="rows-count" role="status">
          {count(found.length)} of {count(rows.length)}
        </p>
      </header>
      {found.length === 0 ? (
        <p class="rows-none">No record matches.</p>
      ) : (
        <VirtualList
          label="Records of the batch. Enter opens one in the record view."
          length={found.length}
          row={(at) => <RowLine row={rows[found[at] ?? 0]} lane={routes[found[at] ?? 0]} />}
          onOpen={(at) => void open(found[at] ?? 0)}
        />
      )}
    </section>
  );
}

function matching(rows: readonly Row[], keep: (row: Row, index: number) => boolean): number[] {
  const found: number[] = [];
  rows.forEach((row, index) => {
    if (keep(row, index)) found.push(index);
  });
  return found;
}

function holds({ externalId, why, conflicts }: Row, wanted: string): boolean {
  return wanted === "" || externalId.toLowerCase().includes(wanted) || why.includes(wanted) || conflicts.toLowerCase().includes(wanted);
}

interface ChoiceProps {
  readonly label: string;
  readonly value: string | undefined;
  readonly words: Readonly<Record<string, { readonly label: string }>>;
  readonly onChange: (value: string | undefined) => void;
}

function Choice({ label, value, words, onChange }: ChoiceProps): JSX.Element {
  return (
    <label class="field field-inline">
      <span>{label}</span>
      <select value={value ?? ""} onChange={(event) => onChange(event.currentTarget.value || undefined)}>
        <option value="">All</option>
        {Object.entries(words).map(([key, word]) => (
          <option key={key} value={key}>
            {word.label}
          </option>
        ))}
      </select>
    </label>
  );
}

function RowLine({ row, lane }: { readonly row: Row | undefined; readonly lane: Lane | undefined }): JSX.Element | null {
  if (row === undefined) return null;
  const words = OUTCOMES[row.outcome];
  return (
    <>
      <span class="row-id">{row.externalId === "" ? "(no external id)" : row.externalId}</span>
      <span class={`verdict verdict-${words.tone}`}>
        <Icon name={words.icon} />
        {words.label}
      </span>
      <span class="row-why">{row.conflicts === "" ? spaced(row.outcome, row.why) : `Conflict in ${row.conflicts}`}</span>
      <span class="row-lane">{lane === undefined ? "" : LANES[lane].label}</span>
      <Icon name="open" />
    </>
  );
}

function spaced(outcome: RowOutcome, why: string): string {
  if (outcome === "refused") return why;
  const words = why.replaceAll("_", " ").replace("salesforce", "Salesforce").replace("postgres", "Postgres");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

async function open(index: number): Promise<void> {
  try {
    const record = readRecord(parseJson(await openRow(index)));
    change({ record, example: undefined, object: current().batch.rules?.object ?? current().object });
    show("record");
  } catch (error) {
    notify(`This record cannot be opened. ${error instanceof Error ? error.message : String(error)}`, "problem");
  }
}
