// The same record under every policy, side by side.
import type { ObjectSync, RecordAnswer, RecordFacts } from "@syncline/planner";
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { VerdictTag } from "../parts/verdict";
import { member } from "../json";
import { afterwards, fieldReason, fieldVerdict, inWords, recordVerdict } from "../plan";
import { planRecord } from "../planner";
import { SIDE_NAMES } from "../record";
import { change, current, notify, useStore } from "../store";
import { withPolicy, type PolicyKey } from "../toml-edit";

interface Policy {
  readonly value: string;
  readonly title: string;
  readonly words: string;
}

interface Axis {
  readonly key: PolicyKey;
  readonly title: string;
  readonly policies: readonly Policy[];
  readonly valueIn: (rules: ObjectSync) => string;
  readonly under: (rules: ObjectSync, value: string) => ObjectSync;
}

const AXES: readonly [Axis, ...Axis[]] = [
  {
    key: "conflicts",
    title: "Both sides changed a field",
    policies: [
      { value: "manual_review", title: "Manual review", words: "A person decides." },
      { value: "field_ownership", title: "Field ownership", words: "The field’s owner decides; without an owner, a person does." },
      { value: "last_writer_wins", title: "Last writer wins", words: "The later edit wins, if the clocks show which one it is." },
      { value: "salesforce_wins", title: "Salesforce wins", words: "Salesforce’s value wins." },
      { value: "postgres_wins", title: "Postgres wins", words: "Postgres’s value wins." },
    ],
    valueIn: (rules) => rules.conflicts,
    under: (rules, value) => ({ ...rules, conflicts: value as ObjectSync["conflicts"] }),
  },
  {
    key: "deletes.on_edit",
    title: "One side deleted what the other edited",
    policies: [
      { value: "manual", title: "Manual", words: "A person decides." },
      { value: "delete_wins", title: "Delete wins", words: "The record is deleted on both sides." },
      { value: "edit_wins", title: "Edit wins", words: "The record is created again." },
    ],
    valueIn: (rules) => rules.deletes.on_edit,
    under: (rules, value) => ({ ...rules, deletes: { ...rules.deletes, on_edit: value as ObjectSync["deletes"]["on_edit"] } }),
  },
  {
    key: "seed",
    title: "The sides have never agreed on a field",
    policies: [
      { value: "refuse", title: "Refuse", words: "A person decides." },
      { value: "salesforce", title: "Salesforce", words: "Salesforce gives the first value." },
      { value: "postgres", title: "Postgres", words: "Postgres gives the first value." },
    ],
    valueIn: (rules) => rules.seed,
    under: (rules, value) => ({ ...rules, seed: value as ObjectSync["seed"] }),
  },
];

/** The question that this record asks. */
function axisOf(record: RecordFacts): Axis {
  const gone = record.base !== null && (record.postgres === null || record.salesforce === null);
  const index = gone ? 1 : record.base === null ? 2 : 0;
  return AXES[index] ?? AXES[0];
}

export function PoliciesView(): JSX.Element {
  const { derived, record } = useStore();
  const [chosen, choose] = useState<PolicyKey>();
  const axis = AXES.find(({ key }) => key === chosen) ?? axisOf(record);
  const mapped = derived.mapped;
  return (
    <section aria-labelledby="policies-title">
      <header class="view-head">
        <div>
          <h2 id="policies-title">One record, every policy</h2>
          <p class="lead">
            {mapped?.rules.object} <code>{record.external_id}</code>, as it stands in the record view.
          </p>
        </div>
        <fieldset class="choices">
          <legend>What happens when</legend>
          {AXES.map(({ key, title }) => (
            <label key={key}>
              <input type="radio" name="axis" value={key} checked={axis.key === key} onChange={() => choose(key)} />
              <span>{title}</span>
            </label>
          ))}
        </fieldset>
      </header>
      {mapped && <Comparison axis={axis} tenant={mapped.tenant} rules={mapped.rules} record={record} />}
    </section>
  );
}

