// The `cluster:` section of the settings: every key with its unit, default and bounds, the rules between them, and what they come to.
// Nothing here touches the machine: host name, addresses, clock and files come in through the context. cluster.md §2.

import { NODE_NAME, nodeNameOf } from '../runtime/base/node-name.ts'
import { GOSSIP_PORT, type Interface } from './config/addresses.ts'
import { settingsIn } from './config/forms.ts'
import { KEYS } from './config/keys.ts'
import { type ConfigProblem, type ConfigWarning, Draft } from './config/read.ts'
import { applyRules, type ClusterDraft, type Derived } from './config/rules.ts'
import { type Files, gossipKeys, type Hosts, hosts, type TlsFiles, tlsFiles } from './config/security.ts'
import { tagsProblem } from './config/tags-size.ts'
import type { Cidr } from './swim/core/address.ts'
import { defaultSwimSettings, type SwimSettings, VERSIONS } from './swim/core/settings.ts'
import { Keyring } from './swim/wire/keyring.ts'
import { type Envelope, packetBudget } from './swim/wire/packet.ts'

/** A node to be joined, as `membership.join_addrs` names it. */
interface Seed {
  /** The node that is expected there; undefined: whoever answers. */
  readonly name: string | undefined
  /** Canonical IP, or a DNS name that is resolved at each attempt. */
  readonly host: string
  readonly port: number
}

interface MembershipSettings {
  /** Canonical IP. */
  readonly bindHost: string
  /** 0: any free one. */
  readonly bindPort: number
  /** Canonical IP, or a DNS name that is resolved at start and at every new announcement. */
  readonly advertiseHost: string
  /** Undefined: the bound one. */
  readonly advertisePort: number | undefined
  readonly seeds: readonly Seed[]
  /** 16, 24 or 32 bytes each, the one that encrypts first; empty: gossip is plain text. */
  readonly keys: readonly Uint8Array[]
  /** Those of them that only decrypt, and come from the settings themselves. */
  readonly decryptKeys: readonly Uint8Array[]
  /** The file they came from, to be read again when it changes. */
  readonly keyFile: string | undefined
  readonly verifyIncoming: boolean
  readonly verifyOutgoing: boolean
  /** 0..255 bytes. */
  readonly label: Uint8Array
  readonly interop: 'serf' | 'memberlist'
  readonly gossipIntervalMs: number
  readonly gossipNodes: number
  /** 0: never. */
  readonly pushPullIntervalMs: number
  readonly probeIntervalMs: number
  readonly probeTimeoutMs: number
  readonly tcpTimeoutMs: number
  readonly suspicionMult: number
  readonly suspicionMaxMult: number
  readonly indirectChecks: number
  readonly retransmitMult: number
  readonly awarenessMax: number
  readonly gossipToTheDeadMs: number
  /** 0: never by time. */
  readonly deadNodeReclaimMs: number
  readonly reconnectIntervalMs: number
  readonly reconnectTimeoutMs: number
  readonly packetBytes: number
  readonly compression: boolean
  readonly tcpPings: boolean
  /** Empty: all. */
  readonly allowedCidrs: readonly Cidr[]
}

interface InternodeSettings {
  /** Canonical IP. */
  readonly bindHost: string
  /** 0: one of 7950 to 7959, else any free one. */
  readonly bindPort: number
  readonly advertise: { readonly host: string /** 0: the bound one. */; readonly port: number } | undefined
  readonly handshakeTimeoutMs: number
  readonly keepaliveIntervalMs: number
  readonly keepaliveTimeoutMs: number
  readonly messageBytesMax: number
  readonly queueBytesMax: number
  readonly totalQueueBytesMax: number
  readonly topology: 'auto' | 'full' | 'lazy'
}

