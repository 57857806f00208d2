// What hosts and the node say to each other. A host knows its own processes; everything else goes through here. Messages are data only, so
// that the other side may be another thread; they are handed over in batches, one a turn of the event loop.

import type { HistogramCounts } from '../base/histogram.ts'
import { type ErrorValue, record, type TableValue, type Value } from '../base/value.ts'
import type { CodeEntry } from '../lua/sandbox.ts'
import type { Identity, PolicySet } from '../security/core/policies.ts'
import type { LogLevel, Outcome } from '../services.ts'

export interface SpawnRequest {
  host: string
  entryId: string
  args: readonly Value[]
  /** The spawner; '' for the runtime. */
  from: string
  monitor: boolean
  link: boolean
  name: string | undefined
  messages: readonly { topic: string; values: readonly Value[] }[]
  context: TableValue
  /** On whose behalf it runs. */
  identity: Identity | undefined
  /** What the runtime gives this run beside its context, e.g. the delivery that a queue's consumer handles. */
  attachments?: TableValue
  /** What it may hold, in bytes, where that is less than the entry and the host say. */
  memoryLimitBytes?: number
  /** It goes on from this instead of beginning with its method: what was written down of a process of the entry, as a byte string. */
  saved?: string
  /** An `ended` message follows when the process has ended. */
  wantsEnd: boolean
  /** Functions run as processes only when the node itself asks. */
  allowsFunction: boolean
}

/** Of the runtime itself, for nobody: what a request says where nothing else is said. */
export const BASE_REQUEST: SpawnRequest = {
  host: '',
  entryId: '',
  args: [],
  from: '',
  monitor: false,
  link: false,
  name: undefined,
  messages: [],
  context: record({}),
  identity: undefined,
  wantsEnd: false,
  allowsFunction: false,
}

/** A question about one process, answered by `reply` with the same `ref`. `to` is the process asked about. */
export type ProcessQuestion =
  /** `name`: what the sender took for the PID; it hears when the process is not there (any more). */
  | { kind: 'send'; to: string; from: string; topic: string; values: readonly Value[]; name?: string }
  /** `id`: the monitor's number, which its EXIT will bear; absent: none. */
  | { kind: 'monitor'; to: string; from: string; id?: number }
  | { kind: 'link'; to: string; from: string }
  | { kind: 'cancel'; to: string; from: string; reason: string }
  | { kind: 'terminate'; to: string; from: string }

/** The node asks the process's host, before it binds the name, whether the process is there to bear it. */
export interface BearerQuestion {
  kind: 'bear-name'
  to: string
  name: string
}

/** The node wants to save a process; the answer is what is to be said of it and what was written, or why it could not be. */
export interface CaptureQuestion {
  kind: 'capture'
  to: string
  /** The process ends with it, in the same moment. */
  stop: boolean
  timeoutMs: number
  bytesMax: number
}

type NameQuestion = { kind: 'register-name'; name: string; pid: string } | { kind: 'unregister-name'; name: string }

/** What a name stands for in a scope that is larger than the node; `pid` undefined: in none of them anything. */
export interface SharedName {
  readonly name: string
  readonly pid: string | undefined
}

/** A question to one of the node's services, on behalf of the process `from`, which runs the entry. */
export interface ServiceQuestion {
  kind: 'request'
  service: string
  method: string
  args: readonly Value[]
  from: string
  entry: string
}

/** The `ref` of a question whose answer nobody waits for. */
export const NO_REPLY = 0

export type Question = ProcessQuestion | NameQuestion | { kind: 'spawn'; request: SpawnRequest }

export type Reply =
  | { kind: 'reply'; ref: number; ok: true; value: Value }
  | { kind: 'reply'; ref: number; ok: false; error: ErrorValue }

/** Said in either direction; `to` decides where it goes. */
export type Telling =
  | { kind: 'unmonitor'; to: string; from: string; id?: number }
  /** `id`: what the acknowledgement has to name; absent: `from` has ended, and nobody waits for one. */
  | { kind: 'unlink'; to: string; from: string; id?: number }
  /** `from` knows that `to` took back their link. */
  | { kind: 'unlink-ack'; to: string; from: string; id: number }
  /** `id` of a monitor that has one. */
  | { kind: 'down'; to: string; from: string; event: 'exit' | 'link-down'; outcome: Outcome; atMs: number; id?: number }

