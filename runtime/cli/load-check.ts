// What `runtime check --load` does after validation: runs the chunk of every entry, as a host does before it calls the method, in a thread that
// is thrown away. Nothing is started: what a chunk asks of the node is refused, what it logs or prints goes nowhere.

import { Worker } from 'node:worker_threads'
import { codeOf } from '../app/code.ts'
import type { App, FunctionEntry, LibraryEntry, ProcessEntry } from '../app/load.ts'
import { type Problem, ProblemList } from '../app/problems.ts'
import { toBytes, toText } from '../base/bytes.ts'
import { MoonmeshError, messageOf } from '../base/errors.ts'
import { ErrorValue } from '../base/value.ts'
import type { LuaSettings } from '../lua/engines.ts'
import type { CodeEntry } from '../lua/sandbox.ts'
import { WORKER } from '../places.ts'
import { BASE_REQUEST, type FromHost, type ToHost } from '../process/port.ts'
import { ThreadPort } from '../process/thread-port.ts'
import type { WorkerData } from '../process/worker.ts'

type LuaEntry = ProcessEntry | FunctionEntry | LibraryEntry

/** How long one entry may load. Its instructions are bounded as well; this is for what does not count any. */
const LOADING_MS_MAX = 30_000
/** What a script may hold, and the heap of the thread: much more, so that the script's limit is the one that is met. */
const SCRIPT_MIB_MAX = 128
const HEAP_MIB_MAX = 1024
const HOST_ID = 'check'

interface LoadingReport {
  /** By file, line and column. */
  readonly problems: readonly Problem[]
  /** Of chunks that failed after they had asked for what only a running node has: nobody can tell whether they load there. */
  readonly warnings: readonly Problem[]
}

/** How the loading of one entry ended. */
interface Ending {
  /** Undefined: its chunks ran to their ends, and its method is there. */
  readonly error: ErrorValue | undefined
  /** What it asked of the node, last. */
  readonly asked: string | undefined
}

/** @throws MoonmeshError `Unavailable` when no thread can be started */
export async function checkLoading({ entries, settings }: App): Promise<LoadingReport> {
  const luaEntries = entries.filter(isLua)
  const byId = new Map(luaEntries.map((entry) => [entry.id, entry]))
  const code = codeOf(entries)
  const all = [...code, ...code.filter(({ kind }) => kind === 'library.lua').map(importerOf)]
  const problems = new ProblemList()
  const warnings = new ProblemList()
  let thread: LoadingThread | undefined
  try {
    for (const entry of luaEntries) {
      if (thread?.isUsable !== true) {
        await thread?.close()
        thread = new LoadingThread(settings.lua, all)
        await thread.ready
      }
      const id = entry.kind === 'library.lua' ? importerId(entry.id) : entry.id
      const { error, asked } = await thread.load(id)
      if (error === undefined) continue
      const { place, text } = placeOf(error, entry, byId)
      if (asked === undefined) problems.add(place, [], text)
      else warnings.add(place, [], `${text} (nothing is started here, so ${asked} was refused; it may load on a node)`)
    }
  } finally {
    await thread?.close()
  }
  return { problems: problems.sorted(), warnings: warnings.sorted() }
}

const isLua = (entry: App['entries'][number]): entry is LuaEntry =>
  entry.kind === 'process.lua' || entry.kind === 'function.lua' || entry.kind === 'library.lua'

// ---- libraries load with whoever imports them

const importerId = (id: string): string => `${id} (imported)`

const importerOf = ({ id }: CodeEntry): CodeEntry => ({
  id: importerId(id),
  kind: 'process.lua',
  source: 'return function() end',
  method: 'main',
  modules: [],
  imports: { library: id },
})

// ---- where it went wrong

const CHUNK_LINE = /([^\s:]+:[^\s:]+):(\d+):/g

/** The chunk and line that the error's text begins with, or else the innermost of its stack; or the entry itself. */
function placeOf(
  error: ErrorValue,
  entry: LuaEntry,
  byId: ReadonlyMap<string, LuaEntry>,
): { place: Pick<Problem, 'file' | 'line' | 'column'>; text: string } {
  const message = toText(error.message).replaceAll(importerId(entry.id), entry.id)
  const found = chunkLines(message, byId).find(({ index }) => index === 0)
  const said = found === undefined ? message : message.slice(found.length).trimStart()
  const at = found ?? chunkLines(toText(error.stack), byId)[0]
  const text = `loading: ${said}`
  if (at?.entry.sourceFile !== undefined) {
    return { place: { file: at.entry.sourceFile, line: at.line, column: 1 }, text }
  }
  const { file, line } = at?.entry ?? entry
  const place = { file, line, column: 1 }
  return { place, text: at === undefined ? text : `${at.entry.id}, line ${at.line} of the chunk: ${text}` }
}

