// The cluster of one node: builds the layers, bottom up, and closes them in the opposite order. cluster.md §1.1.

import { join } from 'node:path'
import type { Env } from '../runtime/base/env.ts'
import { MoonmeshError, messageOf } from '../runtime/base/errors.ts'
import { Histogram } from '../runtime/base/histogram.ts'
import { Backups } from './backup/backups.ts'
import { GOSSIP_PORT, isLoopback, parseJoinAddress } from './config/addresses.ts'
import { readSmallFile } from './config/machine.ts'
import { type ClusterSettings, gossipEnvelopeOf, swimSettingsOf } from './config.ts'
import { openConsensus } from './consensus.ts'
import { areClosed, askWitness, tellEvidence } from './crash-evidence.ts'
import { type Fabric, NodeFabric } from './fabric.ts'
import { Group, type GroupEvent } from './group.ts'
import { VersionedStores } from './kv/raft-store.ts'
import { LatestWins } from './latest-wins.ts'
import { logText } from './log-events.ts'
import { Mesh, type MeshStatistics } from './mesh/mesh.ts'
import { ProtocolError } from './mesh/wire/protocol-error.ts'
import { Affiliations } from './raft/affiliation.ts'
import { groupSettingsOf } from './raft/agreement.ts'
import type { Consensus } from './raft/consensus.ts'
import type { RaftDriver } from './raft/driver.ts'
import type { RaftFigures } from './raft/metrics.ts'
import { Secrets } from './secrets.ts'
import { Possessions } from './state/possessions.ts'
import { ClusterState } from './state/state.ts'
import { formatAddress } from './swim/core/address.ts'
import type { MemberEvent } from './swim/core/events.ts'
import { isLive, type Member } from './swim/core/members.ts'
import type { MemberState } from './swim/core/messages.ts'
import { Gossip, type GossipStatistics } from './swim/driver.ts'
import { PauseWatch, Timers } from './timers.ts'

interface ClusterOptions {
  readonly settings: ClusterSettings
  /** This run of the node's process. */
  readonly epoch: number
  readonly packageVersion: string
  readonly env: Env
  readonly handlers: ClusterHandlers
}

/** Why a message to another node was not taken. */
type SendRefusal = 'full' | 'too-large' | 'gone'

/** What comes over the sessions with other nodes. A session belongs to one run of a node; nothing is heard of it after its end. */
interface PeerHandlers {
  /** Another node is reached. */
  up(peer: Peer): void
  /** What it does not know yet, it will never know; the text says why. */
  down(peer: Peer, why: string): void
  /**
   * A message of the session, in order. The bytes may be a view of a larger buffer.
   * @returns what is wrong with them: that connection is closed, as for any breach of the protocol, and the session goes on over another one
   */
  message(peer: Peer, bytes: Uint8Array): string | undefined
}

/** Another node in one run of it, while its session lasts. */
interface Peer {
  readonly name: string
  readonly epoch: number
}

interface ClusterHandlers {
  /** Strictly alternating joined and left for each name, with updates in between. Not about this node. */
  member(event: MemberEvent): void
  /** An earlier run of this node was found to have a later epoch; from now on this one's is beyond it. */
  epochRaised(epoch: number): void
  /** Who leads, and who votes, has changed. */
  group?(event: GroupEvent): void
  /** This node cannot be part of the cluster after all; the text says why and what to do. */
  failed(error: MoonmeshError): void
  log(level: 'info' | 'warn' | 'error', fields: Record<string, string | number>, text: string): void
}

/** A known node, in any state. */
export interface ClusterMember {
  readonly name: string
  /** Of gossip: `host:port`. */
  readonly address: string
  readonly state: MemberState
  /** `foreign`: it speaks gossip and is no Moonmesh node. */
  readonly role: 'leader' | 'voter' | 'standby' | 'client' | 'foreign'
  readonly isLocal: boolean
  readonly incarnation: number
  /** Of a probe, averaged; undefined before the first, and for this node. */
  readonly rttMs: number | undefined
  readonly tags: ReadonlyMap<string, string>
}

/** What this version of the mesh speaks. */
const MESH_PROTOCOL = '1-1'
/** How long the start waits for a first answer; a cluster that is not there yet is joined later. */
const SETTLE_ROUNDS = 4
/** Of the gossip health check. */
const BOOT_GRACE_MS = 60_000
const UNWELL_MS_MAX = 30_000
/** From a neighbour's round of gossip to a node that was cut off for an hour. */
const CONVERGENCE_SECONDS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600]

