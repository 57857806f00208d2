// Consoles: Lua prompts inside the running node, each a process of its own on a host of its own, in a thread with a bound of memory. What is
// typed comes through the admin socket; a process that ends, or is told to stop, is replaced, and says so.

import { toBytes, toText } from './base/bytes.ts'
import { MoonmeshError, messageOf } from './base/errors.ts'
import { list, type TableValue, type Value } from './base/value.ts'
import type { CodeEntry } from './lua/sandbox.ts'
import type { Client, NodeService } from './node-services.ts'
import type { Outcome } from './services.ts'

export const CONSOLE_HOST = 'system:console'
export const CONSOLE_ENTRY = 'system:console'
/** Consoles at once: they are for people. */
const CONSOLES_MAX = 8
/** What is typed while something runs waits, up to so many. */
const WAITING_MAX = 1000

/** The code of a console's process. */
export function consoleCode(moduleNames: Iterable<string>): CodeEntry {
  return {
    id: CONSOLE_ENTRY,
    kind: 'process.lua',
    source:
      'local console = console\nlocal function main()\n  while console.turn() do end\nend\nreturn { main = main }\n',
    method: 'main',
    modules: [...moduleNames, 'console'],
    imports: {},
  }
}

export type ConsoleNews =
  /** What was typed runs from now on in this process; `lost` says why the one before ended. */
  | { readonly kind: 'ready'; readonly pid: string; readonly lost?: string }
  | { readonly kind: 'print'; readonly text: string }
  | { readonly kind: 'done'; readonly values: readonly string[] }
  | { readonly kind: 'error'; readonly message: string; readonly traceback: string }
  /** It does not compile. */
  | { readonly kind: 'syntax'; readonly message: string; readonly isIncomplete: boolean }
  | { readonly kind: 'candidates'; readonly names: readonly string[] }
  /** Nothing more will come. */
  | { readonly kind: 'over'; readonly why: string }

export interface Console {
  run(source: string): void
  complete(text: string): void
  /** Ends what runs, and with it what was set. */
  interrupt(): void
  close(): void
}

interface ConsolesOptions {
  /** Starts the host before the first one, and the process. */
  spawn(): Promise<{ readonly pid: string; readonly ended: Promise<Outcome> }>
  terminate(pid: string): void
  /** Nobody has a console any more. */
  idle(): void
}

type Input = readonly ['run' | 'complete', string]

export class Consoles implements NodeService {
  readonly #options: ConsolesOptions
  readonly #sessions = new Set<Session>()
  readonly #byPid = new Map<string, Session>()
  /** Processes that asked before their start was known here. */
  readonly #early = new Map<string, (input: Value) => void>()

  constructor(options: ConsolesOptions) {
    this.#options = options
  }

  /** @throws MoonmeshError `LimitExceeded` */
  open(tell: (news: ConsoleNews) => void): Console {
    if (this.#sessions.size >= CONSOLES_MAX) {
      throw new MoonmeshError('LimitExceeded', `${CONSOLES_MAX} consoles are open on this node; close one`)
    }
    const session = new Session(tell)
    this.#sessions.add(session)
    const begin = (lost?: string): void => {
      this.#begin(session, lost).catch((error: unknown) => {
        tell({ kind: 'over', why: messageOf(error) })
        close()
      })
    }
    const close = (): void => {
      if (!this.#sessions.delete(session)) return
      session.isClosed = true
      if (session.pid !== undefined) this.#options.terminate(session.pid)
      if (this.#sessions.size === 0) this.#options.idle()
    }
    session.begin = begin
    begin()
    return {
      run: (source) => session.push(['run', toBytes(source)]),
      complete: (text) => session.push(['complete', toBytes(text)]),
      interrupt: () => {
        session.reason = 'interrupted'
        if (session.pid !== undefined) this.#options.terminate(session.pid)
      },
      close,
    }
  }

  async #begin(session: Session, lost: string | undefined): Promise<void> {
    const { pid, ended } = await this.#options.spawn()
    if (session.isClosed) return this.#options.terminate(pid)
    session.pid = pid
    this.#byPid.set(pid, session)
    void ended.then((outcome) => this.#ended(session, pid, outcome))
    session.tell({ kind: 'ready', pid: toText(pid), ...(lost === undefined ? {} : { lost }) })
    const waiting = this.#early.get(pid)
    this.#early.delete(pid)
    if (waiting !== undefined) session.wait(waiting)
  }

  #ended(session: Session, pid: string, outcome: Outcome): void {
    this.#byPid.delete(pid)
    session.pid = undefined
    const why = session.reason ?? (outcome.ok ? 'the process has ended' : toText(outcome.error.message))
    session.reset()
    if (!session.isClosed) session.begin(why)
  }

  /** Ends every one. */
  close(): void {
    for (const session of [...this.#sessions]) {
      this.#sessions.delete(session)
      session.isClosed = true
      session.tell({ kind: 'over', why: 'the node stops' })
    }
  }

  readonly methods: NodeService['methods'] = {
    next: (_args, client) => this.#next(client),
    printed: ([text], client) => this.#tell(client, { kind: 'print', text: toText(text as string) }),
    ended: ([isOk, texts, traceback], client) => {
      const shown = (texts as TableValue).array.map((text) => toText(text as string))
      const [message = ''] = shown
      const news: ConsoleNews =
        isOk === true
          ? { kind: 'done', values: shown }
          : { kind: 'error', message, traceback: toText(traceback as string) }
      return this.#tell(client, news)
    },
    refused: ([message, isIncomplete], client) =>
      this.#tell(client, { kind: 'syntax', message: toText(message as string), isIncomplete: isIncomplete === true }),
    candidates: ([names], client) =>
      this.#tell(client, {
        kind: 'candidates',
        names: (names as TableValue).array.map((name) => toText(name as string)),
      }),
  }

  #next({ pid, entry }: Client): Promise<Value> {
    if (entry !== CONSOLE_ENTRY) {
      throw new MoonmeshError('PermissionDenied', 'only a console is typed to', { retryable: false })
    }
    return new Promise((resolve) => {
      const session = this.#byPid.get(pid)
      if (session !== undefined) session.wait(resolve)
      else this.#early.set(pid, resolve)
    })
  }

  #tell({ pid, entry }: Client, news: ConsoleNews): undefined {
    if (entry === CONSOLE_ENTRY) this.#byPid.get(pid)?.tell(news)
    return undefined
  }

  clientEnded(pid: string): void {
    this.#early.delete(pid)
  }
}

class Session {
  readonly tell: (news: ConsoleNews) => void
  begin: (lost?: string) => void = () => {}
  pid: string | undefined
  isClosed = false
  /** Why it is about to end. */
  reason: string | undefined
  #inputs: Input[] = []
  #waiting: ((input: Value) => void) | undefined

  constructor(tell: (news: ConsoleNews) => void) {
    this.tell = tell
  }

  push(input: Input): void {
    if (this.#inputs.length >= WAITING_MAX) return
    this.#inputs.push(input)
    this.#hand()
  }

  wait(resolve: (input: Value) => void): void {
    this.#waiting = resolve
    this.#hand()
  }

  /** For the next process. */
  reset(): void {
    this.#inputs = []
    this.#waiting = undefined
    this.reason = undefined
  }

  #hand(): void {
    if (this.#waiting === undefined) return
    const input = this.#inputs.shift()
    if (input === undefined) return
    const resolve = this.#waiting
    this.#waiting = undefined
    resolve(list([...input]))
  }
}
