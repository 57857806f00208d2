// What the node tells scripts of itself, for the module `system`. lua-libraries.md §3.

import { toBytes, toText } from './base/bytes.ts'
import { MoonmeshError } from './base/errors.ts'
import { integerValue, list, record, type TableValue, type Value } from './base/value.ts'
import type { NodeService } from './node-services.ts'
import type { HostFigures, ProcessInfo } from './process/port.ts'
import type { LibraryModule } from './services.ts'
import type { ServiceStatus } from './supervisor/supervisor.ts'

interface SystemNode {
  readonly name: string
  services(): readonly ServiceStatus[]
  processes(): Promise<readonly ProcessInfo[]>
  figures(): Promise<readonly (HostFigures & { readonly host: string; readonly workers: number })[]>
  /** Begins an orderly stop; the program ends with this code. */
  exit(code: number): void
  /** Live nodes, this one first; undefined: clustering is off. */
  members(): readonly SystemMember[] | undefined
  /** This node's part in the group of its cluster; undefined: clustering is off, or has not begun. */
  group(): SystemGroup | undefined
}

interface SystemGroup {
  status(): { readonly role: string; readonly term: number; readonly commitIndex: number }
  /** A node's name. */
  leader(): Promise<string | undefined>
  stats(): Readonly<Record<string, string>>
}

interface SystemMember {
  readonly name: string
  readonly isLocal: boolean
  /** Of gossip, `host:port`. */
  readonly address: string
  readonly tags: ReadonlyMap<string, string>
}

const NS_PER_MS = 1_000_000n

/** Nanoseconds since 1970. */
const nanoseconds = (ms: number): Value => integerValue(BigInt(Math.round(ms)) * NS_PER_MS)

export class SystemService implements NodeService {
  readonly #node: SystemNode
  readonly #modules: () => Promise<readonly LibraryModule[]>
  readonly #wallMs: () => number

  constructor(node: SystemNode, modules: () => Promise<readonly LibraryModule[]>, wallMs: () => number) {
    this.#node = node
    this.#modules = modules
    this.#wallMs = wallMs
  }

  readonly methods: NodeService['methods'] = {
    node_id: () => toBytes(this.#node.name),
    members: () => {
      const members = this.#node.members()
      return list(members?.map(memberRecord) ?? [record({ id: toBytes(this.#node.name), is_local: true })])
    },
    size: () => this.#node.members()?.length ?? 1,
    address: () => {
      const own = this.#node.members()?.find((member) => member.isLocal)
      if (own !== undefined) return toBytes(own.address)
      throw new MoonmeshError('Internal', 'local node address not available', { retryable: false })
    },
    role: () => roleOf(this.#node.group()),
    leader: async () => toBytes((await this.#node.group()?.leader()) ?? ''),
    raft_is_leader: () => roleOf(this.#raft()) === 'leader',
    raft_is_member: () => roleOf(this.#raft()) !== NON_MEMBER,
    raft_role: () => roleOf(this.#raft()),
    raft_term: () => this.#raft().status().term,
    raft_commit_index: () => this.#raft().status().commitIndex,
    raft_stats: () => {
      const stats = Object.entries(this.#raft().stats()).map(([key, value]) => [toBytes(key), toBytes(value)])
      return record(Object.fromEntries(stats))
    },
    tasks: async () => (await this.#node.processes()).length,
    services: () => list(this.#node.services().map((status) => this.#service(status))),
    service: ([id]) => {
      const found = this.#node.services().find((status) => status.id === toText(id as string))
      if (found === undefined) throw new MoonmeshError('Internal', 'service not found', { retryable: false })
      return this.#service(found)
    },
    hosts: async () => list((await this.#node.figures()).map(hostRecord)),
    processes: async ([host]) => {
      const processes = await this.#node.processes()
      const own = processes.filter((info) => info.host === toText(host as string))
      return list(own.map((info) => this.#process(info)))
    },
    modules: async () =>
      list(
        (await this.#modules()).map(({ name, description, tags }) =>
          record({ name: toBytes(name), description: toBytes(description), class: list([...tags]) }),
        ),
      ),
    exit: ([code]) => {
      this.#node.exit(code as number)
      return undefined
    },
  }

  #raft(): SystemGroup {
    const group = this.#node.group()
    if (group === undefined) throw new MoonmeshError('Internal', 'raft not available', { retryable: false })
    return group
  }

  #service({ id, state, attempts, sinceMs, error, nextRestartMs, waitsFor }: ServiceStatus): TableValue {
    const isWanted =
      state === 'running' || state === 'starting' || nextRestartMs !== undefined || waitsFor !== undefined
    return record({
      id: toBytes(id),
      status: state,
      desired: isWanted ? 'running' : 'stopped',
      retry_count: Math.max(0, attempts - 1),
      last_update: nanoseconds(sinceMs),
      started_at: nanoseconds(state === 'running' ? sinceMs : 0),
      details: error === undefined ? undefined : toBytes(error.message),
    })
  }

  #process({ pid, host, entry, state, reductions, ageMs }: ProcessInfo): TableValue {
    return record({
      pid: toBytes(pid),
      host: toBytes(host),
      source: toBytes(entry),
      state: STATES[state],
      steps: reductions,
      started_at: nanoseconds(this.#wallMs() - ageMs),
    })
  }
}

const NON_MEMBER = 'non-member'

/** In the words of scripts. */
function roleOf(group: SystemGroup | undefined): string {
  const role = group?.status().role
  return role === undefined || role === 'client' ? NON_MEMBER : role
}

function memberRecord({ name, isLocal, address, tags }: SystemMember): TableValue {
  const meta = record(Object.fromEntries([...tags].map(([key, value]) => [toBytes(key), toBytes(value)])))
  return record({
    id: toBytes(name),
    is_local: isLocal,
    addr: toBytes(address),
    meta: tags.size === 0 ? undefined : meta,
  })
}

const STATES: Readonly<Record<ProcessInfo['state'], string>> = {
  loading: 'running',
  running: 'running',
  ready: 'ready',
  waiting: 'idle',
}

function hostRecord(figures: HostFigures & { host: string; workers: number }): TableValue {
  return record({
    id: toBytes(figures.host),
    workers: figures.workers,
    processes: figures.processes,
    executed: figures.slices,
    stolen: 0,
    queue_depth: figures.runQueue,
  })
}