export class Cluster {
  readonly settings: ClusterSettings
  /** How old changes that spread by gossip were when they were taken over here. */
  readonly convergence = new Histogram(CONVERGENCE_SECONDS)
  readonly #env: Env
  readonly #gossip: Gossip
  readonly #startedAtMs: number
  readonly #pauses: PauseWatch
  readonly #secrets: Secrets
  readonly #reloads = new LatestWins(() => this.#reload())
  #stopWatching: () => void = () => {}
  readonly #handlers: ClusterHandlers
  readonly #tags: Map<string, string>
  readonly #timers: Timers
  #fabric: NodeFabric | undefined
  #state: ClusterState | undefined
  #stores: VersionedStores | undefined
  #backups: Backups | undefined
  #possessions: Possessions | undefined
  #raft: RaftDriver | undefined
  #group: Group | undefined
  #epoch: number
  #mesh: Mesh | undefined
  /** Those that are up, by name. */
  readonly #peers = new Map<string, Peer>()
  #closing: Promise<void> | undefined

  private constructor({ settings, env, handlers, epoch }: ClusterOptions, gossip: Gossip, own: OwnParts) {
    this.settings = settings
    this.#env = env
    this.#gossip = gossip
    this.#handlers = handlers
    this.#pauses = own.pauses
    this.#secrets = new Secrets({ settings, wallMs: () => env.wallMs(), readFile: readSmallFile })
    this.#tags = own.tags
    this.#timers = own.timers
    this.#epoch = epoch
    this.#startedAtMs = env.nowMs()
  }

  /**
   * Listens, announces this node and makes a first attempt to join; the rest happens by itself.
   * @throws MoonmeshError when a port is in use, an address is none of this machine, or the name is another running node's
   */
  static async start(options: ClusterOptions): Promise<Cluster> {
    const { settings, env, handlers, epoch } = options
    const { membership, name } = settings
    let refuse: (error: MoonmeshError) => void = handlers.failed
    const timers = new Timers(env)
    const own = { pauses: new PauseWatch(env), tags: tagsOf(options), timers }
    let cluster: Cluster | undefined
    const fabricOf = (): NodeFabric | undefined => (cluster === undefined ? undefined : cluster.#fabric)
    const gossip = await Gossip.open({
      name,
      clusterId: settings.id,
      epoch,
      tags: own.tags,
      pauses: own.pauses,
      bind: { host: membership.bindHost, port: membership.bindPort },
      advertise: { host: membership.advertiseHost, port: membership.advertisePort },
      seeds: membership.seeds,
      settings: swimSettingsOf(settings),
      envelope: gossipEnvelopeOf(settings),
      env,
      evidence: {
        areClosed: (member, timeoutMs) => areClosed(member, timeoutMs, timers),
        ask: (peer, about, timeoutMs) =>
          askWitness(cluster === undefined ? undefined : cluster.#mesh, peer, about, timeoutMs),
      },
      handlers: {
        member: (event) => {
          if (event.name !== name && cluster !== undefined) cluster.#memberChanged(event)
        },
        frames: (frames, from) => fabricOf()?.framesReceived(frames, from),
        exchangeFrames: () => fabricOf()?.exchangeFrames() ?? [],
        nameInUse: (address) => refuse(nameInUse(name, address)),
        epochRaised: (raised) => {
          handlers.log('warn', { event: 'epoch_raised', epoch: raised }, EPOCH_TEXT)
          if (cluster !== undefined) cluster.#epochRaised(raised)
        },
        log: (level, event, fields) => handlers.log(level, { event, ...fields }, logText(event)),
      },
    })
    cluster = new Cluster(options, gossip, own)
    try {
      await new Promise<void>((resolve, reject) => {
        refuse = reject
        gossip.start()
        const late = setTimeout(resolve, SETTLE_ROUNDS * membership.tcpTimeoutMs)
        void gossip.settled.then(() => {
          clearTimeout(late)
          resolve()
        })
      })
      refuse = handlers.failed
      return cluster
    } catch (error) {
      await cluster.close()
      throw error
    }
  }

  #memberChanged(event: MemberEvent): void {
    this.#mesh?.member(event)
    this.#handlers.member(event)
    this.#fabric?.memberChanged(event)
  }

  #epochRaised(epoch: number): void {
    this.#epoch = epoch
    this.#mesh?.raiseEpoch(epoch)
    this.#state?.epochRaised()
    this.#handlers.epochRaised(epoch)
  }

