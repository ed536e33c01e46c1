// The record view: the rules at the left, one record at the right, and what they decide about it.
import type { JSX } from "preact";
import { ConfigEditor } from "../parts/config-editor";
import { Circumstances } from "../parts/circumstances";
import { FieldTable } from "../parts/field-table";
import { Icon } from "../parts/icon";
import { VerdictTag } from "../parts/verdict";
import { Writes } from "../parts/writes";
import { EXAMPLES } from "../examples";
import { laneOf } from "../lane";
import { recordVerdict } from "../plan";
import { change, chooseExample, setRecord, useStore } from "../store";

export function RecordView(): JSX.Element {
  const { config, derived } = useStore();
  return (
    <div class="split">
      <section class="panel panel-config" aria-labelledby="config-title">
        <header class="panel-head">
          <h2 id="config-title">Configuration</h2>
          <span class="panel-note">syncline.toml</span>
        </header>
        <ConfigEditor text={config} mistakes={derived.checked.mistakes} onChange={(text) => change({ config: text })} />
      </section>
      <section class="panel-record" aria-labelledby="record-title">
        <RecordHead />
        <Decision />
        <RecordTable />
        <Writes />
        <Circumstances />
      </section>
    </div>
  );
}

function RecordHead(): JSX.Element {
  const { derived, example, object, record } = useStore();
  return (
    <header class="record-head">
      <h2 id="record-title" class="visually-hidden">
        Record
      </h2>
      <label class="field">
        <span>Example</span>
        <select value={example ?? ""} onChange={(event) => chooseExample(event.currentTarget.value)}>
          {example === undefined && <option value="">Your own record</option>}
          {EXAMPLES.map(({ name, title }) => (
            <option key={name} value={name}>
              {title}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        <span>Object</span>
        <select value={derived.mapped?.rules.object ?? object} onChange={(event) => change({ object: event.currentTarget.value })}>
          {derived.objects.map(({ tenant, rules }) => (
            <option key={`${tenant} ${rules.object}`} value={rules.object}>
              {rules.object}
            </option>
          ))}
        </select>
      </label>
      <label class="field field-key">
        <span>External id</span>
        <input
          type="text"
          spellcheck={false}
          autocomplete="off"
          value={record.external_id}
          onInput={(event) => setRecord({ ...record, external_id: event.currentTarget.value })}
        />
      </label>
    </header>
  );
}

function Decision(): JSX.Element {
  const { derived, planner } = useStore();
  const { plan, problem, mapped } = derived;
  if (typeof planner === "object") return <Problem text={planner.failed} />;
  if (problem) return <Problem text={`This record cannot be planned. ${problem.message}`} />;
  if (plan === undefined || mapped === undefined) {
    return <Problem text={planner === "loading" ? "The planner is loading." : "The configuration maps no object yet."} />;
  }
  const lane = laneOf(plan);
  return (
    <div class="decision" role="status" aria-label="Decision about the record">
      <VerdictTag verdict={recordVerdict(plan)} />
      <p class="decision-sentence">{plan.why.sentence}</p>
      <p class="decision-lane">
        <Icon name="lane" />
        <span>
          <strong>{lane.name}</strong> {lane.reason}
        </span>
      </p>
    </div>
  );
}

function Problem({ text }: { readonly text: string }): JSX.Element {
  return (
    <div class="decision decision-problem" role="status">
      <p class="decision-sentence">{text}</p>
    </div>
  );
}

function RecordTable(): JSX.Element | null {
  const { derived, record } = useStore();
  if (derived.mapped === undefined) return null;
  return <FieldTable rules={derived.mapped.rules} record={record} plan={derived.plan} />;
}
