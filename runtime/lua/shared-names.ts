// Names of what all processes of an engine share: a document says them in place of the things (docs/internals/lua-engine.md).

import { type Engine, GLOBALS_PREFIX, HostObject, type LuaTable, type LuaValue } from './engine.ts'

export class SharedNames {
  readonly #engine: Engine
  readonly #names = new WeakMap<object, string>()
  readonly #values = new Map<string, LuaValue>()

  constructor(engine: Engine) {
    this.#engine = engine
  }

  nameOf(value: LuaValue): string | undefined {
    return typeof value === 'object' ? this.#names.get(value) : undefined
  }

  find(name: string): LuaValue {
    return this.#values.get(name)
  }

  /** A thing, and what it contains. What has a name already keeps it. */
  add(name: string, value: LuaValue): void {
    if (this.#put(name, value)) this.#addContents(name, value)
  }

  /** A shared table of globals. @param owner the entry that sees it; of a later version the name passes to that */
  addGlobals(owner: string, base: LuaTable): void {
    const name = GLOBALS_PREFIX + owner
    this.#names.set(base as unknown as object, name)
    this.#values.set(name, base)
    this.#addContents(owner, base)
  }

  #addContents(name: string, value: LuaValue): void {
    if (this.#engine.typeOf(value) !== 'table') return
    this.#engine.each(value as LuaTable, (key, item) => {
      if (typeof key === 'string') this.add(`${name}.${key}`, item)
    })
  }

  #put(name: string, value: LuaValue): boolean {
    const type = this.#engine.typeOf(value)
    const isThing = type === 'table' || type === 'function' || value instanceof HostObject
    if (!isThing || this.#names.has(value as object)) return false
    this.#names.set(value as object, name)
    this.#values.set(name, value)
    return true
  }
}