export interface ProcessInfo {
  pid: string
  entry: string
  host: string
  state: 'loading' | 'ready' | 'running' | 'waiting'
  mailbox: number
  reductions: number
  /** Estimated bytes that it holds; null where nobody can tell, or asked. */
  memory: number | null
  ageMs: number
  /** It hears of new code by an OUTDATED event. */
  isUpgradable: boolean
}

export type TerminalMessage =
  | { kind: 'terminal-write'; stream: 'stdout' | 'stderr'; bytes: string }
  | { kind: 'terminal-read'; ref: number; bytesMax: number | 'line' }
  /** Answered like a read, without bytes. */
  | { kind: 'terminal-raw'; ref: number; enable: boolean }

export interface LogRecord {
  kind: 'log'
  level: LogLevel
  text: string
  pid: string
  entry: string
  where: string
  fields: TableValue | undefined
}

/** A process has started, or ended; said while somebody observes. */
export interface ProcessNews {
  kind: 'process-started' | 'process-ended'
  pid: string
  entry: string
  /** Of an end. */
  reason?: keyof ExitCounts
  /** Of a failure. */
  message?: string
}

/** Ends of processes, by why: `linked` and `terminated` are failures that came from outside. */
export interface ExitCounts {
  ok: number
  failed: number
  linked: number
  terminated: number
}

/** Counted from the start of the host, or of its worker; but for `processes` and `runQueue`, which are of the moment. */
export interface HostFigures {
  processes: number
  spawns: number
  exits: ExitCounts
  /** Put into mailboxes. */
  messages: number
  runQueue: number
  slices: number
  busyMs: number
  /** How long slices took. */
  sliceTimes: HistogramCounts
}

export type ToHost =
  | ((Question | BearerQuestion | CaptureQuestion) & { ref: number })
  | Reply
  | { kind: 'ended'; ref: number; outcome: Outcome }
  | Telling
  /** The code of entries that are new or changed, and the ids of those that are no more. */
  | { kind: 'code'; entries: readonly CodeEntry[]; removed: readonly string[] }
  /** Entries whose code runs differently from now on, directly or by what they import. */
  | { kind: 'outdated'; sources: readonly string[] }
  | { kind: 'policies'; policies: PolicySet }
  /** A message of the runtime; nothing is answered. `isCounted`: its sender has a bound for it, so the mailbox takes it in any case. */
  | { kind: 'deliver'; to: string; topic: string; values: readonly Value[]; isCounted?: true }
  /** The same message to many processes of the host, as often as they are named; nothing is answered. */
  | { kind: 'cast'; to: readonly string[]; from: string; topic: string; values: readonly Value[] }
  | { kind: 'name'; name: string; pid: string | undefined }
  /** Another node is reached, and so much may be sent there ahead of its acceptance; undefined: it is reached no more. */
  | { kind: 'node'; node: string; epoch: number; aheadBytes: number | undefined }
  /** So much of what was sent ahead has found its place. */
  | { kind: 'room'; node: string; epoch: number; byteCount: number }
  | { kind: 'shared-names'; names: readonly SharedName[] }
  | { kind: 'terminal-written'; byteCount: number }
  /** `bytes` is absent at the end of input, when it failed, and for what was no read. */
  | { kind: 'terminal-data'; ref: number; bytes: string | undefined; error: ErrorValue | undefined }
  | { kind: 'terminal-args'; args: readonly string[] }
  /** Whoever asked for the spawn `ref` does not wait any more: a process that still loads is dropped. */
  | { kind: 'abandon'; ref: number }
  /** `countsMemory`: what processes hold is counted, as far as that is little work. */
  | { kind: 'inspect'; ref: number; countsMemory: boolean }
  /** Whether somebody wants to hear of every process that starts or ends. */
  | { kind: 'observe'; isObserved: boolean }
  /** CANCEL to every process, force after `timeoutMs`, then `stopped`. */
  | { kind: 'stop'; reason: string; timeoutMs: number }