export interface RaftSettings {
  /** `client` also when `raft.enabled` is false. */
  readonly role: 'server' | 'client'
  /** `dir` is absolute: raft lives under `<dir>/_sys/raft`, the durable CRDT stores under `<dir>/_sys/kvcrdt`. */
  readonly storage: { readonly kind: 'disk'; readonly dir: string } | { readonly kind: 'memory' }
  /** May become a voter. False on a client. */
  readonly isEligible: boolean
  readonly priority: number
  readonly bootstrapExpect: number
  /** Whether the file says so, or it is the default. */
  readonly isBootstrapExpectGiven: boolean
  readonly bootstrapStabilityMs: number
  /** Odd. */
  readonly votersMax: number
  readonly standbysMax: number
  /** Odd, at most votersMax. */
  readonly votersMin: number
  readonly reconcileDebounceMs: number
  readonly reconcileTimeoutMs: number
  readonly evictGraceMs: number
  readonly heartbeatTimeoutMs: number
  /** At least heartbeatTimeoutMs. */
  readonly electionTimeoutMs: number
  /** At most a third of heartbeatTimeoutMs. */
  readonly commitTimeoutMs: number
  readonly appendEntriesMax: number
  readonly inflightMax: number
  readonly entryBytesMax: number
  readonly uncommittedBytesMax: number
  readonly snapshotThreshold: number
  readonly snapshotIntervalMs: number
  readonly snapshotRetain: number
  readonly trailingLogs: number
  readonly readMode: 'index' | 'lease'
  readonly leaderProbeIntervalMs: number
  readonly leaderProbeGrace: number
  /** 0: leadership is not handed over. */
  readonly shutdownTransferTimeoutMs: number
}

export interface ClusterSettings {
  readonly enabled: boolean
  /** The cluster id. */
  readonly id: string
  /** This node. */
  readonly name: string
  readonly failureDomain: string
  readonly allowInsecure: boolean
  readonly strictCode: boolean
  readonly sessionTtlMs: number
  /** What protects the traffic; never negotiated. `key`: TLS with a pre-shared key that is derived from the gossip key. */
  readonly security: { readonly gossip: 'plain' | 'key'; readonly mesh: 'plain' | 'key' | 'certificates' }
  readonly membership: MembershipSettings
  readonly internode: InternodeSettings
  readonly raft: RaftSettings
  readonly names: { readonly strongDeadlineMs: number }
  readonly kv: {
    readonly valueBytesMax: number
    /** 0: for ever. */
    readonly crdtTombstoneRetentionMs: number
    readonly crdtSkewMsMax: number
  }
  readonly tls: TlsFiles | undefined
}

export interface ClusterContext extends Files {
  /** The machine's name, as the operating system has it. */
  readonly hostName: string
  /** `node.name`, when the settings have it. */
  readonly nodeName: string | undefined
  /** `node.data_dir`, absolute. */
  readonly dataDir: string
  readonly interfaces: readonly Interface[]
  /** Of this package: it travels in the node's tags. */
  readonly packageVersion: string
  /** Wall-clock milliseconds: certificates expire. */
  readonly nowMs: number
}

export interface ClusterReading {
  /** Undefined when there are problems. */
  readonly settings: ClusterSettings | undefined
  /** All of them; paths are below `cluster`. */
  readonly problems: readonly ConfigProblem[]
  /** To be logged once at start; none while the cluster is off. */
  readonly warnings: readonly ConfigWarning[]
}

/** Settings whose value is text whatever it looks like, when a flag or a variable brings it: `name`, `membership.secret_key`. */
export const TEXT_KEYS: ReadonlySet<string> = new Set(
  settingsIn(KEYS).flatMap(({ path, setting }) => (setting.isText ? [path] : [])),
)

/**
 * Reads the section. The whole of it is validated also while `enabled` is false.
 * @param raw plain data, keys as in the file; undefined for an absent section
 */
export function clusterSettings(raw: unknown, context: ClusterContext): ClusterReading {
  const draft = new Draft(KEYS, raw)
  const { values } = draft
  const derived = applyRules(draft)
  const name = nameOf(draft, context)
  const secrets = gossipKeys(draft, context)
  const { tls, isMeant: isTlsMeant } = tlsFiles(draft, context, {
    nodeName: draft.areSound('name') ? name : undefined,
    nowMs: context.nowMs,
  })
  const places = hosts(draft, { isKeyed: secrets.isKeyed, hasTls: isTlsMeant, interfaces: context.interfaces })
  checkTags(draft, context)
  const warnings = values.enabled ? draft.warnings : []
  if (draft.problems.length > 0) return { settings: undefined, problems: draft.problems, warnings }
  const keyed = secrets.keys.length > 0
  const settings: ClusterSettings = {
    enabled: values.enabled,
    id: values.id,
    name,
    failureDomain: values.failure_domain,
    allowInsecure: values.allow_insecure,
    strictCode: values.strict_code,
    sessionTtlMs: values.session_ttl,
    security: {
      gossip: keyed ? 'key' : 'plain',
      mesh: tls !== undefined ? 'certificates' : keyed ? 'key' : 'plain',
    },
    membership: membershipOf(draft, places, secrets),
    internode: internodeOf(draft, places),
    raft: raftOf(draft, derived, { ...context, name }),
    names: { strongDeadlineMs: values.names.strong_deadline },
    kv: {
      valueBytesMax: values.kv.max_value_size,
      crdtTombstoneRetentionMs: values.kv.crdt_tombstone_retention,
      crdtSkewMsMax: values.kv.crdt_max_skew,
    },
    tls,
  }
  return { settings, problems: [], warnings }
}

