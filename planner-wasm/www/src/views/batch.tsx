// Many records at once: their outcomes, their costs, and each record to open.
import type { ObjectSync } from "@syncline/planner";
import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";
import { cancelBatch, planBatch } from "../batch/client";
import type { Source } from "../batch/messages";
import { SAMPLE_OBJECT } from "../batch/sample";
import { SAMPLE_CONFIG } from "../examples";
import { count } from "../json";
import { BatchCosts } from "../parts/batch-costs";
import { BatchRows } from "../parts/batch-rows";
import { DropZone } from "../parts/drop-zone";
import { checkConfig } from "../planner";
import { currentDerived, change, useStore } from "../store";

export function BatchView(): JSX.Element {
  const { batch } = useStore();
  return (
    <section class="batch" aria-labelledby="batch-title">
      <header class="view-head">
        <div>
          <h2 id="batch-title">A batch of records</h2>
          <p class="lead">
            {batch.phase === "idle"
              ? "Plan thousands of records at once, and see the result and its cost. They stay in this browser."
              : batch.name}
          </p>
        </div>
        {batch.phase !== "idle" && <Again />}
      </header>
      {batch.phase === "idle" && <Choose />}
      {(batch.phase === "reading" || batch.phase === "planning") && <Progress />}
      {batch.phase === "done" && <Result />}
    </section>
  );
}

function Choose(): JSX.Element {
  const { derived, planner } = useStore();
  const ready = planner === "ready";
  const rules = derived.mapped?.rules;
  return (
    <div class="choose">
      <DropZone title="Drop a CSV or JSON Lines file" accept=".csv,.jsonl,.ndjson,.json,text/csv,application/json" onFile={(file) => rules && planFile(file, rules)}>
        <p class="drop-note">Planned by the rules of {rules?.object ?? "the configuration"}.</p>
      </DropZone>
      <div class="samples">
        <h3>Or take real airports</h3>
        <p>
          Airports of the world, edited on both sides the way real records are: most agree, some were edited, a few were edited twice or
          deleted.
        </p>
        <div class="buttons">
          <button type="button" class="button button-primary" disabled={!ready} onClick={() => planSample(3_000)}>
            Plan 3,000 airports
          </button>
          <button type="button" class="button" disabled={!ready} onClick={() => planSample(100_000)}>
            Plan 100,000 records
          </button>
        </div>
        <p class="attribution">
          From airportsdata by Mike Borsetti, <a href="./airports-licence.txt">MIT licence</a>.
        </p>
      </div>
      <Formats rules={rules} />
    </div>
  );
}

function Formats({ rules }: { readonly rules: ObjectSync | undefined }): JSX.Element {
  const [first = "Name", second = "Phone"] = Object.keys(rules?.fields ?? {});
  return (
    <details class="formats">
      <summary>What a file may hold</summary>
      <div class="formats-body">
        <h4>States, as CSV</h4>
        <p>One record a line. A side or base whose cells are all empty does not hold the record; any other empty cell is null.</p>
        <pre tabIndex={0}>{`external_id,base.${first},postgres.${first},salesforce.${first}\nC-1,Old,New,Old`}</pre>
        <h4>Changes, as CSV</h4>
        <p>
          What one side did. Lines of <code>base</code> say what both sides agreed on. An empty cell was not changed; <code>#N/A</code> is null.
        </p>
        <pre tabIndex={0}>{`external_id,source,operation,changed_at,${first},${second}\nC-1,base,,,Old,1\nC-1,postgres,update,2026-05-04T12:00:00Z,New,\nC-2,salesforce,delete,,,`}</pre>
        <h4>JSON Lines</h4>
        <p>Records as the record view exports them, or change envelopes.</p>
        <pre tabIndex={0}>{`{"external_id":"C-1","base":{"${first}":"Old"},"postgres":{"${first}":"New"},"salesforce":{"${first}":"Old"}}`}</pre>
      </div>
    </details>
  );
}

function planFile(file: File, rules: ObjectSync): void {
  planBatch({ kind: "file", file }, `${file.name}, by the rules of ${rules.object}`, rules);
}

/** The sample has its own object; if the configuration does not map it, its own rules are taken. */
function planSample(rows: number): void {
  const mapped = currentDerived().objects.find(({ rules }) => rules.object === SAMPLE_OBJECT);
  const rules = (mapped ?? checkConfig(SAMPLE_CONFIG).objects.find(({ rules }) => rules.object === SAMPLE_OBJECT))?.rules;
  if (rules === undefined) return;
  const source: Source = { kind: "sample", url: new URL("airports.csv", document.baseURI).href, rows };
  planBatch(source, `${count(rows)} airports, by the ${mapped ? "configuration’s" : "sample’s own"} rules of ${SAMPLE_OBJECT}`, rules);
}

function Again(): JSX.Element {
  const { batch, derived } = useStore();
  const now = derived.objects.find(({ rules }) => rules.object === batch.rules?.object)?.rules;
  const stale = batch.phase === "done" && batch.failed === undefined && now !== undefined && JSON.stringify(now) !== JSON.stringify(batch.rules);
  return (
    <div class="buttons">
      {stale && (
        <button type="button" class="button button-primary" onClick={() => planBatch({ kind: "again" }, batch.name, now)}>
          The rules have changed: plan again
        </button>
      )}
      {batch.phase === "done" && (
        <button type="button" class="button" onClick={() => change({ batch: { ...batch, phase: "idle" } })}>
          Another batch
        </button>
      )}
    </div>
  );
}

function Progress(): JSX.Element {
  const { batch } = useStore();
  const percent = Math.round(batch.part * 100);
  const doing = batch.phase === "reading" ? "Reading" : "Planning";
  return (
    <div class="progress">
      <label class="progress-label" for="batch-progress">
        {doing} … {percent} %
      </label>
      <progress id="batch-progress" max="100" value={percent} />
      <button type="button" class="button" onClick={cancelBatch}>
        Cancel
      </button>
    </div>
  );
}

function Result(): JSX.Element {
  const { batch } = useStore();
  const [outcome, setOutcome] = useState<string>();
  const [lane, setLane] = useState<string>();
  const speed = useMemo(() => Math.round(batch.rows.length / Math.max(batch.tookMs / 1000, 0.001)), [batch]);
  if (batch.failed !== undefined || batch.summary === undefined) {
    return (
      <p class="problem problem-box" role="alert">
        {batch.failed ?? "Nothing was planned."}
      </p>
    );
  }
  return (
    <>
      <p class="batch-done" role="status">
        {batch.cancelled ? `Cancelled: the first ${count(batch.rows.length)} records were planned` : `${count(batch.rows.length)} records planned`} in{" "}
        {(batch.tookMs / 1000).toFixed(1)} s, {count(speed)} a second.
      </p>
      <BatchCosts rows={batch.rows} summary={batch.summary} outcome={outcome} lane={lane} onOutcome={toggled(outcome, setOutcome)} onLane={toggled(lane, setLane)} />
      <BatchRows rows={batch.rows} routes={batch.summary.routes} outcome={outcome} lane={lane} onOutcome={setOutcome} onLane={setLane} />
    </>
  );
}

function toggled(chosen: string | undefined, choose: (key: string | undefined) => void): (key: string) => void {
  return (key) => choose(key === chosen ? undefined : key);
}
