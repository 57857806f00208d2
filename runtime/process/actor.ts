// Actors written in TypeScript: an async function with the same mailbox, links, monitors and supervision as a Lua process. They run on the
// node's main thread, on the host `system:actors`.

import { toBytes, toText } from '../base/bytes.ts'
import { MoonmeshError } from '../base/errors.ts'
import { requireForm, requireOptions } from '../base/given.ts'
import { errorFrom, errorTo, fromPlain, type Plain, toPlain } from '../base/plain.ts'
import { Queue } from '../base/queue.ts'
import type { Value } from '../base/value.ts'
import type { Answer, Envelope, LifecycleEvent, Outcome, ProcessOptions } from '../services.ts'
import { Host } from './host.ts'
import { BASE_REQUEST, type ProcessInfo, type SpawnRequest } from './port.ts'
import { Process } from './process.ts'

export const ACTOR_HOST = 'system:actors'

/** A message as an actor reads it. */
export interface Message {
  topic: string
  /** The sender's PID; '' when the runtime sent it. */
  from: string
  /** The first value sent, as plain data; most messages have one. */
  value: Plain
  values: readonly Plain[]
}

/** A lifecycle event as an actor reads it. `at` is unix seconds. */
export type ActorEvent =
  | { kind: 'exit' | 'link-down'; from: string; at: number; result: { value?: Plain; error?: MoonmeshError } }
  | { kind: 'cancel'; from: string; at: number; reason: string }

export interface ActorSpawnOptions {
  /** The host entry to run on; TypeScript actors need none, or `node@system:actors` for another node that defines them too. */
  host?: string
  args?: readonly unknown[]
  /** A local name; when it is taken nothing is spawned and the holder's PID is returned. */
  name?: string
  monitor?: boolean
  link?: boolean
}

export interface ReceiveOptions {
  /** After this many milliseconds the answer is undefined; absent: wait for ever. */
  timeoutMs?: number
}

/** A queue of an actor's mailbox: `for await` over it, or `receive`. Ends with the actor. */
export interface Receiver<T> extends AsyncIterable<T> {
  receive(options?: ReceiveOptions): Promise<T | undefined>
}

/** What an actor's function is given. Every method that fails throws a MoonmeshError. */
export interface ActorContext {
  readonly pid: string
  /** Aborts when the actor has ended from outside (terminated, a link failed): stop what you do. */
  readonly signal: AbortSignal
  /** Messages that no `listen` took. */
  readonly inbox: Receiver<Message>
  readonly events: Receiver<ActorEvent>
  /** Messages of exactly this topic. */
  listen(topic: string): Receiver<Message>
  /** @param to a PID or a registered name */
  send(to: string, topic: string, ...values: unknown[]): Promise<void>
  spawn(actor: string | ActorDefinition, options?: ActorSpawnOptions): Promise<string>
  /** Spawns, waits for the end, returns the result. */
  exec(actor: string | ActorDefinition, options?: ActorSpawnOptions): Promise<Plain>
  monitor(to: string): Promise<void>
  unmonitor(to: string): void
  link(to: string): Promise<void>
  unlink(to: string): void
  cancel(to: string, reason?: string): Promise<void>
  terminate(to: string): Promise<void>
  setOptions(options: Partial<Pick<ProcessOptions, 'trapLinks'>>): void
  /** Registers the actor under a local name. */
  register(name: string): Promise<void>
  unregister(name: string): Promise<boolean>
  /** The PID that holds the local name. */
  lookup(name: string): string | undefined
}

type ActorFunction = (self: ActorContext, ...args: never[]) => unknown

export interface ActorDefinition {
  readonly name: string
  readonly run: ActorFunction
}

/**
 * Names an async function as an actor. What it returns is its result; what it throws is its failure.
 * @param name how it shows in logs and `ps`, and how Lua spawns it: `process.spawn("actor:NAME", "system:actors", …)`
 */
