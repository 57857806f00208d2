// Generated programs here and on lua5.3: both must print the same.

import { messageOf } from '../../../../runtime/base/errors.ts'
import { LuaSyntaxError, type LuaTable, type LuaValue } from '../../../../runtime/lua/engine.ts'
import type { VmEngine } from '../../../../runtime/lua/vm/engine.ts'
import { floats } from '../../../../runtime/lua/vm/number.ts'
import { Table } from '../../../../runtime/lua/vm/table.ts'
import { reference, TOO_LONG } from './lua53.ts'
import { ProgramMaker } from './programs.ts'
import { type Mode, newEngine } from './support.ts'
import { PRELUDE } from './templates.ts'

/** What a program may cost, in instructions. Generated ones end after some thousands; what is left of one may not end. */
const INSTRUCTIONS_MAX = 2_000_000
const BUDGETS: Readonly<Record<Mode, number>> = { loop: INSTRUCTIONS_MAX, compiled: INSTRUCTIONS_MAX, slices: 40 }
/**
 * Which way to run a program, by its seed. To make JavaScript of everything takes five times as long as to run it, and what the ways do
 * differently is a small part of what programs do.
 */
const ROTATION: readonly Mode[] = ['compiled', 'loop', 'slices', 'loop', 'loop', 'slices', 'loop', 'loop']
const SHRINK_MS_MAX = 20_000
const REFERENCE_MS_MAX = 30_000
/** Candidates that lua5.3 is asked about at once. */
const SHRINK_BATCH = 40

/** One engine for many programs, in one of the ways to run them. */
class Bench {
  readonly #engine: VmEngine
  readonly #base: LuaTable
  readonly #budget: number
  #printed = ''

