// One past decision, planned again by its own rules and by others, side by side.
import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { writeJson, type ObjectSync, type RecordAnswer, type RecordFacts } from "@syncline/planner";
import { member } from "../json";
import { afterwards, fieldReason, fieldVerdict, inWords, recordVerdict } from "../plan";
import { planRecord } from "../planner";
import { COLUMNS, SIDE_NAMES, fieldsOf, valueIn } from "../record";
import { change, show, useStore } from "../store";
import { VerdictTag } from "./verdict";

export interface ReplanProps {
  readonly facts: RecordFacts;
  readonly recorded: ObjectSync | undefined;
  readonly object: string;
}

const POLICIES = ["manual_review", "field_ownership", "last_writer_wins", "salesforce_wins", "postgres_wins"] as const;

/** Which rules it is planned by: the configuration's, or the recorded ones with another policy. */
type Choice = "configuration" | (typeof POLICIES)[number];

const CHOICE_NAMES: Readonly<Record<Choice, string>> = {
  configuration: "Rules of the configuration",
  manual_review: "Manual review",
  field_ownership: "Field ownership",
  last_writer_wins: "Last writer wins",
  salesforce_wins: "Salesforce wins",
  postgres_wins: "Postgres wins",
};

export function Replan({ facts, recorded, object }: ReplanProps): JSX.Element {
  const { derived } = useStore();
  const [choice, choose] = useState<Choice>("salesforce_wins");
  const configured = derived.objects.find(({ rules }) => rules.object === object)?.rules;
  const then = recorded ?? configured;
  const now = choice === "configuration" ? configured : then && { ...then, conflicts: choice };
  const plans = useMemo(() => planned(facts, then, now), [facts, then, now && JSON.stringify(now)]);
  return (
    <section class="panel replan" aria-label="The decision, made again">
      <header class="replan-head">
        <h3>Made again</h3>
        <label class="field field-inline">
          <span>Compare with</span>
          <select value={choice} onChange={(event) => choose(event.currentTarget.value as Choice)}>
            {Object.entries(CHOICE_NAMES).map(([value, name]) => (
              <option key={value} value={value} disabled={value === "configuration" && configured === undefined}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <button type="button" class="button button-small" onClick={() => openInRecordView(facts, object)}>
          Open in the record view
        </button>
      </header>
      {typeof plans === "string" ? (
        <p class="problem problem-box">{plans}</p>
      ) : (
        <Compared facts={facts} then={plans.then} now={plans.now} thenName={recorded ? "As it was decided" : "By the configuration"} nowName={CHOICE_NAMES[choice]} />
      )}
    </section>
  );
}

function openInRecordView(facts: RecordFacts, object: string): void {
  change({ record: facts, object, example: undefined });
  show("record");
}

function planned(facts: RecordFacts, then: ObjectSync | undefined, now: ObjectSync | undefined): { then: RecordAnswer; now: RecordAnswer } | string {
  if (then === undefined || now === undefined) return "The history contains no rules, and the configuration does not map this object. Map it in the record view.";
  try {
    return { then: planRecord(then, facts), now: planRecord(now, facts) };
  } catch (error) {
    return `It cannot be planned again. ${error instanceof Error ? error.message : String(error)}`;
  }
}

interface ComparedProps {
  readonly facts: RecordFacts;
  readonly then: RecordAnswer;
  readonly now: RecordAnswer;
  readonly thenName: string;
  readonly nowName: string;
}

function Compared({ facts, then, now, thenName, nowName }: ComparedProps): JSX.Element {
  const fields = fieldsOf(facts);
  return (
    <div class="table-scroll" tabIndex={0} role="region" aria-label="Both decisions, field by field">
      <table class="policies replan-table">
        <caption class="visually-hidden">What was known of each field, and both decisions about it</caption>
        <thead>
          <tr>
            <th scope="col">Field</th>
            {COLUMNS.map((column) => (
              <th scope="col" key={column}>
                {SIDE_NAMES[column]}
              </th>
            ))}
            <th scope="col">
              <span class="policy-title">{thenName}</span>
              <VerdictTag verdict={recordVerdict(then)} />
            </th>
            <th scope="col">
              <span class="policy-title">{nowName}</span>
              <VerdictTag verdict={recordVerdict(now)} />
            </th>
          </tr>
        </thead>
        <tbody>
          {fields.map((field) => (
            <ComparedField key={field} field={field} facts={facts} then={then} now={now} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function ComparedField({ field, facts, then, now }: Pick<ComparedProps, "facts" | "then" | "now"> & { readonly field: string }): JSX.Element {
  const differs = decisionText(facts, then, field) !== decisionText(facts, now, field);
  return (
    <tr class={differs ? "differs" : ""}>
      <th scope="row">
        <span class="field-name">{field}</span>
        {differs && <span class="field-note">decided differently</span>}
      </th>
      {COLUMNS.map((column) => (
        <td key={column}>{facts[column] === null ? <span class="no-value">no record</span> : inWords(valueIn(facts, column, field))}</td>
      ))}
      {[then, now].map((plan, index) => (
        <td key={index}>
          <VerdictTag verdict={fieldVerdict(plan, field)} />
          <p class="reason">{fieldReason(plan, field)}</p>
        </td>
      ))}
    </tr>
  );
}

function decisionText(facts: RecordFacts, plan: RecordAnswer, field: string): string {
  const held = (["postgres", "salesforce"] as const).map((side) => {
    const value = member(afterwards(facts, plan, side) ?? {}, field);
    return value === undefined ? "absent" : writeJson(value);
  });
  return JSON.stringify([fieldVerdict(plan, field), ...held]);
}