/** What the gossip machine is told. */
export function swimSettingsOf(settings: ClusterSettings): SwimSettings {
  const { membership } = settings
  return {
    gossipIntervalMs: membership.gossipIntervalMs,
    gossipNodes: membership.gossipNodes,
    pushPullIntervalMs: membership.pushPullIntervalMs,
    probeIntervalMs: membership.probeIntervalMs,
    probeTimeoutMs: membership.probeTimeoutMs,
    tcpTimeoutMs: membership.tcpTimeoutMs,
    suspicionMult: membership.suspicionMult,
    suspicionMaxMult: membership.suspicionMaxMult,
    indirectChecks: membership.indirectChecks,
    retransmitMult: membership.retransmitMult,
    awarenessMax: membership.awarenessMax,
    gossipToTheDeadMs: membership.gossipToTheDeadMs,
    deadNodeReclaimMs: membership.deadNodeReclaimMs,
    reconnectIntervalMs: membership.reconnectIntervalMs,
    reconnectTimeoutMs: membership.reconnectTimeoutMs,
    tcpPings: membership.tcpPings,
    allowedCidrs: membership.allowedCidrs,
    packetBudgetBytes: packetBudget(membership.packetBytes, gossipEnvelopeOf(settings)),
    speaksSerf: membership.interop === 'serf',
    versions: VERSIONS[membership.interop],
    membersMax: defaultSwimSettings.membersMax,
    userFramesMax: defaultSwimSettings.userFramesMax,
  }
}

/** How gossip wraps what it sends: label, keys, compression. Each call makes a key ring of its own. */
export function gossipEnvelopeOf({ membership }: ClusterSettings): Envelope {
  const { label, verifyIncoming, verifyOutgoing, compression } = membership
  const [primary, ...others] = membership.keys
  const plain = { label, encryptionVersion: 1, verifyIncoming, verifyOutgoing, compression } as const
  return primary === undefined ? plain : { ...plain, keyring: new Keyring(primary, others) }
}

/** One node has one name: PIDs, gossip and the data directory go by the same. */
function nameOf(draft: ClusterDraft, { nodeName, hostName }: ClusterContext): string {
  const given = draft.values.name
  if (given !== undefined && nodeName !== undefined && given !== nodeName && draft.values.enabled) {
    draft.problem(
      'name',
      `"${given}" is not node.name, which is "${nodeName}"; a node has one name: remove one of them`,
    )
  }
  if (given !== undefined || nodeName !== undefined) return given ?? (nodeName as string)
  const name = nodeNameOf(hostName)
  if (!NODE_NAME.test(hostName)) {
    draft.warn('name', `the host name ${JSON.stringify(hostName)} cannot name a node; this one is called "${name}"`)
  }
  return name
}

function checkTags(draft: ClusterDraft, { packageVersion }: ClusterContext): void {
  const { id, failure_domain: failureDomain, internode, raft } = draft.values
  if (!draft.areSound('id', 'failure_domain', 'internode.advertise_addr', 'raft.priority')) return
  const meshHost = internode.advertise_addr
  const why = tagsProblem({ id, failureDomain, packageVersion, meshHost, priority: raft.priority })
  if (why !== undefined) draft.problem(draft.toBlame('internode.advertise_addr', 'failure_domain', 'id'), why)
}

