// The composition root of one node: builds every part, starts and stops them in order; nothing else wires.

import { join } from 'node:path'
import { clusterReader } from '../cluster/config/machine.ts'
import type { ClusterSettings } from '../cluster/config.ts'
import type {
  Cluster,
  ClusterMember,
  CrdtService,
  GroupEvent,
  LockInfo,
  Locks,
  MemberEvent,
  Names,
} from '../cluster/index.ts'
import { logText } from '../cluster/log-events.ts'
import { moduleNames } from '../lua-stdlib/names.ts'
import { formatAddress } from './admin/address.ts'
import { packageInfo } from './admin/package.ts'
import { PrometheusListener } from './admin/prometheus.ts'
import { AdminServer } from './admin/server.ts'
import type { AdminGroups, Check, KnownName } from './admin/shapes.ts'
import { codeOf } from './app/code.ts'
import { CodeHashes } from './app/code-hash.ts'
import {
  type App,
  type ClusterReader,
  dependenciesOf,
  type Entry,
  type EntryKind,
  type EntryRules,
  type HostEntry,
  loadEntries,
  type ServiceEntry,
} from './app/load.ts'
import { formatProblem } from './app/problems.ts'
import { assert } from './base/assert.ts'
import { toBytes, toText } from './base/bytes.ts'
import { MoonmeshError, messageOf } from './base/errors.ts'
import { requireForm, requireOptions } from './base/given.ts'
import { errorFrom, errorTo, fromPlain, type Plain, toPlain } from './base/plain.ts'
import { ErrorValue, record, type TableValue, type Value } from './base/value.ts'
import { CONSOLE_ENTRY, CONSOLE_HOST, type Console, type ConsoleNews, Consoles, consoleCode } from './consoles.ts'
import { systemDriver, systemEnv } from './driver.ts'
import { EnvKeeper } from './env/env.ts'
import { type GroupScopes, Groups } from './groups/groups.ts'
import { type HostDefinition, HostRunner, type RunnerContext } from './host-runner.ts'
import { LocksService } from './locks-service.ts'
import type { Log } from './log.ts'
import { LoopLag } from './loop-lag.ts'
import { compileProblem } from './lua/check.ts'
import { Metrics } from './metrics.ts'
import { NameWatches } from './name-watches.ts'
import { NamesService } from './names-service.ts'
import { type DirectoryState, NodeDirectory } from './node-dir.ts'
import { type NodeEvent, NodeEvents, type NodeEventType } from './node-events.ts'
import { nodeMetrics } from './node-metrics.ts'
import { NodeServices } from './node-services.ts'
import { isSource } from './places.ts'
import { ACTOR_HOST, type ActorDefinition, ActorHost, type ActorSpawnOptions, actorEntryId } from './process/actor.ts'
import { type CapturedHeader, decodeDocument, encodeDocument } from './process/document.ts'
import {
  BASE_REQUEST,
  type FromHost,
  type HostFigures,
  inlinePorts,
  type LogRecord,
  type ProcessInfo,
  type SpawnRequest,
  type ToHost,
} from './process/port.ts'
import { processMetrics } from './process-metrics.ts'
import { Queues } from './queue/queues.ts'
import { EventBus, EventService } from './registry/event-bus.ts'
import { Registry } from './registry/registry.ts'
import { builtFrom } from './registry/reload.ts'
import { Peers } from './relay/peers.ts'
import { type HostLine, Relay } from './relay/relay.ts'
import type { Undeliverable } from './relay/wire/messages.ts'
import { neverEnds, Resources } from './resources.ts'
import { identityOf, policySetOf } from './security/policy-entries.ts'
import type { Answer, Outcome, PolicySet } from './services.ts'
import { PlainStores } from './store/admin-stores.ts'
import { CrdtStoreKeeper } from './store/crdt-stores.ts'
import { storeMetrics } from './store/metrics.ts'
import { RaftStoreKeeper } from './store/raft-stores.ts'
import { MemoryStoreKeeper, Stores } from './store/stores.ts'
import { DEFAULT_LIFECYCLE } from './supervisor/lifecycle.ts'
import { type ServiceControl, type ServiceDefinition, type ServiceStatus, Supervisor } from './supervisor/supervisor.ts'
import { SystemService } from './system-service.ts'
import { type StandardStreams, TerminalIo } from './terminal-io.ts'
import { Volumes } from './volumes.ts'

interface NodeOptions {
  app: App
  log: Log
  /** Serve the admin interface; the command does, embedding programs choose. */
  withAdmin?: boolean
  streams?: StandardStreams
  /** Known by name from the start. */
  actors?: readonly ActorDefinition[]
  /** A script asks for the end of the program with this exit code. Default: the node stops. */
  onExit?: (code: number) => void
}

export interface CaptureOptions {
  stop?: boolean
  timeoutMs?: number
  maxBytes?: number
}

export interface ResumeOptions {
  host?: string
  name?: string
}

export interface StartReport {
  services: readonly string[]
  tookMs: number
  addresses: { gossip?: string; mesh?: string; admin?: string }
}

/** Runs functions and tests that the node itself asks for. */
const FUNCTION_HOST = 'system:functions'
/** Stands in when the app declares no terminal host. */
const TERMINAL_HOST = 'system:terminal'
const STOP_MS = DEFAULT_LIFECYCLE.stopTimeoutMs
const PROCESS_COUNT_MAX = 1_000_000
const EPOCH_TOO_LATE =
  'others know a later run of this node than this one: was its data directory lost, and the clock set back? It stops; the next start is beyond that run'
/** How long a node that leaves waits for another one to have its share of the convergent stores. */
const HAND_OVER_MS_MAX = 2000
const EXIT_OK = 0
const EXIT_FAILED = 1
const MAILBOX_COUNT_MAX = 1_000_000
/** How long a capture waits for its process, and what it may write, unless told otherwise. */
const CAPTURE_MS = 5000
const CAPTURE_BYTES_MAX = 64 * 1024 * 1024
const CONSOLE_PROCESSES_MAX = 32
/** Of the thread that all consoles share. */
const CONSOLE_MEMORY_BYTES_MAX = 128 * 1024 * 1024

/** Ids, by what came of edited files. */
export interface Reloaded {
  readonly added: readonly string[]
  readonly changed: readonly string[]
  readonly removed: readonly string[]
  /** Services that were started again since the code of their process is new. */
  readonly restarted: readonly string[]
  /** Services whose process was told of its new code. */
  readonly told: readonly string[]
  /** Services that did not start again; they are tried on as their lifecycle says. */
  readonly failed: readonly { readonly id: string; readonly error: string }[]
}

interface RunningService {
  pid: string
  ended: Promise<Outcome>
}

/** A service that starts or runs. */
interface StartedService {
  running: Promise<RunningService>
  /** Drops it while its code still loads. */
  abandon(): void
}

/** What reads the `cluster` section of an app's settings. */
export function clusterOfThisMachine(): ClusterReader {
  return clusterReader({ packageVersion: packageInfo().version })
}

