// What every process has, whether its code is Lua or TypeScript: an identity, a mailbox, options, an end.

import type { TableValue, Value } from '../base/value.ts'
import type { Answer, Envelope, Identity, LifecycleEvent, Outcome, ProcessOptions } from '../services.ts'
import { Mailbox } from './core/mailbox.ts'
import type { Tabled } from './core/process-table.ts'
import type { Runnable } from './core/run-queue.ts'
import type { ProcessInfo, SpawnRequest } from './port.ts'

/** What a process needs of its host to live; the host's own methods go far beyond it. */
export interface ProcessHost {
  readonly mailboxCountMax: number
  /** Puts the process into the line of those that want to run. */
  ready(process: Process): void
  /** The process reached its end by itself. */
  ended(process: Process, outcome: Outcome): void
  /** Its code is loaded: spawn can answer. */
  loaded(process: Process): void
  /** It could not be loaded: spawn fails with the error, and nobody hears of an exit. */
  loadFailed(process: Process, outcome: Outcome): void
}

/** What a process is made from. */
type StartRequest = Pick<SpawnRequest, 'entryId' | 'context' | 'identity' | 'attachments'>

/** How much work may still be done to count what processes hold, in objects roughly. */
export interface CountAllowance {
  steps: number
}

/** A spawn that is not answered yet. */
export interface Spawning {
  /** The node's number for it; undefined when a process of this host asked. */
  readonly ref: number | undefined
  readonly request: SpawnRequest
  /** Who spawns, if it lives here: it may end before the spawn is answered. */
  readonly spawner: Process | undefined
  readonly done: (answer: Answer<string>) => void
  readonly ended: ((answer: Answer<Value>) => void) | undefined
}

export abstract class Process implements Runnable, Tabled<Process> {
  readonly pid: string
  readonly host: ProcessHost
  readonly mailbox: Mailbox<Envelope, LifecycleEvent>
  /** Set once: a restored process learns of it from its document. */
  context: TableValue
  identity: Identity | undefined
  readonly attachments: TableValue | undefined
  readonly bornAtMs: number
  entryId: string
  nextInBucket: Process | undefined = undefined
  older: Process | undefined = undefined
  younger: Process | undefined = undefined
  /** Until its code is loaded: who waits for that. */
  spawning: Spawning | undefined = undefined
  isQueued = false
  isEnded = false
  /** How it ended; undefined while it lives, and when its code could not be loaded. */
  outcome: Outcome | undefined
  reductions = 0
  /** The node's services may hold something for it: they are told of its end. */
  isClient = false
  options: ProcessOptions = { trapLinks: false, upgradable: false }

  constructor(host: ProcessHost, pid: string, request: StartRequest, nowMs: number) {
    this.host = host
    this.pid = pid
    this.entryId = request.entryId
    this.context = request.context
    this.identity = request.identity
    this.attachments = request.attachments
    this.bornAtMs = nowMs
    this.mailbox = new Mailbox(host.mailboxCountMax)
  }

  /** Starts loading the code with the arguments of its method; answers through `loaded` or `loadFailed`. */
  abstract start(args: SpawnRequest['args']): void
  /** Runs for at most about `budget` instructions. */
  abstract slice(budget: number): void
  /** The process is over: drop everything, run no more of its code. */
  abstract release(): void
  abstract get state(): ProcessInfo['state']
  /** Estimated bytes that it held when it was last counted; null: nobody knows. */
  get memory(): number | null {
    return null
  }
  /** Counts what it holds, if that may have changed, at the expense of the allowance. */
  countMemory(_allowance: CountAllowance): void {}
}
