// What else may decide: times, clocks, writes under way, automation that changes a field back.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { SIDE_NAMES, SIDES, type RecordState, type Side } from "../record";
import { setRecord, useStore } from "../store";

export function Circumstances(): JSX.Element | null {
  const { record, derived } = useStore();
  const special = record.underWay.length > 0 || record.automation_overrides.size > 0;
  const [open, setOpen] = useState(special);
  // They open by themselves where they decide, and close only by a person.
  useEffect(() => setOpen((was) => was || special), [special]);
  if (derived.mapped === undefined) return null;
  const fields = Object.keys(derived.mapped.rules.fields);
  return (
    <details class="circumstances" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Circumstances</summary>
      <div class="circumstances-body">
        <div class="times">
          {SIDES.map((side) => (
            <label class="field" key={side}>
              <span>Changed in {SIDE_NAMES[side]} (UTC)</span>
              <input type="datetime-local" step="1" value={moment(record.changedAtMs[side])} onInput={(event) => setRecord(withTime(record, side, event.currentTarget.value))} />
            </label>
          ))}
          <label class="field">
            <span>Clocks differ by (ms)</span>
            <input type="number" min="0" max="86400000" value={record.clockSkewMs} onInput={(event) => setRecord({ ...record, clockSkewMs: bounded(event.currentTarget.value) })} />
          </label>
        </div>
        <fieldset>
          <legend>A write is under way to</legend>
          <div class="checks">
            {fields.map((field) => (
              <label key={field}>
                <input type="checkbox" checked={record.underWay.includes(field)} onChange={(event) => setRecord(withUnderWay(record, field, event.currentTarget.checked))} />
                {field}
              </label>
            ))}
          </div>
        </fieldset>
        <fieldset>
          <legend>Automation in Salesforce changed our value back twice</legend>
          <div class="checks">
            {fields.map((field) => (
              <label key={field}>
                <input type="checkbox" checked={record.automation_overrides.has(field)} onChange={(event) => setRecord(withBounce(record, field, event.currentTarget.checked))} />
                {field}
              </label>
            ))}
          </div>
        </fieldset>
      </div>
    </details>
  );
}

function moment(ms: number | undefined): string {
  const date = new Date(ms ?? Number.NaN);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString().slice(0, 19);
}

function withTime(record: RecordState, side: Side, text: string): RecordState {
  const { [side]: _, ...rest } = record.changedAtMs;
  const ms = Date.parse(`${text}Z`);
  return { ...record, changedAtMs: Number.isNaN(ms) ? rest : { ...rest, [side]: ms } };
}

function bounded(text: string): number {
  const ms = Math.trunc(Number(text));
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), 86_400_000) : 0;
}

function withUnderWay(record: RecordState, field: string, on: boolean): RecordState {
  const others = record.underWay.filter((name) => name !== field);
  return { ...record, underWay: on ? [...others, field] : others };
}

/** Bounced as the record stands: we sent what Postgres holds, and Salesforce stored what it shows. */
function withBounce(record: RecordState, field: string, on: boolean): RecordState {
  const automation_overrides = new Map(record.automation_overrides);
  automation_overrides.delete(field);
  const sent = record.postgres?.get(field) ?? "null";
  const stored = record.salesforce?.get(field) ?? "null";
  if (on) automation_overrides.set(field, { count: 2, sent, stored });
  return { ...record, automation_overrides };
}
