// What the admin interface needs of a node, and what it answers: the JSON of operations.md §2 and §3. Fields may be added, none removed
// or renamed.

import { MoonmeshError } from '../base/errors.ts'
import { parsePid } from '../base/pid.ts'
import type { Console, ConsoleNews } from '../consoles.ts'
import type { Log } from '../log.ts'
import type { NodeEvent, NodeEventType } from '../node-events.ts'
import type { HostFigures, ProcessInfo } from '../process/port.ts'
import type { ServiceState, ServiceStatus } from '../supervisor/supervisor.ts'

/** The part of a node that the admin interface looks at. */
export interface AdminNode {
  readonly name: string
  entries(): readonly { readonly id: string; readonly kind: string }[]
  services(): readonly ServiceStatus[]
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>
  processes(options?: {
    countsMemory: boolean
  }): Promise<readonly (ProcessInfo & { readonly names: readonly string[] })[]>
  figures(): Promise<readonly (HostFigures & { readonly host: string })[]>
  /** Sorted by name, then from the largest scope to the smallest. */
  names(): readonly KnownName[]
  /** Held in the cluster, by name, at most a thousand behind `after`. */
  locks(range: { prefix?: string; after?: string }): Promise<readonly KnownLock[]>
  /** Whether what this node says of names, and holds through its session, may be relied on. */
  readiness(): readonly Check[]
  /** Undefined: clustering is off. */
  readonly cluster: AdminCluster | undefined
  readonly stores: AdminStores
  readonly groups: AdminGroups
  /** @throws MoonmeshError `LimitExceeded` */
  openConsole(tell: (news: ConsoleNews) => void): Console
  readonly log: Pick<Log, 'recent' | 'subscribe'>
  /** @returns ends it */
  watch(types: ReadonlySet<NodeEventType>, listener: (event: NodeEvent) => void): () => void
  /** Begins the graceful end of the node; resolves when it has begun. */
  leave(): Promise<void>
}

/** The part of a node's cluster that the admin interface looks at. */
export interface AdminCluster {
  /** This node first, the others by name. */
  members(): readonly KnownNode[]
  /** @returns how many answered; @throws MoonmeshError `Invalid` for text that is no address */
  join(addresses: readonly string[]): Promise<number>
  health(): { readonly ok: boolean; readonly detail: string }
  readonly settings: { readonly id: string }
  /** Undefined while the node starts. */
  readonly group: AdminGroup | undefined
  readonly backups: AdminBackups | undefined
}

/** Takes backups of the replicated state. */
export interface AdminBackups {
  /** @throws MoonmeshError when none can be taken now */
  take(): Promise<AdminBackup>
}

/** The bytes of a backup, on their way. */
export interface AdminBackup {
  /** Undefined: that was all. @throws MoonmeshError: the rest will not come */
  next(): Promise<Uint8Array | undefined>
  close(): void
}

/** The part that a node has in the group of its cluster. */
export interface AdminGroup {
  status(): {
    readonly role: 'leader' | 'voter' | 'standby' | 'client'
    readonly formation: string | undefined
    readonly leader: string | undefined
    readonly term: number
    readonly commitIndex: number
    readonly appliedIndex: number
    readonly voters: readonly string[]
    readonly standbys: readonly string[]
    readonly hasQuorum: boolean
    readonly waitingFor: string | undefined
  }
  /** Asks others where this node does not know. */
  leader(): Promise<string | undefined>
  checks(): readonly Check[]
  readonly membership: {
    /** @returns the new leader */
    transfer(to?: string): Promise<string>
    remove(name: string, options: { readonly force: boolean }): Promise<void>
  }
}

/** A name of a process, as this node resolves it in one scope. */
export interface KnownName {
  readonly name: string
  readonly scope: 'local' | 'eventual' | 'consistent' | 'strong'
  readonly pid: string
}

/** The stores that run on a node. Values are plain data. All reject with MoonmeshErrors. */
export interface AdminStores {
  /** By id. */
  all(): readonly StoreRow[]
  /** Undefined: there is no such key. */
  get(store: string, key: string): Promise<StoreItem | undefined>
  put(store: string, key: string, value: unknown, options: StorePutOptions): Promise<StoreItem>
  /** Whether there was something. */
  delete(store: string, key: string, options: { ifVersion?: string }): Promise<boolean>
  list(store: string, options: { prefix: string; after: string; limit: number }): Promise<StorePage>
  watch(store: string, prefix: string, options: { from?: string }): Promise<StoreFollow>
}

export interface StoreFollow {
  /** Waits for what happens next. Undefined: it is over. */
  next(): Promise<readonly StoreEvent[] | undefined>
  close(): void
}

