// Generated programs here and on lua5.3: both must print the same.

import { LuaSyntaxError, type LuaTable, type LuaValue } from '../../../../runtime/lua/engine.ts'
import type { VmEngine } from '../../../../runtime/lua/vm/engine.ts'
import { reference } from './lua53.ts'
import { PRELUDE, ProgramMaker } from './programs.ts'
import { MODES, type Mode, newEngine } from './support.ts'

const SLICES_MAX = 200_000
const BUDGETS: Readonly<Record<Mode, number>> = { loop: 5_000_000, compiled: 5_000_000, slices: 40 }

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
      let status = engine.run(thread, owner, this.#budget, { values: [] })
      for (let i = 0; (status === 'preempted' || status === 'yielded') && i < SLICES_MAX; i++)
        status = engine.run(thread, owner, this.#budget, { values: [] })
      if (status === 'error') {
        const [error] = engine.results
        this.#printed += `error ${typeof error === 'object' ? engine.typeOf(error) : String(error)}\n`
      } else if (status !== 'done') this.#printed += `${status}\n`
    } catch (error) {
      if (error instanceof LuaSyntaxError) this.#printed += `syntax ${error.message}\n`
      else this.#printed += `fault ${error instanceof Error ? error.stack : String(error)}\n`
    }
  }
}

/** Without what may differ: addresses, the sign of what is no number, and texts that end at a zero byte. */
export const comparable = (text: string): string =>
  text
    .replace(/(table|function|thread|builtin): (builtin: )?0x[0-9a-f]+/g, '$1')
    .replace(/-+nan/g, 'nan')
    .replace(/(thread expected), got \w+( value)?/g, '$1')
    .replace(/constant '[^']*'/g, 'constant')

interface Difference {
  readonly seed: number
  readonly program: string
  readonly mode: Mode
  readonly expected: string
  readonly printed: string
}

export class Fuzzer {
  readonly #benches = MODES.map((mode) => ({ mode, bench: new Bench(mode) }))

  /** @returns the differences among the programs of `count` seeds */
  compare(firstSeed: number, count: number): Difference[] {
    const programs = Array.from({ length: count }, (_, i) => new ProgramMaker(firstSeed + i).program())
    const expected = reference(programs, PRELUDE)
    const found: Difference[] = []
    for (const [i, program] of programs.entries()) {
      const difference = this.#differs(program, expected[i] as string)
      if (difference !== undefined) found.push({ ...difference, seed: firstSeed + i })
    }
    return found
  }

  #differs(program: string, reference: string): Omit<Difference, 'seed'> | undefined {
    const expected = comparable(reference)
    for (const { mode, bench } of this.#benches) {
      const printed = comparable(bench.print(program))
      if (printed !== expected) return { program, mode, expected, printed }
    }
    return undefined
  }

  #ask(program: string): string {
    try {
      return reference([program], PRELUDE, 2000)[0] ?? 'syntax'
    } catch {
      return 'syntax'
    }
  }

  /** Takes lines away from a program as long as it prints something else here than on lua5.3. */
  shrink(difference: Difference): Difference {
    let best = difference
    for (
      let size = Math.ceil(best.program.split('\n').length / 2);
      size >= 1;
      size = size > 1 ? Math.ceil(size / 2) : 0
    ) {
      for (let at = 0; ; ) {
        const lines = best.program.split('\n')
        if (at >= lines.length) break
        // Without its ticks a loop may not end.
        const kept = lines.slice(at, at + size).filter((line) => line === 'tick()')
        const program = [...lines.slice(0, at), ...kept, ...lines.slice(at + size)].join('\n')
        const expected = kept.length === size ? 'syntax' : this.#ask(program)
        const smaller = expected.startsWith('syntax') ? undefined : this.#differs(program, expected)
        if (smaller === undefined) at += size
        else best = { ...smaller, seed: best.seed }
      }
    }
    return best
  }
}
