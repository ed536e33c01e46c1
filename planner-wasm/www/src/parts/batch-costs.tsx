// A batch in figures: outcomes, lanes, and calls against the org's limits.
import type { Lane, BatchSummary } from "@syncline/planner";
import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { USUAL, costOf, duration, type Assumptions } from "../batch/cost";
import type { Row, RowOutcome } from "../batch/messages";
import { BULK_NOTE, LANES, OUTCOMES } from "../batch/words";
import { count } from "../json";
import { Bars, type Bar } from "./bars";

export interface BatchCostsProps {
  readonly rows: readonly Row[];
  readonly summary: BatchSummary;
  readonly outcome: string | undefined;
  readonly lane: string | undefined;
  readonly onOutcome: (key: string) => void;
  readonly onLane: (key: string) => void;
}

export function BatchCosts({ rows, summary, outcome, lane, onOutcome, onLane }: BatchCostsProps): JSX.Element {
  const outcomes = useMemo(() => outcomeBars(rows), [rows]);
  const conflicts = outcomes.find(({ key }) => key === "conflict")?.value ?? 0;
  return (
    <>
      <dl class="tiles">
        <Tile name="Records" value={count(summary.rows)} note={`${count(summary.settled)} in step`} />
        <Tile name="Written to Postgres" value={count(written(summary.to_postgres))} note={writesNote(summary.to_postgres)} />
        <Tile name="Written to Salesforce" value={count(written(summary.to_salesforce))} note={writesNote(summary.to_salesforce)} />
        <Tile name="Need a person" value={count(conflicts)} note={conflicts === 0 ? "no conflict" : "their other fields go on"} />
      </dl>
      <div class="charts">
        <Bars title="By outcome" bars={outcomes} total={rows.length} chosen={outcome} onChoose={onOutcome} />
        <Bars title="By lane" bars={laneBars(summary)} total={rows.length} chosen={lane} onChoose={onLane} />
        <Limits summary={summary} />
      </div>
    </>
  );
}

function Tile({ name, value, note }: { readonly name: string; readonly value: string; readonly note: string }): JSX.Element {
  return (
    <div class="tile">
      <dt>{name}</dt>
      <dd>
        <b>{value}</b>
        <span>{note}</span>
      </dd>
    </div>
  );
}

function outcomeBars(rows: readonly Row[]): Bar[] {
  const counts = new Map<RowOutcome, number>();
  for (const { outcome } of rows) counts.set(outcome, (counts.get(outcome) ?? 0) + 1);
  return (Object.keys(OUTCOMES) as RowOutcome[])
    .filter((key) => counts.has(key))
    .map((key) => ({ key, ...OUTCOMES[key], value: counts.get(key) ?? 0 }));
}

function laneBars(summary: BatchSummary): Bar[] {
  return (Object.keys(LANES) as Lane[]).flatMap((key) => {
    const load = summary.lanes[key];
    if (load === undefined) return [];
    const calls = load.calls === 1 ? "1 call" : `${count(load.calls)} calls`;
    return [{ key, ...LANES[key], value: load.records, ...(load.calls > 0 && { note: `${calls}, ${size(load.bytes)}` }) }];
  });
}

function written(writes: BatchSummary["to_postgres"]): number {
  const { none: _, ...done } = writes;
  return Object.values(done).reduce((sum, records) => sum + records, 0);
}

function writesNote(writes: BatchSummary["to_postgres"]): string {
  const parts = [
    [writes.create, "created"],
    [writes.update, "updated"],
    [(writes.delete ?? 0) + (writes.soft_delete ?? 0), "deleted"],
  ] as const;
  const told = parts.filter(([records]) => (records ?? 0) > 0).map(([records, word]) => `${count(records ?? 0)} ${word}`);
  return told.length === 0 ? "nothing" : told.join(", ");
}

function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1 << 20 ? `${(bytes / 1024).toFixed(0)} KB` : `${(bytes / (1 << 20)).toFixed(1)} MB`;
}

function Limits({ summary }: { readonly summary: BatchSummary }): JSX.Element {
  const [assumed, assume] = useState<Assumptions>(USUAL);
  const cost = costOf(summary, assumed);
  const percent = cost.part * 100;
  return (
    <figure class="limits">
      <figcaption>API calls and time</figcaption>
      <p class="limits-figure">
        <b>{count(cost.calls)}</b> calls, {duration(cost.seconds)}
      </p>
      <meter class="limits-meter" min={0} max={1} value={Math.min(cost.part, 1)} aria-label="Part of a day's API calls">
        {percent.toFixed(2)} %
      </meter>
      <p class="limits-note">
        {percent < 0.01 && percent > 0 ? "Under 0.01" : percent.toFixed(2)} % of a day’s calls; {size(summary.bytes)} of values.
      </p>
      {summary.lanes.bulk && <p class="limits-note">{BULK_NOTE}</p>}
      <div class="assumptions">
        <Assumed label="Calls a day" value={assumed.callsADay} step={1000} onInput={(callsADay) => assume({ ...assumed, callsADay })} />
        <Assumed label="Seconds a call" value={assumed.secondsACall} step={0.1} onInput={(secondsACall) => assume({ ...assumed, secondsACall })} />
        <Assumed label="Calls at once" value={assumed.callsAtOnce} step={1} onInput={(callsAtOnce) => assume({ ...assumed, callsAtOnce })} />
      </div>
    </figure>
  );
}

interface AssumedProps {
  readonly label: string;
  readonly value: number;
  readonly step: number;
  readonly onInput: (value: number) => void;
}

function Assumed({ label, value, step, onInput }: AssumedProps): JSX.Element {
  return (
    <label class="field">
      <span>{label}</span>
      <input
        type="number"
        min={step}
        step={step}
        value={value}
        onInput={(event) => {
          const number = event.currentTarget.valueAsNumber;
          if (Number.isFinite(number) && number > 0) onInput(number);
        }}
      />
    </label>
  );
}
