// Queues of a node, their memory driver, and the consumers that hand messages to functions. lua-libraries.md §19.

import { randomUUID } from 'node:crypto'
import type { ConsumerEntry, Entry, QueueEntry } from '../app/load.ts'
import { toText } from '../base/bytes.ts'
import { MoonmeshError } from '../base/errors.ts'
import { record, type TableValue, type Value } from '../base/value.ts'
import type { NodeService } from '../node-services.ts'
import { neverEnds, type ResourceKeeper } from '../resources.ts'
import type { Outcome } from '../services.ts'
import { MemoryQueue, type QueueMessage } from './core/memory-queue.ts'

interface QueueHooks {
  /** Runs a function or process; `attachments` say what it handles. Aborting stops it. */
  call(entryId: string, args: readonly Value[], attachments: TableValue, signal: AbortSignal): Promise<Outcome>
  log(level: 'debug' | 'warn', text: string, fields: Record<string, unknown>): void
}

type Verdict = 'ack' | 'nack'

/** A message that a handler works on. */
interface Delivery {
  readonly queue: MemoryQueue
  readonly queueId: string
  readonly message: QueueMessage
  verdict: Verdict | undefined
}

export class Queues implements ResourceKeeper, NodeService {
  readonly kinds = ['queue.driver.memory', 'queue.queue', 'queue.consumer'] as const
  readonly #hooks: QueueHooks
  readonly #drivers = new Set<string>()
  #entries = new Map<string, QueueEntry>()
  readonly #queues = new Map<string, MemoryQueue>()
  readonly #consumers = new Map<string, Consumer>()
  readonly #deliveries = new Map<string, Delivery>()

  constructor(hooks: QueueHooks) {
    this.#hooks = hooks
  }

  /** A queue that is declared again keeps what it holds. */
  configure(entries: readonly Entry[]): void {
    this.#entries = new Map(
      entries.flatMap((entry): [string, QueueEntry][] => (entry.kind === 'queue.queue' ? [[entry.id, entry]] : [])),
    )
    for (const [id, queue] of this.#queues) {
      const entry = this.#entries.get(id)
      if (entry === undefined) this.#drop(id)
      else queue.lengthMax = entry.lengthMax
    }
  }

  #drop(id: string): void {
    this.#queues.get(id)?.clear()
    this.#queues.delete(id)
  }

  // ---- drivers and consumers

  start(entry: Entry): { ended: Promise<Outcome> } {
    if (entry.kind === 'queue.driver.memory') this.#drivers.add(entry.id)
    if (entry.kind === 'queue.consumer') {
      const consumer = new Consumer(entry, this.#queue(entry.queue), {
        handle: (message, signal) => this.#handle(entry, message, signal),
      })
      this.#consumers.set(entry.id, consumer)
      consumer.start()
    }
    return neverEnds()
  }

  async stop(entryId: string, { timeoutMs }: { timeoutMs: number }): Promise<'graceful' | 'forced'> {
    const consumer = this.#consumers.get(entryId)
    this.#consumers.delete(entryId)
    if (consumer !== undefined) return consumer.stop(timeoutMs)
    this.#drivers.delete(entryId)
    for (const { id, driver } of this.#entries.values()) if (driver === entryId) this.#drop(id)
    return 'graceful'
  }

  /** @throws MoonmeshError `Internal` */
  #queue(id: string): MemoryQueue {
    const entry = this.#entries.get(id)
    if (entry === undefined) throw failure('Internal', `queue not found: ${id}`)
    if (!this.#drivers.has(entry.driver)) throw failure('Internal', `driver not found: ${entry.driver} does not run`)
    const known = this.#queues.get(id)
    if (known !== undefined) return known
    const made = new MemoryQueue(entry.lengthMax)
    this.#queues.set(id, made)
    return made
  }

  async #handle(entry: ConsumerEntry, message: QueueMessage, signal: AbortSignal): Promise<void> {
    const token = randomUUID()
    const delivery: Delivery = { queue: this.#queue(entry.queue), queueId: entry.queue, message, verdict: undefined }
    this.#deliveries.set(token, delivery)
    if (entry.autoAck) delivery.verdict = 'ack'
    const attachments = record({ delivery: record({ token, id: message.id, headers: message.headers }) })
    const outcome = await this.#hooks.call(entry.func, [message.body], attachments, signal)
    this.#deliveries.delete(token)
    if (delivery.verdict !== undefined) return
    if (outcome.ok && outcome.value !== false) return
    const reason = outcome.ok ? 'returned false' : toText(outcome.error.message)
    this.#hooks.log('debug', `message ${message.id} goes back to ${entry.queue}: ${reason}`, { consumer: entry.id })
    this.#requeue(delivery)
  }

  #requeue({ queue, queueId, message }: Delivery): void {
    if (queue.requeue(message)) return
    this.#hooks.log('warn', `message ${message.id} is lost: it could not go back to ${queueId}, which is full`, {
      queue: queueId,
    })
  }

  // ---- for scripts

  readonly methods: NodeService['methods'] = {
    publish: ([id, body, headers], { signal }) => {
      const queueId = toText(id as string)
      const queue = this.#queue(queueId)
      return new Promise<Value>((resolve, reject) => {
        const message = { id: randomUUID(), body, headers: headers as TableValue }
        const dropped = (): void => reject(failure('Internal', `queue not found: ${queueId} is there no more`))
        const giveUp = queue.publish(message, () => resolve(undefined), dropped)
        signal.addEventListener('abort', () => {
          giveUp()
          reject(failure('Canceled', 'publisher is gone'))
        })
      })
    },
    info: ([id]) => {
      const { length } = this.#queue(toText(id as string))
      return record({ message_count: length, ready: length })
    },
    settle: ([token, verdict]) => {
      const delivery = this.#deliveries.get(token as string)
      if (delivery === undefined) throw failure('Invalid', 'message is released: its handler has returned')
      if (delivery.verdict !== undefined) throw failure('Invalid', 'message is already settled')
      delivery.verdict = verdict as Verdict
      if (verdict === 'nack') this.#requeue(delivery)
      return true
    },
  }
}

