export { PlannerError } from "./error.js";
export { ExactNumber, readJson, writeJson, type Json } from "./exact.js";
export {
  INPUT_BYTES_MAX,
  type Batch,
  type BatchAnswer,
  type BatchOptions,
  type BatchRowInput,
  type ChangeInput,
  type MergeInput,
  type ObjectRules,
  type Planner,
  type PlannerText,
  type RecordInput,
} from "./planner.js";
export type * from "./engine.js";
