// Counts as bars: the number and its share are next to each bar, so that no length must be guessed.
import type { JSX } from "preact";
import { count } from "../json";
import { Icon, type IconName } from "./icon";

export interface Bar {
  readonly key: string;
  readonly label: string;
  readonly icon: IconName;
  readonly tone: string;
  readonly value: number;
  readonly note?: string;
}

export interface BarsProps {
  readonly title: string;
  readonly bars: readonly Bar[];
  readonly total: number;
  /** Makes each bar a button. */
  readonly chosen?: string | undefined;
  readonly onChoose?: (key: string) => void;
}

export function Bars({ title, bars, total, chosen, onChoose }: BarsProps): JSX.Element {
  const most = Math.max(1, ...bars.map(({ value }) => value));
  return (
    <figure class="bars">
      <figcaption>{title}</figcaption>
      <ul>
        {bars.map((bar) => (
          <li key={bar.key}>
            {onChoose ? (
              <button type="button" class="bar" aria-pressed={chosen === bar.key} onClick={() => onChoose(bar.key)}>
                <BarBody bar={bar} most={most} total={total} />
              </button>
            ) : (
              <div class="bar">
                <BarBody bar={bar} most={most} total={total} />
              </div>
            )}
          </li>
        ))}
      </ul>
    </figure>
  );
}

function BarBody({ bar, most, total }: { readonly bar: Bar; readonly most: number; readonly total: number }): JSX.Element {
  return (
    <>
      <span class={`bar-label tone-${bar.tone}`}>
        <Icon name={bar.icon} />
        {bar.label}
      </span>
      <svg class={`bar-drawn tone-${bar.tone}`} viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
        <rect class="bar-ground" width="100" height="8" rx="1" />
        <rect class="bar-length" width={(bar.value / most) * 100} height="8" rx="1" />
      </svg>
      <span class="bar-value">
        {count(bar.value)} <small>{share(bar.value, total)}</small>
      </span>
      {bar.note && <span class="bar-note">{bar.note}</span>}
    </>
  );
}

function share(value: number, total: number): string {
  if (total === 0 || value === 0) return "0 %";
  const percent = (value / total) * 100;
  return percent < 0.1 ? "< 0.1 %" : `${percent.toFixed(percent < 10 ? 1 : 0)} %`;
}
