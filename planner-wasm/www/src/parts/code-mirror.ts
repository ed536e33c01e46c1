// CodeMirror for syncline.toml: colours, completion from the schema, mistakes at their lines.
//
// It lives in a shadow root: there CodeMirror adopts its style sheets, which a strict content
// security policy allows; in the document itself it would add style elements, which are forbidden.
import { autocompletion, closeBrackets, completionKeymap, type Completion, type CompletionContext, type CompletionResult } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap } from "@codemirror/commands";
import { HighlightStyle, StreamLanguage, syntaxHighlighting } from "@codemirror/language";
import { toml } from "@codemirror/legacy-modes/mode/toml";
import { lintGutter, setDiagnostics, type Diagnostic } from "@codemirror/lint";
import { EditorState, type Transaction } from "@codemirror/state";
import { EditorView, drawSelection, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import type { Mistake } from "@syncline/planner";
import { configSchema } from "../planner";
import { contextOf, suggestions, tenantsIn } from "../toml-context";

export interface Editor {
  setText(text: string): void;
  setMistakes(mistakes: readonly Mistake[]): void;
  goToLine(line: number): void;
  destroy(): void;
}

export function createEditor(host: HTMLElement, text: string, onChange: (text: string) => void): Editor {
  const root = host.attachShadow({ mode: "open" });
  const place = document.createElement("div");
  root.append(place);
  let ours = false;
  const changed = EditorView.updateListener.of((update) => {
    if (update.docChanged && !ours) onChange(update.state.doc.toString());
  });
  const view = new EditorView({
    root,
    parent: place,
    state: EditorState.create({ doc: text, extensions: [extensions(), changed] }),
  });
  return {
    setText(next) {
      if (view.state.doc.toString() === next) return;
      ours = true;
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: next } });
      ours = false;
    },
    setMistakes: (mistakes) => view.dispatch(setDiagnostics(view.state, mistakes.map((mistake) => diagnostic(view.state, mistake)))),
    goToLine(number) {
      const line = view.state.doc.line(Math.min(Math.max(number, 1), view.state.doc.lines));
      view.dispatch({ selection: { anchor: line.from, head: line.to }, effects: EditorView.scrollIntoView(line.from, { y: "center" }) });
      view.focus();
    },
    destroy: () => view.destroy(),
  };
}

function extensions() {
  return [
    lineNumbers(),
    lintGutter(),
    history(),
    drawSelection(),
    highlightActiveLine(),
    closeBrackets(),
    EditorView.lineWrapping,
    StreamLanguage.define(toml),
    syntaxHighlighting(HIGHLIGHT),
    autocompletion({ override: [complete], icons: false }),
    // Tab is left alone: it must lead out of the editor.
    keymap.of([...completionKeymap, ...historyKeymap, ...defaultKeymap]),
    EditorView.domEventHandlers({ beforeinput: typeOver }),
    // Explicit, because not every assistive program treats editable text as something to focus.
    EditorView.contentAttributes.of({ "aria-label": "Configuration, syncline.toml", tabindex: "0" }),
    THEME,
  ];
}

/**
 * Types over selected text. The browser itself would put the new text into a span with the style of
 * the old one, which the content security policy forbids.
 */
function typeOver(event: InputEvent, view: EditorView): boolean {
  const { from, to, empty } = view.state.selection.main;
  if (empty || event.inputType !== "insertText" || event.data === null || event.isComposing) return false;
  event.preventDefault();
  const text = event.data;
  const insert = (): Transaction => view.state.update({ ...view.state.replaceSelection(text), userEvent: "input.type", scrollIntoView: true });
  const handled = view.state.facet(EditorView.inputHandler).some((handler) => handler(view, from, to, text, insert));
  if (!handled) view.dispatch(insert());
  return true;
}

function complete(context: CompletionContext): CompletionResult | null {
  const before = context.state.doc.sliceString(0, context.pos);
  const at = contextOf(before);
  if (at === undefined || (!context.explicit && at.prefix === "" && at.expects !== "value")) return null;
  const options = suggestions(configSchema(), at, tenantsIn(context.state.doc.toString())).map(
    ({ label, apply, detail, info }): Completion => ({ label, apply: applied(apply), detail, ...(info && { info }) }),
  );
  return options.length === 0 ? null : { from: at.from, options, validFor: /^"?[\w.-]*$/ };
}

/** A completed text takes the closing quotation mark that the editor has added by itself. */
function applied(text: string): NonNullable<Completion["apply"]> {
  return (view, _completion, from, to) => {
    const rest = view.state.doc.sliceString(to, to + 1);
    const end = text.endsWith('"') && rest === '"' ? to + 1 : to;
    view.dispatch({ changes: { from, to: end, insert: text }, selection: { anchor: from + text.length }, userEvent: "input.complete" });
  };
}

function diagnostic(state: EditorState, mistake: Mistake): Diagnostic {
  const line = state.doc.line(Math.min(Math.max(mistake.line, 1), state.doc.lines));
  const indent = /^\s*/.exec(line.text)?.[0].length ?? 0;
  return { from: line.from + indent, to: line.to, severity: "error", message: `${mistake.problem}. ${mistake.fix}` };
}

const HIGHLIGHT = HighlightStyle.define([
  { tag: tags.comment, color: "var(--code-comment)", fontStyle: "italic" },
  { tag: tags.string, color: "var(--code-string)" },
  { tag: [tags.propertyName, tags.definitionKeyword], color: "var(--code-key)" },
  { tag: [tags.number, tags.bool, tags.atom], color: "var(--code-atom)" },
]);

const THEME = EditorView.theme({
  "&": { color: "var(--ink)", backgroundColor: "transparent", height: "100%", fontSize: "12.5px" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.65" },
  "&.cm-focused": { outline: "2px solid var(--focus)", outlineOffset: "-2px" },
  ".cm-content": { caretColor: "var(--ink)", padding: "10px 0" },
  ".cm-cursor": { borderLeftColor: "var(--ink)" },
  ".cm-gutters": { backgroundColor: "var(--surface)", color: "var(--muted)", border: "none" },
  ".cm-activeLine": { backgroundColor: "var(--hover)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": { backgroundColor: "var(--selection)" },
  ".cm-tooltip": { backgroundColor: "var(--surface)", color: "var(--ink)", border: "1px solid var(--line)", borderRadius: "8px", overflow: "hidden", boxShadow: "var(--shadow)" },
  ".cm-tooltip-autocomplete > ul": { fontFamily: "var(--mono)", fontSize: "12px" },
  ".cm-tooltip-autocomplete > ul > li": { padding: "4px 10px" },
  ".cm-tooltip-autocomplete > ul > li[aria-selected]": { backgroundColor: "var(--ink)", color: "var(--surface)" },
  ".cm-completionDetail": { marginLeft: "10px", fontStyle: "normal", opacity: "0.8" },
  ".cm-completionInfo": { padding: "8px 10px", maxWidth: "280px", fontFamily: "var(--sans)", fontSize: "12px" },
  ".cm-diagnostic-error": { borderLeftColor: "var(--conflict)", fontFamily: "var(--sans)", fontSize: "12.5px" },
  ".cm-lintRange-error": { backgroundImage: "none", textDecoration: "underline wavy var(--conflict) 1px", textUnderlineOffset: "3px" },
  // CodeMirror's own pictures are data: addresses, which the policy forbids.
  ".cm-lint-marker-error": { content: "normal", width: "8px", height: "8px", margin: "6px 3px", borderRadius: "50%", backgroundColor: "var(--conflict)" },
});
