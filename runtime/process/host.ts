// One host, or one worker's share of it: the processes that live here, who watches whom, the timers, the line to the node. Decisions are the
// cores'; this is the place where they meet.

import { toText } from '../base/bytes.ts'
import type { Env } from '../base/env.ts'
import { type ErrorKind, MoonmeshError } from '../base/errors.ts'
import { canonicalPid, isFunctionHost, PidMaker, parsePid } from '../base/pid.ts'
import { errorFrom } from '../base/plain.ts'
import { RateLimit } from '../base/rate-limit.ts'
import { ErrorValue, record, type TableValue, type Value } from '../base/value.ts'
import type { Answer, LifecycleEvent, LocalNames, LogLevel, Outcome, Timer } from '../services.ts'
import { Allowances, aheadBytesOf } from './core/ahead.ts'
import {
  exitReason,
  LINKED_PROCESS_FAILED,
  linkedProcessFailed,
  onLinkDown,
  PROCESS_TERMINATED,
  terminated,
} from './core/lifecycle.ts'
import { Links } from './core/links.ts'
import { Names, nameProblem } from './core/names.ts'
import { ProcessTable } from './core/process-table.ts'
import type {
  CaptureQuestion,
  ExitCounts,
  FromHost,
  HostFigures,
  Port,
  ProcessInfo,
  ProcessQuestion,
  Question,
  ServiceQuestion,
  SpawnRequest,
  Telling,
  ToHost,
} from './port.ts'
import { NO_REPLY } from './port.ts'
import type { Process, ProcessHost, Spawning } from './process.ts'
import { Scheduler, type SchedulerDriver } from './scheduler.ts'

export interface HostOptions {
  /** The id of the host entry. */
  id: string
  /** The node's name in PIDs; absent on a standalone node. */
  node: string | undefined
  epoch: number
  slot: number
  generation: number
  processCountMax: number
  mailboxCountMax: number
  /** Other workers run the same host: spawns are dealt out by the node. */
  sharesHost: boolean
}

/** Sends to a process of another node at once; undefined when it is none of another node's. */
type SendAway = (from: string, to: string, topic: string, values: readonly Value[]) => Answer<undefined> | undefined

type Done<T> = (answer: Answer<T>) => void

interface Pending {
  /** Absent when only the end is waited for. */
  answered: Done<Value> | undefined
  ended: Done<Value> | undefined
}

/** Arguments of one process; a script's stack has room for a million values. Other nodes and TypeScript may pass any number. */
const ARGS_COUNT_MAX = 250_000

/** Lines that a host's processes may log in one second, and failures among them; more are counted and said in one line. */
const LOGGED_LINES_MAX = 5000
const LOGGED_FAILURES_MAX = 20

/** How many objects are counted, roughly, to answer one question about memory: some milliseconds, in which nothing else runs. */
const COUNT_STEPS_MAX = 100_000

export abstract class Host implements ProcessHost {
  readonly options: HostOptions
  readonly env: Env
  readonly port: Port<FromHost, ToHost>
  readonly scheduler: Scheduler
  readonly mailboxCountMax: number
  /** For a host on the node's own thread: what it says to other nodes need not wait for a turn of the line and an answer. */
  sendAway: SendAway | undefined
  /** For a host elsewhere: what it may say to other nodes without waiting for an answer. */
  readonly #allowances = new Allowances()
  readonly #pids: PidMaker
  readonly #processes = new ProcessTable<Process>()
  readonly #links = new Links()
  readonly #nameTable = new Names()
  /** Of scopes that are larger than the node: they come first (lua-core.md §10). */
  readonly #sharedNames = new Names()
  readonly #pending = new Map<number, Pending>()
  /** Spawns that the node asked for and that are not answered yet, by its numbers. */
  readonly #spawning = new Map<number, Process>()
  /** Whoever waits for the end of a process with its result. */
  readonly #enders = new Map<string, Done<Value>>()
  /** Ends still to be told: a chain of linked processes falls one after the other, not one inside the other. */
  readonly #ends: { process: Process; outcome: Outcome }[] = []
  #isTellingEnds = false
  #nextRef = 1
  /** Numbers of monitors of processes elsewhere, and of links with them that were taken back. */
  #nextPairId = 1
  #stopping: { reason: string; isDone: boolean } | undefined
  readonly #lines = new RateLimit(LOGGED_LINES_MAX)
  readonly #failures = new RateLimit(LOGGED_FAILURES_MAX)
  #figures = { spawns: 0, messages: 0 }
  #isObserved = false
  readonly #exits: ExitCounts = { ok: 0, failed: 0, linked: 0, terminated: 0 }