function failure(kind: 'Internal' | 'Invalid' | 'Canceled', text: string): MoonmeshError {
  return new MoonmeshError(kind, text, { retryable: false })
}

/** So many handlers at a time take messages from one queue. */
class Consumer {
  readonly #queue: MemoryQueue
  readonly #concurrency: number
  readonly #handle: (message: QueueMessage, signal: AbortSignal) => Promise<void>
  readonly #abort = new AbortController()
  #giveUps: (() => void)[] = []
  readonly #running = new Set<Promise<void>>()
  #isStopping = false

  constructor(
    { concurrency }: ConsumerEntry,
    queue: MemoryQueue,
    { handle }: { handle: (message: QueueMessage, signal: AbortSignal) => Promise<void> },
  ) {
    this.#queue = queue
    this.#concurrency = concurrency
    this.#handle = handle
  }

  start(): void {
    for (let i = 0; i < this.#concurrency; i++) this.#next(i)
  }

  #next(worker: number): void {
    if (this.#isStopping) return
    this.#giveUps[worker] = this.#queue.take((message) => {
      // A taker is told inside of whatever put the message there: the handler begins in a turn of its own.
      const work = Promise.resolve()
        .then(() => this.#handle(message, this.#abort.signal))
        .catch(() => {})
        .then(() => {
          this.#running.delete(work)
          this.#next(worker)
        })
      this.#running.add(work)
    })
  }

  /** No new messages; what is being handled has so much time. */
  async stop(timeoutMs: number): Promise<'graceful' | 'forced'> {
    this.#isStopping = true
    for (const giveUp of this.#giveUps) giveUp()
    this.#giveUps = []
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), timeoutMs)
    })
    const first = await Promise.race([Promise.all(this.#running), late])
    clearTimeout(timer)
    if (first !== 'late') return 'graceful'
    this.#abort.abort()
    await Promise.all(this.#running)
    return 'forced'
  }
}
