// Reads the raw section by the table of keys, and collects everything that is wrong with it.

import { isSetting, type Section, type Setting, type Suggestion, show, type ValueOf } from './forms.ts'

/** Where a value stands below `cluster:`. */
export type KeyPath = readonly (string | number)[]

export interface ConfigProblem {
  readonly path: KeyPath
  readonly message: string
  /** The key itself is wrong: these stand in its place. Else the value is. */
  readonly keysKnown?: readonly string[]
  readonly suggest?: Suggestion
}

export interface ConfigWarning {
  readonly path: KeyPath
  readonly message: string
}

/** What has been read so far. Rules go by dotted paths: `raft.max_voters`. */
export class Draft<S extends Section> {
  readonly values: ValueOf<S>
  readonly problems: ConfigProblem[] = []
  readonly warnings: ConfigWarning[] = []
  readonly #given = new Set<string>()
  readonly #wrong = new Set<string>()

  constructor(section: S, raw: unknown) {
    this.values = this.#section(section, raw, []) as ValueOf<S>
  }

  /** Whether the key stands in the file, or came with a flag or a variable. */
  isGiven(path: string): boolean {
    return this.#given.has(path)
  }

  /** Whether a rule may build on these: none of them has a problem of its own already. */
  areSound(...paths: readonly string[]): boolean {
    return paths.every((path) => !this.#wrong.has(path))
  }

  problem(path: string, message: string): void {
    this.#wrong.add(path)
    this.problems.push({ path: path.split('.'), message })
  }

  warn(path: string, message: string): void {
    this.warnings.push({ path: path.split('.'), message })
  }

  /** The first of these that was given, for a rule that several keys may break; without one, the first. */
  toBlame(...paths: readonly [string, ...string[]]): string {
    return paths.find((path) => this.#given.has(path)) ?? paths[0]
  }

  #section(section: Section, raw: unknown, path: readonly string[]): Record<string, unknown> {
    const given = isMap(raw) ? raw : {}
    if (raw !== undefined && raw !== null && !isMap(raw)) {
      this.problems.push({ path, message: `expected a map, found ${show(raw)}` })
    }
    const keysKnown = Object.keys(section)
    for (const key of Object.keys(given)) {
      if (keysKnown.includes(key)) continue
      this.problems.push({ path: [...path, key], message: `unknown key ${JSON.stringify(key)}`, keysKnown })
    }
    const values: Record<string, unknown> = {}
    for (const [key, each] of Object.entries(section)) {
      const found = Object.hasOwn(given, key) ? given[key] : undefined
      values[key] = isSetting(each)
        ? this.#setting(each, found, [...path, key])
        : this.#section(each, found, [...path, key])
    }
    return values
  }

  #setting(setting: Setting<unknown>, raw: unknown, path: readonly string[]): unknown {
    if (raw === undefined || raw === null) return setting.fallback
    this.#given.add(path.join('.'))
    const value = setting.read(raw, (message, { item, suggest } = {}) => {
      this.#wrong.add(path.join('.'))
      const at = item === undefined ? path : [...path, item]
      this.problems.push({ path: at, message, ...(suggest === undefined ? {} : { suggest }) })
    })
    // Text that is empty reads as nothing: `secret_key: ""` is as good as no key at all.
    if (value === undefined && !this.#wrong.has(path.join('.'))) this.#given.delete(path.join('.'))
    return value ?? setting.fallback
  }
}

function isMap(raw: unknown): raw is Readonly<Record<string, unknown>> {
  return typeof raw === 'object' && raw !== null && !Array.isArray(raw)
}