  constructor(options: HostOptions, port: Port<FromHost, ToHost>, driver: SchedulerDriver) {
    this.options = options
    this.env = driver.env
    this.port = port
    this.mailboxCountMax = options.mailboxCountMax
    this.scheduler = new Scheduler(driver)
    this.#pids = new PidMaker({ ...options, host: options.id })
    port.onMessage((message) => this.handle(message))
  }

  /** Makes a process of the entry. @throws MoonmeshError when there is no such code */
  protected abstract create(pid: string, request: SpawnRequest): Process

  get processCount(): number {
    return this.#processes.size
  }

  processes(): readonly Process[] {
    return this.#processes.list()
  }

  process(pid: string): Process | undefined {
    return this.#processes.get(pid)
  }

  // ---- spawning

  spawn(request: SpawnRequest, done: Done<string>, ended?: Done<Value>): void {
    if (request.host === this.options.id && !this.options.sharesHost) {
      this.#spawnHere(request, undefined, done, ended)
      return
    }
    const holder = this.#isOfThisNode(request.host) ? this.#standIn(request) : undefined
    if (holder === undefined) this.#spawnElsewhere(request, done, ended)
    else this.#signal(request, holder, done)
  }

  /** Names are those of the node on which the child would be. */
  #isOfThisNode(host: string): boolean {
    const at = host.indexOf('@')
    return at < 0 || host.slice(0, at) === this.options.node
  }

  /**
   * Who is signalled instead of a new process (lua-core.md §9.10). Asked before anything else: what the host would refuse, as it is full, does
   * not matter then. Whoever waits for the end waits for a process of its own, and nobody else can stand for one that was saved.
   */
  #standIn({ name, wantsEnd, saved }: SpawnRequest): string | undefined {
    return name === undefined || wantsEnd || saved !== undefined ? undefined : this.names.lookup(name)
  }

  #spawnElsewhere(request: SpawnRequest, done: Done<string>, ended?: Done<Value>): void {
    const spawner = this.#processes.get(request.from)
    const answered = (answer: Answer<Value>): void => {
      if (answer.ok && spawner !== undefined) this.#bindChild(request, spawner, answer.value as string)
      done(answer as Answer<string>)
    }
    this.#ask({ kind: 'spawn', request }, { answered, ended })
  }

  /** This end of the monitor and the link to a child elsewhere. A spawner that ended meanwhile is as one that ends now. */
  #bindChild({ monitor, link }: SpawnRequest, spawner: Process, child: string): void {
    const { pid: from, isEnded, outcome } = spawner
    if (this.#isMine(child)) return
    if (!isEnded) {
      if (monitor) this.#links.monitor(from, child)
      if (link) this.#links.link(from, child)
      return
    }
    if (monitor) this.#tell({ kind: 'unmonitor', to: child, from })
    if (!link) return
    if (outcome === undefined || outcome.ok) this.#tell({ kind: 'unlink', to: child, from })
    else this.#tell({ kind: 'down', to: child, from, event: 'link-down', outcome, atMs: this.env.wallMs() })
  }

  #spawnHere(request: SpawnRequest, ref: number | undefined, done: Done<string>, ended?: Done<Value>): void {
    if (request.args.length > ARGS_COUNT_MAX) return done({ ok: false, error: tooManyArgs(request.args.length) })
    if (this.runsOtherwise(request, ref, done, ended)) return
    const holder = this.#standIn(request)
    if (holder !== undefined) return this.#signal(request, holder, done)
    const refusal = this.#whyNoSpawn()
    if (refusal !== undefined) return done({ ok: false, error: refusal })
    const pid = this.#pids.next()
    let process: Process
    try {
      process = this.create(pid, request)
    } catch (error) {
      return done({ ok: false, error: errorFrom(error) })
    }
    this.launch(process, { ref, request, done, ended })
  }

  /** Whether the host has another way for such a request than to make a process of it; then it has taken it. */
  protected runsOtherwise(
    _request: SpawnRequest,
    _ref: number | undefined,
    _done: Done<string>,
    _ended: Done<Value> | undefined,
  ): boolean {
    return false
  }

  protected nextFunctionPid(functionId: string): string {
    return this.#pids.nextForFunction(functionId)
  }

  /** Takes the process in and starts it. */
  protected launch(process: Process, { ref, request, done, ended }: Omit<Spawning, 'spawner'>): void {
    this.#processes.add(process)
    process.spawning = { ref, request, spawner: this.#processes.get(request.from), done, ended }
    if (ref !== undefined) this.#spawning.set(ref, process)
    for (const { topic, values } of request.messages) process.mailbox.deliver({ topic, from: '', values, arrival: 0 })
    if (request.name === undefined) this.#start(process, request)
    else this.#claimName(process, request, request.name)
  }

  #whyNoSpawn(): MoonmeshError | undefined {
    const { id, processCountMax } = this.options
    if (this.#stopping !== undefined)
      return new MoonmeshError('Unavailable', `host is shutting down: ${toText(id)}`, { retryable: true })
    return this.#processes.size < processCountMax ? undefined : this.full()
  }

  /** There can be no further process, as long as none ends. */
  protected full(): MoonmeshError {
    const { id, processCountMax } = this.options
    const text = `host ${toText(id)} already runs ${processCountMax} processes (host.max_processes)`
    const details = { host_id: toText(id), max_processes: processCountMax }
    return new MoonmeshError('LimitExceeded', text, { retryable: true, details })
  }

  #start(process: Process, request: SpawnRequest): void {
    try {
      this.scheduler.starting(process)
      process.start(request.args)
    } catch (error) {
      this.loadFailed(process, { ok: false, error: errorFrom(error) })
    }
  }

  /** It may have been taken since the spawn began, or by somebody of whom this host has not heard yet. */
  #claimName(process: Process, request: SpawnRequest, name: string): void {
    this.registerName(name, process.pid, (answer) => {
      if (process.isEnded) return
      if (answer.ok) return this.#start(process, request)
      const holder = answer.error.kind === 'AlreadyExists' ? this.#standIn(request) : undefined
      if (holder === undefined) return this.loadFailed(process, { ok: false, error: errorFrom(answer.error) })
      const spawning = this.#forget(process)
      this.#signal(request, holder, (told) => spawning?.done(told))
    })
  }

  #signal(request: SpawnRequest, holder: string, done: Done<string>): void {
    for (const { topic, values } of request.messages) {
      this.ask({ kind: 'send', to: holder, from: '', topic, values }, () => {})
    }
    done({ ok: true, value: holder })
    if (request.monitor) this.#joinHolder('monitor', request.from, holder)
    if (request.link) this.#joinHolder('link', request.from, holder)
  }

  /** The holder of the name may have ended before it is asked: whoever watches it hears of that, after it has learned whom it watches. */
  #joinHolder(kind: 'monitor' | 'link', from: string, holder: string): void {
    this.ask({ kind, to: holder, from }, (answer) => {
      if (answer.ok || answer.error.kind === 'AlreadyExists') return
      const event = kind === 'monitor' ? 'exit' : 'link-down'
      const error = new ErrorValue('NotFound', 'noproc', false, record({ pid: holder }))
      this.#down({
        kind: 'down',
        to: from,
        from: holder,
        event,
        outcome: { ok: false, error },
        atMs: this.env.wallMs(),
      })
    })
  }

  #forget(process: Process): Spawning | undefined {
    const spawning = this.#settle(process)
    this.#processes.remove(process)
    process.release()
    return spawning
  }

  /** @returns the spawn that is about to be answered, once */
  #settle(process: Process): Spawning | undefined {
    const { spawning } = process
    process.spawning = undefined
    if (spawning?.ref !== undefined) this.#spawning.delete(spawning.ref)
    return spawning
  }

  loaded(process: Process): void {
    const spawning = this.#settle(process)
    if (spawning === undefined) return
    this.#figures.spawns++
    const { request, spawner, done, ended } = spawning
    // In place before the first instruction of the method: an immediate end is never missed.
    if (spawner?.isEnded !== true) {
      if (request.monitor) this.#links.monitor(request.from, process.pid)
      if (request.link) this.#links.link(request.from, process.pid)
    }
    if (this.#isObserved) this.port.post({ kind: 'process-started', pid: process.pid, entry: process.entryId })
    if (ended !== undefined) this.#enders.set(process.pid, ended)
    done({ ok: true, value: process.pid })
    if (request.link && spawner?.outcome?.ok === false) this.kill(process, linkedProcessFailed())
  }

  loadFailed(process: Process, outcome: Outcome): void {
    const spawning = this.#forget(process)
    this.#releaseNames(process.pid)
    this.#leaveServices(process)
    if (!outcome.ok) spawning?.done({ ok: false, error: outcome.error })
    this.#checkStopped()
  }

  // ---- ends

  ended(process: Process, outcome: Outcome): void {
    if (process.isEnded) return
    if (process.spawning !== undefined) return this.loadFailed(process, outcome)
    process.release()
    process.outcome = outcome
    this.#processes.remove(process)
    this.#ends.push({ process, outcome })
    if (this.#isTellingEnds) return
    this.#isTellingEnds = true
    for (let end = this.#ends.shift(); end !== undefined; end = this.#ends.shift())
      this.#tellEnd(end.process, end.outcome)
    this.#isTellingEnds = false
    this.#checkStopped()
  }

  /** Names are free before anybody hears of the end (lua-core.md §6.3). */
  #tellEnd(process: Process, outcome: Outcome): void {
    const { pid } = process
    const atMs = this.env.wallMs()
    const reason = exitReason(outcome)
    this.#exits[reason]++
    if (this.#isObserved) {
      const message = outcome.ok ? {} : { message: outcome.error.message }
      this.port.post({ kind: 'process-ended', pid, entry: process.entryId, reason, ...message })
    }
    this.#releaseNames(pid)
    this.#leaveServices(process)
    if (!outcome.ok && this.reportsFailure(process)) this.#logFailure(process, outcome.error)
    const { notices, unmonitor, unlink } = this.#links.exited(pid, !outcome.ok)
    for (const { kind, ...notice } of notices)
      this.#down({ kind: 'down', from: pid, event: kind, outcome, atMs, ...notice })
    for (const to of unmonitor) if (!this.#processes.has(to)) this.#tell({ kind: 'unmonitor', to, from: pid })
    for (const to of unlink) if (!this.#processes.has(to)) this.#tell({ kind: 'unlink', to, from: pid })
    const ender = this.#enders.get(pid)
    this.#enders.delete(pid)
    ender?.(outcome)
  }

  #leaveServices({ pid, isClient }: Process): void {
    if (isClient) this.port.post({ kind: 'client-ended', pid })
  }

  #releaseNames(pid: string): void {
    if (this.#nameTable.releaseAll(pid).length > 0) this.port.post({ kind: 'release-names', pid })
    // The node hears of the end as well, and tells what the names stand for then.
    this.#sharedNames.releaseAll(pid)
  }

  #down(message: Telling & { kind: 'down' }): void {
    const watcher = this.#processes.get(message.to)
    if (watcher === undefined) {
      if (!this.#isMine(message.to)) this.#tell(message)
      return
    }
    const { event, from, outcome, atMs, id } = message
    if (event === 'exit') {
      this.#links.fired(watcher.pid, from, id)
      this.notify(watcher, { kind: 'exit', from, outcome, atMs })
      return
    }
    this.#links.partnerEnded(watcher.pid, from)
    if (onLinkDown(watcher.options) === 'notify') this.notify(watcher, { kind: 'link-down', from, outcome, atMs })
    else this.kill(watcher, linkedProcessFailed())
  }

  protected notify(process: Process, event: LifecycleEvent): void {
    process.mailbox.notify(event)
  }

  /** Ends a process from outside; one whose code is running ends as soon as its turn is over. */
  protected kill(process: Process, outcome: Outcome): void {
    this.ended(process, outcome)
  }

  #logFailure(process: Process, error: ErrorValue): void {
    const isUnderstood =
      error.message === PROCESS_TERMINATED || error.message === LINKED_PROCESS_FAILED || error.retryable === false
    if (!this.#mayLog(this.#failures, process, 'process failures')) return
    const fields = record({ kind: error.kind, traceback: error.stack === '' ? undefined : error.stack })
    this.log(process, isUnderstood ? 'debug' : 'error', `process failed: ${error.message}`, '', fields)
  }

  // ---- messages

  #isMine(pid: string): boolean {
    const { id, node, slot } = this.options
    const parts = parsePid(pid)
    if (parts === undefined || parts.node !== node || parts.slot !== slot) return false
    return parts.host === id || isFunctionHost(parts.host)
  }

  resolve(destination: string): string | undefined {
    if (this.#processes.has(destination)) return destination
    return canonicalPid(destination) ?? this.names.lookup(destination)
  }

  /** Undefined when the receiver is not here. */
  trySend(from: string, to: string, topic: string, values: readonly Value[]): Answer<undefined> | undefined {
    const receiver = this.#processes.get(to)
    if (receiver === undefined) {
      if (this.#isMine(to)) return { ok: false, error: notFound('process not found', to) }
      if (this.sendAway === undefined) return this.#sendAhead(from, to, topic, values)
      // What was said before goes first.
      return this.port.isIdle === true ? this.sendAway(from, to, topic, values) : undefined
    }
    this.#figures.messages++
    if (receiver.mailbox.deliver({ topic, from, values, arrival: 0 })) return DONE
    return { ok: false, error: this.#mailboxFull(to) }
  }

  #sendAhead(from: string, to: string, topic: string, values: readonly Value[]): Answer<undefined> | undefined {
    const parts = parsePid(to)
    if (parts?.node === undefined || parts.node === this.options.node) return undefined
    const byteCount = aheadBytesOf(topic, values)
    if (!this.#allowances.take(parts.node, parts.epoch, byteCount)) return undefined
    this.port.post({ kind: 'send-ahead', to, from, topic, values, byteCount })
    return DONE
  }

  #admit(to: string, topic: string, values: readonly Value[]): void {
    this.#processes.get(to)?.mailbox.admit({ topic, from: '', values, arrival: 0 })
  }

  /** Whoever is gone, or has a full mailbox, misses it. */
  #cast({ to, from, topic, values }: ToHost & { kind: 'cast' }): void {
    for (const pid of to) {
      if (this.#processes.get(pid)?.mailbox.deliver({ topic, from, values, arrival: 0 }) === true)
        this.#figures.messages++
    }
  }

  #mailboxFull(to: string): MoonmeshError {
    const text = `mailbox of ${toText(to)} is full (${this.mailboxCountMax} unread messages; host.mailbox_limit)`
    return new MoonmeshError('LimitExceeded', text, { retryable: true })
  }

  /** Asks about any process; answers at once when it lives here. */
  ask(question: ProcessQuestion, done: Done<undefined>): void {
    const target = this.#processes.get(question.to)
    if (target !== undefined) return done(this.#answer(question, target))
    if (this.#isMine(question.to)) return done({ ok: false, error: this.#gone(question) })
    if (this.#processes.has(question.from)) {
      if (question.kind === 'monitor') return this.#monitorElsewhere(question, done)
      if (question.kind === 'link') this.#links.link(question.from, question.to)
    }
    this.#ask(question, {
      answered: (answer) => {
        if (!answer.ok && question.kind === 'link') this.#links.unlink(question.from, question.to)
        done(answer.ok ? DONE : answer)
      },
      ended: undefined,
    })
  }

  #monitorElsewhere({ from, to }: ProcessQuestion & { kind: 'monitor' }, done: Done<undefined>): void {
    const id = this.#nextPairId++
    if (!this.#links.monitor(from, to, id)) return done(alreadyMonitoring())
    const answered = (answer: Answer<Value>): void => {
      // It may have been taken back meanwhile, and set up again.
      if (!answer.ok) this.#links.fired(from, to, id)
      done(answer.ok ? DONE : answer)
    }
    this.#ask({ kind: 'monitor', to, from, id }, { answered, ended: undefined })
  }

  #gone(question: ProcessQuestion): MoonmeshError {
    const isPair = question.kind === 'monitor' || question.kind === 'link'
    return notFound(isPair ? 'pid not registered' : 'process not found', question.to)
  }

  #answer(question: ProcessQuestion, target: Process): Answer<undefined> {
    const { from } = question
    switch (question.kind) {
      case 'send':
        return this.trySend(from, question.to, question.topic, question.values) ?? DONE
      case 'monitor':
        return this.#links.monitor(from, target.pid, question.id) ? DONE : alreadyMonitoring()
      case 'link':
        this.#links.link(from, target.pid)
        return DONE
      case 'cancel':
        this.notify(target, { kind: 'cancel', from, reason: question.reason, atMs: this.env.wallMs() })
        return DONE
      case 'terminate':
        if (!this.refusesTermination) this.kill(target, terminated())
        return DONE
    }
  }

  /** On a terminal host `terminate` does nothing (lua-core.md §9.4). */
  protected get refusesTermination(): boolean {
    return false
  }

  /** Whether the log is where people learn of its failure. */
  protected reportsFailure(_process: Process): boolean {
    return true
  }

  // ---- services of the node

  askService(question: Omit<ServiceQuestion, 'kind'>, process: Process, done: Done<Value>): () => void {
    process.isClient = true
    const ref = this.#ask({ kind: 'request', ...question }, { answered: done, ended: undefined })
    return () => {
      if (this.#pending.delete(ref)) this.port.post({ kind: 'give-up', ref })
    }
  }

  noteService(question: Omit<ServiceQuestion, 'kind'>): void {
    this.port.post({ kind: 'note', ...question })
  }

  unmonitor(from: string, to: string): void {
    const id = this.#links.monitorId(from, to)
    if (!this.#links.unmonitor(from, to) || this.#isMine(to)) return
    this.#tell({ kind: 'unmonitor', to, from, ...(id === 0 || id === undefined ? {} : { id }) })
  }

  unlink(from: string, to: string): void {
    if (!this.#links.isLinked(from, to)) return
    if (this.#isMine(to)) return void this.#links.unlink(from, to)
    const id = this.#nextPairId++
    this.#links.beginUnlink(from, to, id)
    this.#tell({ kind: 'unlink', to, from, id })
  }

  #tell(message: Telling): void {
    this.port.post(message)
  }

  #ask(question: Question | ServiceQuestion, pending: Pending): number {
    const ref = this.#nextRef++
    this.#pending.set(ref, pending)
    this.port.post({ ...question, ref })
    return ref
  }

  // ---- names

  readonly names: LocalNames = {
    lookup: (name) => this.#sharedNames.lookup(name) ?? this.#nameTable.lookup(name),
    register: (name, pid, done) => this.registerName(name, pid, done),
    unregister: (name, done) => {
      this.#ask({ kind: 'unregister-name', name }, { answered: done as Done<Value>, ended: undefined })
    },
  }

  protected registerName(name: string, pid: string, done: Done<undefined>): void {
    const problem = nameProblem(name)
    if (problem !== undefined) return done({ ok: false, error: failure('Invalid', problem) })
    // The node asks other hosts about theirs.
    const own = this.#isMine(pid) ? this.#bears(pid) : DONE
    if (!own.ok) return done(own)
    this.#ask(
      { kind: 'register-name', name, pid },
      { answered: (answer) => done(answer.ok ? DONE : answer), ended: undefined },
    )
  }

  namesOf(pid: string): string[] {
    return this.#nameTable.namesOf(pid)
  }

  // ---- the node speaks

  protected handle(message: ToHost): void {
    switch (message.kind) {
      case 'send':
      case 'monitor':
      case 'link':
      case 'cancel':
      case 'terminate':
        // What another node sends is not answered.
        if (message.ref === NO_REPLY) this.#unanswered(message)
        else this.#reply(message.ref, this.#answerElsewhere(message))
        break
      case 'bear-name':
        this.#reply(message.ref, this.#bears(message.to))
        break
      case 'capture':
        this.capture(message, (answer) => this.#reply(message.ref, answer))
        break
      case 'spawn':
        this.#spawnForNode(message.ref, message.request)
        break
      case 'reply':
        this.#replied(message.ref, message.ok ? message : { ok: false, error: message.error })
        break
      case 'ended': {
        const pending = this.#pending.get(message.ref)
        this.#pending.delete(message.ref)
        pending?.ended?.(message.outcome)
        break
      }
      case 'unmonitor':
        this.#links.unmonitor(message.from, message.to)
        break
      case 'unlink': {
        const { to, from, id } = message
        if (id === undefined) this.#links.partnerEnded(to, from)
        else {
          this.#links.unlink(to, from)
          this.#tell({ kind: 'unlink-ack', to: from, from: to, id })
        }
        break
      }
      case 'unlink-ack':
        this.#links.unlinkAcknowledged(message.to, message.from, message.id)
        break
      case 'down': {
        // Whoever has let go of the other meanwhile does not hear of its end any more.
        const { event, to, from, id } = message
        const isAwaited = event === 'exit' ? this.#links.isMonitoring(to, from, id) : this.#links.isLinked(to, from)
        if (event === 'link-down') this.#links.partnerEnded(to, from)
        if (isAwaited) this.#down(message)
        break
      }
      case 'name':
        this.#setName(message.name, message.pid)
        break
      case 'shared-names':
        for (const { name, pid } of message.names) this.#setSharedName(name, pid)
        break
      case 'deliver':
        if (message.isCounted === true) this.#admit(message.to, message.topic, message.values)
        else this.trySend('', message.to, message.topic, message.values)
        break
      case 'cast':
        this.#cast(message)
        break
      case 'node':
        if (message.aheadBytes === undefined) this.#allowances.down(message.node, message.epoch)
        else this.#allowances.up(message.node, message.epoch, message.aheadBytes)
        break
      case 'room':
        this.#allowances.giveBack(message.node, message.epoch, message.byteCount)
        break
      case 'abandon':
        this.#abandon(message.ref)
        break
      case 'inspect':
        this.port.post({ kind: 'inspected', ref: message.ref, ...this.inspect(message) })
        break
      case 'observe':
        this.#isObserved = message.isObserved
        break
      case 'stop':
        this.#stop(message.reason, message.timeoutMs)
        break
      default:
        this.handleOther(message)
    }
  }

  protected capture(_question: CaptureQuestion, done: Done<Value>): void {
    done({ ok: false, error: failure('Invalid', 'only processes whose code is Lua can be saved') })
  }

  /** What the process is to others, and a copy of it would not be. */
  protected relationsOf(pid: string): ReturnType<Links['pairsOf']> & { names: string[] } {
    const names = new Set([...this.#nameTable.namesOf(pid), ...this.#sharedNames.namesOf(pid)])
    return { ...this.#links.pairsOf(pid), names: [...names] }
  }

  /** Messages that only some hosts understand. */
  protected handleOther(_message: ToHost): void {}

  #answerElsewhere(question: ProcessQuestion): Answer<undefined> {
    const target = this.#processes.get(question.to)
    return target === undefined ? { ok: false, error: this.#gone(question) } : this.#answer(question, target)
  }

  #unanswered(question: ProcessQuestion): void {
    const target = this.#processes.get(question.to)
    if (target !== undefined) this.#answer(question, target)
    else if (question.kind === 'send' && question.name !== undefined) this.port.post({ kind: 'undelivered', question })
    else this.port.post({ kind: 'undelivered' })
  }

  /** Whoever bears a name has dealings with the node: it is to hear of the end. */
  #bears(pid: string): Answer<undefined> {
    const process = this.#processes.get(pid)
    if (process === undefined) return { ok: false, error: notFound('process not found', pid) }
    process.isClient = true
    return DONE
  }

  #reply(ref: number, answer: Answer<Value | undefined>): void {
    if (answer.ok) this.port.post({ kind: 'reply', ref, ok: true, value: answer.value })
    else this.port.post({ kind: 'reply', ref, ok: false, error: errorFrom(answer.error) })
  }

  #spawnForNode(ref: number, request: SpawnRequest): void {
    const ended = request.wantsEnd ? (outcome: Outcome | Answer<Value>) => this.#tellEnded(ref, outcome) : undefined
    this.#spawnHere(request, ref, (answer) => this.#reply(ref, answer), ended)
  }

  #abandon(ref: number): void {
    const process = this.#spawning.get(ref)
    if (process !== undefined) {
      this.kill(process, { ok: false, error: new ErrorValue('Canceled', 'the spawn was abandoned', true) })
    }
    this.abandoned(ref)
  }

  /** The node does not wait for its request `ref` any more. */
  protected abandoned(_ref: number): void {}

  #tellEnded(ref: number, answer: Answer<Value>): void {
    const outcome: Outcome = answer.ok ? answer : { ok: false, error: errorFrom(answer.error) }
    this.port.post({ kind: 'ended', ref, outcome })
  }

  #replied(ref: number, answer: Answer<Value>): void {
    const pending = this.#pending.get(ref)
    if (pending === undefined) return
    if (pending.ended === undefined || !answer.ok) this.#pending.delete(ref)
    pending.answered?.(answer)
  }

  /** A name that was bound to one of ours after it ended goes back at once. */
  #setName(name: string, pid: string | undefined): void {
    if (pid === undefined) this.#nameTable.release(name)
    else if (this.#isMine(pid) && !this.#processes.has(pid)) this.port.post({ kind: 'release-names', pid })
    else this.#nameTable.bind(name, pid)
  }

  /** What was on its way when one of ours ended says no more than that end. */
  #setSharedName(name: string, pid: string | undefined): void {
    if (pid === undefined || (this.#isMine(pid) && !this.#processes.has(pid))) this.#sharedNames.release(name)
    else this.#sharedNames.bind(name, pid)
  }

  inspect({ countsMemory }: { countsMemory: boolean }): { processes: ProcessInfo[]; figures: HostFigures } {
    const now = this.env.nowMs()
    if (countsMemory) this.#countMemory()
    const processes = this.#processes.list().map((process) => ({
      pid: process.pid,
      entry: process.entryId,
      host: this.options.id,
      state: process.state,
      mailbox: process.mailbox.unreadCount,
      reductions: process.reductions,
      memory: process.memory,
      ageMs: Math.round(now - process.bornAtMs),
      isUpgradable: process.options.upgradable,
    }))
    const { spawns, messages } = this.#figures
    const { runQueueCount, slices, busyMs, sliceTimes } = this.scheduler
    const figures = {
      processes: this.#processes.size,
      spawns,
      exits: { ...this.#exits },
      messages,
      runQueue: runQueueCount,
      slices,
      busyMs: Math.round(busyMs),
      sliceTimes: sliceTimes.counts,
    }
    return { processes, figures }
  }

  /** Those that were never counted come first: a few that are large and busy do not hide the others. */
  #countMemory(): void {
    const allowance = { steps: COUNT_STEPS_MAX }
    const processes = this.#processes.list()
    for (const process of processes) if (process.memory === null) process.countMemory(allowance)
    for (const process of processes) process.countMemory(allowance)
  }

  // ---- stopping

  #stop(reason: string, timeoutMs: number): void {
    if (this.#stopping === undefined) {
      this.#stopping = { reason, isDone: false }
      const atMs = this.env.wallMs()
      for (const process of this.#processes.list()) {
        if (this.endsDeaf && process.mailbox.events === undefined) this.kill(process, terminated())
        else this.notify(process, { kind: 'cancel', from: '', reason, atMs })
      }
    }
    if (timeoutMs <= 0) this.#forceAll()
    else this.after(timeoutMs, () => this.#forceAll())
    this.#checkStopped()
  }

  /** Whether a process that does not listen for CANCEL ends at once when the host stops: nobody is told that could make use of the time. */
  protected get endsDeaf(): boolean {
    return false
  }

  #forceAll(): void {
    for (const process of this.#processes.list()) this.kill(process, terminated())
    this.#checkStopped()
  }

  #checkStopped(): void {
    if (this.#stopping === undefined || this.#stopping.isDone || this.#processes.size > 0) return
    this.#stopping.isDone = true
    this.port.post({ kind: 'stopped' })
  }

  close(): void {
    for (const process of this.#processes.list()) process.release()
    this.#processes.clear()
    this.scheduler.close()
    this.port.close()
  }

  // ---- services of the scheduler

  ready(process: Process): void {
    this.scheduler.ready(process)
  }

  after(delayMs: number, then: () => void): Timer {
    return this.scheduler.after(delayMs, then)
  }

  log(process: Process, level: LogLevel, text: string, where: string, fields?: TableValue): void {
    if (this.#mayLog(this.#lines, process, 'log lines')) this.#post(process, level, text, where, fields)
  }

  #mayLog(limit: RateLimit, process: Process, what: string): boolean {
    const { isAllowed, droppedBefore } = limit.take(this.env.nowMs())
    if (droppedBefore > 0)
      this.#post(process, 'warn', `${droppedBefore} more ${what} of ${this.options.id} not shown`, '')
    return isAllowed
  }

  #post(process: Process, level: LogLevel, text: string, where: string, fields?: TableValue): void {
    this.port.post({ kind: 'log', level, text, pid: process.pid, entry: process.entryId, where, fields })
  }
}

const DONE: Answer<undefined> = { ok: true, value: undefined }

function tooManyArgs(count: number): MoonmeshError {
  return failure('Invalid', `a process starts with at most ${ARGS_COUNT_MAX} arguments, not ${count}; pass a table`)
}

function notFound(text: string, pid: string): MoonmeshError {
  return failure('NotFound', `${text}: ${toText(pid)}`)
}

function alreadyMonitoring(): Answer<undefined> {
  return { ok: false, error: failure('AlreadyExists', 'already monitoring pid') }
}

function failure(kind: ErrorKind, text: string): MoonmeshError {
  return new MoonmeshError(kind, text, { retryable: false })
}
