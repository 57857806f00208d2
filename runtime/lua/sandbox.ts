// What a script sees: its globals, its modules, its imports. lua-core.md §2.2, §5. Everything shared is read-only and built once for each
// engine; a process adds one table of its own.

import { toBytes } from '../base/bytes.ts'
import { MoonmeshError } from '../base/errors.ts'
import type { ChunkTypes } from '../base/type-node.ts'
import type { PoolRules } from '../process/core/pool.ts'
import type { RetryPolicy } from '../process/core/retry.ts'
import type { LibraryModule } from '../services.ts'
import { compileChunk } from './compile.ts'
import {
  type Engine,
  type HostFunction,
  type LuaCode,
  type LuaTable,
  type LuaValue,
  type ModuleTable,
  Raise,
} from './engine.ts'

/** The code of one entry, as the node hands it to a host. `imports` maps aliases to entry ids. */
export interface CodeEntry {
  readonly id: string
  readonly kind: string
  readonly source: string
  readonly method: string
  readonly modules: readonly string[]
  readonly imports: Readonly<Record<string, string>>
  /** Of a function; absent: the default pool. */
  readonly pool?: PoolRules
  /** How failed calls of it are repeated; absent: not at all. */
  readonly retry?: RetryPolicy
  /** Where a process runs when it is called like a function. */
  readonly defaultHost?: string
}

/** An entry ready to run: compiled, its globals assembled, its libraries in the order in which their chunks run. */
export interface Image {
  readonly entry: CodeEntry
  readonly code: LuaCode
  readonly base: LuaTable
  /** The declared types that each run of the chunk makes anew, because they refer to its variables. */
  readonly types: ChunkTypes | undefined
  /** The libraries that the entry needs, directly or not, each after those it imports itself. */
  readonly libraries: readonly Image[]
}

/** What `require` asks the process for: the value of a library that was loaded for it. */
export interface LibraryHolder {
  libraryValue(entryId: string): LuaValue
}

/** Names that are nil in every script although Lua has them. */
const HIDDEN = new Set([
  'dofile',
  'load',
  'loadfile',
  'loadstring',
  'collectgarbage',
  'rawlen',
  'debug',
  'utf8',
  'package',
])

/** Whether one of these entries is the image's own or one of its libraries. */
export function isBuiltFrom({ entry, libraries }: Image, entryIds: ReadonlySet<string>): boolean {
  return entryIds.has(entry.id) || libraries.some((library) => entryIds.has(library.entry.id))
}

export class Sandbox {
  readonly #engine: Engine
  readonly #modules = new Map<string, LuaValue>()
  readonly #always = new Map<string, LuaValue>()
  readonly #entries: (id: string) => CodeEntry | undefined
  readonly #images = new Map<string, Image>()
  readonly #declaredTypes: LibraryModule['declaredTypes']

  /** @param entries finds the code of an entry, in its current version */
  constructor(engine: Engine, modules: readonly LibraryModule[], entries: (id: string) => CodeEntry | undefined) {
    this.#engine = engine
    this.#entries = entries
    this.#declaredTypes = modules.find(({ declaredTypes }) => declaredTypes !== undefined)?.declaredTypes
    const extensions = new Map<string, ModuleTable>()
    const calls = new Map<string, HostFunction>()
    for (const module of modules) {
      for (const definition of module.classes ?? []) engine.defineClass(definition)
      if (module.isAlwaysPresent !== true) {
        const table = engine.moduleTable(module.name, module.build(engine), module.call)
        this.#modules.set(module.name, module.value?.() ?? table)
      } else {
        extensions.set(module.name, module.build(engine))
        if (module.call !== undefined) calls.set(module.name, module.call)
      }
      for (const [name, fn] of Object.entries(module.globals ?? {})) this.#always.set(name, engine.function(name, fn))
    }
    this.#buildAlways(extensions, calls)
  }

