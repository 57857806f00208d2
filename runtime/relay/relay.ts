// The node's switchboard: carries what hosts say to each other, holds the authority over local names, and speaks for a host that died.

import { toText } from '../base/bytes.ts'
import type { Env } from '../base/env.ts'
import { MoonmeshError } from '../base/errors.ts'
import { getOrAdd } from '../base/maps.ts'
import { isFunctionHost, parsePid, SLOTS } from '../base/pid.ts'
import { errorFrom, errorTo } from '../base/plain.ts'
import { ErrorValue, record, type Value } from '../base/value.ts'
import type { ServiceRequest } from '../node-services.ts'
import { Taken } from '../process/core/ahead.ts'
import { Links } from '../process/core/links.ts'
import { Names } from '../process/core/names.ts'
import type {
  BearerQuestion,
  CaptureQuestion,
  FromHost,
  HostFigures,
  LogRecord,
  Port,
  ProcessInfo,
  ProcessNews,
  ProcessQuestion,
  Question,
  Reply,
  ServiceQuestion,
  SharedName,
  SpawnRequest,
  Telling,
  TerminalMessage,
  ToHost,
} from '../process/port.ts'
import { NO_REPLY } from '../process/port.ts'
import type { Answer, Outcome } from '../services.ts'
import { routeOf, type Undelivered } from './core/route.ts'
import type { PeerMessage, Undeliverable } from './wire/messages.ts'

/** The node's end of the line to one host worker. */
export interface HostLine {
  readonly hostId: string
  readonly slot: number
  readonly port: Port<ToHost, FromHost>
}

/** What all PIDs of one worker have in common. No two workers of one run of the node share both. */
interface Place {
  readonly slot: number
  readonly generation: number
}

/** What became of a message to another node: accepted, or why not. */
export type PeerSent = 'sent' | 'full' | 'too-large' | 'gone'

/** The node's end of the session with another node, in one run of that node. */
export interface PeerLine {
  /** As PIDs name it. */
  readonly node: string
  readonly epoch: number
  /** What a host in a thread may say there ahead of its acceptance, in bytes. */
  readonly aheadBytes: number
  /** Whether a message would be accepted. */
  readonly hasRoom: boolean
  /** Never waits. @param isAccepted somebody was told so: it goes beyond the bound of the queue if need be */
  send(message: PeerMessage, isAccepted?: boolean): PeerSent
}

type Line = HostLine | PeerLine

/** What this node keeps for one session with another node. */
interface PeerState {
  /** Spawns that the peer asked for and that are not answered, by the peer's number. */
  readonly spawns: Map<number, number>
  /** Monitors and links with one end there. */
  readonly links: Links
}

/** There is no line to the process. */
interface Unreached {
  readonly error: MoonmeshError
  readonly why: Undelivered
}

const isPeer = (line: Line): line is PeerLine => 'epoch' in line

interface RelayHooks {
  log(record: LogRecord): void
  terminal(line: HostLine, message: TerminalMessage): void
  /** A host has ended all its processes, as it was asked to. */
  stopped(line: HostLine): void
  ready(line: HostLine): void
  /** A script asks a service of the node. What it throws, now or later, the script gets as its error. */
  request(request: ServiceRequest, signal: AbortSignal): Value | Promise<Value>
  /** A process that asked something has ended; or many have, with their host. */
  clientEnded(pid: string): void
  clientsLost(isLost: (pid: string) => boolean): void
  /** Who holds, or is about to hold, the name in a scope that is larger than the node. */
  sharedHolder?: ((name: string) => string | undefined) | undefined
  /** A name of this node alone was bound, or released. */
  nameChanged?(name: string, pid: string | undefined): void
  /** A process has started or ended; said while `observe` is on. */
  processNews?(news: ProcessNews): void
  /** Set while names must not be registered yet: when they may, or that they may not. @throws MoonmeshError */
  namesReady?: ((name: string) => Promise<void> | undefined) | undefined
  /** The name stands for something else now than for `before`, in any scope, or for nobody. */
  nameTurned?(name: string, before: string | undefined): void
  /** A message that was sent to a name did not find its process on the other node, or not in the run that it belongs to. cluster.md §1.3 */
  undeliverable?(notice: Undeliverable): void
  /**
   * Set where a spawn on another node needs the same code there as here (cluster.strict_code): the hash of an entry's code, undefined when
   * there is no such entry.
   */
  codeHash?: ((entryId: string) => string | undefined) | undefined
}

/** Who asked: the line, and its number for the question. */
interface Origin {
  readonly line: HostLine
  readonly ref: number
}

interface Pending {
  /** Who asked; undefined for the node itself. */
  origin: Origin | undefined
  /** Who was asked. */
  target: Line
  question: Question | BearerQuestion | CaptureQuestion
  answered: ((answer: Answer<Value>) => void) | undefined
  ended: ((outcome: Outcome) => void) | undefined
  inspected: ((report: Inspection) => void) | undefined
  /** The spawn was answered; only its end is missing. */
  isAnswered: boolean
}

interface Inspection {
  /** The host, or the worker of it, that was asked. */
  line: HostLine
  host: string
  processes: readonly ProcessInfo[]
  figures: HostFigures
}

export class Relay {
  readonly #self: { node: string | undefined; epoch: number }
  readonly #env: Env
  readonly #hooks: RelayHooks
  readonly #peerPairsMax: number
  readonly #knownHosts = new Set<string>()
  readonly #lines = new Map<string, HostLine[]>()
  readonly #slots = new Map<number, HostLine>()
  readonly #turns = new Map<string, number>()
  #isObserved = false
  /** By node; only those that are reached. */
  readonly #peers = new Map<string, PeerLine>()
  readonly #peerStates = new Map<PeerLine, PeerState>()
  /** What hosts said to each peer ahead of its acceptance. */
  readonly #ahead = new Map<PeerLine, Map<HostLine, Taken>>()
  readonly #names = new Names()
  /** What names stand for in larger scopes, as every host has been told. */
  readonly #sharedNames = new Names()
  /** Monitors and links whose two ends live on different hosts of this node. */
  readonly #links = new Links()
  readonly #pending = new Map<number, Pending>()
  /** Requests that services work on, by line and the host's number. */
  readonly #requests = new Map<HostLine, Map<number, AbortController>>()
  /** Slots whose line is lost, to be taken again. */
  readonly #freeSlots: Place[] = []
  #nextSlot = 0
  /** By slot: which worker in turn has it. */
  readonly #generations: number[] = []
  #nextRef = 1
  /** Where the processes of a list live, as long as no line comes or goes. */
  readonly #castPlaces = new WeakMap<readonly string[], { lines: number; byLine: Map<HostLine, string[]> }>()
  #lineChanges = 0
  /** Tellings for processes that are gone. */
  deadLetters = 0
  /** Messages of other nodes to processes that are not here, by why. */
  readonly undelivered: Record<Undelivered, number> = { stale_epoch: 0, noproc: 0 }
  /** Messages of other nodes that no node of that name and run may send. */
  refusedMessages = 0
  /** What was said to services and refused by them. */
  failedNotes = 0

