// The frame of the page: name, views, sharing and saving, notices.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { exportConfig, exportRecord, exportState, importFile, share } from "./files";
import { Icon } from "./parts/icon";
import { version } from "./planner";
import { VIEWS, writeAddress, type View } from "./share";
import { change, useStore } from "./store";
import { THEMES, applyTheme, storedTheme, type Theme } from "./theme";
import { BatchView } from "./views/batch";
import { PoliciesView } from "./views/policies";
import { RecordView } from "./views/record";
import { TimelineView } from "./views/timeline";

const VIEW_NAMES: Readonly<Record<View, string>> = { record: "Record", policies: "Policies", batch: "Batch", timeline: "Timeline" };

const SHOWN: Readonly<Record<View, () => JSX.Element>> = {
  record: RecordView,
  policies: PoliciesView,
  batch: BatchView,
  timeline: TimelineView,
};

export function App(): JSX.Element {
  const { view, planner } = useStore();
  const Shown = SHOWN[view];
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>
        Skip to the view
      </a>
      <header class="top">
        <h1 class="brand">
          <Mark />
          Syncline <span>planner</span>
        </h1>
        <nav aria-label="Views">
          <ul class="tabs">
            {VIEWS.map((name) => (
              <li key={name}>
                <a href={writeAddress(name)} aria-current={view === name ? "page" : undefined}>
                  {VIEW_NAMES[name]}
                </a>
              </li>
            ))}
          </ul>
        </nav>
        <Actions />
      </header>
      <Announcement />
      <main id="main" tabIndex={-1}>
        <Shown />
      </main>
      <footer class="foot">
        <p>
          <Icon name="shield" />
          Everything is planned in this browser. Nothing you enter leaves it.
        </p>
        <p>{planner === "ready" && `Planner ${version()}: the engine’s planner, compiled to WebAssembly.`}</p>
      </footer>
    </>
  );
}

function skip(event: MouseEvent): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function Mark(): JSX.Element {
  return (
    <svg class="mark" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path class="mark-postgres" d="M3 6c6 0 6 7 9 7s3-7 9-7" />
      <path class="mark-salesforce" d="M3 11c6 0 6 7 9 7s3-7 9-7" />
    </svg>
  );
}

function Actions(): JSX.Element {
  return (
    <div class="actions">
      <button type="button" class="button button-quiet" onClick={() => void share()}>
        <Icon name="share" />
        Share
      </button>
      <label class="button button-quiet">
        <Icon name="up" />
        Import
        <input
          class="visually-hidden"
          type="file"
          accept=".json,.jsonl,.toml,application/json"
          onChange={(event) => {
            const file = event.currentTarget.files?.[0];
            if (file) void importFile(file);
            event.currentTarget.value = "";
          }}
        />
      </label>
      <Export />
      <ThemeChoice />
    </div>
  );
}

function Export(): JSX.Element {
  return (
    <label class="button button-quiet button-select">
      <Icon name="down" />
      <span class="visually-hidden">Export</span>
      <select
        value=""
        onChange={(event) => {
          const what = event.currentTarget.value;
          event.currentTarget.value = "";
          if (what === "state") exportState();
          if (what === "record") exportRecord();
          if (what === "config") exportConfig();
        }}
      >
        <option value="">Export</option>
        <option value="state">Configuration and record (JSON)</option>
        <option value="record">Record (JSON line)</option>
        <option value="config">Configuration (syncline.toml)</option>
      </select>
    </label>
  );
}

function ThemeChoice(): JSX.Element {
  const [theme, setTheme] = useState<Theme>(storedTheme);
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system";
  // Within the click: an effect would come after the next frame, and the page may be left before.
  const choose = (): void => {
    applyTheme(next);
    setTheme(next);
  };
  return (
    <button type="button" class="button button-quiet button-icon" aria-label={`Theme: ${theme}. Change to ${next}.`} title={`Theme: ${theme}`} onClick={choose}>
      <Icon name={theme} />
    </button>
  );
}

/** Screen readers read it aloud; it stays until it is closed or replaced. */
function Announcement(): JSX.Element {
  const { notice } = useStore();
  return (
    <div class="notices" role="status" aria-live="polite">
      {notice && (
        <p class={`notice notice-${notice.kind}`}>
          <Icon name={notice.kind === "done" ? "check" : "conflict"} />
          <span>{notice.text}</span>
          <button type="button" class="button button-quiet button-icon" aria-label="Close" onClick={() => change({ notice: undefined })}>
            <Icon name="close" />
          </button>
        </p>
      )}
    </div>
  );
}