export interface StoreEvent {
  type: 'put' | 'delete' | 'expired' | 'resync'
  /** Of all but `resync`. */
  key?: string
  /** Of `put`. */
  value?: unknown
  version: string
  prev_version?: string
}

export interface StorePutOptions {
  /** 0: for ever. */
  readonly ttlMs: number
  readonly onlyIfAbsent: boolean
  readonly ifVersion?: string
}

export interface StoreRow {
  id: string
  backend: string
  consistency: string
  durable: boolean
  /** Null where the store cannot tell. */
  keys: number | null
}

export interface StoreItem {
  key: string
  value: unknown
  version: string
  /** ISO 8601; absent: never, or the store cannot tell. */
  expires_at?: string
}

export interface StorePage {
  items: readonly StoreItem[]
  cursor: string
  has_more: boolean
}

/** The process groups of a node. */
export interface AdminGroups {
  /** Ids of the scopes that run. */
  scopes(): string[]
  /** Groups with members, by scope and name. @param scope undefined: of all that run */
  rows(scope: string | undefined): GroupRow[]
  /** One for each scope that runs. */
  checks(): readonly Check[]
}

export interface GroupRow {
  scope: string
  group: string
  /** Once for each slot, in the order in which this node saw them join. */
  members: readonly string[]
}

/** A node that gossip knows, in any state. */
interface KnownNode {
  readonly name: string
  /** Of gossip, `host:port`. */
  readonly address: string
  readonly state: 'alive' | 'suspect' | 'dead' | 'left'
  readonly role: string
  readonly isLocal: boolean
  readonly incarnation: number
  readonly rttMs: number | undefined
  readonly tags: ReadonlyMap<string, string>
}

export interface ErrorBody {
  /** `retryable` is absent when nobody knows. */
  error: { kind: string; message: string; retryable?: boolean; details?: Record<string, unknown> }
}

export interface NameRow {
  name: string
  scope: string
  pid: string
  /** Where the process lives. */
  node: string
}

interface KnownLock {
  readonly name: string
  /** A PID. */
  readonly holder: string
  readonly token: number
  readonly heldMs: number
  readonly waiters: number
  /** Milliseconds until it is free by itself; 0: never. */
  readonly leftMs: number
}

export interface LockRow {
  name: string
  holder: string
  /** Where the holder lives. */
  node: string
  token: number
  /** ISO 8601. */
  since: string
  waiters: number
  /** Until it is free by itself; null: until it is released. */
  left_ms: number | null
}

export interface ProcessRow {
  pid: string
  entry: string
  host: string
  state: string
  mailbox: number
  reductions: number
  /** Estimated bytes; null where the engine cannot tell, or has not counted yet. */
  memory: number | null
  age_ms: number
  names: readonly string[]
}

export interface ServiceRow {
  id: string
  kind: string
  state: ServiceState
  attempts: number
  /** Wall-clock milliseconds since 1970 at which it entered its state. */
  since_ms: number
  error?: { kind: string; message: string }
  next_restart_ms?: number
  waits_for?: readonly string[]
}

export interface EntryRow {
  id: string
  kind: string
}

export interface MemberRow {
  name: string
  /** Of gossip, `host:port`; null on a node whose clustering is off. */
  addr: string | null
  mesh_addr: string | null
  state: KnownNode['state']
  role: string
  suffrage: 'voter' | 'nonvoter' | 'none'
  local: boolean
  incarnation: number
  rtt_ms: number | null
  failure_domain: string
  tags: Record<string, string>
  version: string
}

/** What `cluster status` shows. */
export interface ClusterStatusBody {
  node: string
  cluster_id: string | null
  role: 'leader' | 'voter' | 'standby' | 'client' | 'none'
  leader: string | null
  term: number
  commit_index: number
  applied_index: number
  voters: readonly string[]
  standbys: readonly string[]
  /** Live nodes, this one among them. */
  members: number
  quorum: boolean
  formation: string | null
  /** Why there is no group yet. */
  waiting_for: string | null
  healthy: boolean
  checks: Check[]
  version: string
}

export interface JoinBody {
  /** How many of the addresses answered. */
  joined: number
}

interface HostRow {
  host: string
  processes: number
  spawns: number
  exits: { ok: number; failed: number }
  messages: number
  run_queue: number
  slices: number
  busy_ms: number
}

export interface Check {
  name: string
  ok: boolean
  detail: string
}

export interface StatusBody {
  node: string
  /** The operating system's id of the node's program. */
  os_pid: number
  version: string
  node_js: string
  started_at_ms: number
  uptime_ms: number
  healthy: boolean
  checks: Check[]
  services: Partial<Record<ServiceState, number>>
  hosts: HostRow[]
  entries: number
}