  /** @param peerPairsMax for tests */
  constructor(
    self: { node: string | undefined; epoch: number },
    env: Env,
    hooks: RelayHooks,
    peerPairsMax = PEER_PAIRS_MAX,
  ) {
    this.#self = self
    this.#peerPairsMax = peerPairsMax
    this.#env = env
    this.#hooks = hooks
  }

  // ---- lines

  /** A place for a new worker; it tells the worker's PIDs from all others of this run. Free again when its line is lost. */
  takeSlot(): Place {
    const place = this.#freeSlots.shift()
    if (place !== undefined) return this.#taken(place)
    if (this.#nextSlot >= SLOTS) throw new MoonmeshError('LimitExceeded', `a node runs at most ${SLOTS} host workers`)
    return this.#taken({ slot: this.#nextSlot++, generation: 0 })
  }

  #taken(place: Place): Place {
    this.#generations[place.slot] = place.generation
    return place
  }

  /** Makes the id one that spawns may name, running or not. */
  declareHost(id: string): void {
    this.#knownHosts.add(id)
  }

  forgetHost(id: string): void {
    this.#knownHosts.delete(id)
  }

  open(line: HostLine): void {
    this.declareHost(line.hostId)
    this.#lineChanges++
    const lines = this.#lines.get(line.hostId)
    if (lines === undefined) this.#lines.set(line.hostId, [line])
    else lines.push(line)
    this.#slots.set(line.slot, line)
    for (const [name, pid] of this.#names.entries()) line.port.post({ kind: 'name', name, pid })
    const shared = [...this.#sharedNames.entries()].map(([name, pid]) => ({ name, pid }))
    if (shared.length > 0) line.port.post({ kind: 'shared-names', names: shared })
    for (const { node, epoch, aheadBytes } of this.#peers.values())
      line.port.post({ kind: 'node', node, epoch, aheadBytes })
    if (this.#isObserved) line.port.post({ kind: 'observe', isObserved: true })
    line.port.onMessage((message) => this.#handle(line, message))
  }

  /** Whether hosts tell of every process that starts or ends, those that are opened later included. */
  observe(isObserved: boolean): void {
    this.#isObserved = isObserved
    this.#broadcast({ kind: 'observe', isObserved })
  }

  linesOf(hostId: string): readonly HostLine[] {
    return this.#lines.get(hostId) ?? []
  }

  #allLines(): HostLine[] {
    return [...this.#lines.values()].flat()
  }

  /** Another node is reached, in a new session with it. */
  openPeer(peer: PeerLine): void {
    this.#peers.set(peer.node, peer)
    this.#peerStates.set(peer, { spawns: new Map(), links: new Links() })
    this.#ahead.set(peer, new Map())
    this.#broadcast({ kind: 'node', node: peer.node, epoch: peer.epoch, aheadBytes: peer.aheadBytes })
  }

  /** The session is over: what lives there has ended as far as this node is concerned. Nothing of it is heard afterwards. */
  peerLost(peer: PeerLine, error: ErrorValue): void {
    if (this.#peers.get(peer.node) !== peer) return
    this.#peers.delete(peer.node)
    const state = this.#peerStates.get(peer)
    this.#peerStates.delete(peer)
    this.#ahead.delete(peer)
    this.#broadcast({ kind: 'node', node: peer.node, epoch: peer.epoch, aheadBytes: undefined })
    this.#failPending(peer, error)
    if (state !== undefined) this.#tellOfLost(peer, state.links, error)
  }

  /**
   * The line is dead: its processes ended with `error`, whoever watched them hears of it, whoever waits for an answer gets one.
   * A line that stopped in order is closed the same way.
   */
  lost(line: HostLine, error: ErrorValue): void {
    this.#lineChanges++
    const lines = this.#lines.get(line.hostId)?.filter((other) => other !== line) ?? []
    if (lines.length === 0) this.#lines.delete(line.hostId)
    else this.#lines.set(line.hostId, lines)
    const { slot } = line
    if (this.#slots.get(slot) === line) {
      this.#slots.delete(slot)
      this.#freeSlots.push({ slot, generation: (this.#generations[slot] ?? 0) + 1 })
    }
    for (const pid of [...this.#names.pids()]) if (this.#isOn(line, pid)) this.#releaseNames(pid)
    this.#failPending(line, error)
    for (const links of [this.#links, ...[...this.#peerStates.values()].map((state) => state.links)]) {
      this.#tellOfLost(line, links, error)
    }
    for (const taken of this.#ahead.values()) taken.delete(line)
    for (const controller of this.#requests.get(line)?.values() ?? []) controller.abort()
    this.#requests.delete(line)
    this.#hooks.clientsLost((pid) => this.#isOn(line, pid))
  }

  #failPending(line: Line, error: ErrorValue): void {
    for (const [ref, pending] of this.#pending) {
      if (pending.origin?.line === line) this.#forsake(ref, pending, error)
      else if (pending.target === line) {
        this.#pending.delete(ref)
        this.#answerForLost(pending, error)
      }
    }
  }

  /** Nobody waits for the answer any more. A child on its way learns at its birth that its spawner is gone. */
  #forsake(ref: number, pending: Pending, error: ErrorValue): void {
    const { question } = pending
    this.#pending.delete(ref)
    if (question.kind !== 'spawn' || pending.isAnswered) return
    const { monitor, link } = question.request
    const answered = (answer: Answer<Value>): void => this.#bornTooLate(question.request, answer, error)
    if (monitor || link) this.#pending.set(ref, { ...pending, origin: undefined, answered })
  }

  /** The spawner of this child was lost, with `error`, before the child began. */
  #bornTooLate({ from, monitor, link }: SpawnRequest, answer: Answer<Value>, error: ErrorValue): void {
    if (!answer.ok) return
    const to = answer.value as string
    if (monitor) this.#tell({ kind: 'unmonitor', to, from })
    const outcome: Outcome = { ok: false, error }
    if (link) this.#tell({ kind: 'down', to, from, event: 'link-down', outcome, atMs: this.#env.wallMs() })
  }

  #answerForLost(pending: Pending, error: ErrorValue): void {
    if (!pending.isAnswered)
      this.#answer(pending, { ok: false, error: isPeer(pending.target) ? ambiguous(error) : error })
    else if (pending.origin === undefined) pending.ended?.({ ok: false, error })
    else pending.origin.line.port.post({ kind: 'ended', ref: pending.origin.ref, outcome: { ok: false, error } })
  }

  #tellOfLost(line: Line, links: Links, error: ErrorValue): void {
    const isLost = (pid: string): boolean => this.#isOn(line, pid)
    const outcome: Outcome = { ok: false, error }
    const atMs = this.#env.wallMs()
    for (const { watcher: to, target: from, ...monitor } of links.takeLost(isLost)) {
      if (!isLost(to)) this.#tell({ kind: 'down', to, from, event: 'exit', outcome, atMs, ...monitor })
    }
    for (const { survivor, lost } of links.takeLostLinks(isLost)) {
      if (!isLost(survivor)) this.#tell({ kind: 'down', to: survivor, from: lost, event: 'link-down', outcome, atMs })
    }
    for (const { watcher: from, target: to, ...monitor } of links.takeLostWatchers(isLost)) {
      this.#tell({ kind: 'unmonitor', to, from, ...monitor })
    }
    for (const { survivor, lost, id } of links.takeLostUnlinking(isLost)) {
      if (!isLost(survivor)) this.#tell({ kind: 'unlink-ack', to: survivor, from: lost, id })
    }
  }

  #isOn(line: Line, pid: string): boolean {
    const parts = parsePid(pid)
    if (isPeer(line)) return parts?.node === line.node && parts.epoch === line.epoch
    if (parts === undefined || parts.node !== this.#self.node || parts.slot !== line.slot) return false
    return parts.host === line.hostId || isFunctionHost(parts.host)
  }

  /** As `#hostLineOf` for what is there, the short way. */
  #openLineOf(pid: string): HostLine | undefined {
    const parts = parsePid(pid)
    if (parts === undefined || parts.node !== this.#self.node || parts.epoch !== this.#self.epoch) return undefined
    const line = this.#slots.get(parts.slot)
    return line !== undefined && (line.hostId === parts.host || isFunctionHost(parts.host)) ? line : undefined
  }

  /** The line of a process that lives on this node. */
  #hostLineOf(pid: string): HostLine | Unreached {
    const found = this.#lineOf(pid)
    if ('error' in found || !isPeer(found)) return found
    return { error: notFound(`process not found: ${toText(pid)} (it is not one of this node)`), why: 'noproc' }
  }

  #lineOf(pid: string): Line | Unreached {
    const route = routeOf(pid, this.#self, {
      knowsHost: (id) => this.#knownHosts.has(id),
      hostOfSlot: (slot) => this.#slots.get(slot)?.hostId,
    })
    switch (route.kind) {
      case 'here':
        return this.linesOf(route.host).find((line) => line.slot === route.slot) as HostLine
      case 'unknown-host':
        return { error: notFound(`host not found: ${toText(route.host)} (in ${toText(pid)})`), why: 'noproc' }
      case 'gone':
        return { error: notFound(`process not found: ${toText(pid)}`), why: route.why }
      case 'peer': {
        const peer = this.#peers.get(route.node)
        if (peer === undefined) return { error: unreachable(route.node), why: 'noproc' }
        if (peer.epoch === route.epoch) return peer
        return { error: notFound(`process not found: ${toText(pid)}`), why: 'stale_epoch' }
      }
    }
  }

  /** As a question `send` whose answer is there at once; undefined when the process is none of another node's. */
  sendAway(from: string, to: string, topic: string, values: readonly Value[]): Answer<undefined> | undefined {
    const parts = parsePid(to)
    if (parts?.node === undefined || this.#self.node === undefined || parts.node === this.#self.node) return undefined
    const peer = this.#peers.get(parts.node)
    const found = peer?.epoch === parts.epoch ? peer : this.#lineOf(to)
    if ('error' in found) return { ok: false, error: found.error }
    if (!isPeer(found)) return undefined
    const sent = found.send({ kind: 'send', to, from, topic, values })
    return sent === 'sent' ? SENT : { ok: false, error: unsent(found, sent) }
  }

  /** The host was told that it is on its way. */
  #sendAhead(line: HostLine, message: FromHost & { kind: 'send-ahead' }): void {
    const { to, from, topic, values, byteCount } = message
    const found = this.#lineOf(to)
    if ('error' in found || !isPeer(found)) return void this.deadLetters++
    found.send({ kind: 'send', to, from, topic, values }, true)
    const byLine = this.#ahead.get(found)
    let taken = byLine?.get(line)
    if (taken === undefined) {
      taken = new Taken(found.aheadBytes)
      byLine?.set(line, taken)
    }
    taken.add(byteCount)
    this.#giveRoom(line, found)
  }

  /** With a full queue the host's allowance runs out: it asks again, and hears that there is no room, or makes it known that there is. */
  #giveRoom(line: HostLine, peer: PeerLine): void {
    const byteCount = this.#ahead.get(peer)?.get(line)?.release(peer.hasRoom) ?? 0
    if (byteCount > 0) line.port.post({ kind: 'room', node: peer.node, epoch: peer.epoch, byteCount })
  }

  // ---- what the node itself asks

  /**
   * `ended` is called once when the process has ended; only if `answered` got a PID.
   * @returns how to give up while its code still loads: `answered` then gets `Canceled`
   */
  spawn(
    request: SpawnRequest,
    answered: (answer: Answer<string>) => void,
    ended?: (outcome: Outcome) => void,
  ): () => void {
    const ref = this.#ask({ kind: 'spawn', request }, undefined, answered as (answer: Answer<Value>) => void, ended)
    return () => this.#abandon(ref)
  }

  ask(question: ProcessQuestion, answered: (answer: Answer<Value>) => void): void {
    this.#ask(question, undefined, answered, undefined)
  }

  #abandon(ref: number): void {
    const target = this.#pending.get(ref)?.target
    if (target === undefined) return
    if (isPeer(target)) target.send({ kind: 'abandon', ref })
    else target.port.post({ kind: 'abandon', ref })
  }

  /** A message of the runtime, as far as there is still someone to get it. */
  deliver(to: string, topic: string, values: readonly Value[]): void {
    const found = this.#hostLineOf(to)
    if ('error' in found) this.deadLetters++
    else found.port.post({ kind: 'deliver', to, topic, values })
  }

  /**
   * The same message to many processes of this node, once for each time that they are named; nobody is told of those that are gone.
   * @param pids the same list may be given again: where its processes live is remembered with it
   */
  cast(pids: readonly string[], from: string, topic: string, values: readonly Value[]): void {
    let places = this.#castPlaces.get(pids)
    if (places === undefined || places.lines !== this.#lineChanges) {
      places = { lines: this.#lineChanges, byLine: new Map() }
      for (const pid of pids) {
        const found = this.#hostLineOf(pid)
        if ('error' in found) this.deadLetters++
        else getOrAdd(places.byLine, found, () => []).push(pid)
      }
      this.#castPlaces.set(pids, places)
    }
    for (const [line, to] of places.byLine) line.port.post({ kind: 'cast', to, from, topic, values })
  }

  /** A message of the runtime that arrives however many wait: whoever sends it counts what the process leaves unread. */
  feed(to: string, topic: string, values: readonly Value[]): void {
    const found = this.#hostLineOf(to)
    if ('error' in found) this.deadLetters++
    else found.port.post({ kind: 'deliver', to, topic, values, isCounted: true })
  }

  /** To every host. */
  broadcast(message: ToHost): void {
    this.#broadcast(message)
  }

  /** @param options.countsMemory what processes hold is counted, too, as far as that is little work */
  inspect({ countsMemory = false } = {}): Promise<Inspection[]> {
    return Promise.all(
      this.#allLines().map(
        (line) =>
          new Promise<Inspection>((resolve) => {
            const ref = this.#nextRef++
            const question: Question = { kind: 'terminate', to: '', from: '' }
            const empty: Inspection = { line, host: line.hostId, processes: [], figures: NO_FIGURES }
            const answered = (): void => resolve(empty)
            this.#pending.set(ref, {
              origin: undefined,
              target: line,
              question,
              answered,
              ended: undefined,
              inspected: resolve,
              isAnswered: false,
            })
            line.port.post({ kind: 'inspect', ref, countsMemory })
          }),
      ),
    )
  }

  /** Monitors and links with processes of another node. */
  pairsWith(node: string): number {
    const peer = this.#peers.get(node)
    return peer === undefined ? 0 : (this.#peerStates.get(peer)?.links.count ?? 0)
  }

  lookup(name: string): string | undefined {
    return this.#sharedNames.lookup(name) ?? this.#names.lookup(name)
  }

  /** Of scope local. */
  lookupLocal(name: string): string | undefined {
    return this.#names.lookup(name)
  }

  get localNameCount(): number {
    return this.#names.count
  }

  /** Of scope local. */
  localNames(): IterableIterator<[string, string]> {
    return this.#names.entries()
  }

  namesOf(pid: string): string[] {
    return [...new Set([...this.#names.namesOf(pid), ...this.#sharedNames.namesOf(pid)])]
  }

  /** What names stand for from now on in larger scopes. */
  setShared(names: readonly SharedName[]): void {
    const changed: [name: string, before: string | undefined][] = []
    for (const { name, pid } of names) {
      const before = this.lookup(name)
      if (pid === undefined) this.#sharedNames.release(name)
      else this.#sharedNames.bind(name, pid)
      if (this.lookup(name) !== before) changed.push([name, before])
    }
    this.#broadcast({ kind: 'shared-names', names })
    for (const [name, before] of changed) this.#hooks.nameTurned?.(name, before)
  }

  /** Writes a process of this node down; `done` gets what is to be said of it, and what was written. */
  capture(question: CaptureQuestion, done: (answer: Answer<Value>) => void): void {
    const found = this.#hostLineOf(question.to)
    if ('error' in found) return done({ ok: false, error: found.error })
    this.#ask(question, undefined, done)
  }

  /**
   * Asks whether a process of this node is there to bear a name; from then on services hear of its end. `done` is called in the turn of the
   * answer, before anything that the process's host said later is heard.
   */
  bear(pid: string, done: (problem: MoonmeshError | undefined) => void): void {
    const found = this.#hostLineOf(pid)
    if ('error' in found) return done(found.error)
    const answered = (answer: Answer<Value>): void =>
      done(answer.ok ? undefined : answer.error instanceof ErrorValue ? errorTo(answer.error) : answer.error)
    this.#ask({ kind: 'bear-name', to: pid, name: '' }, undefined, answered)
  }

  /** Takes a local name from its holder. */
  releaseName(name: string): void {
    const before = this.#names.lookup(name)
    if (this.#names.release(name)) this.#tellName(name, undefined, before)
  }

  // ---- questions

  #ask(
    question: Question | BearerQuestion | CaptureQuestion,
    origin: Pending['origin'],
    answered?: (answer: Answer<Value>) => void,
    ended?: (outcome: Outcome) => void,
  ): number {
    const ref = this.#nextRef++
    const found =
      question.kind === 'spawn'
        ? this.#lineForSpawn(question.request.host)
        : this.#lineOf((question as ProcessQuestion | BearerQuestion | CaptureQuestion).to)
    if ('error' in found) {
      const failed: Answer<Value> = { ok: false, error: unanswerable(question, found.error) }
      if (origin === undefined) answered?.(failed)
      else this.#reply(origin, failed)
      return ref
    }
    const crowded = this.#crowded(question, found)
    if (crowded !== undefined) {
      if (origin === undefined) answered?.({ ok: false, error: crowded })
      else this.#reply(origin, { ok: false, error: crowded })
      return ref
    }
    if (question.kind === 'monitor' || question.kind === 'link') this.#pair(question, found)
    const pending: Pending = {
      origin,
      target: found,
      question,
      answered,
      ended,
      inspected: undefined,
      isAnswered: false,
    }
    if (isPeer(found)) this.#askPeer(found, ref, pending)
    else {
      this.#pending.set(ref, pending)
      found.port.post({ ...(question.kind === 'spawn' ? onThisNode(question) : question), ref })
    }
    return ref
  }

  /** Another node answers spawns only; of the rest whoever asks learns that it is on its way. */
  #askPeer(peer: PeerLine, ref: number, pending: Pending): void {
    const { question } = pending
    let sent: PeerSent
    if (question.kind === 'spawn') {
      const { entryId } = question.request
      const code = this.#hooks.codeHash?.(entryId)
      if (this.#hooks.codeHash !== undefined && code === undefined) {
        return this.#answer(pending, { ok: false, error: otherCode(entryId, 'this node has no such entry to compare') })
      }
      this.#pending.set(ref, pending)
      sent = peer.send({ ref, ...onThisNode(question), ...(code === undefined ? {} : { code }) })
      if (sent === 'sent') return
      this.#pending.delete(ref)
    } else sent = peer.send(question as ProcessQuestion)
    this.#answer(pending, sent === 'sent' ? { ok: true, value: undefined } : { ok: false, error: unsent(peer, sent) })
    if (pending.origin !== undefined) this.#giveRoom(pending.origin.line, peer)
  }

  /** Workers of one host take turns. `node@host` is a host of another node. */
  #lineForSpawn(wanted: string): Line | { error: MoonmeshError } {
    const node = nodeOf(wanted)
    if (node !== undefined && node !== this.#self.node) {
      return this.#peers.get(node) ?? { error: noHost(wanted, `node is not connected: ${toText(node)}`) }
    }
    const hostId = hostWithoutNode(wanted)
    const lines = this.linesOf(hostId)
    if (lines.length === 0) {
      if (!this.#knownHosts.has(hostId)) return { error: noHost(wanted) }
      return { error: new MoonmeshError('Unavailable', `host is not running: ${toText(hostId)}`, { retryable: true }) }
    }
    const turn = this.#turns.get(hostId) ?? 0
    this.#turns.set(hostId, (turn + 1) % lines.length)
    return lines[turn % lines.length] as HostLine
  }

  #reply(origin: Origin, answer: Answer<Value>): void {
    const { ref } = origin
    const reply: Reply = answer.ok
      ? { kind: 'reply', ref, ok: true, value: answer.value }
      : { kind: 'reply', ref, ok: false, error: errorFrom(answer.error) }
    origin.line.port.post(reply)
  }

  #answer(pending: Pending, answer: Answer<Value>): void {
    const { question, origin } = pending
    if (question.kind === 'bear-name' && answer.ok && origin !== undefined)
      return this.#bindName(origin, question.name, question.to)
    if (!answer.ok) {
      // What a process monitors already it goes on monitoring.
      if (question.kind === 'monitor' && answer.error.kind !== 'AlreadyExists')
        this.#linksBetween(question.from, question.to).fired(question.from, question.to, question.id)
      if (question.kind === 'link') this.#linksBetween(question.from, question.to).unlink(question.from, question.to)
    } else if (question.kind === 'spawn' && !this.#isOn(pending.target, question.request.from)) {
      this.#spawned(question.request, answer.value as string)
    }
    if (origin === undefined) pending.answered?.(answer)
    else this.#reply(origin, answer)
  }

  #spawned(request: SpawnRequest, pid: string): void {
    const line = this.#lineOf(pid)
    if (request.from === '' || 'error' in line) return
    if (request.monitor) this.#pair({ kind: 'monitor', from: request.from, to: pid }, line)
    if (request.link) this.#pair({ kind: 'link', from: request.from, to: pid }, line)
  }

  /** A pair on one line is that line's own affair. */
  #pair(question: ProcessQuestion & { kind: 'monitor' | 'link' }, line: Line): void {
    const { from, to } = question
    if (this.#isOn(line, from)) return
    const links = this.#linksBetween(from, to)
    if (question.kind === 'monitor') links.monitor(from, to, question.id)
    else links.link(from, to)
  }

  /** Where the pair is kept. Without a session there is none with a process of another node. */
  #linksBetween(from: string, to: string): Links {
    const peer = this.#peerOf(to) ?? this.#peerOf(from)
    return (peer === undefined ? undefined : this.#peerStates.get(peer)?.links) ?? this.#links
  }

  #peerOf(pid: string): PeerLine | undefined {
    const parts = parsePid(pid)
    const peer = parts?.node === undefined ? undefined : this.#peers.get(parts.node)
    return peer !== undefined && this.#isOn(peer, pid) ? peer : undefined
  }

  /** Why there can be no further pair of a process with one of another node. */
  #crowded(question: Question | BearerQuestion | CaptureQuestion, target: Line): MoonmeshError | undefined {
    const isPair = question.kind === 'monitor' || question.kind === 'link'
    const request = question.kind === 'spawn' ? question.request : undefined
    if (!isPair && request?.monitor !== true && request?.link !== true) return undefined
    const from = isPair ? question.from : (request?.from ?? '')
    const peer = isPeer(target) ? target : this.#peerOf(from)
    const count = peer === undefined ? 0 : (this.#peerStates.get(peer)?.links.count ?? 0)
    return peer === undefined || count < this.#peerPairsMax ? undefined : crowded(peer, this.#peerPairsMax)
  }

  // ---- what hosts say

  #handle(line: HostLine, message: FromHost): void {
    switch (message.kind) {
      case 'send':
      case 'monitor':
      case 'link':
      case 'cancel':
      case 'terminate':
      case 'spawn': {
        const { ref, ...question } = message
        this.#ask(question as Question, { line, ref })
        break
      }
      case 'send-ahead':
        this.#sendAhead(line, message)
        break
      case 'register-name':
        this.#registerName(line, message)
        break
      case 'unregister-name':
        this.#unregisterName(line, message)
        break
      case 'release-names':
        this.#releaseNames(message.pid)
        break
      case 'undelivered':
        this.#undelivered('noproc', message.question)
        break
      case 'request':
        this.#serve(line, message)
        break
      case 'note':
        this.#note(message)
        break
      case 'give-up':
        this.#requests.get(line)?.get(message.ref)?.abort()
        break
      case 'client-ended':
        this.#hooks.clientEnded(message.pid)
        break
      case 'reply':
        this.#replied(message)
        break
      case 'ended':
        this.#ended(message.ref, message.outcome)
        break
      case 'unmonitor':
      case 'unlink':
      case 'unlink-ack':
      case 'down':
        this.#tell(message)
        break
      case 'inspected': {
        const pending = this.#pending.get(message.ref)
        this.#pending.delete(message.ref)
        const { processes, figures } = message
        pending?.inspected?.({ line, host: line.hostId, processes, figures })
        break
      }
      case 'process-started':
      case 'process-ended':
        this.#hooks.processNews?.(message)
        break
      case 'log':
        this.#hooks.log(message)
        break
      case 'terminal-write':
      case 'terminal-read':
      case 'terminal-raw':
        this.#hooks.terminal(line, message)
        break
      case 'stopped':
        this.#hooks.stopped(line)
        break
      case 'ready':
        this.#hooks.ready(line)
        break
    }
  }

  // ---- what other nodes say

  /** @param message read and well-formed, and no more than that */
  receive(peer: PeerLine, message: PeerMessage): void {
    // Of a session that is over nothing is heard.
    if (this.#peers.get(peer.node) !== peer) return
    switch (message.kind) {
      case 'send': {
        const { to, from } = message
        if (!this.#maySpeak(peer, from)) return
        if (isReserved(message.topic)) return void this.refusedMessages++
        const found = this.#openLineOf(to) ?? this.#hostLineOf(to)
        if ('error' in found) this.#undelivered(found.why, message)
        else found.port.give(toHost(message))
        return
      }
      case 'cancel':
      case 'terminate': {
        const found = this.#hostLineOf(message.to)
        if (!this.#maySpeak(peer, message.from)) return
        if ('error' in found) this.#undelivered(found.why, message)
        else found.port.post({ ...message, ref: NO_REPLY })
        return
      }
      case 'monitor':
      case 'link':
        return this.#pairForPeer(peer, message)
      case 'unmonitor':
      case 'unlink':
      case 'unlink-ack':
      case 'down':
        if (!this.#maySpeak(peer, message.from)) return
        if (!('error' in this.#hostLineOf(message.to))) this.#tell(message)
        else if (message.kind === 'unlink') this.#acknowledge(message)
        return
      case 'undeliverable':
        // It may be a process of an earlier run of that node.
        if (parsePid(message.pid)?.node !== peer.node || parsePid(message.from)?.node !== this.#self.node)
          this.refusedMessages++
        else this.#hooks.undeliverable?.(message)
        return
      case 'spawn':
        return this.#spawnForPeer(peer, message)
      case 'abandon': {
        const ref = this.#peerStates.get(peer)?.spawns.get(message.ref)
        if (ref !== undefined) this.#abandon(ref)
        return
      }
      case 'reply':
        if (this.#isDue(peer, message)) this.#replied(this.#checked(peer, message))
        return
      case 'ended':
        if (this.#isDue(peer, message)) this.#ended(message.ref, message.outcome)
    }
  }

  /** A node speaks for its own processes only. */
  #maySpeak(peer: PeerLine, from: string): boolean {
    if (from === '' || this.#isOn(peer, from)) return true
    this.refusedMessages++
    return false
  }

  /** A spawn is answered once, and its end is told once after that. */
  #isDue(peer: PeerLine, { kind, ref }: { kind: 'reply' | 'ended'; ref: number }): boolean {
    const pending = this.#pending.get(ref)
    if (pending?.target === peer && pending.isAnswered === (kind === 'ended')) return true
    this.refusedMessages++
    return false
  }

  /** What was spawned there is a process of that node. */
  #checked(peer: PeerLine, reply: Reply): Reply {
    if (!reply.ok || (typeof reply.value === 'string' && this.#isOn(peer, reply.value))) return reply
    this.refusedMessages++
    const text = `node ${toText(peer.node)} answered a spawn with what is no process of its own`
    return { kind: 'reply', ref: reply.ref, ok: false, error: errorFrom(new MoonmeshError('Internal', text)) }
  }

  /** Whoever monitors or links is told the end of what is not there. */
  #pairForPeer(peer: PeerLine, question: ProcessQuestion & { kind: 'monitor' | 'link' }): void {
    const { kind, to, from } = question
    if (from === '' || !this.#maySpeak(peer, from)) return
    const event = kind === 'monitor' ? 'exit' : 'link-down'
    const absent = (error: MoonmeshError | ErrorValue): void => {
      // Its process knows that it watches already.
      if (error.kind === 'AlreadyExists') return
      const outcome: Outcome = { ok: false, error: error.kind === 'NotFound' ? noProcess(to) : errorFrom(error) }
      const monitor = question.kind === 'monitor' && question.id !== undefined ? { id: question.id } : {}
      inform(peer, { kind: 'down', to: from, from: to, event, outcome, atMs: this.#env.wallMs(), ...monitor })
    }
    const found = this.#hostLineOf(to)
    if ('error' in found) return absent(found.error)
    this.#ask(question, undefined, (answer) => {
      if (!answer.ok) absent(answer.error)
    })
  }

  #spawnForPeer(peer: PeerLine, { ref, request, code }: PeerMessage & { kind: 'spawn' }): void {
    const spawns = this.#peerStates.get(peer)?.spawns
    if (!this.#maySpeak(peer, request.from) || spawns === undefined || spawns.has(ref)) return
    if (request.host.includes('@') || request.messages.some(({ topic }) => isReserved(topic)))
      return void this.refusedMessages++
    if (spawns.size >= PEER_SPAWNS_MAX) {
      const text = `node ${toText(this.#self.node ?? '')} starts ${PEER_SPAWNS_MAX} processes for this node already`
      const error = new MoonmeshError('Unavailable', text, { retryable: true })
      inform(peer, { kind: 'reply', ref, ok: false, error: errorFrom(error) })
      return
    }
    const problem = this.#codeProblem(request.entryId, code)
    if (problem !== undefined) {
      peer.send({ kind: 'reply', ref, ok: false, error: errorFrom(otherCode(request.entryId, problem)) })
      return
    }
    if (!this.#knownHosts.has(request.host)) {
      // As whoever asks names it.
      const error = noHost(`${this.#self.node ?? ''}@${request.host}`)
      inform(peer, { kind: 'reply', ref, ok: false, error: errorFrom(error) })
      return
    }
    const answered = (answer: Answer<Value>): void => {
      spawns.delete(ref)
      if (this.#peers.get(peer.node) !== peer) return this.#bornTooLate(request, answer, nodeDown(peer.node))
      if (answer.ok) inform(peer, { kind: 'reply', ref, ok: true, value: answer.value })
      else inform(peer, { kind: 'reply', ref, ok: false, error: errorFrom(answer.error) })
    }
    const ended = (outcome: Outcome): void => inform(peer, { kind: 'ended', ref, outcome })
    // Answered in the same turn when there is no such host.
    spawns.set(ref, this.#nextRef)
    this.#ask({ kind: 'spawn', request }, undefined, answered, ended)
  }

  /** Why a spawn for another node must not run the code that is here: one of the two nodes is strict about it. */
  #codeProblem(entryId: string, asked: string | undefined): string | undefined {
    const node = toText(this.#self.node ?? '')
    const { codeHash } = this.#hooks
    if (asked === undefined)
      return codeHash === undefined ? undefined : `node ${node} has cluster.strict_code, the asking node has not`
    if (codeHash === undefined) return `node ${node} has no cluster.strict_code, the asking node has`
    return codeHash(entryId) === asked ? undefined : `its source on node ${node} is another one; cluster.strict_code`
  }

  #serve(line: HostLine, request: ServiceQuestion & { ref: number }): void {
    const { ref } = request
    const origin = { line, ref }
    const controller = new AbortController()
    try {
      const value = this.#hooks.request(request, controller.signal)
      if (value instanceof Promise) void this.#serveLater(origin, value, controller)
      else this.#reply(origin, { ok: true, value })
    } catch (thrown) {
      this.#reply(origin, { ok: false, error: errorFrom(thrown) })
    }
  }

  async #serveLater(origin: Origin, value: Promise<Value>, controller: AbortController): Promise<void> {
    const { line, ref } = origin
    const running = this.#requests.get(line) ?? new Map<number, AbortController>()
    this.#requests.set(line, running.set(ref, controller))
    let answer: Answer<Value>
    try {
      answer = { ok: true, value: await value }
    } catch (thrown) {
      answer = { ok: false, error: errorFrom(thrown) }
    }
    running.delete(ref)
    this.#reply(origin, answer)
  }

  /** Nobody waits for what comes of it; whoever said it does not hear that it failed. */
  #note(note: ServiceRequest): void {
    try {
      const value = this.#hooks.request(note, NEVER_ABORTED)
      if (value instanceof Promise) value.catch(() => {})
    } catch {
      this.failedNotes++
    }
  }

  #replied(reply: Reply): void {
    const pending = this.#pending.get(reply.ref)
    if (pending === undefined) return
    const isEndAwaited = reply.ok && pending.question.kind === 'spawn' && pending.question.request.wantsEnd
    if (isEndAwaited) pending.isAnswered = true
    else this.#pending.delete(reply.ref)
    this.#answer(pending, reply)
  }

  #ended(ref: number, outcome: Outcome): void {
    const pending = this.#pending.get(ref)
    this.#pending.delete(ref)
    if (pending?.origin === undefined) pending?.ended?.(outcome)
    else pending.origin.line.port.post({ kind: 'ended', ref: pending.origin.ref, outcome })
  }

  #tell(message: Telling): void {
    const { to } = message
    noteTelling(this.#linksBetween(message.from, to), message)
    const found = this.#lineOf(to)
    if ('error' in found) {
      this.deadLetters++
      if (message.kind === 'unlink') this.#acknowledge(message)
    } else if (isPeer(found)) inform(found, message)
    else found.port.post(message)
  }

  /** There is nobody to acknowledge that the link was taken back. */
  #acknowledge({ to, from, id }: Telling & { kind: 'unlink' }): void {
    if (id !== undefined) this.#tell({ kind: 'unlink-ack', to: from, from: to, id })
  }

  /** What another node sent to a process that is not here. Who named it hears of it, and has the message back. */
  #undelivered(why: Undelivered, question: ProcessQuestion | undefined): void {
    this.undelivered[why]++
    if (question?.kind !== 'send' || question.name === undefined) return
    const { to: pid, from, name, topic, values } = question
    const peer = this.#peerOf(from)
    if (peer !== undefined) inform(peer, { kind: 'undeliverable', pid, from, why, name, message: { topic, values } })
  }

  // ---- names

  #registerName(line: HostLine, message: { ref: number; name: string; pid: string }): void {
    const { ref, name, pid } = message
    const origin = { line, ref }
    const wait = this.#names.lookup(name) === pid ? undefined : this.#hooks.namesReady?.(name)
    if (wait === undefined) return this.#registerReady(line, message)
    const ready = (): void => this.#registerReady(line, message)
    wait.then(ready, (error: unknown) => this.#reply(origin, { ok: false, error: errorFrom(error) }))
  }

  #registerReady(line: HostLine, message: { ref: number; name: string; pid: string }): void {
    const { ref, name, pid } = message
    const origin = { line, ref }
    const owner = this.#hostLineOf(pid)
    if ('error' in owner) return this.#reply(origin, { ok: false, error: owner.error })
    // A host answers for its own; of any other process only its host knows whether it is still there.
    if (owner === line) this.#bindName(origin, name, pid)
    else this.#ask({ kind: 'bear-name', to: pid, name }, origin)
  }

  #bindName(origin: Origin, name: string, pid: string): void {
    const shared = this.#hooks.sharedHolder?.(name)
    const isTaken = shared !== undefined && shared !== pid
    const before = this.#names.lookup(name)
    if (isTaken || !this.#names.register(name, pid)) {
      const holder = isTaken ? shared : (this.#names.lookup(name) as string)
      const details = { name: toText(name), existing_pid: toText(holder) }
      const error = new MoonmeshError('AlreadyExists', 'name already registered', { retryable: false, details })
      return this.#reply(origin, { ok: false, error })
    }
    this.#tellName(name, pid, before)
    this.#reply(origin, { ok: true, value: undefined })
  }

  #unregisterName(line: HostLine, message: { ref: number; name: string }): void {
    const isReleased = this.#names.lookup(message.name) !== undefined
    this.releaseName(message.name)
    this.#reply({ line, ref: message.ref }, { ok: true, value: isReleased })
  }

  #releaseNames(pid: string): void {
    for (const name of this.#names.releaseAll(pid)) this.#tellName(name, undefined, pid)
  }

  /** @param before of scope local */
  #tellName(name: string, pid: string | undefined, before: string | undefined): void {
    this.#broadcast({ kind: 'name', name, pid })
    this.#hooks.nameChanged?.(name, pid)
    // A larger scope hides it.
    if (pid !== before && this.#sharedNames.lookup(name) === undefined) this.#hooks.nameTurned?.(name, before)
  }

  #broadcast(message: ToHost): void {
    for (const line of this.#allLines()) line.port.post(message)
  }
}

const SENT: Answer<undefined> = { ok: true, value: undefined }
const NEVER_ABORTED = new AbortController().signal

const NO_FIGURES: HostFigures = {
  processes: 0,
  spawns: 0,
  exits: { ok: 0, failed: 0, linked: 0, terminated: 0 },
  messages: 0,
  runQueue: 0,
  slices: 0,
  busyMs: 0,
  sliceTimes: { perBound: [], count: 0, sum: 0 },
}

/** Spawns that one other node may have under way here. */
const PEER_SPAWNS_MAX = 4096
/**
 * Monitors and links with processes of one other node, of either side; one more is refused to whoever asks. Each takes some hundred
 * bytes here, and all of them are told when the node is lost.
 */
const PEER_PAIRS_MAX = 262_144

/** Of `node@host`. */
function nodeOf(host: string): string | undefined {
  const at = host.indexOf('@')
  return at < 0 ? undefined : host.slice(0, at)
}

const hostWithoutNode = (host: string): string => host.slice(host.indexOf('@') + 1)

function onThisNode({ kind, request }: Question & { kind: 'spawn' }): Question & { kind: 'spawn' } {
  if (nodeOf(request.host) === undefined) return { kind, request }
  return { kind, request: { ...request, host: hostWithoutNode(request.host) } }
}

function noHost(host: string, why?: string): MoonmeshError {
  const text = `host not found: ${toText(host)}${why === undefined ? '' : ` (${why})`}`
  return new MoonmeshError('NotFound', text, { retryable: false, details: { host_id: toText(host) } })
}

function otherCode(entryId: string, why: string): MoonmeshError {
  const details = { factory_id: toText(entryId) }
  return new MoonmeshError('NotFound', `factory not found: ${toText(entryId)} (${why})`, { retryable: false, details })
}

function unreachable(node: string): MoonmeshError {
  return notFound(`node is not connected: ${toText(node)}`)
}

function noProcess(pid: string): ErrorValue {
  return new ErrorValue('NotFound', 'noproc', false, record({ pid }))
}

/** The topics of the runtime. */
const isReserved = (topic: string): boolean => topic.startsWith('@')

/** How those see it who were with the node: whoever speaks to it says the same (relay/peers.ts). */
export function nodeDown(node: string): ErrorValue {
  return new ErrorValue('Unavailable', `node down: ${node}`, true)
}

/** Whether the spawn took place nobody knows. */
function ambiguous({ kind, message, retryable, stack }: ErrorValue): ErrorValue {
  return new ErrorValue(kind, message, retryable, record({ ambiguous: true }), stack)
}

/** Somebody waits there to hear this: an outcome that does not fit is told without what it was. */
function inform(peer: PeerLine, message: Telling | Reply | (PeerMessage & { kind: 'ended' | 'undeliverable' })): void {
  const sent = peer.send(message)
  // Who named a process has to know that it is gone, if without what was said to it.
  if (message.kind === 'undeliverable') {
    if (sent === 'too-large' || sent === 'full') peer.send({ ...message, message: undefined })
    return
  }
  if (sent !== 'too-large') return
  if (message.kind === 'down' || message.kind === 'ended')
    peer.send({ ...message, outcome: { ok: false, error: TOO_LARGE } })
  else if (message.kind === 'reply') peer.send({ kind: 'reply', ref: message.ref, ok: false, error: TOO_LARGE })
}

const TOO_LARGE = new ErrorValue(
  'Invalid',
  'what the process ended with is too large, or nested too deep, for another node (cluster.internode.max_message_size)',
  false,
)

/** One form for nearly all of them: these are the many. */
function toHost({ to, from, topic, values, name }: ProcessQuestion & { kind: 'send' }): ToHost {
  const message = { kind: 'send' as const, to, from, topic, values, ref: NO_REPLY }
  return name === undefined ? message : { ...message, name }
}

/** What passes the node changes what it knows of the pair. */
function noteTelling(links: Links, message: Telling): void {
  const { to, from } = message
  switch (message.kind) {
    case 'unmonitor':
      links.unmonitor(from, to)
      break
    case 'unlink':
      if (message.id === undefined) links.partnerEnded(to, from)
      else links.beginUnlink(from, to, message.id)
      break
    case 'unlink-ack':
      links.unlinkAcknowledged(to, from, message.id)
      break
    case 'down':
      if (message.event === 'exit') links.fired(to, from, message.id)
      else links.partnerEnded(to, from)
  }
}

function crowded({ node }: PeerLine, countMax: number): MoonmeshError {
  const text = `${countMax} monitors and links between processes of this node and of node ${toText(node)} are the most there can be`
  return new MoonmeshError('LimitExceeded', text, { retryable: true })
}

function unsent({ node }: PeerLine, why: Exclude<PeerSent, 'sent'>): MoonmeshError {
  switch (why) {
    case 'full':
      return new MoonmeshError('Unavailable', `peer queue full: ${toText(node)}`, { retryable: true })
    case 'too-large':
      return new MoonmeshError(
        'Invalid',
        'message too large, or nested too deep, for another node (cluster.internode.max_message_size)',
        {
          retryable: false,
        },
      )
    case 'gone':
      return unreachable(node)
  }
}

/** Whoever wants to watch a process is told that there is none to watch, wherever that shows; the rest says why (lua-core.md §9.5). */
function unanswerable(question: Question | BearerQuestion | CaptureQuestion, error: MoonmeshError): MoonmeshError {
  if (question.kind !== 'monitor' && question.kind !== 'link') return error
  return notFound(`pid not registered: ${toText(question.to)} (${error.message})`)
}

function notFound(text: string): MoonmeshError {
  return new MoonmeshError('NotFound', text, { retryable: false })
}
