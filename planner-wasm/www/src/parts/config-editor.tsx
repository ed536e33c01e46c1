// The configuration's editor. CodeMirror is loaded after the page is drawn; until then, and should it
// fail, a plain text field does the same work.
import type { Mistake } from "@syncline/planner";
import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { current } from "../store";
import type { Editor } from "./code-mirror";

export interface ConfigEditorProps {
  readonly text: string;
  readonly mistakes: readonly Mistake[];
  readonly onChange: (text: string) => void;
}

export function ConfigEditor({ text, mistakes, onChange }: ConfigEditorProps): JSX.Element {
  const host = useRef<HTMLDivElement>(null);
  const [editor, setEditor] = useState<Editor>();
  const change = useRef(onChange);
  change.current = onChange;

  useEffect(() => {
    let gone = false;
    let made: Editor | undefined;
    void import("./code-mirror").then(({ createEditor }) => {
      if (gone || host.current === null) return;
      made = createEditor(host.current, text, (changed) => change.current(changed));
      setEditor(made);
    });
    return () => {
      gone = true;
      made?.destroy();
    };
  }, []);

  // The current text of the store: a person may have typed since this was drawn.
  useEffect(() => editor?.setText(current().config), [editor, text]);
  useEffect(() => editor?.setMistakes(mistakes), [editor, mistakes]);

  return (
    <div class="editor">
      <div class="editor-host" ref={host} />
      {editor === undefined && (
        <textarea
          class="editor-plain"
          aria-label="Configuration, syncline.toml"
          spellcheck={false}
          value={text}
          onInput={(event) => onChange(event.currentTarget.value)}
        />
      )}
      <Mistakes mistakes={mistakes} onOpen={(line) => editor?.goToLine(line)} />
    </div>
  );
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.?!]$/.test(text) ? "" : "."}`;
}

function Mistakes({ mistakes, onOpen }: { readonly mistakes: readonly Mistake[]; readonly onOpen: (line: number) => void }): JSX.Element {
  if (mistakes.length === 0) return <p class="editor-status">No mistakes.</p>;
  return (
    <div class="mistakes" role="group" aria-label="Mistakes in the configuration">
      <p class="mistakes-title">
        {mistakes.length === 1 ? "1 mistake" : `${mistakes.length} mistakes`}. Decisions follow the last configuration without mistakes.
      </p>
      <ul>
        {mistakes.slice(0, 20).map((mistake) => (
          <li key={`${mistake.line} ${mistake.path} ${mistake.problem}`}>
            <button type="button" class="link" onClick={() => onOpen(mistake.line)}>
              Line {mistake.line}
            </button>{" "}
            <code>{mistake.path}</code>
            <br />
            {sentence(mistake.problem)} {sentence(mistake.fix)}
          </li>
        ))}
      </ul>
    </div>
  );
}
