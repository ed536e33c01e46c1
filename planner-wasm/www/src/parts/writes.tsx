// What each side will be written, exactly.
import type { JSX } from "preact";
import { WRITE_NAMES, inWords, type Plan, type SideWrite } from "../plan";
import { SIDE_NAMES, type RecordState, type Side } from "../record";
import { useStore } from "../store";
import { Icon } from "./icon";

export function Writes(): JSX.Element | null {
  const { derived, record } = useStore();
  if (derived.plan === undefined) return null;
  return (
    <div class="writes">
      <Write side="postgres" write={derived.plan.toPostgres} record={record} plan={derived.plan} />
      <Write side="salesforce" write={derived.plan.toSalesforce} record={record} plan={derived.plan} />
    </div>
  );
}

interface WriteProps {
  readonly side: Side;
  readonly write: SideWrite;
  readonly record: RecordState;
  readonly plan: Plan;
}

function Write({ side, write, record, plan }: WriteProps): JSX.Element {
  const lost = plan.discarded.filter((discarded) => discarded.side === side);
  return (
    <section class={`write write-${side}`} aria-label={`Written to ${SIDE_NAMES[side]}`}>
      <h3>
        <Icon name={side} />
        To {SIDE_NAMES[side]}
      </h3>
      <p class={write.write === "none" ? "write-nothing" : "write-kind"}>{WRITE_NAMES[write.write]}</p>
      {write.fields.size > 0 && (
        <dl class="write-values">
          {[...write.fields].map(([field, value]) => (
            <div key={field}>
              <dt>{field}</dt>
              <dd>
                {write.write === "update" && (
                  <>
                    <del>{inWords(record[side]?.get(field))}</del>
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