export function defineActor<Args extends unknown[]>(
  name: string,
  run: (self: ActorContext, ...args: Args) => unknown,
): ActorDefinition {
  requireForm('name', name, 'text')
  requireForm('run', run, 'function')
  if (!/^[A-Za-z0-9_.-]{1,128}$/.test(name)) {
    throw new MoonmeshError('Invalid', `actor name "${name}" must be 1 to 128 of A-Z a-z 0-9 _ . -`)
  }
  return { name, run: run as unknown as ActorFunction }
}

/** @throws MoonmeshError `Invalid` for what `defineActor` has not made */
export function requireActor(given: unknown): void {
  const { name, run } = (given ?? {}) as Partial<ActorDefinition>
  if (typeof name === 'string' && typeof run === 'function') return
  throw new MoonmeshError('Invalid', 'an actor must be what defineActor(name, run) returns', { retryable: false })
}

export const actorEntryId = (definition: ActorDefinition): string => `actor:${definition.name}`

interface Reader<T> {
  give(item: T | undefined): void
  fail(error: Error): void
}

type After = (ms: number, then: () => void) => { cancel(): boolean }

class MailQueue<Raw, T> implements Receiver<T> {
  readonly #process: Process
  readonly #convert: (raw: Raw) => T
  readonly #waiters: Reader<T>[] = []
  readonly #after: After
  readonly #items = new Queue<Raw>()
  #ended: Error | undefined

  constructor(process: Process, after: After, convert: (raw: Raw) => T) {
    this.#process = process
    this.#after = after
    this.#convert = convert
  }

  offer(raw: Raw): boolean {
    const waiter = this.#waiters.shift()
    if (waiter === undefined) this.#items.push(raw)
    else waiter.give(this.#taken(raw))
    return true
  }

  #taken(raw: Raw): T {
    this.#process.mailbox.taken()
    return this.#convert(raw)
  }

  drain(): never[] {
    return []
  }

