// A list of any length of which only what is seen is drawn. One element has the focus; arrows, Page
// Up and Down, Home and End move the choice, Enter opens it.
import type { ComponentChildren, JSX } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

/** Height of a row; the style sheet's `.row` has the same. */
export const ROW_PX = 44;

/** Rows drawn above and below what is seen. */
const OVERSCAN = 8;

export interface VirtualListProps {
  readonly label: string;
  readonly length: number;
  readonly row: (index: number) => ComponentChildren;
  readonly onOpen: (index: number) => void;
}

export function VirtualList({ label, length, row, onOpen }: VirtualListProps): JSX.Element {
  const frame = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(480);
  const [active, setActive] = useState(0);
  const id = useId();
  const chosen = Math.min(active, Math.max(length - 1, 0));

  useEffect(() => {
    if (frame.current === null) return undefined;
    const observer = new ResizeObserver(([entry]) => entry && setHeight(entry.contentRect.height));
    observer.observe(frame.current);
    return () => observer.disconnect();
  }, []);

  const first = Math.max(0, Math.floor(top / ROW_PX) - OVERSCAN);
  const last = Math.min(length, Math.ceil((top + height) / ROW_PX) + OVERSCAN);
  const onKeyDown = (event: KeyboardEvent): void => {
    const page = Math.max(1, Math.floor(height / ROW_PX) - 1);
    const next = moved(event.key, chosen, page, length);
    if (event.key === "Enter" && length > 0) onOpen(chosen);
    if (next === undefined) return;
    event.preventDefault();
    setActive(next);
    bringIntoView(frame.current, next);
  };
  return (
    <div
      class="virtual"
      ref={frame}
      role="listbox"
      aria-label={label}
      tabIndex={0}
      aria-activedescendant={length > 0 ? `${id}-${chosen}` : undefined}
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
      onKeyDown={onKeyDown}
    >
      <div class="virtual-space" role="presentation" style={{ height: `${length * ROW_PX}px` }}>
        {range(first, chosen, last).map((index) => (
          <div
            key={index}
            id={`${id}-${index}`}
            class="row"
            role="option"
            aria-selected={index === chosen}
            aria-posinset={index + 1}
            aria-setsize={length}
            style={{ transform: `translateY(${index * ROW_PX}px)` }}
            onClick={() => {
              setActive(index);
              onOpen(index);
            }}
          >
            {row(index)}
          </div>
        ))}
      </div>
    </div>
  );
}

/** The chosen row is always drawn: `aria-activedescendant` must name something. */
function range(first: number, chosen: number, last: number): number[] {
  const seen = Array.from({ length: Math.max(0, last - first) }, (_, index) => first + index);
  return last === 0 || (chosen >= first && chosen < last) ? seen : [...seen, chosen];
}

function moved(key: string, from: number, page: number, length: number): number | undefined {
  const steps: Readonly<Record<string, number>> = {
    ArrowDown: from + 1,
    ArrowUp: from - 1,
    PageDown: from + page,
    PageUp: from - page,
    Home: 0,
    End: length - 1,
  };
  const to = steps[key];
  return to === undefined ? undefined : Math.min(Math.max(to, 0), Math.max(length - 1, 0));
}

function bringIntoView(frame: HTMLElement | null, index: number): void {
  if (frame === null) return;
  const top = index * ROW_PX;
  if (top < frame.scrollTop) frame.scrollTop = top;
  else if (top + ROW_PX > frame.scrollTop + frame.clientHeight) frame.scrollTop = top + ROW_PX - frame.clientHeight;
}
