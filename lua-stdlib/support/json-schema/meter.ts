// How much work a check may be. A schema of a few lines can ask for more than the age of the universe: schemas that each apply two others
// double the work with every step.

import { SchemaError } from './schema.ts'

/** Units of less than half a microsecond; together some seconds at most. */
const WORK_MAX = 10_000_000
/** How many references may be followed one inside the other. */
const DEPTH_MAX = 1000

export class Meter {
  #workLeft = WORK_MAX
  #depth = 0

  reset(): void {
    this.#workLeft = WORK_MAX
    this.#depth = 0
  }

  /** @throws SchemaError */
  spend(work: number): void {
    this.#workLeft -= work
    if (this.#workLeft < 0) throw new SchemaError('checking this data against this schema takes too much work')
  }

  /** @throws SchemaError */
  enter(): void {
    if (++this.#depth > DEPTH_MAX) throw new SchemaError('invalid schema: it refers to itself without end')
  }

  leave(): void {
    this.#depth--
  }
}
