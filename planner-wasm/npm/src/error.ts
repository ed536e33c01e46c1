import type { Problem } from "./engine.js";

/** An input that cannot be used: which member, what is wrong with it, and what to do about it. */
export class PlannerError extends Error {
  /** The member that is wrong, as `object.fields.Name.owner`; empty for the input as a whole. */
  readonly path: string;
  /** What to do about it. */
  readonly fix: string;

  constructor(problem: Problem) {
    super(problem.message);
    this.name = "PlannerError";
    this.path = problem.path;
    this.fix = problem.fix;
  }
}
