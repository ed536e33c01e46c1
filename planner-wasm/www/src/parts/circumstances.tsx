// What else may decide: times, clocks, writes under way, automation that changes a field back.
import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { RecordFacts, Side } from "@syncline/planner";
import { SIDE_NAMES, SIDES, valueIn } from "../record";
import { setRecord, useStore } from "../store";

export function Circumstances(): JSX.Element | null {
  const { record, derived } = useStore();
  const { under_way: underWay = [], automation_overrides = {}, changed_at_ms: times = {} } = record;
  const special = underWay.length > 0 || Object.keys(automation_overrides).length > 0;
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
              <input type="datetime-local" step="1" value={moment(times[side])} onInput={(event) => setRecord(withTime(record, side, event.currentTarget.value))} />
            </label>
          ))}
          <label class="field">
            <span>Clocks differ by (ms)</span>
            <input type="number" min="0" max="86400000" value={record.clock_skew_ms ?? 0} onInput={(event) => setRecord({ ...record, clock_skew_ms: bounded(event.currentTarget.value) })} />
          </label>
        </div>
        <fieldset>
          <legend>A write is under way to</legend>
          <div class="checks">
            {fields.map((field) => (
              <label key={field}>
                <input type="checkbox" checked={underWay.includes(field)} onChange={(event) => setRecord(withUnderWay(record, field, event.currentTarget.checked))} />
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
                <input type="checkbox" checked={Object.hasOwn(automation_overrides, field)} onChange={(event) => setRecord(withOverride(record, field, event.currentTarget.checked))} />
                {field}
              </label>
            ))}
          </div>
        </fieldset>
      </div>
    </details>
  );
}

function moment(ms: number | null | undefined): string {
  const date = new Date(ms ?? Number.NaN);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString().slice(0, 19);
}

function withTime(record: RecordFacts, side: Side, text: string): RecordFacts {
  const { [side]: _, ...rest } = record.changed_at_ms ?? {};
  const ms = Date.parse(`${text}Z`);
  return { ...record, changed_at_ms: Number.isNaN(ms) ? rest : { ...rest, [side]: ms } };
}

function bounded(text: string): number {
  const ms = Math.trunc(Number(text));
  return Number.isFinite(ms) ? Math.min(Math.max(ms, 0), 86_400_000) : 0;
}

function withUnderWay(record: RecordFacts, field: string, on: boolean): RecordFacts {
  const others = (record.under_way ?? []).filter((name) => name !== field);
  return { ...record, under_way: on ? [...others, field] : others };
}

/** Automation changed the current values: we sent the value of Postgres, and Salesforce stored its own. */
function withOverride(record: RecordFacts, field: string, on: boolean): RecordFacts {
  const { [field]: _, ...others } = record.automation_overrides ?? {};
  const sent = valueIn(record, "postgres", field) ?? null;
  const stored = valueIn(record, "salesforce", field) ?? null;
  return { ...record, automation_overrides: on ? { ...others, [field]: { count: 2, sent, stored } } : others };
}