  /** Always-present modules; one that bears a library's name extends the library. */
  #buildAlways(extensions: Map<string, ModuleTable>, calls: Map<string, HostFunction>): void {
    const { globals, libraries } = this.#engine.standardLibrary
    for (const [name, value] of Object.entries(globals)) {
      if (!HIDDEN.has(name) && !this.#always.has(name)) this.#always.set(name, value as LuaValue)
    }
    for (const name of new Set([...Object.keys(libraries), ...extensions.keys()])) {
      const table = this.#engine.moduleTable(name, { ...libraries[name], ...extensions.get(name) }, calls.get(name))
      this.#always.set(name, table)
      if (name === 'string') this.#engine.setStringMethods(table)
    }
  }

  /** Drops what was built from these entries, directly or not, and tells the ids of it all; running processes keep theirs. */
  forget(changed: ReadonlySet<string>): ReadonlySet<string> {
    const forgotten = new Set(changed)
    for (const [id, image] of [...this.#images]) {
      if (!isBuiltFrom(image, changed)) continue
      this.#images.delete(id)
      forgotten.add(id)
    }
    return forgotten
  }

  /**
   * The entry's image, built at its first use.
   * @throws MoonmeshError `NotFound` for an unknown entry; LuaSyntaxError
   */
  image(id: string): Image {
    const known = this.#images.get(id)
    if (known !== undefined) return known
    const entry = this.#entries(id)
    if (entry === undefined) throw new MoonmeshError('NotFound', `entry not found: ${id}`, { retryable: false })
    const libraries: Image[] = []
    for (const libraryId of Object.values(entry.imports)) {
      const library = this.image(libraryId)
      for (const needed of [...library.libraries, library]) if (!libraries.includes(needed)) libraries.push(needed)
    }
    const { code, types } = compileChunk(this.#engine, toBytes(id), toBytes(entry.source))
    const base = this.#base(entry)
    const isMadeAnew = types?.declarations.some(({ slotCount }) => slotCount > 0) === true
    if (!isMadeAnew) this.#setTypes(base, types)
    const image = { entry, code, base, types: isMadeAnew ? types : undefined, libraries }
    this.#images.set(id, image)
    return image
  }

  #setTypes(globals: LuaTable, types: ChunkTypes | undefined): void {
    if (types === undefined || this.#declaredTypes === undefined) return
    this.#engine.set(globals, types.global, this.#declaredTypes(this.#engine, types))
  }

  /** Fresh globals for one run of the image's chunk. */
  environment(image: Image): LuaTable {
    const environment = this.#engine.newEnvironment(image.base)
    this.#setTypes(environment, image.types)
    return environment
  }

  #base(entry: CodeEntry): LuaTable {
    const engine = this.#engine
    const base = engine.newTable()
    for (const [name, value] of this.#always) engine.set(base, name, value)
    for (const name of entry.modules) {
      const module = this.#modules.get(name)
      if (module !== undefined) engine.set(base, name, module)
    }
    const require = engine.function('require', (call) => {
      const name = call.arg(1)
      if (typeof name !== 'string') {
        const got = call.type(1)
        throw new Raise(`bad argument #1 to 'require' (string expected, got ${got === 'none' ? 'no value' : got})`)
      }
      const library = Object.hasOwn(entry.imports, name) ? entry.imports[name] : undefined
      if (library !== undefined) return (call.owner as LibraryHolder).libraryValue(library)
      const module = entry.modules.includes(name) ? this.#modules.get(name) : undefined
      const found = module ?? this.#alwaysTable(name)
      if (found === undefined) throw new Raise(this.#notFound(name))
      return found
    })
    engine.set(base, 'require', require)
    return base
  }

  #alwaysTable(name: string): LuaValue {
    const value = this.#always.get(name)
    return value !== undefined && this.#engine.typeOf(value) === 'table' ? value : undefined
  }

  #notFound(name: string): string {
    const hint = this.#modules.has(name) ? `; add "${name}" to the entry's modules:` : ''
    return `module '${name}' not found${hint}`
  }
}
