// What happened to one record, step by step, and what another policy would have made of it.
import type { JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { InputError, count, parseJson } from "../json";
import { DropZone } from "../parts/drop-zone";
import { Icon, type IconName } from "../parts/icon";
import { Replan } from "../parts/replan";
import { change, notify, useStore } from "../store";
import { STEP_NAMES, type History, type Step, type StepKind } from "../timeline/history";
import { readHistory } from "../timeline/read";

/** Longest history that is read: thousands of steps. */
const HISTORY_BYTES_MAX = 16 << 20;

export function TimelineView(): JSX.Element {
  const { history, planner } = useStore();
  return (
    <section aria-labelledby="timeline-title">
      <header class="view-head">
        <div>
          <h2 id="timeline-title">The history of a record</h2>
          <p class="lead">
            {history === undefined ? (
              "Every observation, decision, write and conflict of one record, and what it would have been under other rules."
            ) : (
              <>
                {history.object} <code>{history.externalId}</code>, {count(history.steps.length)} steps
                {history.truncated && ", older ones left out"}
                {history.state !== "" && `; ${history.state}`}
              </>
            )}
          </p>
        </div>
        {history !== undefined && (
          <button type="button" class="button" onClick={() => change({ history: undefined, step: 0 })}>
            Another history
          </button>
        )}
      </header>
      {history === undefined ? <Open ready={planner === "ready"} /> : <Steps history={history} />}
    </section>
  );
}

function Open({ ready }: { readonly ready: boolean }): JSX.Element {
  return (
    <div class="choose">
      <DropZone title="Drop the output of syncline explain --json" accept=".json,application/json" onFile={(file) => void openFile(file)}>
        <p class="drop-note">
          <code>syncline explain --json KEY &gt; history.json</code>
        </p>
      </DropZone>
      <div class="samples">
        <h3>Or look at an example</h3>
        <p>
          An account from its birth to its end, as the command printed it: edited on both sides, disputed and decided by a person, refused by
          Salesforce and tried again, deleted.
        </p>
        <button type="button" class="button button-primary" disabled={!ready} onClick={() => void openExample()}>
          Open the example
        </button>
      </div>
    </div>
  );
}

/** The example is real output of the command; a test keeps it current. */
async function openExample(): Promise<void> {
  const { default: history } = await import("../timeline/history.json?raw");
  open(history, "the example");
}

async function openFile(file: File): Promise<void> {
  try {
    if (file.size > HISTORY_BYTES_MAX) throw new InputError(`It has ${count(file.size)} bytes; at most ${count(HISTORY_BYTES_MAX)} are read.`);
    open(await file.text(), file.name);
  } catch (error) {
    notify(`${file.name} cannot be opened. ${error instanceof Error ? error.message : String(error)}`, "problem");
  }
}

function open(text: string, name: string): void {
  try {
    change({ history: readHistory(parseJson(text, HISTORY_BYTES_MAX)), step: 0, notice: undefined });
  } catch (error) {
    notify(`${name} cannot be opened. ${error instanceof Error ? error.message : String(error)}`, "problem");
  }
}

const STEP_ICONS: Readonly<Record<StepKind, IconName>> = {
  observed: "search",
  decided: "lane",
  discarded_value: "close",
  conflict_opened: "conflict",
  conflict_closed: "check",
  write_recorded: "salesforce",
  write_ended: "check",
  settled: "same",
  stopped: "conflict",
  resumed: "open",
};

function Steps({ history }: { readonly history: History }): JSX.Element {
  const { step } = useStore();
  const chosen = history.steps[step];
  const go = (to: number): void => change({ step: Math.min(Math.max(to, 0), history.steps.length - 1) });
  return (
    <div class="timeline">
      <nav class="steps panel" aria-label="Steps">
        <div class="steps-move">
          <button type="button" class="button button-small" disabled={step === 0} onClick={() => go(step - 1)}>
            <Icon name="back" />
            Back
          </button>
          <p role="status">
            Step {count(step + 1)} of {count(history.steps.length)}
          </p>
          <button type="button" class="button button-small" disabled={step >= history.steps.length - 1} onClick={() => go(step + 1)}>
            Next
            <Icon name="open" />
          </button>
        </div>
        <StepList history={history} step={step} go={go} />
      </nav>
      {chosen && <StepShown step={chosen} history={history} />}
    </div>
  );
}

/** A history has as many steps as a record has lived through: only those near the chosen one are drawn. */
const STEPS_DRAWN = 300;

interface StepListProps {
  readonly history: History;
  readonly step: number;
  readonly go: (to: number) => void;
}

function StepList({ history, step, go }: StepListProps): JSX.Element {
  const list = useRef<HTMLOListElement>(null);
  useEffect(() => list.current?.querySelector('[aria-current="step"]')?.scrollIntoView({ block: "nearest" }), [step]);
  const first = Math.max(0, Math.min(step - STEPS_DRAWN / 2, history.steps.length - STEPS_DRAWN));
  const onKeyDown = (event: KeyboardEvent): void => {
    const move = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (move === 0) return;
    event.preventDefault();
    go(step + move);
    requestAnimationFrame(() => list.current?.querySelector<HTMLElement>('[aria-current="step"]')?.focus());
  };
  return (
    <ol ref={list} start={first + 1} onKeyDown={onKeyDown}>
      {history.steps.slice(first, first + STEPS_DRAWN).map((line, index) => (
        <li key={first + index}>
          <button type="button" class={`step step-${line.kind}`} aria-current={first + index === step ? "step" : undefined} onClick={() => go(first + index)}>
            <Icon name={STEP_ICONS[line.kind]} />
            <span>
              <b>{STEP_NAMES[line.kind]}</b> {line.title}
              <small>{moment(line.at)}</small>
            </span>
          </button>
        </li>
      ))}
    </ol>
  );
}

function StepShown({ step, history }: { readonly step: Step; readonly history: History }): JSX.Element {
  return (
    <article class="step-shown" aria-label="The chosen step">
      <div class="panel step-head">
        <h3>
          {STEP_NAMES[step.kind]}: {step.title}
        </h3>
        <p class="lead">{moment(step.at)}</p>
        {step.details.length > 0 && (
          <dl class="write-values">
            {step.details.map(([name, value]) => (
              <div key={name}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
        )}
      </div>
      {step.facts ? (
        <Replan facts={step.facts} recorded={step.rules} object={history.object} />
      ) : (
        <p class="drop-note step-hint">What was observed is evidence. Choose a step that says Decided to plan it again under other rules.</p>
      )}
    </article>
  );
}

/** A time in full, as a person reads it; UTC, as the engine writes it. */
function moment(at: string): string {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? at : date.toISOString().replace("T", " ").replace(/\.000Z$|Z$/, " UTC");
}
