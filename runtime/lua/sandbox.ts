// What a script sees: its globals, its modules, its imports. lua-core.md §2.2, §5. Everything shared is read-only and built once for each
// engine; a process adds one table of its own.

import { createHash } from 'node:crypto'
import { toBytes, toText } from '../base/bytes.ts'
import { MoonmeshError } from '../base/errors.ts'
import type { ChunkTypes } from '../base/type-node.ts'
import type { PoolRules } from '../process/core/pool.ts'
import type { RetryPolicy } from '../process/core/retry.ts'
import type { Evaluation, LibraryModule, ModuleTag, NamedParts, ScriptProcess } from '../services.ts'
import {
  type Engine,
  type HostFunction,
  type LuaCode,
  type LuaTable,
  type LuaValue,
  type ModuleTable,
  Raise,
  type SharedThings,
} from './engine.ts'
import { SharedNames } from './shared-names.ts'

/** The code of one entry, as the node hands it to a host. `imports` maps aliases to entry ids. All but the source are byte strings. */
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
  /** What one run may hold, in bytes; absent: what the host gives each. */
  readonly memoryLimitBytes?: number
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

/** The chunk name of source text that is no entry. */
const AD_HOC_NAME = 'eval'
const INPUT_NAME = 'input'
const AD_HOC_CODES_MAX = 256

/** Always-present names that source text does not see: what they do reaches beyond it. */
const OUTSIDE = new Set(['process', 'subscribe', 'unsubscribe'])

