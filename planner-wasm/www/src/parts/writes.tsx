// What each side will be written, exactly.
import type { JSX } from "preact";
import type { RecordAnswer, RecordFacts, SideWrite, Side } from "@syncline/planner";
import { WRITE_NAMES, inWords, writtenFields } from "../plan";
import { SIDE_NAMES, valueIn } from "../record";
import { useStore } from "../store";
import { Icon } from "./icon";

export function Writes(): JSX.Element | null {
  const { derived, record } = useStore();
  if (derived.plan === undefined) return null;
  return (
    <div class="writes">
      <Write side="postgres" write={derived.plan.to_postgres} record={record} plan={derived.plan} />
      <Write side="salesforce" write={derived.plan.to_salesforce} record={record} plan={derived.plan} />
    </div>
  );
}

interface WriteProps {
  readonly side: Side;
  readonly write: SideWrite;
  readonly record: RecordFacts;
  readonly plan: RecordAnswer;
}

function Write({ side, write, record, plan }: WriteProps): JSX.Element {
  const values = Object.entries(writtenFields(write));
  const lost = plan.discarded.filter((discarded) => discarded.side === side);
  return (
    <section class={`write write-${side}`} aria-label={`Written to ${SIDE_NAMES[side]}`}>
      <h3>
        <Icon name={side} />
        To {SIDE_NAMES[side]}
      </h3>
      <p class={write.write === "none" ? "write-nothing" : "write-kind"}>{WRITE_NAMES[write.write]}</p>
      {values.length > 0 && (
        <dl class="write-values">
          {values.map(([field, value]) => (
            <div key={field}>
              <dt>{field}</dt>
              <dd>
                {write.write === "update" && (
                  <>
                    <del>{inWords(valueIn(record, side, field))}</del>
                    <span class="becomes" aria-label="becomes">
                      →
                    </span>
                  </>
                )}
                <ins>{inWords(value)}</ins>
              </dd>
            </div>
          ))}
        </dl>
      )}
      {lost.length > 0 && <p class="write-lost">Logged, so that it can be restored: {lost.map(({ field, value }) => `${field} ${inWords(value)}`).join(", ")}.</p>}
    </section>
  );
}