  receive(options: ReceiveOptions = {}): Promise<T | undefined> {
    const raw = this.#items.shift()
    if (raw !== undefined) return Promise.resolve(this.#taken(raw))
    if (this.#ended !== undefined) return Promise.reject(this.#ended)
    return new Promise((resolve, reject) => {
      const timer =
        options.timeoutMs === undefined ? undefined : this.#after(options.timeoutMs, () => this.#giveUp(waiter))
      const waiter: Reader<T> = {
        give: (item) => {
          timer?.cancel()
          resolve(item)
        },
        fail: (error) => {
          timer?.cancel()
          reject(error)
        },
      }
      this.#waiters.push(waiter)
    })
  }

  #giveUp(waiter: Reader<T>): void {
    const at = this.#waiters.indexOf(waiter)
    if (at >= 0) this.#waiters.splice(at, 1)
    waiter.give(undefined)
  }

  end(error: Error): void {
    this.#ended = error
    for (const waiter of this.#waiters.splice(0)) waiter.fail(error)
  }

  /** Endless: it ends with an error when the actor does. */
  [Symbol.asyncIterator](): AsyncIterator<T, void, undefined> {
    return {
      next: () => {
        const raw = this.#items.shift()
        if (raw !== undefined) return Promise.resolve({ value: this.#taken(raw), done: false })
        return this.receive().then((value) => ({ value: value as T, done: false }))
      },
    }
  }
}

function messageOf(envelope: Envelope): Message {
  const values = envelope.values.map((value) => toPlain(value))
  return { topic: toText(envelope.topic), from: toText(envelope.from), value: values[0], values }
}

function eventOf(event: LifecycleEvent): ActorEvent {
  const at = Math.floor(event.atMs / 1000)
  if (event.kind === 'cancel') return { kind: 'cancel', from: toText(event.from), at, reason: toText(event.reason) }
  if (event.kind === 'outdated') return { kind: 'cancel', from: '', at, reason: 'outdated' }
  const { kind, outcome } = event
  const from = toText(event.from)
  return { kind, from, at, result: outcome.ok ? { value: toPlain(outcome.value) } : { error: errorTo(outcome.error) } }
}

class ActorProcess extends Process {
  readonly #host: ActorHost
  readonly #definition: ActorDefinition
  readonly #abort = new AbortController()
  readonly #queues: { end(error: Error): void }[] = []
  #args: readonly Value[] = []
  #isStarted = false

  constructor(host: ActorHost, pid: string, request: SpawnRequest, definition: ActorDefinition) {
    super(host, pid, request, host.env.nowMs())
    this.#host = host
    this.#definition = definition
  }

  get state(): ProcessInfo['state'] {
    return this.#isStarted ? 'waiting' : 'loading'
  }

  override start(args: readonly Value[]): void {
    this.#args = args
  }

  override slice(): void {
    if (this.#isStarted) return
    this.#isStarted = true
    this.#host.loaded(this)
    if (this.isEnded) return
    this.#run().then(
      (result) => this.#host.ended(this, { ok: true, value: result }),
      (error: unknown) => this.#host.ended(this, { ok: false, error: errorFrom(error) }),
    )
  }

  async #run(): Promise<Value> {
    const args = this.#args.map((value) => toPlain(value)) as never[]
    return fromPlain(await this.#definition.run(this.#context(), ...args))
  }

  override release(): void {
    this.isEnded = true
    const error = new MoonmeshError('Terminated', `actor ${toText(this.pid)} has ended`, { retryable: false })
    for (const queue of this.#queues) queue.end(error)
    this.#abort.abort(error)
  }

  #queue<Raw, T>(convert: (raw: Raw) => T): MailQueue<Raw, T> {
    const queue = new MailQueue<Raw, T>(this, (ms, then) => this.#host.after(ms, then), convert)
    this.#queues.push(queue)
    return queue
  }

  #context(): ActorContext {
    const host = this.#host
    const { pid, mailbox } = this
    const inbox = this.#queue(messageOf)
    const events = this.#queue(eventOf)
    mailbox.openEvents(events)
    let isInboxOpen = false
    return {
      pid: toText(pid),
      signal: this.#abort.signal,
      get inbox() {
        if (!isInboxOpen) mailbox.openInbox(inbox)
        isInboxOpen = true
        return inbox
      },
      events,
      listen: (topic) => {
        requireForm('topic', topic, 'text')
        const bytes = toBytes(topic)
        const known = mailbox.sinkOf(bytes)
        if (known !== undefined) return known as unknown as Receiver<Message>
        const queue = this.#queue(messageOf)
        mailbox.listen(bytes, queue)
        return queue
      },
      send: (to, topic, ...values) => host.sendPlain(pid, to, topic, values),
      spawn: (actor, options) => host.spawnPlain(this, actor, options),
      exec: (actor, options) => host.execPlain(this, actor, options),
      monitor: (to) => host.askPlain('monitor', pid, to),
      unmonitor: (to) => host.unmonitor(pid, host.resolvePlain(to)),
      link: (to) => host.askPlain('link', pid, to),
      unlink: (to) => host.unlink(pid, host.resolvePlain(to)),
      cancel: (to, reason = '') =>
        settle((done) =>
          host.ask({ kind: 'cancel', to: host.resolvePlain(to), from: pid, reason: bytesOf('reason', reason) }, done),
        ),
      terminate: (to) => host.askPlain('terminate', pid, to),
      setOptions: (options) => {
        this.options = { ...this.options, ...options }
      },
      register: (name) => settle((done) => host.names.register(bytesOf('name', name), pid, done)),
      unregister: (name) => settle((done) => host.names.unregister(bytesOf('name', name), done)),
      lookup: (name) => {
        const holder = host.names.lookup(bytesOf('name', name))
        return holder === undefined ? undefined : toText(holder)
      },
    }
  }
}

/** @throws MoonmeshError `Invalid` for what is no text */
function bytesOf(name: string, text: unknown): string {
  requireForm(name, text, 'text')
  return toBytes(text as string)
}

/** An answer as a promise. */
function settle<T>(ask: (done: (answer: Answer<T>) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    ask((answer) => {
      if (answer.ok) resolve(answer.value)
      else reject(answer.error instanceof MoonmeshError ? answer.error : errorTo(answer.error))
    })
  })
}

const SENDS_PER_TURN = 256

export class ActorHost extends Host {
  readonly #definitions = new Map<string, ActorDefinition>()
  #sends = 0

  /** Makes the actor known to spawns by name. */
  define(definition: ActorDefinition): string {
    requireActor(definition)
    const id = actorEntryId(definition)
    const known = this.#definitions.get(id)
    if (known !== undefined && known.run !== definition.run) {
      throw new MoonmeshError('AlreadyExists', `another actor is defined as "${definition.name}"`, { retryable: false })
    }
    this.#definitions.set(id, definition)
    return id
  }

  protected override create(pid: string, request: SpawnRequest): Process {
    const definition = this.#definitions.get(request.entryId)
    if (definition === undefined) {
      const details = { factory_id: toText(request.entryId) }
      throw new MoonmeshError('NotFound', `factory not found: ${toText(request.entryId)} (no such actor)`, {
        retryable: false,
        details,
      })
    }
    return new ActorProcess(this, pid, request, definition)
  }

  resolvePlain(to: string): string {
    const pid = this.resolve(bytesOf('to', to))
    if (pid !== undefined) return pid
    throw new MoonmeshError('NotFound', `could not resolve '${to}' as PID or registered name`, { retryable: false })
  }

  async sendPlain(from: string, to: string, topic: string, values: readonly unknown[]): Promise<void> {
    requireForm('topic', topic, 'text')
    if (topic.startsWith('@')) throw new MoonmeshError('Invalid', 'cannot send to @ topics', { retryable: false })
    const pid = this.resolvePlain(to)
    const body = values.map((value) => fromPlain(value))
    const topicBytes = toBytes(topic)
    // Now and then it takes the way over the node's line: whoever sends without end must let the others have their turn.
    const isTurnDue = ++this.#sends % SENDS_PER_TURN === 0
    const answer = isTurnDue ? undefined : this.trySend(from, pid, topicBytes, body)
    if (answer === undefined)
      await settle((done) => this.ask({ kind: 'send', to: pid, from, topic: topicBytes, values: body }, done))
    else if (!answer.ok) throw answer.error instanceof MoonmeshError ? answer.error : errorTo(answer.error)
  }

  async askPlain(kind: 'monitor' | 'link' | 'terminate', from: string, to: string): Promise<void> {
    const pid = this.resolvePlain(to)
    await settle((done) => this.ask({ kind, to: pid, from }, done))
  }

  /** The request that a spawn by an actor, or by the embedding program (`from` ''), stands for. */
  request(from: string, actor: string | ActorDefinition, options: ActorSpawnOptions = {}): SpawnRequest {
    requireOptions(options, { host: 'text', args: 'list', name: 'text', monitor: 'flag', link: 'flag' })
    const isDefinition = typeof actor !== 'string'
    const isActor = isDefinition || actor.startsWith('actor:')
    // Every node runs its actors on the host of that name.
    const host = isActor && options.host?.endsWith(`@${ACTOR_HOST}`) !== true ? ACTOR_HOST : options.host
    if (host === undefined) {
      throw new MoonmeshError('Invalid', `spawning ${actor} needs a host: pass { host: "namespace:name" }`)
    }
    return {
      ...BASE_REQUEST,
      host: toBytes(host),
      entryId: toBytes(isDefinition ? this.define(actor) : actor),
      args: (options.args ?? []).map((value) => fromPlain(value)),
      from,
      monitor: options.monitor === true,
      link: options.link === true,
      name: options.name === undefined ? undefined : toBytes(options.name),
    }
  }

  async spawnPlain(by: Process, actor: string | ActorDefinition, options?: ActorSpawnOptions): Promise<string> {
    const request = { ...this.request(by.pid, actor, options), context: by.context, identity: by.identity }
    return toText(await settle<string>((done) => this.spawn(request, done)))
  }

  async execPlain(by: Process, actor: string | ActorDefinition, options?: ActorSpawnOptions): Promise<Plain> {
    const request = {
      ...this.request(by.pid, actor, options),
      context: by.context,
      identity: by.identity,
      wantsEnd: true,
    }
    return toPlain(
      await settle<Value>((done) =>
        this.spawn(
          request,
          (answer) => {
            if (!answer.ok) done(answer)
          },
          (outcome: Outcome | Answer<Value>) => done(outcome),
        ),
      ),
    )
  }
}