function membershipOf(
  draft: ClusterDraft,
  places: Hosts,
  { keys, file }: { keys: readonly Uint8Array[]; file: string | undefined },
): MembershipSettings {
  const { membership: given } = draft.values
  const seedPort = given.bind_port === 0 ? GOSSIP_PORT : given.bind_port
  return {
    bindHost: places.gossip,
    bindPort: given.bind_port,
    advertiseHost: places.gossipAdvertised,
    advertisePort: given.advertise_port === 0 ? undefined : given.advertise_port,
    seeds: given.join_addrs.map(({ name, host, port }) => ({ name, host, port: port ?? seedPort })),
    keys,
    decryptKeys: given.decrypt_keys,
    keyFile: file,
    verifyIncoming: given.gossip_verify_incoming,
    verifyOutgoing: given.gossip_verify_outgoing,
    label: new Uint8Array(Buffer.from(given.label)),
    interop: given.interop,
    gossipIntervalMs: given.gossip_interval,
    gossipNodes: given.gossip_nodes,
    pushPullIntervalMs: given.push_pull_interval,
    probeIntervalMs: given.probe_interval,
    probeTimeoutMs: given.probe_timeout,
    tcpTimeoutMs: given.tcp_timeout,
    suspicionMult: given.suspicion_mult,
    suspicionMaxMult: given.suspicion_max_mult,
    indirectChecks: given.indirect_checks,
    retransmitMult: given.retransmit_mult,
    awarenessMax: given.awareness_max,
    gossipToTheDeadMs: given.gossip_to_the_dead,
    deadNodeReclaimMs: given.dead_node_reclaim_time,
    reconnectIntervalMs: given.reconnect_interval,
    reconnectTimeoutMs: given.reconnect_timeout,
    packetBytes: given.packet_size,
    compression: given.compression,
    tcpPings: given.tcp_pings,
    allowedCidrs: given.allowed_cidrs,
  }
}

function internodeOf(draft: ClusterDraft, places: Hosts): InternodeSettings {
  const { internode: given } = draft.values
  return {
    bindHost: places.mesh,
    bindPort: given.bind_port,
    advertise:
      given.advertise_addr === undefined ? undefined : { host: given.advertise_addr, port: given.advertise_port },
    handshakeTimeoutMs: given.handshake_timeout,
    keepaliveIntervalMs: given.keepalive_interval,
    keepaliveTimeoutMs: given.keepalive_timeout,
    messageBytesMax: given.max_message_size,
    queueBytesMax: given.queue_bytes,
    totalQueueBytesMax: given.total_queue_bytes,
    topology: given.topology,
  }
}

function raftOf(
  draft: ClusterDraft,
  derived: Derived,
  context: Files & { readonly dataDir: string; readonly name: string },
): RaftSettings {
  const { raft: given } = draft.values
  return {
    role: derived.role,
    storage: storageOf(given.data_dir, context),
    isEligible: derived.role === 'server' && given.eligible,
    priority: given.priority,
    bootstrapExpect: derived.bootstrapExpect,
    isBootstrapExpectGiven: draft.isGiven('raft.bootstrap_expect'),
    bootstrapStabilityMs: given.bootstrap_stability,
    votersMax: given.max_voters,
    standbysMax: given.max_standbys,
    votersMin: derived.votersMin,
    reconcileDebounceMs: given.reconcile_debounce,
    reconcileTimeoutMs: given.reconcile_timeout,
    evictGraceMs: given.evict_grace,
    heartbeatTimeoutMs: given.heartbeat_timeout,
    electionTimeoutMs: derived.electionMs,
    commitTimeoutMs: derived.commitMs,
    appendEntriesMax: given.max_append_entries,
    inflightMax: given.max_inflight,
    entryBytesMax: given.max_entry_size,
    uncommittedBytesMax: given.max_uncommitted,
    snapshotThreshold: given.snapshot_threshold,
    snapshotIntervalMs: given.snapshot_interval,
    snapshotRetain: given.snapshot_retain,
    trailingLogs: given.trailing_logs,
    readMode: given.read_mode,
    leaderProbeIntervalMs: given.leader_probe_interval,
    leaderProbeGrace: given.leader_probe_grace,
    shutdownTransferTimeoutMs: given.shutdown_transfer_timeout ?? derived.electionMs,
  }
}

function storageOf(
  given: string | undefined,
  { resolvePath, dataDir, name }: Files & { readonly dataDir: string; readonly name: string },
): RaftSettings['storage'] {
  if (given === 'memory') return { kind: 'memory' }
  // Node accepts "/" as a separator on every platform.
  const dir = given === undefined ? `${dataDir}/${name}` : resolvePath(['raft', 'data_dir'], given)
  return { kind: 'disk', dir }
}