  constructor(mode: Mode) {
    const engine = newEngine(mode)
    this.#engine = engine
    this.#budget = BUDGETS[mode]
    this.#base = engine.newTable()
    const { globals, libraries } = engine.standardLibrary
    for (const [name, value] of Object.entries(globals)) engine.set(this.#base, name, value as LuaValue)
    for (const [name, library] of Object.entries(libraries)) {
      const table = engine.moduleTable(name, library)
      engine.set(this.#base, name, table)
      if (name === 'string') engine.setStringMethods(table)
    }
    const print = engine.function('print', (call) => {
      for (let i = 1; i <= call.count; i++) this.#printed += (i > 1 ? '\t' : '') + call.tostring(i)
      this.#printed += '\n'
    })
    engine.set(this.#base, 'print', print)
    const environment = engine.newEnvironment(this.#base)
    this.#execute(PRELUDE, environment, 'prelude')
    engine.each(environment, (name, value) => {
      if (name !== '_G') engine.set(this.#base, name, value)
    })
  }

  print(source: string): string {
    this.#printed = ''
    this.#execute('reset()', this.#engine.newEnvironment(this.#base))
    this.#execute(source, this.#engine.newEnvironment(this.#base))
    return this.#printed
  }

  #execute(source: string, environment: LuaTable, name = 't'): void {
    const engine = this.#engine
    try {
      const thread = engine.newThread(engine.load(engine.compile(name, source), environment), true)
      const owner = {}
      let left = INSTRUCTIONS_MAX
      let status = engine.run(thread, owner, this.#budget, { values: [] })
      while (status === 'preempted' || status === 'yielded') {
        left -= engine.usedBudget
        if (left <= 0) break
        status = engine.run(thread, owner, this.#budget, { values: [] })
      }
      if (status === 'error') {
        const [error] = engine.results
        this.#printed += `error ${typeof error === 'object' ? engine.typeOf(error) : String(error)}\n`
      } else if (status !== 'done') this.#printed += `error ${TOO_LONG}\n`
    } catch (error) {
      if (error instanceof LuaSyntaxError) this.#printed += `syntax ${error.message}\n`
      else this.#printed += `fault ${error instanceof Error ? error.stack : String(error)}\n`
    }
  }
}

/**
 * Without what may differ: addresses, the sign of what is no number, texts that end at a zero byte, places that
 * are shown here only; 5.3 calls a running coroutine dead that resumes itself without values, and what a `for` calls by the name of a
 * constant that once stood in its register; a handler that always fails is called some two hundred times.
 */
export const comparable = (text: string): string =>
  text
    .replace(/: (builtin: )?0x[0-9a-f]{6,}/g, '')
    .replace(/[-+]+nan/g, 'nan')
    .replace(/(thread expected), got \w+( value)?/g, '$1')
    .replace(/(attempt to call a \w+ value) \(constant '[^']*'\)/g, '$1')
    .replace(/constant '[^']*'/g, 'constant')
    .replace(/(field|method|global) '[^'\0\n]*\0[^'\n]*'/g, '$1')
    .replace(/(field|method|global) ''/g, '$1')
    .replace(/^(.*\n)\1{99,}/gm, '$1')
    .replace(/cannot resume dead/g, 'cannot resume non-suspended')
    .replace(
      /(?:(?:t|prelude):\d+: )+(attempt to yield across a C-call boundary|invalid key to 'next'|table index is)/g,
      '$1',
    )
    .replace(/\(command line\):\d+: /g, '')

/**
 * Whether a program says nothing: it does not end, calls deeper than there is room for, or has asked for more memory than there is.
 * `string.unpack` of PUC Lua asks for it where the length of a string, as it stands in the subject, overflows.
 */
const saysNothing = (printed: string): boolean =>
  /too long|block too big|not enough memory|stack overflow/.test(printed)

/**
 * - `loops`: a numeric `for` near the border of integers ends, where that of PUC Lua goes on from the other side until its ticks are used up.
 * - `nan`: what is no number has a text of three bytes, or of four there.
 * - `borders`: of the borders of a list with holes its length may be any.
 * - `handlers`: how often a failing handler of `xpcall` is called, and where calls of C get too deep in it, depends on what is nested.
 */
type Explanation = 'loops' | 'nan' | 'borders' | 'handlers'

const TICKS_ENDED = /(?<!not )enough/
const BORDER = /m(ax|in)integer|0x7f{15}|\^63|<< 6[23]|922337203685477580[78]/

function hasHoles(table: Table): boolean {
  const list = table.cold ?? table.arr
  if (list.includes(undefined, 1)) return true
  const { keys, values } = table.parts()
  return keys.some(
    (key, i) => values[i] !== undefined && typeof key === 'number' && Number.isSafeInteger(key) && key > 0,
  )
}

interface Difference {
  readonly seed: number
  readonly program: string
  readonly mode: Mode
  readonly expected: string
  readonly printed: string
}

export class Fuzzer {
  readonly #benches = new Map<Mode, Bench>()
  /** Programs that could not be compared. */
  skipped = 0
  /** Programs whose difference is one that the documentation lists. */
  readonly explained: Record<Explanation, number> = { loops: 0, nan: 0, borders: 0, handlers: 0 }
  /** Those among them that lua5.3 did not end with. */
  readonly unanswered: string[] = []

  #bench(mode: Mode): Bench {
    let bench = this.#benches.get(mode)
    if (bench === undefined) {
      bench = new Bench(mode)
      this.#benches.set(mode, bench)
    }
    return bench
  }

  /** @returns the differences among the programs of `count` seeds */
  compare(firstSeed: number, count: number): Difference[] {
    const programs = Array.from({ length: count }, (_, i) => new ProgramMaker(firstSeed + i).program())
    const expected = this.#ask(programs)
    const found: Difference[] = []
    for (const [i, program] of programs.entries()) {
      const seed = firstSeed + i
      const mode = ROTATION[seed % ROTATION.length] as Mode
      const difference = this.#differs(program, expected[i] as string, mode)
      if (difference !== undefined) found.push({ ...difference, seed })
    }
    return found
  }

  #differs(program: string, reference: string, mode: Mode): Omit<Difference, 'seed'> | undefined {
    if (saysNothing(reference)) {
      this.skipped++
      return undefined
    }
    const expected = comparable(reference)
    const printed = comparable(this.#bench(mode).print(program))
    if (printed === expected) return undefined
    const why = this.#explanation(program, expected + printed, expected, mode)
    if (why !== undefined) {
      this.explained[why]++
      return undefined
    }
    return { program, mode, expected, printed }
  }

  /** Whether the difference is one that docs/internals/lua.md lists and no text shows. */
  #explanation(program: string, both: string, expected: string, mode: Mode): Explanation | undefined {
    if (both.includes('error in error handling')) return 'handlers'
    if (TICKS_ENDED.test(expected) && /for \w+ = /.test(program) && BORDER.test(program)) return 'loops'
    const { nan } = floats
    floats.nan = '-nan'
    try {
      if (comparable(this.#bench(mode).print(program)) === expected) return 'nan'
    } finally {
      floats.nan = nan
    }
    return this.#asksForBorder(program) ? 'borders' : undefined
  }

  /** Whether the program asks for the length of a list with holes. */
  #asksForBorder(program: string): boolean {
    const { length } = Table.prototype
    let found = false
    Table.prototype.length = function (this: Table): number {
      found ||= hasHoles(this)
      return length.call(this)
    }
    try {
      this.#bench('loop').print(program)
      return found
    } finally {
      Table.prototype.length = length
    }
  }

  /** What lua5.3 prints. A program that it does not end with, as a library function of C may not, counts as one that is too long. */
  #ask(programs: readonly string[]): readonly string[] {
    try {
      return reference(programs, PRELUDE, REFERENCE_MS_MAX)
    } catch (error) {
      if (programs.length > 1) {
        const middle = programs.length >> 1
        return [...this.#ask(programs.slice(0, middle)), ...this.#ask(programs.slice(middle))]
      }
      this.unanswered.push(`${messageOf(error)}\n${programs[0]}`)
      return [TOO_LONG]
    }
  }

  /** Takes lines away from a program as long as it prints something else here than on lua5.3, for some seconds. */
  shrink(difference: Difference): Difference {
    const deadline = Date.now() + SHRINK_MS_MAX
    let best = difference
    let size = Math.ceil(best.program.split('\n').length / 2)
    while (size >= 1 && Date.now() < deadline) {
      const smaller = this.#smaller(best, size, deadline)
      if (smaller !== undefined) best = smaller
      else size = size > 1 ? Math.ceil(size / 2) : 0
    }
    return best
  }

  /** @returns the first that still differs of the programs without `size` lines in a row */
  #smaller(best: Difference, size: number, deadline: number): Difference | undefined {
    const lines = best.program.split('\n')
    const candidates: string[] = []
    for (let at = 0; at < lines.length; at += Math.max(1, size >> 1)) {
      // Without its ticks a loop may not end.
      const kept = lines.slice(at, at + size).filter((line) => line === 'tick()')
      if (kept.length < Math.min(size, lines.length - at))
        candidates.push([...lines.slice(0, at), ...kept, ...lines.slice(at + size)].join('\n'))
    }
    for (let from = 0; from < candidates.length && Date.now() < deadline; from += SHRINK_BATCH) {
      const batch = candidates.slice(from, from + SHRINK_BATCH)
      for (const [i, expected] of this.#ask(batch).entries()) {
        if (expected.startsWith('syntax')) continue
        const found = this.#differs(batch[i] as string, expected, best.mode)
        if (found !== undefined) return { ...found, seed: best.seed }
      }
    }
    return undefined
  }
}