function chunkLines(text: string, byId: ReadonlyMap<string, LuaEntry>) {
  return [...text.matchAll(CHUNK_LINE)].flatMap((match) => {
    const [whole, id = '', line = ''] = match
    const entry = byId.get(id)
    return entry === undefined ? [] : [{ entry, line: Number(line), index: match.index, length: whole.length }]
  })
}

// ---- the thread

class LoadingThread {
  /** Rejects when the thread ends before it is ready. */
  readonly ready: Promise<void>
  /** Whether further entries can load here. */
  isUsable = true
  readonly #worker: Worker
  readonly #port: ThreadPort<ToHost, FromHost>
  #nextRef = 1
  #asked: string | undefined
  #loading: { readonly ref: number; end(error: ErrorValue | undefined): void } | undefined

  constructor(lua: LuaSettings, code: readonly CodeEntry[]) {
    const workerData: WorkerData = {
      id: HOST_ID,
      node: undefined,
      epoch: 1,
      slot: 0,
      generation: 0,
      processCountMax: 1,
      mailboxCountMax: 1000,
      sharesHost: false,
      hasTerminal: true,
      recordsFunctions: false,
      isConsole: false,
      lua,
      onlyLoads: true,
      memoryBytesMax: SCRIPT_MIB_MAX * 2 ** 20,
    }
    this.#worker = new Worker(WORKER, {
      name: HOST_ID,
      workerData,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB_MAX },
    })
    this.#port = new ThreadPort(this.#worker)
    this.ready = new Promise((resolve, reject) => {
      this.#port.onMessage((message) => {
        if (message.kind === 'ready') resolve()
        else this.#heard(message)
      })
      let reason = 'the thread ended'
      this.#worker.on('error', (error) => {
        const isFull = (error as { code?: string }).code === 'ERR_WORKER_OUT_OF_MEMORY'
        reason = isFull ? `the chunk takes more memory than ${HEAP_MIB_MAX} MiB` : messageOf(error)
      })
      this.#worker.on('exit', () => {
        reject(new MoonmeshError('Unavailable', `cannot load the chunks: ${reason}`))
        this.#give(new ErrorValue('LimitExceeded', toBytes(reason)))
      })
    })
    this.#port.post({ kind: 'code', entries: code, removed: [] })
  }

  /** One entry at a time. */
  load(entryId: string): Promise<Ending> {
    const ref = this.#nextRef++
    this.#asked = undefined
    return new Promise((resolve) => {
      const deadline = setTimeout(() => this.#give(tooSlow()), LOADING_MS_MAX)
      const end = (error: ErrorValue | undefined): void => {
        clearTimeout(deadline)
        resolve({ error, asked: this.#asked })
      }
      this.#loading = { ref, end }
      this.#port.post({ kind: 'spawn', ref, request: { ...BASE_REQUEST, host: HOST_ID, entryId: toBytes(entryId) } })
    })
  }

  /** The thread does not answer, or is no more. */
  #give(error: ErrorValue): void {
    this.isUsable = false
    const loading = this.#loading
    this.#loading = undefined
    loading?.end(error)
  }

  #heard(message: FromHost): void {
    switch (message.kind) {
      case 'reply': {
        const loading = this.#loading
        if (loading?.ref !== message.ref) return
        this.#loading = undefined
        loading.end(message.ok ? undefined : message.error)
        return
      }
      case 'request':
        return this.#refuse(message.ref, `${message.service}.${message.method}`)
      case 'send':
      case 'monitor':
      case 'link':
      case 'cancel':
      case 'terminate':
      case 'spawn':
      case 'register-name':
      case 'unregister-name':
        return this.#refuse(message.ref, message.kind)
      // What is only told, logged or printed goes nowhere.
      default:
        return
    }
  }

  #refuse(ref: number, asked: string): void {
    this.#asked = asked
    const error = new ErrorValue('Unavailable', 'nothing is started while an app is checked', false)
    this.#port.post({ kind: 'reply', ref, ok: false, error })
  }

  async close(): Promise<void> {
    this.#port.close()
    await this.#worker.terminate()
  }
}

const tooSlow = (): ErrorValue =>
  new ErrorValue(
    'Timeout',
    `the chunk did not finish within ${LOADING_MS_MAX / 1000} s; move long work into the method`,
  )
