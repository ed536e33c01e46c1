// Base, Postgres and Salesforce side by side, field by field, with the decision about each.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { ObjectSync, RecordAnswer, RecordFacts } from "@syncline/planner";
import { fieldReason, fieldVerdict, isSame } from "../plan";
import { COLUMNS, SIDE_NAMES, fieldsOf, valueIn, withoutField, type Column } from "../record";
import { setPresence, setRecord, setValue } from "../store";
import { Cell, kindOf } from "./cell";
import { Icon } from "./icon";
import { VerdictTag } from "./verdict";

export interface FieldTableProps {
  readonly rules: ObjectSync;
  readonly record: RecordFacts;
  readonly plan: RecordAnswer | undefined;
}

export function FieldTable({ rules, record, plan }: FieldTableProps): JSX.Element {
  const mapped = [rules.external_id.field, ...Object.keys(rules.fields)];
  const more = fieldsOf(record).filter((name) => !mapped.includes(name));
  return (
    <div class="table-frame">
      <table class="fields">
        <caption class="visually-hidden">Values of the record on both sides, and the decision about each field</caption>
        <thead>
          <tr>
            <th scope="col">Field</th>
            {COLUMNS.map((column) => (
              <ColumnHead key={column} column={column} present={record[column] !== null} />
            ))}
            <th scope="col">Decision</th>
          </tr>
        </thead>
        <tbody>
          {mapped.map((field) => (
            <FieldRow key={field} field={field} rules={rules} record={record} plan={plan} />
          ))}
          {more.map((field) => (
            <FieldRow key={field} field={field} rules={rules} record={record} plan={plan} unmapped />
          ))}
        </tbody>
      </table>
      <AddField />
    </div>
  );
}

const PRESENCE_WORDS: Readonly<Record<Column, string>> = {
  base: "agreed before",
  postgres: "row exists",
  salesforce: "record exists",
};

function ColumnHead({ column, present }: { readonly column: Column; readonly present: boolean }): JSX.Element {
  return (
    <th scope="col" class={`column-${column}`}>
      <span class="column-name">{SIDE_NAMES[column]}</span>
      <label class="presence">
        <input type="checkbox" checked={present} onChange={(event) => setPresence(column, event.currentTarget.checked)} />
        {PRESENCE_WORDS[column]}
      </label>
    </th>
  );
}

interface FieldRowProps extends FieldTableProps {
  readonly field: string;
  readonly unmapped?: boolean;
}

function FieldRow({ field, rules, record, plan, unmapped = false }: FieldRowProps): JSX.Element {
  const numeric = COLUMNS.some((column) => kindOf(valueIn(record, column, field)) === "number");
  return (
    <tr>
      <th scope="row">
        <span class="field-name">{field}</span>
        <span class="field-note">{unmapped ? "not mapped" : noteOf(field, rules)}</span>
        {unmapped && (
          <button type="button" class="link" aria-label={`Remove field ${field}`} onClick={() => setRecord(withoutField(record, field))}>
            remove
          </button>
        )}
      </th>
      {COLUMNS.map((column) => (
        <td key={column} class={`column-${column}`} data-column={SIDE_NAMES[column]}>
          {record[column] === null ? (
            <span class="no-record">{column === "base" ? "never agreed" : "no record"}</span>
          ) : (
            <Cell
              label={`${field} in ${SIDE_NAMES[column]}`}
              value={valueIn(record, column, field)}
              numeric={numeric}
              changed={isChanged(record, column, field)}
              onChange={(value) => setValue(column, field, value)}
            />
          )}
        </td>
      ))}
      <td class="column-decision" data-column="Decision">
        {unmapped ? <p class="reason">It is not mapped, so it is left alone.</p> : plan && <FieldDecision plan={plan} field={field} />}
      </td>
    </tr>
  );
}

function FieldDecision({ plan, field }: { readonly plan: RecordAnswer; readonly field: string }): JSX.Element {
  return (
    <>
      <VerdictTag verdict={fieldVerdict(plan, field)} />
      <p class="reason">{fieldReason(plan, field)}</p>
    </>
  );
}

function noteOf(field: string, rules: ObjectSync): string {
  if (field === rules.external_id.field) return `${rules.external_id.column} · external id`;
  const { column, owner } = rules.fields[field] ?? { column: "", owner: "shared" };
  return owner === "shared" ? column : `${column} · owned by ${SIDE_NAMES[owner]}`;
}

function isChanged(record: RecordFacts, column: Column, field: string): boolean {
  if (column === "base" || record.base === null) return false;
  return !isSame(valueIn(record, column, field), valueIn(record, "base", field));
}

/** A field that is not mapped may be added to see that it is left alone, or before it is mapped. */
function AddField(): JSX.Element {
  const [name, setName] = useState("");
  const add = (event: Event): void => {
    event.preventDefault();
    const field = name.trim();
    if (field === "") return;
    for (const column of COLUMNS) setValue(column, field, null);
    setName("");
  };
  return (
    <form class="add-field" onSubmit={add}>
      <label class="visually-hidden" for="add-field-name">
        Name of a field to add
      </label>
      <input id="add-field-name" type="text" placeholder="Field name" spellcheck={false} autocomplete="off" maxLength={255} value={name} onInput={(event) => setName(event.currentTarget.value)} />
      <button type="submit" class="button button-quiet">
        <Icon name="plus" />
        Add field
      </button>
    </form>
  );
}