export function processRow(info: ProcessInfo & { readonly names: readonly string[] }): ProcessRow {
  const { pid, entry, host, state, mailbox, reductions, memory, ageMs, names } = info
  return { pid, entry, host, state, mailbox, reductions, memory: memory ?? null, age_ms: Math.round(ageMs), names }
}

export function serviceRow(status: ServiceStatus): ServiceRow {
  const { id, kind, state, attempts, sinceMs, error, nextRestartMs, waitsFor } = status
  return {
    id,
    kind,
    state,
    attempts,
    since_ms: Math.round(sinceMs),
    ...(error === undefined ? {} : { error: { kind: error.kind, message: error.message } }),
    ...(nextRestartMs === undefined ? {} : { next_restart_ms: Math.round(nextRestartMs) }),
    ...(waitsFor === undefined ? {} : { waits_for: waitsFor }),
  }
}

export function memberRow({ name, address, state, role, isLocal, incarnation, rttMs, tags }: KnownNode): MemberRow {
  const raftRole = tags.get('raft_role')
  return {
    name,
    addr: address,
    mesh_addr: meshAddress(address, tags),
    state,
    role,
    suffrage: raftRole === 'voter' ? 'voter' : raftRole === 'standby' ? 'nonvoter' : 'none',
    local: isLocal,
    incarnation,
    rtt_ms: rttMs === undefined ? null : Math.round(rttMs * 100) / 100,
    failure_domain: tags.get('failure_domain') ?? '',
    tags: Object.fromEntries(tags),
    version: tags.get('version') ?? '',
  }
}

/** Where the mesh of a node is reached: the address it asks to be tried first, or the host of its gossip. */
function meshAddress(gossipAddress: string, tags: ReadonlyMap<string, string>): string | null {
  const port = tags.get('internode_port')
  const host = gossipAddress.slice(0, gossipAddress.lastIndexOf(':'))
  return tags.get('internode_addr') ?? (port === undefined ? null : `${host}:${port}`)
}

/** The only row of a node whose clustering is off. */
export function aloneRow(name: string, version: string): MemberRow {
  return {
    name,
    addr: null,
    mesh_addr: null,
    state: 'alive',
    role: 'none',
    suffrage: 'none',
    local: true,
    incarnation: 0,
    rtt_ms: null,
    failure_domain: '',
    tags: {},
    version,
  }
}

export function lockRow({ name, holder, token, heldMs, waiters, leftMs }: KnownLock, wallMs: number): LockRow {
  const since = new Date(wallMs - heldMs).toISOString()
  const node = parsePid(holder)?.node ?? ''
  return { name, holder, node, token, since, waiters, left_ms: leftMs === 0 ? null : leftMs }
}

/** @param own the node that is asked: a PID of a node without a cluster names none */
export function nameRow({ name, scope, pid }: KnownName, own: string): NameRow {
  return { name, scope, pid, node: parsePid(pid)?.node ?? own }
}

export function hostRow(figures: HostFigures & { readonly host: string }): HostRow {
  const { host, processes, spawns, exits, messages, runQueue, slices, busyMs } = figures
  const failed = exits.failed + exits.linked + exits.terminated
  return {
    host,
    processes,
    spawns,
    exits: { ok: exits.ok, failed },
    messages,
    run_queue: runQueue,
    slices,
    busy_ms: Math.round(busyMs),
  }
}

const STATUSES: Record<string, number> = {
  Invalid: 400,
  NotFound: 404,
  AlreadyExists: 409,
  Conflict: 409,
  InvalidState: 409,
  PermissionDenied: 403,
  RateLimited: 429,
  LimitExceeded: 429,
  Unavailable: 503,
  Canceled: 503,
  Timeout: 504,
}

/** The HTTP status of an error kind; 500 for `Internal` and for kinds of the scripts' own. */
export const httpStatus = (kind: string): number => STATUSES[kind] ?? 500

export function errorBody(error: MoonmeshError): ErrorBody {
  const { kind, message, retryable, details } = error
  return {
    error: {
      kind,
      message,
      ...(retryable === undefined ? {} : { retryable }),
      ...(details === undefined ? {} : { details }),
    },
  }
}

/** Hosts answer within a turn; one that does not is stuck, and so would be whoever waits for it. */
const ANSWER_MS_MAX = 5_000

/** @throws MoonmeshError `Timeout` when the node's hosts do not answer in time */
export async function answerOf<T>(asked: Promise<T>, timeoutMs = ANSWER_MS_MAX): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new MoonmeshError('Timeout', `a host did not answer within ${timeoutMs} ms`, { retryable: true })),
      timeoutMs,
    )
  })
  try {
    return await Promise.race([asked, late])
  } finally {
    clearTimeout(timer)
  }
}
