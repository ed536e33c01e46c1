// Icons drawn here, so that nothing is loaded. Each is next to a word and has no meaning alone.
import type { JSX } from "preact";

const PATHS = {
  same: "M4 6.500h8M4 9.500h8",
  postgres: "M13 8H4m0 0 3.500-3.500M4 8l3.500 3.500",
  salesforce: "M3 8h9m0 0L8.500 4.500M12 8l-3.500 3.500",
  both: "M2.500 8h11m0 0-2.750-2.750M13.500 8l-2.750 2.750M2.500 8l2.750-2.750M2.500 8l2.750 2.750",
  conflict: "M8 2.500 14 13H2L8 2.500ZM8 6.500v3M8 11.200v.1",
  waits: "M8 2.500a5.500 5.500 0 1 0 0 11 5.500 5.500 0 0 0 0-11ZM8 5v3.200l2 1.300",
  share: "M6.500 9.500 9.500 6.500M7 4.800l1.600-1.600a2.830 2.830 0 0 1 4 4L11 8.800M9 11.200l-1.600 1.600a2.830 2.830 0 0 1-4-4L5 7.200",
  down: "M8 3v7m0 0L5 7m3 3 3-3M3 13h10",
  up: "M8 10V3m0 0L5 6m3-3 3 3M3 13h10",
  light: "M8 5.200a2.800 2.800 0 1 0 0 5.600 2.800 2.800 0 0 0 0-5.600ZM8 1.500v1.300M8 13.200v1.300M1.500 8h1.300M13.200 8h1.300M3.400 3.400l.9.9M11.700 11.700l.9.9M3.400 12.600l.9-.9M11.700 4.300l.9-.9",
  dark: "M13 9.600A5.500 5.500 0 0 1 6.400 3 5.500 5.500 0 1 0 13 9.600Z",
  system: "M2.500 3.500h11v7.500h-11zM6 13.500h4",
  lane: "M2.500 12V4M13.500 12V4M8 4v1.500M8 7.300v1.500M8 10.500V12",
  close: "M4 4l8 8M12 4l-8 8",
  plus: "M8 3.500v9M3.500 8h9",
  open: "M6 3.500 10.500 8 6 12.500",
  back: "M10 3.500 5.500 8l4.500 4.500",
  search: "M7 2.800a4.200 4.200 0 1 0 0 8.400 4.200 4.200 0 0 0 0-8.400ZM10.200 10.200l3 3",
  check: "M3 8.500 6.500 12 13 4.500",
  shield: "M8 2 13 4v4c0 3-2.200 5-5 6-2.800-1-5-3-5-6V4l5-2Z",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { readonly name: IconName }): JSX.Element {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