interface CompiledChunk {
  readonly code: LuaCode
  readonly types: ChunkTypes | undefined
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
function isBuiltFrom({ entry, libraries }: Image, entryIds: ReadonlySet<string>): boolean {
  return entryIds.has(entry.id) || libraries.some((library) => entryIds.has(library.entry.id))
}

/** What documents know the code of an entry by. */
const sourceHash = ({ source }: CodeEntry): string => createHash('sha256').update(source).digest('hex')

export class Sandbox {
  readonly #engine: Engine
  readonly #modules = new Map<string, LuaValue>()
  readonly #always = new Map<string, LuaValue>()
  readonly #entries: (id: string) => CodeEntry | undefined
  readonly #images = new Map<string, Image>()
  readonly #declaredTypes: LibraryModule['declaredTypes']
  readonly tags = new Map<string, readonly ModuleTag[]>()
  readonly #adHocCodes = new Map<string, CompiledChunk>()
  readonly #sharedNames: SharedNames
  readonly #waits = new Map<string, NonNullable<LibraryModule['waits']>[string]>()
  readonly #sinks = new Map<string, NonNullable<LibraryModule['sinks']>[string]>()

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
        this.tags.set(module.name, module.tags)
      } else {
        extensions.set(module.name, module.build(engine))
        if (module.call !== undefined) calls.set(module.name, module.call)
      }
      for (const [name, fn] of Object.entries(module.globals ?? {})) this.#always.set(name, engine.function(name, fn))
    }
    this.#buildAlways(extensions, calls)
    this.#sharedNames = new SharedNames(engine)
    for (const [name, value] of this.#always) this.#sharedNames.add(name, value)
    for (const [name, value] of this.#modules) this.#sharedNames.add(name, value)
    for (const { waits, sinks } of modules) {
      for (const [name, wait] of Object.entries(waits ?? {})) this.#waits.set(name, wait)
      for (const [name, sink] of Object.entries(sinks ?? {})) this.#sinks.set(name, sink)
    }
  }

  // ---- processes that are saved

  /** What a document of a process that runs the image names instead of containing it. */
  shared(image: Image): SharedThings {
    const images = [image, ...image.libraries]
    for (const { entry, base } of images) this.#sharedNames.addGlobals(entry.id, base)
    const codes = images.map(({ entry, code }) => ({ name: entry.id, hash: sourceHash(entry), code }))
    return { codes, nameOf: (value) => this.#sharedNames.nameOf(value), find: (name) => this.#sharedNames.find(name) }
  }

  /** Lets the current fiber of a restored process wait again. @throws MoonmeshError */
  waitAgain(process: ScriptProcess, parts: NamedParts): void {
    this.#again(this.#waits, parts.name)(process, parts)
  }

  /** Binds a topic of a restored process to its sink. @throws MoonmeshError */
  bindAgain(process: ScriptProcess, topic: string, parts: NamedParts): void {
    this.#again(this.#sinks, parts.name)(process, topic, parts)
  }

  #again<T>(from: ReadonlyMap<string, T>, name: string): T {
    const found = from.get(name)
    if (found !== undefined) return found
    throw new MoonmeshError(
      'Conflict',
      `cannot resume the process here: nothing knows '${toText(name.slice(0, 200))}'`,
      {
        retryable: false,
      },
    )
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

  /** @throws LuaSyntaxError */
  #compile(chunkName: string, source: string): CompiledChunk {
    const code = this.#engine.compile(chunkName, source)
    return { code, types: this.#engine.typesOf(code) }
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
    if (entry === undefined) throw new MoonmeshError('NotFound', `entry not found: ${toText(id)}`, { retryable: false })
    const libraries: Image[] = []
    for (const libraryId of Object.values(entry.imports)) {
      const library = this.image(libraryId)
      for (const needed of [...library.libraries, library]) if (!libraries.includes(needed)) libraries.push(needed)
    }
    const { code, types } = this.#compile(id, toBytes(entry.source))
    const base = this.#base(entry)
    const isMadeAnew = types?.declarations.some(({ slotCount }) => slotCount > 0) === true
    if (!isMadeAnew) this.#setTypes(base, types)
    const image = { entry, code, base, types: isMadeAnew ? types : undefined, libraries }
    this.#images.set(id, image)
    return image
  }

  /**
   * An image of source text that is no entry. It sees the always-present libraries that touch nothing outside, the given modules and tables,
   * and libraries of the app. @throws MoonmeshError, LuaSyntaxError
   */
  adHoc({ source, modules, imports, customModules }: Evaluation): Image {
    const engine = this.#engine
    const libraries: Image[] = []
    const ids: Record<string, string> = {}
    for (const [alias, { id, modules: further }] of Object.entries(imports)) {
      const library = further.length === 0 ? this.image(id) : this.#widened(this.image(id), further)
      ids[alias] = library.entry.id
      for (const needed of [...library.libraries, library]) if (!libraries.includes(needed)) libraries.push(needed)
    }
    const entry = { id: AD_HOC_NAME, kind: 'function.lua', source, method: '', modules, imports: ids }
    const { code, types } = this.#adHocCode(source)
    const base = this.#base(entry, (name) => !OUTSIDE.has(name))
    const custom = new Map(
      Object.entries(customModules).map(([name, table]) => {
        const value = engine.copyIn(table) as LuaTable
        engine.freeze(value)
        return [name, value]
      }),
    )
    for (const [name, table] of custom) engine.set(base, name, table)
    engine.set(
      base,
      'require',
      this.#require(entry, custom, (name) => !OUTSIDE.has(name)),
    )
    return { entry, code, base, types, libraries }
  }

  /** The same library with more modules than its entry names. */
  #widened(image: Image, further: readonly string[]): Image {
    const modules = [...new Set([...image.entry.modules, ...further])]
    const entry = { ...image.entry, id: `${image.entry.id}+${further.join('+')}`, modules }
    const base = this.#base(entry)
    const { code, types } = this.#compile(image.entry.id, toBytes(entry.source))
    return { ...image, entry, base, code, types }
  }

  /** Compiled chunks of the last sources. @throws LuaSyntaxError */
  #adHocCode(source: string): CompiledChunk {
    const known = this.#adHocCodes.get(source) ?? this.#compile(AD_HOC_NAME, source)
    this.#adHocCodes.delete(source)
    this.#adHocCodes.set(source, known)
    for (const oldest of this.#adHocCodes.keys()) {
      if (this.#adHocCodes.size <= AD_HOC_CODES_MAX) break
      this.#adHocCodes.delete(oldest)
    }
    return known
  }

  /** @throws LuaSyntaxError */
  compileAdHoc(source: string): void {
    this.#adHocCode(source)
  }

  #setTypes(globals: LuaTable, types: ChunkTypes | undefined): void {
    if (types === undefined || this.#declaredTypes === undefined) return
    this.#engine.set(globals, types.global, this.#declaredTypes(this.#engine, types))
  }

  /** What somebody typed, to be run with these globals. @throws LuaSyntaxError */
  compileInput(source: string, globals: LuaTable): LuaCode {
    const { code, types } = this.#compile(INPUT_NAME, source)
    this.#setTypes(globals, types)
    return code
  }

  /** Fresh globals for one run of the image's chunk. */
  environment(image: Image): LuaTable {
    const environment = this.#engine.newEnvironment(image.base)
    this.#setTypes(environment, image.types)
    return environment
  }

  #base(entry: CodeEntry, isVisible: (alwaysPresent: string) => boolean = () => true): LuaTable {
    const engine = this.#engine
    const base = engine.newTable()
    for (const [name, value] of this.#always) if (isVisible(name)) engine.set(base, name, value)
    for (const name of entry.modules) {
      const module = this.#modules.get(name)
      if (module !== undefined) engine.set(base, name, module)
    }
    engine.set(base, 'require', this.#require(entry, new Map(), isVisible))
    return base
  }

  #require(
    entry: CodeEntry,
    custom: ReadonlyMap<string, LuaTable>,
    isVisible: (alwaysPresent: string) => boolean = () => true,
  ): LuaValue {
    return this.#engine.function('require', (call) => {
      const name = call.arg(1)
      if (typeof name !== 'string') {
        const got = call.type(1)
        throw new Raise(`bad argument #1 to 'require' (string expected, got ${got === 'none' ? 'no value' : got})`)
      }
      const library = Object.hasOwn(entry.imports, name) ? entry.imports[name] : undefined
      if (library !== undefined) return (call.owner as LibraryHolder).libraryValue(library)
      const module = entry.modules.includes(name) ? this.#modules.get(name) : undefined
      const found = custom.get(name) ?? module ?? (isVisible(name) ? this.#alwaysTable(name) : undefined)
      if (found === undefined) throw new Raise(this.#notFound(name))
      return found
    })
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