export class Node {
  readonly app: App
  readonly name: string
  /** The stores that run, for the admin interface. */
  readonly stores: PlainStores
  readonly #log: Log
  readonly #options: NodeOptions
  readonly #terminal: TerminalIo
  /** What scripts may ask of the node. */
  readonly #nodeServices = new NodeServices()
  readonly #resources = new Resources()
  readonly #bus = new EventBus()
  readonly #events = new NodeEvents({
    bus: this.#bus,
    wallMs: systemEnv.wallMs,
    observe: (isObserved) => this.#relay?.observe(isObserved),
  })
  readonly #consoles = new Consoles({
    spawn: () => this.#spawnConsole(),
    terminate: (pid) => this.#relay?.ask({ kind: 'terminate', to: pid, from: '' }, () => {}),
    idle: () => this.#endConsoleHost(),
  })
  readonly #groups: Groups
  readonly #metrics = new Metrics((text) => this.#log.write('warn', {}, text))
  readonly #registry: Registry
  /** What entries that come while the node runs are held to. */
  readonly #rules: EntryRules
  #runnerContext: RunnerContext | undefined
  /** `entry` is absent for hosts of the node's own. */
  readonly #runners = new Map<string, { entry: HostEntry | undefined; runner: HostRunner }>()
  /** Services that start or run. */
  readonly #services = new Map<string, StartedService>()
  #directory: NodeDirectory | undefined
  #loopLag: LoopLag | undefined
  #relay: Relay | undefined
  #peers: Peers | undefined
  #actors: ActorHost | undefined
  #codeHashes: CodeHashes | undefined
  #supervisor: Supervisor | undefined
  #cluster: Cluster | undefined
  /** For good, and not only for a restart. */
  #isLeaving = false
  /** With a cluster from the start, without one from the first entry on that needs it. */
  #crdt: Promise<CrdtService> | undefined
  #names: Names | undefined
  readonly #nameWatches = new NameWatches({
    resolve: (name) => {
      const pid = this.#relay?.lookup(name)
      return pid === undefined ? undefined : { pid, scope: this.#names?.scopeOf(name) ?? 'local' }
    },
    names: (prefix) => {
      const local = [...(this.#relay?.localNames() ?? [])].flatMap(([name]) => (name.startsWith(prefix) ? [name] : []))
      const shared = this.#names?.entries(prefix).map(({ name }) => name) ?? []
      return [...new Set([...local, ...shared])].sort()
    },
  })
  #locks: Locks | undefined
  #admin: AdminServer | undefined
  #prometheus: PrometheusListener | undefined
  #stopStreaming: () => void = () => {}
  #terminalHost: string | undefined
  #stopping: Promise<void> | undefined

  constructor(options: NodeOptions) {
    this.#options = options
    this.app = options.app
    this.#log = options.log
    this.name = options.app.settings.node.name
    const { stdin, stdout, stderr } = process
    this.#terminal = new TerminalIo(options.streams ?? { stdin, stdout, stderr })
    this.#rules = { moduleNames, compile: compileProblem(), builtIn: builtInIds(options.actors ?? []) }
    this.#registry = new Registry(options.app.entries, this.#bus, {
      read: (definitions, ids, beside) =>
        loadEntries(definitions, { ...this.#rules, ids, beside, lua: this.app.settings.lua, env: process.env }),
      carryOut: (to, changed) => this.#carryOut(to, changed),
      stuck: (error) =>
        this.#log.write('error', { error: messageOf(error) }, 'a change of the registry could not be taken back'),
    })
    const { isWritten, isStreamed } = options.app.settings.logger
    if (!isWritten) this.#log.setQuiet(true)
    if (isStreamed) this.#stopStreaming = this.#streamLog()
    this.#groups = this.#makeGroups()
    this.stores = this.#addResources()
    this.#nodeServices.add('registry', this.#registry)
    this.#nodeServices.add('console', this.#consoles)
    this.#nodeServices.add('locks', new LocksService(() => this.#locks))
    const names = new NamesService({
      names: () => this.#names,
      local: (prefix) => [...(this.#relay?.localNames() ?? [])].filter(([name]) => name.startsWith(prefix)),
      watch: (pattern) => this.#nameWatches.watch(pattern),
      feed: (...message) => this.#relay?.feed(...message),
    })
    this.#nodeServices.add('names', names)
    this.#nodeServices.add(
      'events',
      new EventService(this.#bus, (pid, topic, values) => this.#relay?.deliver(pid, topic, values)),
    )
  }

  /** What the node keeps for scripts, beside its processes. */
  #addResources(): PlainStores {
    const env = new EnvKeeper(process.env)
    const stores = new Stores(
      (id) => this.#registry.get(id)?.kind,
      (...message) => this.#relay?.feed(...message),
    )
    const queues = new Queues({
      call: (entryId, args, attachments, signal) =>
        this.call(entryId, args, { attachments, signal }).catch(
          (error: unknown): Outcome => ({ ok: false, error: errorFrom(error) }),
        ),
      log: (level, text, fields) => this.#log.write(level, fields, text),
    })
    const volumes = new Volumes(process.cwd())
    const timers = { ...systemEnv, setTimer: systemDriver.timeout }
    const memoryStores = new MemoryStoreKeeper(stores, timers)
    const crdtStores = new CrdtStoreKeeper(stores, () => this.#openCrdt())
    const settings = clusterSettingsOf(this.app)
    const raftStores = new RaftStoreKeeper(stores, {
      open: () => this.#cluster?.stores,
      valueBytesMax: settings?.kv.valueBytesMax ?? 0,
      durable: settings?.raft.storage.kind === 'disk',
      wallMs: systemEnv.wallMs,
    })
    this.#metrics.add(storeMetrics(stores))
    for (const keeper of [env, queues, memoryStores, crdtStores, raftStores, this.#groups, volumes])
      this.#resources.add(keeper)
    this.#nodeServices.add('env', env)
    this.#nodeServices.add('store', stores)
    this.#nodeServices.add('fs', volumes)
    this.#nodeServices.add('queue', queues)
    this.#nodeServices.add('pg', this.#groups)
    this.#nodeServices.add('metrics', this.#metrics)
    const itself = {
      name: this.name,
      services: () => this.services(),
      processes: () => this.processes(),
      figures: () => this.#figuresByHost(),
      exit: (code: number) => this.#exit(code),
      members: () => this.#liveMembers(),
      group: () => this.#cluster?.group,
    }
    const libraryModules = async () => (await import('../lua-stdlib/index.ts')).libraryModules
    this.#nodeServices.add('system', new SystemService(itself, libraryModules, systemEnv.wallMs))
    return new PlainStores(stores)
  }

  #makeGroups(): Groups {
    return new Groups({
      load: () => this.#loadGroups(),
      entryKind: (id) => this.#registry.get(id)?.kind,
      cast: (...message) => this.#relay?.cast(...message),
      feed: (...message) => this.#relay?.feed(...message),
      log: (level, fields, text) => this.#log.write(level, { ...fields, node: this.name }, text),
      messageBytesMax: clusterSettingsOf(this.app)?.internode.messageBytesMax ?? Number.MAX_SAFE_INTEGER,
    })
  }

  /** A node without groups starts faster without their code. */
  async #loadGroups(): Promise<GroupScopes> {
    const { ProcessGroups, groupMetrics } = await import('../cluster/index.ts')
    const groups = new ProcessGroups({
      name: this.name,
      env: systemEnv,
      fabric: this.#cluster?.fabric,
      defer: systemDriver.defer,
      log: (level, event, fields) => this.#log.write(level, { event, ...fields, node: this.name }, logText(event)),
    })
    this.#metrics.add(groupMetrics(groups))
    return groups
  }

  #exit(code: number): void {
    if (this.#options.onExit === undefined) void this.stop()
    else this.#options.onExit(code)
  }

  /** Alive or suspect, of this cluster; this one first. */
  #liveMembers(): ClusterMember[] | undefined {
    return this.#cluster
      ?.members()
      .filter(({ state, role }) => (state === 'alive' || state === 'suspect') && role !== 'foreign')
  }

  // ---- starting and stopping

  /** @throws MoonmeshError naming the part that could not start, and why; what had started is stopped again */
  async start(): Promise<StartReport> {
    const startedMs = performance.now()
    try {
      const { settings } = this.app
      const loopLag = new LoopLag(systemEnv)
      this.#loopLag = loopLag
      this.#metrics.add(
        nodeMetrics({
          loopLag: loopLag.seconds,
          undelivered: () => this.#relay?.undelivered ?? { stale_epoch: 0, noproc: 0 },
        }),
      )
      this.#metrics.add(
        processMetrics({
          hosts: async () =>
            ((await this.#relay?.inspect()) ?? []).map((report) => ({ ...report, host: toText(report.host) })),
          peers: () => this.#peers?.counts ?? { sent: 0, received: 0 },
        }),
      )
      for (const warning of settings.warnings) this.#log.write('warn', {}, formatProblem(warning))
      this.#directory = await NodeDirectory.open({ dataDir: settings.node.dataDir, nodeName: this.name })
      this.#directory.watch((state) => this.#directoryChanged(state))
      this.#assertNotStopping()
      await this.#startCluster(this.#directory)
      this.#assertNotStopping()
      const { epoch } = this.#directory
      this.#relay = this.#makeRelay(epoch)
      this.#actors = this.#startActors(this.#relay, epoch)
      this.#resources.configure(this.entries())
      this.#makeRunners(this.#relay, epoch)
      await this.#connectPeers(this.#relay)
      this.#assertNotStopping()
      this.#supervisor = this.#makeSupervisor()
      if (this.#options.withAdmin === true) await this.#startAdmin(this.#directory)
      await this.#startPrometheus()
      this.#assertNotStopping()
      await this.#supervisor.start()
      const services = this.services().filter((service) => service.state === 'running')
      const admin = this.#admin?.address
      return {
        services: services.map((service) => service.id),
        tookMs: performance.now() - startedMs,
        addresses: {
          ...this.#clusterAddresses(),
          ...(admin === undefined ? {} : { admin }),
        },
      }
    } catch (error) {
      await this.stop({ force: true })
      // What came up while a stop was already under way goes down again.
      await this.#closeRest()
      throw error
    }
  }

  #assertNotStopping(): void {
    if (this.#stopping !== undefined) throw new MoonmeshError('Canceled', 'the node was stopped while it started')
  }

  #directoryChanged(state: DirectoryState): void {
    const fields = { event: 'data_dir_lost', node: this.name, path: this.#directory?.path ?? '' }
    if (state.kind === 'renewed') {
      const text =
        "the node's data directory was removed, or files in it, while the node runs; its epoch and its socket are there anew, what else lay there is lost"
      this.#log.write('error', fields, text)
    } else if (state.kind === 'lost') {
      const text = `the node's data directory was removed while the node runs, and cannot be made anew: ${state.error.message}`
      this.#log.write('error', fields, text)
    }
  }

  #makeRelay(epoch: number): Relay {
    return new Relay({ node: this.#nodeInPids, epoch }, systemEnv, {
      log: (entry) => this.#writeLog(entry),
      terminal: (line, message) => this.#terminal.handle(line, message),
      stopped: (line) => this.#runnerOn(line)?.stopped(line),
      ready: (line) => this.#runnerOn(line)?.ready(line),
      request: (request, signal) => this.#nodeServices.request(request, signal),
      clientEnded: (pid) => this.#nodeServices.clientEnded(pid),
      clientsLost: (isLost) => this.#nodeServices.clientsLost(isLost),
      sharedHolder: (name) => this.#names?.holder(name),
      namesReady: (name) => (this.#names?.isReady(name) === false ? this.#names.whenReady(name) : undefined),
      nameChanged: (name, pid) => this.#events.name(name, pid),
      processNews: (news) => this.#events.process(news),
      nameTurned: (name, before) => this.#nameWatches.changed(name, before),
      undeliverable: (notice) => void this.#sendAgain(notice),
      codeHash: this.#cluster?.settings.strictCode === true ? (id) => this.#codeHash(id) : undefined,
    })
  }

  #codeHash(entryId: string): string | undefined {
    this.#codeHashes ??= new CodeHashes(codeOf(this.entries()))
    return this.#codeHashes.of(entryId)
  }

  #runnerOn(line: HostLine): HostRunner | undefined {
    for (const { runner } of this.#runners.values()) if (runner.owns(line)) return runner
    return undefined
  }

  #startActors(relay: Relay, epoch: number): ActorHost {
    const [nodePort, hostPort] = inlinePorts<ToHost, FromHost>((run) => setImmediate(run))
    const place = relay.takeSlot()
    const limits = { processCountMax: PROCESS_COUNT_MAX, mailboxCountMax: MAILBOX_COUNT_MAX, sharesHost: false }
    const identity = { id: ACTOR_HOST, node: this.#nodeInPids, epoch, ...place }
    const actors = new ActorHost({ ...identity, ...limits }, hostPort, systemDriver)
    actors.sendAway = (...message) => relay.sendAway(...message)
    relay.open({ hostId: ACTOR_HOST, slot: place.slot, port: nodePort })
    for (const actor of this.#options.actors ?? []) actors.define(actor)
    return actors
  }

  #makeRunners(relay: Relay, epoch: number): void {
    const context: RunnerContext = {
      relay,
      node: this.#nodeInPids,
      epoch,
      code: () => codeOf(this.entries()),
      policies: () => this.#policies(),
      lua: this.app.settings.lua,
      recordsFunctions: this.app.settings.metrics.recordsFunctions,
      log: (level, fields, text) => this.#log.write(level, fields, text),
    }
    this.#runnerContext = context
    for (const entry of this.entries()) if (isHost(entry)) this.#runnerOf(entry)
    const system = { processCountMax: PROCESS_COUNT_MAX, mailboxCountMax: MAILBOX_COUNT_MAX, memoryBytesMax: undefined }
    const functions = { ...system, id: FUNCTION_HOST, workerCountMax: 1, hasTerminal: false }
    const terminal = { ...system, id: TERMINAL_HOST, workerCountMax: 1, hasTerminal: true }
    for (const definition of [functions, terminal])
      this.#runners.set(definition.id, { entry: undefined, runner: new HostRunner(definition, context) })
  }

  /** The runner of a host; a new one when the entry is not what the last one ran. */
  #runnerOf(entry: HostEntry): HostRunner {
    const known = this.#runners.get(entry.id)
    if (known?.entry === entry) return known.runner
    assert(this.#runnerContext !== undefined, 'hosts run while the node starts or runs')
    const runner = new HostRunner(hostDefinition(entry), this.#runnerContext)
    this.#runners.set(entry.id, { entry, runner })
    return runner
  }

  /** The policies among the entries, as hosts evaluate them. */
  #policies(): PolicySet {
    return policySetOf(this.entries(), this.app.settings.security.strictMode)
  }

  /** What the registry decided becomes so: code, hosts, resources, services, in this order. */
  async #carryOut(to: ReadonlyMap<string, Entry>, changed: ReadonlySet<string>): Promise<void> {
    const relay = this.#switchboard
    const entries = [...to.values()]
    this.#resources.configure(entries)
    const touched = entries.filter(({ id }) => changed.has(id))
    const removed = [...changed].filter((id) => !to.has(id))
    this.#codeHashes = new CodeHashes(codeOf(entries))
    relay.broadcast({ kind: 'code', entries: codeOf(touched), removed: removed.map((id) => toBytes(id)) })
    for (const entry of touched) if (isHost(entry)) relay.declareHost(toBytes(entry.id))
    this.#changing = to
    try {
      const knownIds = new Set([...to.keys(), ...(this.#rules.builtIn?.keys() ?? [])])
      await this.#supervisor?.reconfigure(serviceDefinitions(entries, this.#resources), changed, { knownIds })
    } finally {
      this.#changing = undefined
    }
    for (const id of removed) if (this.#runners.delete(id)) relay.forgetHost(toBytes(id))
    relay.broadcast({ kind: 'outdated', sources: touched.map(({ id }) => toBytes(id)) })
    relay.broadcast({ kind: 'policies', policies: this.#policies() })
  }

  #makeSupervisor(): Supervisor {
    const env = { ...systemEnv, setTimer: systemDriver.timeout }
    return new Supervisor(serviceDefinitions(this.entries(), this.#resources), this.#control(), env, {
      onState: ({ id, from, to }) => {
        this.#log.write('debug', { service: id, from, to }, `service ${to}: ${id}`)
        const data = record({ id: toBytes(id), from, to })
        this.#bus.publish({ system: 'supervisor', kind: `service.${to}`, path: toBytes(id), data })
      },
      log: (level, text, fields) => this.#log.write(level, fields, text),
    })
  }

  async #startPrometheus(): Promise<void> {
    const address = this.app.settings.metrics.prometheus
    if (address === undefined) return
    this.#prometheus = new PrometheusListener(this, (text) => this.#log.write('warn', {}, text))
    await this.#prometheus.start(address)
  }

  /** Lines of the log as events, for scripts. */
  #streamLog(): () => void {
    return this.#log.subscribe(({ level, text, fields, timeMs }) => {
      const data = record({ level, message: toBytes(text), time: timeMs, fields: fromPlain(fields as Plain) })
      const { entry } = fields
      const path = typeof entry === 'string' ? toBytes(entry) : 'node'
      this.#bus.publish({ system: 'log', kind: level, path, data })
    })
  }

  /** How PIDs name this node: not at all when there are no others. */
  get #nodeInPids(): string | undefined {
    return this.app.settings.cluster?.enabled === true ? toBytes(this.name) : undefined
  }

  /** Comes before everything that makes PIDs: an epoch that is raised now is in all of them. */
  async #startCluster(directory: NodeDirectory): Promise<void> {
    if (this.app.settings.cluster?.enabled !== true) return
    // A node without a cluster starts faster without its code.
    const { Cluster, clusterMetrics } = await import('../cluster/index.ts')
    let raised = Promise.resolve()
    this.#cluster = await Cluster.start({
      // The loader knows no more of them than that they are the cluster's; clusterOfThisMachine made them.
      settings: this.app.settings.cluster as ClusterSettings,
      epoch: directory.epoch,
      packageVersion: packageInfo().version,
      env: systemEnv,
      handlers: {
        member: (event) => this.#memberChanged(event),
        epochRaised: (epoch) => {
          raised = directory.raiseEpoch(epoch)
          const written = raised.catch((error: unknown) => this.#log.write('error', {}, messageOf(error)))
          // PIDs of before would pass for those of the earlier run, and others would not hear of this one's.
          if (this.#relay !== undefined) void written.then(() => this.#clusterFailed(EPOCH_TOO_LATE))
        },
        group: (event) => this.#groupChanged(event),
        failed: (error) => this.#clusterFailed(error.message),
        log: (level, fields, text) => this.#log.write(level, { ...fields, node: this.name }, text),
      },
    })
    await raised
    const cluster = this.#cluster
    this.#metrics.add(clusterMetrics(cluster))
  }

  /** The convergent store of this node. @throws MoonmeshError when its directory cannot be used; the next call tries again */
  #openCrdt(): Promise<CrdtService> {
    this.#crdt ??= this.#makeCrdt().catch((error: unknown) => {
      this.#crdt = undefined
      throw error
    })
    return this.#crdt
  }

  async #makeCrdt(): Promise<CrdtService> {
    const { openCrdt, crdtMetrics } = await import('../cluster/index.ts')
    const { cluster, node } = this.app.settings
    const crdt = await openCrdt({
      name: this.name,
      settings: cluster as ClusterSettings | undefined,
      dataDir: join(node.dataDir, this.name),
      env: systemEnv,
      log: (level, event, fields) => {
        const text = logText(event)
        this.#log.write(level, { event, ...fields, node: this.name }, text)
      },
    })
    this.#metrics.add(crdtMetrics(() => crdt.statistics()))
    return crdt
  }

  /** What the disk holds of stores that all nodes share is there before others can ask for it. */
  async #restoreCrdt(): Promise<CrdtService> {
    const crdt = await this.#openCrdt()
    for (const entry of this.entries()) {
      // One that cannot be read says so when it is started.
      if (entry.kind === 'store.kv.crdt' && entry.durable) {
        await crdt.declare(entry.storeNamespace, { durable: true }).catch(() => {})
      }
    }
    return crdt
  }

  #clusterFailed(why: string): void {
    this.#log.write('error', { event: 'cluster_failed', node: this.name }, why)
    this.#exit(EXIT_FAILED)
  }

  /** From now on processes of other nodes are reached, and reach ours. */
  async #connectPeers(relay: Relay): Promise<void> {
    const cluster = this.#cluster
    if (cluster === undefined) return
    const crdt = await this.#restoreCrdt()
    this.#peers = new Peers({
      relay,
      messageBytesMax: cluster.settings.internode.messageBytesMax,
      queueBytesMax: cluster.settings.internode.queueBytesMax,
      hasRoom: (session) => cluster.hasRoom(session),
      refusal: (session, byteCount, isSignal) => cluster.refusal(session, byteCount, isSignal),
      send: (session, bytes) => cluster.send(session, bytes),
      defer: (run) => process.nextTick(run),
    })
    const peers = this.#peers
    await cluster.connect({
      up: (peer) => peers.up(peer),
      down: (peer) => peers.down(peer),
      message: (peer, bytes) => peers.message(peer, bytes),
    })
    if (cluster.fabric !== undefined) crdt.attach(cluster.fabric)
    await this.#startNames(cluster, relay)
    await this.#startLocks(cluster, relay)
  }

  async #startLocks(cluster: Cluster, relay: Relay): Promise<void> {
    const { Locks, lockMetrics } = await import('../cluster/index.ts')
    const { fabric, state, possessions } = cluster
    assert(fabric !== undefined && state !== undefined && possessions !== undefined, 'a connected cluster has a state')
    const locks = new Locks({
      fabric,
      state,
      possessions,
      lost: (pid, name, why) => {
        const reason = toBytes(`lock ${why}: ${name}`)
        relay.ask({ kind: 'cancel', to: toBytes(pid), from: '', reason }, () => {})
      },
    })
    this.#locks = locks
    this.#metrics.add(lockMetrics(locks))
  }

  /** Locks that are held in the cluster, by name, at most a thousand behind `after`. @throws MoonmeshError `Unavailable` without consensus */
  async locks(range: { prefix?: string; after?: string } = {}): Promise<LockInfo[]> {
    if (this.#locks !== undefined) return this.#locks.list(range)
    throw new MoonmeshError('Unavailable', 'this node has no clustering: nobody holds locks', { retryable: false })
  }

  async #startNames(cluster: Cluster, relay: Relay): Promise<void> {
    const { Names, nameMetrics } = await import('../cluster/index.ts')
    const { fabric, state, consensus, possessions } = cluster
    assert(fabric !== undefined && state !== undefined && possessions !== undefined, 'a connected cluster has a state')
    this.#names = new Names({
      fabric,
      host: {
        bear: (pid, done) => {
          this.#nodeServices.watch(pid)
          relay.bear(pid, done)
        },
        localHolder: (name) => relay.lookupLocal(name),
        localCount: () => relay.localNameCount,
        releaseLocal: (name) => relay.releaseName(name),
        changed: (names) => {
          relay.setShared(names)
          for (const { name, pid } of names) {
            const kind = pid === undefined ? 'name.released' : 'name.bound'
            this.#bus.publish({ system: 'names', kind, path: name, data: record({ name, pid }) })
          }
        },
        revoked: (name, pid) => {
          relay.ask({ kind: 'cancel', to: pid, from: '', reason: `name revoked: ${name}` }, () => {})
        },
      },
    })
    const names = this.#names
    const { strongDeadlineMs } = cluster.settings.names
    names.attach({ state, consensus, possessions, strongDeadlineMs })
    this.#metrics.add(nameMetrics(names))
  }

  /** What a name stood for was not there: the message goes once more, to what it stands for now. cluster.md §1.3 */
  async #sendAgain({ name, pid, from, message }: Undeliverable): Promise<void> {
    const to = await this.#names?.mistrust(name)
    if (to === undefined || to === pid || message === undefined) return
    this.#relay?.ask({ kind: 'send', to, from, ...message }, () => {})
  }

  #memberChanged({ kind, name, address, epoch, tags, reason }: MemberEvent): void {
    const change = kind === 'left' && reason === 'dead' ? 'failed' : kind
    const addr = formatAddress(address)
    const meta = record(Object.fromEntries([...tags].map(([key, value]) => [toBytes(key), toBytes(value)])))
    const data = record({ node: toBytes(name), addr: toBytes(addr), epoch, reason, meta })
    this.#bus.publish({ system: 'cluster', kind: `node.${change}`, path: toBytes(name), data })
    const level = change === 'failed' ? 'warn' : change === 'updated' ? 'debug' : 'info'
    const fields = {
      event: `node_${change}`,
      node: this.name,
      peer: name,
      address: addr,
      ...(reason === undefined ? {} : { reason }),
    }
    this.#log.write(level, fields, `node ${change}: ${name}`)
  }

  #groupChanged({ kind, node, term }: GroupEvent): void {
    const data = record({ node: toBytes(node), term })
    this.#bus.publish({ system: 'raft', kind, path: toBytes(node), data })
  }

  async #startAdmin(directory: NodeDirectory): Promise<void> {
    this.#admin = new AdminServer({ node: this, settings: this.app.settings.admin, directory, log: this.#log })
    await this.#admin.start()
  }

  /** Idempotent; `force` also hurries a stop that is under way. */
  stop(options: { force?: boolean } = {}): Promise<void> {
    if (this.#stopping !== undefined && options.force === true) this.#hurry()
    this.#stopping ??= this.#stop(options.force === true)
    return this.#stopping
  }

  async #stop(force: boolean): Promise<void> {
    const deadline = setTimeout(() => this.#hurry(), this.app.settings.shutdown.timeoutMs)
    // Others lead before the processes end here, so that their names and locks are given back without a wait.
    if (!force) await this.#cluster?.group?.stepAside({ isForGood: this.#isLeaving })
    // A program on the node's own terminal host is asked to end, and given the time, that one on a host of the app would have.
    await Promise.all([this.#supervisor?.stop({ force }), this.#stopTerminal(force ? 0 : STOP_MS)])
    clearTimeout(deadline)
    const stopping = { timeoutMs: 0, reason: 'scheduler shutdown' }
    await Promise.all([...this.#runners.values()].map(({ runner }) => runner.stop(stopping)))
    await this.#terminal.flushed()
    // The processes are gone, and with them what the others could want of this node.
    if (!force && this.#cluster !== undefined) {
      await (await this.#crdt?.catch(() => undefined))?.handOver(HAND_OVER_MS_MAX)
      await this.#cluster.leave()
    }
    await this.#closeRest()
  }

  /** Whoever has not ended by now is not waited for. */
  #hurry(): void {
    void this.#supervisor?.stop({ force: true })
    void this.#stopTerminal(0)
  }

  async #stopTerminal(timeoutMs: number): Promise<void> {
    await this.#runners.get(TERMINAL_HOST)?.runner.stop({ timeoutMs, reason: 'scheduler shutdown' })
  }

  async #closeRest(): Promise<void> {
    this.#loopLag?.close()
    this.#terminal.close()
    this.#actors?.close()
    await this.#nodeServices.close()
    await (await this.#crdt?.catch(() => undefined))?.close()
    this.#locks?.close()
    this.#nameWatches.close()
    this.#names?.close()
    await this.#cluster?.close()
    await this.#admin?.close()
    await this.#prometheus?.close()
    this.#stopStreaming()
    await this.#directory?.close()
  }

  // ---- services

  #control(): ServiceControl {
    return {
      start: (id) => this.#startEntry(id),
      stop: async (id, options) => {
        const runner = this.#runners.get(id)?.runner
        if (runner !== undefined) return runner.stop({ ...options, reason: 'scheduler shutdown' })
        return this.#services.has(id) ? this.#stopService(id, options) : this.#resources.stop(id, options)
      },
    }
  }

  /** The entries that a change under way makes, or those in force. */
  #changing: ReadonlyMap<string, Entry> | undefined

  async #startEntry(id: string): Promise<{ ended: Promise<Outcome> }> {
    const entry = (this.#changing ?? this.#registry.entries).get(id)
    if (entry === undefined) return neverEnds()
    if (isHost(entry)) return this.#runnerOf(entry).start()
    return entry.kind === 'process.service' ? this.#startService(entry) : this.#resources.start(entry)
  }

  async #startService(entry: ServiceEntry): Promise<{ ended: Promise<Outcome> }> {
    const { id } = entry
    const starting = this.#beginSpawn({
      ...BASE_REQUEST,
      host: toBytes(entry.host),
      entryId: toBytes(entry.process),
      args: entry.input.map((value) => fromPlain(value)),
      identity: identityOf(entry.lifecycle.security, entry.namespace, this.#policies()),
      wantsEnd: true,
    })
    this.#services.set(id, starting)
    const forget = (): void => {
      if (this.#services.get(id) === starting) this.#services.delete(id)
    }
    starting.running.then(({ ended }) => ended).then(forget, forget)
    return starting.running
  }

  async #stopService(id: string, options: { timeoutMs: number; reason: string }): Promise<'graceful' | 'forced'> {
    const started = this.#services.get(id)
    started?.abandon()
    const running = await started?.running.catch(() => undefined)
    if (running === undefined) return 'graceful'
    const { pid, ended } = running
    this.#switchboard.ask({ kind: 'cancel', to: pid, from: '', reason: toBytes(options.reason) }, () => {})
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), options.timeoutMs)
    })
    const first = await Promise.race([ended, late])
    clearTimeout(timer)
    if (first !== 'late') return 'graceful'
    this.#switchboard.ask({ kind: 'terminate', to: pid, from: '' }, () => {})
    await ended
    return 'forced'
  }

  // ---- running things

  get #switchboard(): Relay {
    if (this.#relay === undefined) throw new MoonmeshError('InvalidState', 'the node is not started')
    return this.#relay
  }

  /** Resolves with the PID; rejects with the spawn's error. */
  #spawn(request: SpawnRequest): Promise<RunningService> {
    return this.#beginSpawn(request).running
  }

  #beginSpawn(request: SpawnRequest): StartedService {
    let abandon = (): void => {}
    const running = new Promise<RunningService>((resolve, reject) => {
      let settle: (outcome: Outcome) => void = () => {}
      const ended = new Promise<Outcome>((done) => {
        settle = done
      })
      const answered = (answer: Answer<string>): void => {
        if (answer.ok) resolve({ pid: answer.value, ended })
        else reject(answer.error instanceof ErrorValue ? errorTo(answer.error) : answer.error)
      }
      abandon = this.#switchboard.spawn(request, answered, settle)
    })
    return { running, abandon }
  }

  /**
   * Starts a process of a Lua entry, or a TypeScript actor, and resolves with its PID.
   * @param options.host the host entry to run on; not needed for TypeScript actors
   * @throws MoonmeshError `NotFound` (entry or host), `Unavailable` (host not running), or the chunk's own error
   */
  async spawn(actor: string | ActorDefinition, options: ActorSpawnOptions = {}): Promise<string> {
    const { pid } = await this.#spawn(this.#actorHost.request('', actor, options))
    return toText(pid)
  }

  /** Starts it, waits for its end and resolves with its result as plain data. @throws MoonmeshError its failure */
  async exec(actor: string | ActorDefinition, options: ActorSpawnOptions = {}): Promise<Plain> {
    const { ended } = await this.#spawn({ ...this.#actorHost.request('', actor, options), wantsEnd: true })
    const outcome = await ended
    if (!outcome.ok) throw errorTo(outcome.error)
    return toPlain(outcome.value)
  }

  /**
   * Sends plain data to a process; resolves when it lies in the mailbox.
   * @param to a PID or a local name
   * @throws MoonmeshError `NotFound` (no such process or name), `LimitExceeded` (its mailbox is full)
   */
  async send(to: string, topic: string, ...values: unknown[]): Promise<void> {
    requireForm('to', to, 'text')
    // What `lookup` says holds here: a name that was taken a moment ago is on its way to the hosts.
    await this.#actorHost.sendPlain('', this.lookup(to) ?? to, topic, values)
  }

  /**
   * Writes a Lua process down, between two of its slices, as bytes from which `resume` makes it again, here or on another node. It waits until
   * no call of the process is under way that only this process can hear the end of (a request to a service, a send to another host).
   * @param options.stop the process ends in the same moment, for others with the error `process captured` (kind `Canceled`); default: it goes on
   * @param options.timeoutMs how long to wait; default 5000   @param options.maxBytes of what is written; default 64 MiB
   * @throws MoonmeshError `Invalid` naming the path to what cannot be saved, `Unavailable` (a call took longer than that), `NotFound`, `LimitExceeded`
   */
  async capture(pid: string, options: CaptureOptions = {}): Promise<Uint8Array> {
    requireForm('pid', pid, 'text')
    requireOptions(options, { stop: 'flag', timeoutMs: 'ms', maxBytes: 'count' })
    const { stop = false, timeoutMs = CAPTURE_MS, maxBytes: bytesMax = CAPTURE_BYTES_MAX } = options
    const answer = await new Promise<Answer<Value>>((resolve) =>
      this.#switchboard.capture({ kind: 'capture', to: toBytes(pid), stop, timeoutMs, bytesMax }, resolve),
    )
    if (!answer.ok) throw answer.error instanceof ErrorValue ? errorTo(answer.error) : answer.error
    const [about, heap] = (answer.value as TableValue).array
    const header = toPlain(about) as unknown as CapturedHeader
    return encodeDocument({ ...header, node: this.name, capturedAtMs: systemEnv.wallMs() }, heap as string)
  }

  /**
   * Makes a process of what `capture` wrote. It has a new PID; names, links and monitors of the old one it has not (`describeDocument` lists
   * them). Whoever can hand in a document decides what the process does and on whose behalf: keep documents as safe as code.
   * @param options.host default: the host where it was   @param options.name a local name that it has before it runs
   * @throws MoonmeshError `Invalid` (damaged), `Conflict` (the code is another one here), `AlreadyExists` (the name is taken), `NotFound` (no such entry or host), `Unavailable`
   */
  async resume(document: Uint8Array, options: ResumeOptions = {}): Promise<string> {
    requireForm('document', document, 'bytes')
    requireOptions(options, { host: 'text', name: 'text' })
    const { header, heap } = decodeDocument(document)
    const { host = header.host, name } = options
    if (host.includes('@')) {
      const text = `a process is resumed on a host of this node, not on ${host}; call resume on that node`
      throw new MoonmeshError('Invalid', text, { retryable: false })
    }
    const { pid } = await this.#spawn({
      ...BASE_REQUEST,
      host: toBytes(host),
      entryId: toBytes(header.entry),
      name: name === undefined ? undefined : toBytes(name),
      saved: heap,
    })
    return toText(pid)
  }

  /** The PID that a local name stands for. */
  lookup(name: string): string | undefined {
    requireForm('name', name, 'text')
    const pid = this.#switchboard.lookup(toBytes(name))
    return pid === undefined ? undefined : toText(pid)
  }

  /** Makes an actor known by name, so that Lua can spawn it on `system:actors`. */
  define(definition: ActorDefinition): void {
    this.#actorHost.define(definition)
  }

  get #actorHost(): ActorHost {
    if (this.#actors === undefined) throw new MoonmeshError('InvalidState', 'the node is not started')
    return this.#actors
  }

  /** Runs an entry on a terminal host, attached to the standard streams; resolves with its outcome. */
  async runOnTerminal(entryId: string, args: readonly string[]): Promise<Outcome> {
    const host = await this.#terminalHostReady()
    const bytes = args.map((argument) => toBytes(argument))
    for (const line of this.#switchboard.linesOf(toBytes(host))) line.port.post({ kind: 'terminal-args', args: bytes })
    const { ended } = await this.#spawn({
      ...BASE_REQUEST,
      host: toBytes(host),
      entryId: toBytes(entryId),
      args: bytes,
      wantsEnd: true,
    })
    const outcome = await ended
    await this.#terminal.flushed()
    return outcome
  }

  async #terminalHostReady(): Promise<string> {
    if (this.#terminalHost !== undefined) return this.#terminalHost
    const declared = this.entries().find((entry) => entry.kind === 'terminal.host')
    const id = declared?.id ?? TERMINAL_HOST
    if (declared === undefined) await this.#runners.get(id)?.runner.start()
    else if (this.services().find((service) => service.id === id)?.state !== 'running')
      await this.#supervisor?.startService(id)
    this.#terminalHost = id
    return id
  }

  #functionsReady: Promise<unknown> | undefined

  /** With the next call it starts anew after a crash. */
  async #startFunctions(): Promise<void> {
    const forget = (): void => {
      this.#functionsReady = undefined
    }
    const started = await this.#runners.get(FUNCTION_HOST)?.runner.start()
    void started?.ended.then(forget)
  }

  /** Runs a function or process entry on a host of the node's own; `Timeout` when it takes longer. */
  async call(
    entryId: string,
    args: readonly Value[],
    options: { timeoutMs?: number; attachments?: TableValue; signal?: AbortSignal } = {},
  ): Promise<Outcome> {
    this.#functionsReady ??= this.#startFunctions()
    await this.#functionsReady
    const request = {
      ...BASE_REQUEST,
      host: FUNCTION_HOST,
      entryId: toBytes(entryId),
      args,
      wantsEnd: true,
      allowsFunction: true,
      ...(options.attachments === undefined ? {} : { attachments: options.attachments }),
    }
    const { running, abandon } = this.#beginSpawn(request)
    const { timeoutMs, signal } = options
    let timer: NodeJS.Timeout | undefined
    let onAbort = (): void => {}
    const given = new Promise<Outcome>((resolve) => {
      const stop = (kind: 'Timeout' | 'Canceled', why: string): void => {
        abandon()
        running
          .then(({ pid }) => this.#switchboard.ask({ kind: 'terminate', to: pid, from: '' }, () => {}))
          .catch(() => {})
        resolve({ ok: false, error: new ErrorValue(kind, toBytes(`${entryId} ${why}`)) })
      }
      onAbort = () => stop('Canceled', 'was canceled')
      if (timeoutMs !== undefined) {
        timer = setTimeout(() => stop('Timeout', `took longer than ${timeoutMs} ms`), timeoutMs)
      }
      signal?.addEventListener('abort', onAbort)
    })
    try {
      return await Promise.race([running.then(({ ended }) => ended), given])
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', onAbort)
    }
  }

  // ---- new code

  /**
   * Takes over what edited files say. Processes that set `upgradable` hear of their new code; services whose process has not are started again.
   * @param before what the files said before
   * @throws MoonmeshError everything is as it was
   */
  async reloadEntries(before: readonly Entry[], after: readonly Entry[]): Promise<Reloaded> {
    const { added, changed, removed } = await this.#registry.reload(before, after)
    const entries = this.entries()
    const outdated = builtFrom(entries, new Set(changed))
    const upgradable = new Set((await this.processes()).filter((each) => each.isUpgradable).map(({ pid }) => pid))
    const told: string[] = []
    const restarted: string[] = []
    const failed: { readonly id: string; readonly error: string }[] = []
    for (const entry of entries) {
      // One that is changed itself was started again with the change.
      if (entry.kind !== 'process.service' || !outdated.has(entry.process) || changed.includes(entry.id)) continue
      const running = await this.#services.get(entry.id)?.running.catch(() => undefined)
      if (running === undefined) continue
      if (upgradable.has(toText(running.pid))) told.push(entry.id)
      else {
        await this.#supervisor?.restart(entry.id).then(
          () => restarted.push(entry.id),
          (error: unknown) => failed.push({ id: entry.id, error: messageOf(error) }),
        )
      }
    }
    return { added, changed, removed, restarted, told, failed }
  }

  // ---- consoles

  /** A Lua prompt inside this node. @throws MoonmeshError `LimitExceeded` */
  openConsole(tell: (news: ConsoleNews) => void): Console {
    return this.#consoles.open(tell)
  }

  async #spawnConsole(): Promise<RunningService> {
    const context = this.#runnerContext
    if (context === undefined || this.#stopping !== undefined) {
      throw new MoonmeshError('Unavailable', 'the node does not run', { retryable: true })
    }
    this.#consoleHost ??= this.#startConsoleHost(context)
    await this.#consoleHost
    return this.#spawn({ ...BASE_REQUEST, host: CONSOLE_HOST, entryId: CONSOLE_ENTRY, wantsEnd: true })
  }

  #consoleHost: Promise<unknown> | undefined

  /** Gone with the last console; one that crashes is started anew by the next. */
  async #startConsoleHost(context: RunnerContext): Promise<void> {
    await this.#consoleEnd
    const code = consoleCode(moduleNames)
    const runner = new HostRunner(
      {
        id: CONSOLE_HOST,
        workerCountMax: isSource ? 0 : 1,
        processCountMax: CONSOLE_PROCESSES_MAX,
        mailboxCountMax: MAILBOX_COUNT_MAX,
        memoryBytesMax: CONSOLE_MEMORY_BYTES_MAX,
        hasTerminal: false,
        isConsole: true,
      },
      { ...context, code: () => [...context.code(), code] },
    )
    this.#runners.set(CONSOLE_HOST, { entry: undefined, runner })
    const { ended } = await runner.start()
    void ended.then(() => {
      this.#consoleHost = undefined
    })
  }

  #consoleEnd: Promise<unknown> | undefined

  #endConsoleHost(): void {
    const starting = this.#consoleHost
    this.#consoleHost = undefined
    this.#consoleEnd = starting
      ?.catch(() => {})
      .then(() => this.#runners.get(CONSOLE_HOST)?.runner.stop({ timeoutMs: 0, reason: 'nobody has a console' }))
  }

  // ---- looking at it

  /** The entries in force, by id. */
  entries(): readonly Entry[] {
    return [...this.#registry.entries.values()]
  }

  #clusterAddresses(): { gossip?: string; mesh?: string } {
    if (this.#cluster === undefined) return {}
    const { gossipAddress: gossip, meshAddress: mesh } = this.#cluster
    return { gossip, ...(mesh === undefined ? {} : { mesh }) }
  }

  /**
   * Reads keys and certificates anew, where there are any. `app`: its file was read anew too; of it only what a group agrees on takes effect.
   * @throws MoonmeshError when this node leads the group and it does not take the settings now
   */
  async reload(app?: App): Promise<void> {
    await this.#cluster?.reload()
    const settings = app === undefined ? undefined : clusterSettingsOf(app)
    if (settings !== undefined) await this.#cluster?.changeSettings(settings)
  }

  /** The last lines, and those to come. */
  get log(): Pick<Log, 'recent' | 'subscribe'> {
    return this.#log
  }

  /** Tells what happens from now on. @returns ends it */
  watch(types: ReadonlySet<NodeEventType>, listener: (event: NodeEvent) => void): () => void {
    return this.#events.watch(types, listener)
  }

  /** Undefined: clustering is off. */
  /** Of the session in the replicated state, and of names. */
  readiness(): Check[] {
    const session = this.#cluster?.state?.check()
    const names = this.#names?.check()
    return [...(session === undefined ? [] : [session]), ...(names === undefined ? [] : [names])]
  }

  get cluster(): Cluster | undefined {
    return this.#cluster
  }

  /** What the admin interface shows of process groups. */
  get groups(): AdminGroups {
    return this.#groups
  }

  /** Leaves the cluster and stops; resolves when that has begun. */
  async leave(): Promise<void> {
    this.#isLeaving = true
    // Whoever asked through the admin interface has to hear the answer first.
    setImmediate(() => this.#exit(EXIT_OK))
  }

  services(): ServiceStatus[] {
    return this.#supervisor?.services() ?? []
  }

  /** @param options.countsMemory what they hold is counted, too, as far as that is little work */
  async processes(options?: { countsMemory: boolean }): Promise<(ProcessInfo & { names: string[] })[]> {
    const reports = await this.#switchboard.inspect(options)
    return reports
      .flatMap((report) => report.processes)
      .map((info) => ({
        ...info,
        pid: toText(info.pid),
        entry: toText(info.entry),
        host: toText(info.host),
        names: this.#switchboard.namesOf(info.pid).map(toText),
      }))
  }

  /** Names of processes as they resolve here, in every scope that has them. */
  names(): KnownName[] {
    const local = [...this.#switchboard.localNames()].map(([name, pid]) => ({ name, pid, scope: 'local' as const }))
    return [...(this.#names?.entries() ?? []), ...local]
      .map(({ name, pid, scope }) => ({ name: toText(name), pid: toText(pid), scope }))
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  }

  async figures(): Promise<(HostFigures & { host: string })[]> {
    const reports = await this.#switchboard.inspect()
    return reports.map((report) => ({ host: toText(report.host), ...report.figures }))
  }

  /** The workers of a host together. */
  async #figuresByHost(): Promise<(HostFigures & { host: string; workers: number })[]> {
    const byHost = new Map<string, HostFigures & { host: string; workers: number }>()
    for (const line of await this.figures()) {
      const known = byHost.get(line.host)
      if (known === undefined) byHost.set(line.host, { ...line, workers: 1 })
      else {
        known.workers++
        known.processes += line.processes
        known.slices += line.slices
        known.runQueue += line.runQueue
      }
    }
    return [...byHost.values()].sort((a, b) => (a.host < b.host ? -1 : 1))
  }

  /** What was recorded, as Prometheus reads it. */
  async metrics(): Promise<{ contentType: string; text: string }> {
    return { contentType: this.#metrics.contentType, text: await this.#metrics.text() }
  }

  #writeLog(entry: LogRecord): void {
    // No fields at all are an empty list, which would take the ones below nowhere.
    const given = entry.fields === undefined ? {} : toPlain(entry.fields)
    const fields: Record<string, unknown> = { ...(given as Record<string, unknown>) }
    fields['pid'] = toText(entry.pid)
    fields['entry'] = toText(entry.entry)
    if (entry.where !== '') fields['line'] = toText(entry.where)
    this.#log.write(entry.level, fields, toText(entry.text))
  }
}

/** The loader knows no more of them than that they are the cluster's; clusterOfThisMachine made them. */
function clusterSettingsOf({ settings }: App): ClusterSettings | undefined {
  return settings.cluster?.enabled === true ? (settings.cluster as ClusterSettings) : undefined
}

function hostDefinition(entry: HostEntry): HostDefinition {
  const hasTerminal = entry.kind === 'terminal.host'
  if (entry.kind === 'terminal.host') {
    return {
      id: entry.id,
      workerCountMax: 1,
      processCountMax: 1,
      mailboxCountMax: MAILBOX_COUNT_MAX,
      memoryBytesMax: undefined,
      hasTerminal,
    }
  }
  const { workers, maxProcesses, mailboxLimit, memoryLimitBytes } = entry.host
  return {
    id: entry.id,
    workerCountMax: workers,
    processCountMax: maxProcesses,
    mailboxCountMax: mailboxLimit,
    memoryBytesMax: memoryLimitBytes,
    hasTerminal,
  }
}

/** Everything that is started and stopped: hosts, the processes of services, and what resource keepers run. */
function serviceDefinitions(entries: readonly Entry[], resources: Resources): ServiceDefinition[] {
  const driverOf = new Map(entries.flatMap((entry) => (entry.kind === 'queue.queue' ? [[entry.id, entry.driver]] : [])))
  return entries.flatMap((entry) => {
    if (!('lifecycle' in entry)) return []
    const { id, kind, lifecycle } = entry
    const isStarted = kind === 'process.host' || kind === 'terminal.host' || kind === 'process.service'
    if (!isStarted && !resources.hasLifecycle(kind)) return []
    // A queue lives where its driver runs.
    const driver = entry.kind === 'queue.consumer' ? driverOf.get(entry.queue) : undefined
    const dependencies = [...dependenciesOf(entry), ...(driver === undefined ? [] : [driver])]
    return [{ id, kind, lifecycle, dependencies }]
  })
}

const isHost = (entry: Entry): entry is HostEntry => entry.kind === 'process.host' || entry.kind === 'terminal.host'

/** What entries may name although there is no entry of that id. */
function builtInIds(actors: readonly ActorDefinition[]): ReadonlyMap<string, EntryKind> {
  const ids = actors.map((actor): [string, EntryKind] => [actorEntryId(actor), 'process.lua'])
  return new Map<string, EntryKind>([[ACTOR_HOST, 'process.host'], ...ids])
}
