// What becomes of a field or a record: an icon, a colour and words, never one without the words.
import type { JSX } from "preact";
import { VERDICT_NAMES, type Verdict } from "../plan";
import { Icon } from "./icon";

export function VerdictTag({ verdict, words }: { readonly verdict: Verdict; readonly words?: string }): JSX.Element {
  return (
    <span class={`verdict verdict-${verdict}`}>
      <Icon name={verdict} />
      {words ?? VERDICT_NAMES[verdict]}
    </span>
  );
}