interface Column {
  readonly policy: Policy;
  readonly plan: RecordAnswer;
}

function Comparison({ axis, tenant, rules, record }: { readonly axis: Axis; readonly tenant: string; readonly rules: ObjectSync; readonly record: RecordFacts }): JSX.Element {
  let columns: Column[];
  try {
    columns = axis.policies.map((policy) => ({ policy, plan: planRecord(axis.under(rules, policy.value), record) }));
  } catch (error) {
    return <p class="problem">{error instanceof Error ? error.message : String(error)}</p>;
  }
  const inForce = axis.valueIn(rules);
  const fields = [rules.external_id.field, ...Object.keys(rules.fields)];
  return (
    <div class="table-frame table-scroll" tabIndex={0} role="region" aria-label="Decisions under each policy">
      <table class="policies">
        <caption class="visually-hidden">What each policy decides about each field</caption>
        <thead>
          <tr>
            <th scope="col">Field</th>
            {columns.map(({ policy, plan }) => (
              <th scope="col" key={policy.value} class={policy.value === inForce ? "in-force" : ""}>
                <span class="policy-title">{policy.title}</span>
                <span class="policy-words">{policy.words}</span>
                <VerdictTag verdict={recordVerdict(plan)} />
                {policy.value === inForce ? (
                  <span class="policy-now">in the configuration</span>
                ) : (
                  <button type="button" class="button button-small" aria-label={`Use this policy: ${policy.title}`} onClick={() => adopt(tenant, rules.object, axis.key, policy)}>
                    Use this policy
                  </button>
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {fields.map((field) => (
            <ComparedField key={field} field={field} columns={columns} inForce={inForce} record={record} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function ComparedField({ field, columns, inForce, record }: { readonly field: string; readonly columns: readonly Column[]; readonly inForce: string; readonly record: RecordFacts }): JSX.Element {
  const outcomes = columns.map(({ plan }) => outcome(record, plan, field));
  const differs = new Set(outcomes.map(({ text }) => text)).size > 1;
  return (
    <tr class={differs ? "differs" : ""}>
      <th scope="row">
        <span class="field-name">{field}</span>
        {differs && <span class="field-note">policies differ</span>}
      </th>
      {columns.map(({ policy, plan }, index) => (
        <td key={policy.value} class={policy.value === inForce ? "in-force" : ""}>
          <p class="outcome">{outcomes[index]?.words}</p>
          <VerdictTag verdict={fieldVerdict(plan, field)} />
          <p class="reason">{fieldReason(plan, field)}</p>
        </td>
      ))}
    </tr>
  );
}

/** The value of both sides afterwards, or the value of each while they differ. */
function outcome(record: RecordFacts, plan: RecordAnswer, field: string): { readonly text: string; readonly words: JSX.Element } {
  const [postgres, salesforce] = (["postgres", "salesforce"] as const).map((side) => {
    const held = afterwards(record, plan, side);
    return held === null ? "no record" : inWords(member(held, field));
  });
  if (postgres === salesforce) return { text: `${postgres}`, words: <b>{postgres}</b> };
  return {
    text: `${postgres} / ${salesforce}`,
    words: (
      <>
        <span class="held">
          <small>{SIDE_NAMES.postgres}</small> {postgres}
        </span>
        <span class="held">
          <small>{SIDE_NAMES.salesforce}</small> {salesforce}
        </span>
      </>
    ),
  };
}

function adopt(tenant: string, object: string, key: PolicyKey, policy: Policy): void {
  const { config } = current();
  const changed = withPolicy(config, { tenant, object }, key, policy.value);
  if (changed === undefined) {
    notify(`Set ${key} = "${policy.value}" in the configuration of ${object}: it is written in a way that this button does not edit.`, "problem");
    return;
  }
  change({ config: changed, notice: { text: `${object}: ${key} is now ${policy.value}.`, kind: "done" } });
}