export type FromHost =
  | (Question & { ref: number })
  | Reply
  | { kind: 'ended'; ref: number; outcome: Outcome }
  | Telling
  /** What another node sent to a process that is not there (any more); `question` where its sender hears of it. */
  | { kind: 'undelivered'; question?: ProcessQuestion & { kind: 'send' } }
  | { kind: 'release-names'; pid: string }
  | (ServiceQuestion & { ref: number })
  /** Nobody waits for the answer to the request any more. */
  | { kind: 'give-up'; ref: number }
  /** Said to a service; nothing is answered. */
  | (Omit<ServiceQuestion, 'kind'> & { kind: 'note' })
  /** For another node, within what may be sent ahead; nothing is answered. */
  | { kind: 'send-ahead'; to: string; from: string; topic: string; values: readonly Value[]; byteCount: number }
  /** A process that had dealings with services has ended. */
  | { kind: 'client-ended'; pid: string }
  | LogRecord
  | TerminalMessage
  | { kind: 'inspected'; ref: number; processes: readonly ProcessInfo[]; figures: HostFigures }
  | ProcessNews
  | { kind: 'ready' }
  | { kind: 'stopped' }

/** One end of the line between a host and the node. Order is kept; nothing is lost while both ends live. */
export interface Port<Out, In> {
  post(message: Out): void
  /** As `post`, but the message may arrive at once when nothing is before it. Not for what the other end said itself. */
  give(message: Out): void
  /** Called once, before anything arrives. */
  onMessage(handler: (message: In) => void): void
  close(): void
  /** Nothing that was posted is still on its way. Absent where only the other end could tell. */
  readonly isIdle?: boolean
}

/** Two ends in one thread: each message arrives in a later turn, in order. */
export function inlinePorts<A, B>(defer: (run: () => void) => void): [Port<A, B>, Port<B, A>] {
  const toB = new InlineQueue<A>(defer)
  const toA = new InlineQueue<B>(defer)
  const end = <Out, In>(out: InlineQueue<Out>, incoming: InlineQueue<In>): Port<Out, In> => ({
    post: (message) => out.push(message),
    give: (message) => out.give(message),
    onMessage: (handler) => incoming.listen(handler),
    close: () => {
      out.close()
      incoming.close()
    },
    get isIdle() {
      return out.isEmpty
    },
  })
  return [end(toB, toA), end(toA, toB)]
}

class InlineQueue<T> {
  readonly #defer: (run: () => void) => void
  #waiting: T[] = []
  #handler: ((message: T) => void) | undefined
  #isScheduled = false
  #isHandingOver = false
  #isClosed = false

  constructor(defer: (run: () => void) => void) {
    this.#defer = defer
  }

  /** A batch that is being handed over counts as well: what it does comes first. */
  get isEmpty(): boolean {
    return this.#waiting.length === 0 && !this.#isHandingOver
  }

  push(message: T): void {
    if (this.#isClosed) return
    this.#waiting.push(message)
    this.#schedule()
  }

  give(message: T): void {
    if (this.#isClosed || this.#handler === undefined || !this.isEmpty) return this.push(message)
    this.#isHandingOver = true
    try {
      this.#handler(message)
    } finally {
      this.#isHandingOver = false
    }
  }

  listen(handler: (message: T) => void): void {
    this.#handler = handler
    if (this.#waiting.length > 0) this.#schedule()
  }

  close(): void {
    this.#isClosed = true
    this.#waiting = []
  }

  #schedule(): void {
    if (this.#isScheduled || this.#handler === undefined) return
    this.#isScheduled = true
    this.#defer(() => {
      this.#isScheduled = false
      const batch = this.#waiting
      this.#waiting = []
      this.#isHandingOver = true
      try {
        for (const message of batch) if (!this.#isClosed) this.#handler?.(message)
      } finally {
        this.#isHandingOver = false
      }
    })
  }
}