  /**
   * Opens the mesh: from now on other nodes are reached.
   * @throws MoonmeshError when its port is in use, the certificates do not hold, or the cluster is closed meanwhile (`Canceled`)
   */
  async connect(peers: PeerHandlers): Promise<void> {
    const { settings } = this
    const { internode } = settings
    this.#assertOpen()
    const mesh = await Mesh.open({
      name: settings.name,
      epoch: this.#epoch,
      clusterId: settings.id,
      bind: { host: internode.bindHost, port: internode.bindPort },
      security: (await this.#secrets.read()).security,
      settings: {
        handshakeTimeoutMs: internode.handshakeTimeoutMs,
        keepaliveIntervalMs: internode.keepaliveIntervalMs,
        keepaliveTimeoutMs: internode.keepaliveTimeoutMs,
        messageBytesMax: internode.messageBytesMax,
        queueBytesMax: internode.queueBytesMax,
        totalQueueBytesMax: internode.totalQueueBytesMax,
        topology: internode.topology,
      },
      env: this.#env,
      pauses: this.#pauses,
      log: (level, event, fields) => this.#handlers.log(level, { event, ...fields }, logText(event)),
    })
    if (this.#closing !== undefined) await mesh.close()
    this.#assertOpen()
    this.#mesh = mesh
    this.#stopWatching = this.#secrets.watch(() => void this.reload())
    tellEvidence(mesh, this.#gossip)
    mesh.on('node-up', ({ peer: name, epoch }) => {
      const peer = { name, epoch }
      this.#peers.set(name, peer)
      peers.up(peer)
    })
    mesh.on('node-down', ({ peer: name, epoch, reason }) => {
      const peer = this.#peers.get(name)
      if (peer?.epoch !== epoch) return
      this.#peers.delete(name)
      peers.down(peer, reason)
    })
    mesh.onMessage('app', ({ peer: name, epoch, bytes }) => {
      const peer = this.#peers.get(name)
      const problem = peer?.epoch === epoch ? peers.message(peer, bytes) : undefined
      if (problem !== undefined) throw new ProtocolError(problem)
    })
    this.#fabric = new NodeFabric({
      name: settings.name,
      env: this.#env,
      timers: this.#timers,
      gossip: this.#gossip,
      mesh,
      epoch: () => this.#epoch,
      setTag: (key, value) => this.#setTag(key, value),
      converged: (ageMs) => this.convergence.observe(ageMs / 1000),
      log: (level, event, fields) => this.#handlers.log(level, { event, ...fields }, logText(event)),
    })
    const { storage } = settings.raft
    const path = storage.kind === 'memory' ? undefined : join(storage.dir, '_sys', 'formation')
    const affiliations = await Affiliations.open({ fabric: this.#fabric, path })
    this.#assertOpen()
    if (settings.raft.role === 'server') await this.#openConsensus(this.#fabric, mesh)
    this.#group = new Group({
      fabric: this.#fabric,
      consensus: this.#raft,
      affiliations,
      settings,
      onEvent: (event) => this.#handlers.group?.(event),
    })
    for (const member of this.#gossip.members()) {
      const { name, epoch, address, tags } = member
      if (name !== settings.name && epoch !== undefined && isLive(member)) {
        mesh.member({ kind: 'joined', name, epoch, address, tags })
      }
    }
    this.#tags.set('mesh', MESH_PROTOCOL)
    this.#setTag('internode_port', String(mesh.port))
    this.#state = this.#openState(this.#fabric)
    this.#stores = new VersionedStores({ fabric: this.#fabric, state: this.#state, consensus: this.#raft })
    this.#backups = new Backups({
      fabric: this.#fabric,
      consensus: this.#raft,
      state: this.#state,
      clusterId: settings.id,
      version: this.#tags.get('version') ?? '',
      defer: (run) => setImmediate(run),
    })
  }

  #openState(fabric: Fabric): ClusterState {
    const { raft, sessionTtlMs: ttlMs } = this.settings
    const agreement = this.#group?.agreement
    const state = new ClusterState({
      fabric,
      consensus: this.#raft,
      session: { ttlMs, renewIntervalMs: raft.leaderProbeIntervalMs, graceCount: raft.leaderProbeGrace },
      ...(agreement === undefined
        ? {}
        : { ttl: { grantMs: () => agreement.sessionTtlMs, waitMs: () => agreement.sessionWaitMs } }),
      role: raft.role === 'server' ? 'server' : 'client',
    })
    this.#possessions = new Possessions(fabric, state)
    state.start()
    return state
  }

  /** What processes of this node own in the replicated state ends with them; undefined before `connect`. */
  get possessions(): Possessions | undefined {
    return this.#possessions
  }

  /** The versioned store; undefined before `connect`. */
  get stores(): VersionedStores | undefined {
    return this.#stores
  }

  /** Takes backups of the replicated state; undefined before `connect`. */
  get backups(): Backups | undefined {
    return this.#backups
  }

  /** Commands, sessions and reads of the replicated state; undefined before `connect`. */
  get state(): ClusterState | undefined {
    return this.#state
  }

  async #openConsensus(fabric: Fabric, mesh: Mesh): Promise<void> {
    const raft = await openConsensus(this.settings, fabric, this.#pauses)
    if (this.#closing !== undefined) await raft.close()
    this.#assertOpen()
    this.#raft = raft
    const describe = (): void => mesh.describe({ storeId: raft.meta.storeId, formationId: raft.meta.formation ?? '' })
    raft.onStatus(describe)
    describe()
  }

  /** The part that this node has in consensus; undefined before `connect`, and on a client. */
  get consensus(): Consensus | undefined {
    return this.#raft
  }

  /** This node's part in the group; undefined before `connect`. */
  get group(): Group | undefined {
    return this.#group
  }

  /** Undefined where `consensus` is. */
  raftFigures(): RaftFigures | undefined {
    if (this.#raft === undefined) return undefined
    const figures = { status: this.#raft.status(), statistics: this.#raft.statistics }
    const { votersMax } = this.settings.raft
    const membership = this.#group?.membership.statistics
    return { ...figures, votersMax, ...(membership === undefined ? {} : { membership }) }
  }

  /** What the services above stand on; undefined before `connect`. */
  get fabric(): Fabric | undefined {
    return this.#fabric
  }

  #setTag(key: string, value: string | undefined): void {
    if (this.#tags.get(key) === value) return
    const tags = new Map(this.#tags)
    if (value === undefined) tags.delete(key)
    else tags.set(key, value)
    this.#gossip.setTags(new Map(tags))
    if (value === undefined) this.#tags.delete(key)
    else this.#tags.set(key, value)
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw new MoonmeshError('Canceled', 'the cluster was closed while it started')
  }

  /**
   * Reads keys and certificates anew. What is wrong with them is logged, and the old ones stay. Calls that overlap are carried out one after
   * the other, so that the last state of the files is the one in use.
   * @returns whether the new ones are in use
   */
  reload(): Promise<boolean> {
    return this.#reloads.run()
  }

  /**
   * The settings were read anew. Those on which a group agrees take effect through its leader, all others with the next start.
   * @throws MoonmeshError when this node leads and the group does not take them now
   */
  async changeSettings({ raft, sessionTtlMs }: ClusterSettings): Promise<void> {
    await this.#group?.agreement?.reload(groupSettingsOf(raft, sessionTtlMs))
  }

  async #reload(): Promise<boolean> {
    try {
      const { keys, security } = await this.#secrets.read()
      if (this.#closing !== undefined) return false
      const [primary] = keys
      if (primary !== undefined) {
        for (const key of keys) this.#gossip.addKey(key)
        this.#gossip.useKey(primary)
        const isKept = (key: Uint8Array): boolean => keys.some((each) => Buffer.compare(each, key) === 0)
        for (const key of [...this.#gossip.keys()]) if (!isKept(key)) this.#gossip.removeKey(key)
      }
      this.#mesh?.reload(security)
      this.#handlers.log(
        'info',
        { event: 'secrets_reloaded', keys: keys.length },
        'keys and certificates were read anew',
      )
      return true
    } catch (error) {
      const reason = messageOf(error)
      this.#handlers.log(
        'error',
        { event: 'secrets_refused', reason },
        'new keys or certificates cannot be used; the old ones stay',
      )
      return false
    }
  }

  /** Whether a small message to another node would be taken. */
  hasRoom({ name, epoch }: Peer): boolean {
    return this.#mesh?.hasRoom(name, 'app', epoch) === true
  }

  /** Why another node would not be sent so many bytes now. @param isSignal may go beyond the bound of the queue */
  refusal({ name, epoch }: Peer, byteCount: number, isSignal: boolean): SendRefusal | undefined {
    const refusal = this.#mesh?.refusal(name, 'app', byteCount, { epoch, isSignal })
    switch (refusal) {
      case undefined:
        return this.#mesh === undefined ? 'gone' : undefined
      case 'too_large':
        return 'too-large'
      case 'queue_full':
        return 'full'
      case 'overflow':
        // Taking it breaks the session: that is how the others hear that something is lost.
        return undefined
      default:
        return 'gone'
    }
  }

  /** Queues bytes for another node, beyond the bound of the queue if need be; nobody may change them afterwards. */
  send({ name, epoch }: Peer, bytes: Uint8Array): void {
    this.#mesh?.send(name, 'app', bytes, { epoch, isSignal: true })
  }

  /** Undefined before the mesh is open. */
  meshStatistics(): MeshStatistics | undefined {
    return this.#mesh?.statistics()
  }

  /** Where the mesh listens, `host:port`; undefined before it does. */
  get meshAddress(): string | undefined {
    return this.#mesh === undefined
      ? undefined
      : formatAddress({ host: this.settings.internode.bindHost, port: this.#mesh.port })
  }

  /** Where gossip listens, `host:port`. */
  get gossipAddress(): string {
    return formatAddress(this.#gossip.boundAddress)
  }

  /** Nobody but this machine can reach it. */
  get isLocalOnly(): boolean {
    return isLoopback(this.#gossip.boundAddress.host)
  }

  /** Every known node in any state: this one first, the others by name. */
  members(): ClusterMember[] {
    const leader = this.#group?.status().leader
    const all = this.#gossip.members().map((member) => this.#memberOf(member, leader))
    return [...all.filter((member) => member.isLocal), ...all.filter((member) => !member.isLocal)]
  }

  /** How many are alive or suspect and speak for this cluster, this node among them. */
  get size(): number {
    return this.#gossip.members().filter((member) => isLive(member) && member.epoch !== undefined).length
  }

  #memberOf(member: Member, leader: string | undefined): ClusterMember {
    const isLocal = member.name === this.settings.name
    return {
      name: member.name,
      address: formatAddress(member.address),
      state: member.state,
      role: member.name === leader && isLive(member) ? 'leader' : roleOf(member),
      isLocal,
      incarnation: member.incarnation,
      rttMs: isLocal ? undefined : (this.#mesh?.link(member.name)?.rttMs ?? this.#gossip.rttMs(member.name)),
      tags: member.tags,
    }
  }

  /**
   * Joins through these gossip addresses, `host[:port]` or `name/host[:port]`.
   * @returns how many answered
   * @throws MoonmeshError `Invalid` for text that is no address
   */
  join(addresses: readonly string[]): Promise<number> {
    const { bindPort } = this.settings.membership
    const seeds = addresses.map((text) => {
      const parsed = parseJoinAddress(text)
      if ('why' in parsed) throw new MoonmeshError('Invalid', parsed.why, { retryable: false })
      const { name, host, port } = parsed.value
      return { name, host, port: port ?? (bindPort === 0 ? GOSSIP_PORT : bindPort) }
    })
    return this.#gossip.join(seeds)
  }

  statistics(): GossipStatistics {
    return this.#gossip.statistics()
  }

  /** The gossip health check: a node that doubts itself for long cannot judge others. */
  health(): { ok: boolean; detail: string } {
    const nowMs = this.#env.nowMs()
    const { unwellMs } = this.#gossip
    const { healthScore } = this.#gossip.statistics()
    const ok = unwellMs < UNWELL_MS_MAX || nowMs - this.#startedAtMs < BOOT_GRACE_MS
    const detail = `${this.size} members, health score ${healthScore}${ok ? '' : ` for ${Math.round(unwellMs / 1000)} s`}`
    return { ok, detail }
  }

  /** Tells the others that this node leaves, and closes. Idempotent. */
  leave(): Promise<void> {
    this.#closing ??= this.#leave()
    return this.#closing
  }

  async #leave(): Promise<void> {
    await this.#state?.leave()
    this.#mesh?.leave()
    await this.#gossip.leave()
    await this.#close()
  }

  /** Falls silent at once. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#stopWatching()
    this.#backups?.close()
    this.#stores?.close()
    this.#possessions?.close()
    await this.#state?.close()
    await this.#group?.close()
    await this.#raft?.close()
    await this.#gossip.close()
    await this.#mesh?.close()
    this.#timers.close()
    this.#pauses.close()
  }
}

interface OwnParts {
  readonly pauses: PauseWatch
  readonly tags: Map<string, string>
  readonly timers: Timers
}

const EPOCH_TEXT =
  'an earlier run of this node had a later epoch; this run counts on from it. Was the data directory lost and the clock set back?'

function tagsOf({ settings, packageVersion }: ClusterOptions): Map<string, string> {
  return new Map([
    ['role', 'moonmesh'],
    ['version', packageVersion],
    ['failure_domain', settings.failureDomain],
  ])
}

function roleOf(member: Member): ClusterMember['role'] {
  if (member.epoch === undefined) return 'foreign'
  const role = member.tags.get('raft_role')
  return role === 'voter' || role === 'standby' ? role : 'client'
}

function nameInUse(name: string, address: string): MoonmeshError {
  const text = `node name "${name}" is in use at ${address}; give this node another one, with node.name`
  return new MoonmeshError('AlreadyExists', text, { retryable: false, details: { address } })
}
