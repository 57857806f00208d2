// What clients do while the cluster suffers: each does one thing after the other, on its node, and begins anew after its node did.

import { MoonmeshError } from '../../runtime/base/errors.ts'
import { ask } from '../../runtime/cli/client.ts'
import { Chance } from './chance.ts'
import type { History, Operation } from './history.ts'
import type { Answer, ChaosNode, Order, Reply } from './node.ts'

/** So long the same keys and names are used, then others: histories stay short enough to be searched. */
const ROUND_MS = 12_000
export const ACCOUNTS = 8
export const ACCOUNT_START = 100
export const COUNTERS = 2
export const GROUPS = ['g1', 'g2', 'g3'] as const
const LOCKS = ['l1', 'l2', 'l3'] as const
const REGISTERS = 3
const EVENTUAL = 4

interface WorkloadOptions {
  readonly seed: number
  readonly nodes: readonly ChaosNode[]
  readonly history: History
  /** Between two orders of a client, on average. */
  readonly thinkMs: number
}

type Choose = (step: Step) => Order | undefined

interface Step {
  readonly chance: Chance
  readonly round: number
  /** Of this client, as it is called now. */
  readonly client: string
  readonly last: Operation | undefined
  /** How many orders it was given. */
  readonly count: number
}

export class Workload {
  readonly #options: WorkloadOptions
  readonly #startedMs = performance.now()
  readonly #loops: Promise<void>[] = []
  /** By client: what it is called now. */
  readonly current = new Map<string, { client: string; node: number }>()
  /** Versions that were seen of keys; what conditions are made of. */
  readonly #seen = new Map<string, string>()
  #isOver = false
  #values = 0

  constructor(options: WorkloadOptions) {
    this.#options = options
  }

  /** Accounts, which must be there before anything is moved. */
  async prepare(): Promise<void> {
    const [node] = this.#options.nodes
    if (node === undefined) return
    for (let account = 0; account < ACCOUNTS; account++) {
      for (;;) {
        const order = { op: 'put', key: `bank:${account}`, value: ACCOUNT_START, absent: true }
        const answer = await node.ask(order, 'prepare')
        if (answer.kind === 'reply' && (answer.reply.err === undefined || answer.reply.err.kind === 'AlreadyExists'))
          break
      }
    }
  }

  start(): void {
    for (const node of this.#options.nodes) {
      const n = node.index
      this.#run(node, `kv${n}a`, (step) => this.#register(step))
      this.#run(node, `kv${n}b`, (step) => this.#register(step))
      this.#admin(node, `adm${n}`)
      this.#run(node, `ctr${n}`, ({ chance }) => ({ op: 'add', key: `count:${chance.int(COUNTERS)}` }))
      this.#run(node, `bank${n}`, (step) => bank(step))
      this.#run(node, `lock${n}a`, (step) => locks(step))
      this.#run(node, `lock${n}b`, (step) => locks(step))
      this.#run(node, `keep${n}`, () => ({ op: 'keep', name: 'keep', wait: '20s' }), 200)
      this.#run(node, `sole${n}`, (step) => sole(step), 300)
      this.#run(node, `con${n}`, (step) => owner(step, 'CONSISTENT', `c:${step.round}:${step.chance.int(2)}`))
      this.#run(node, `str${n}`, (step) => owner(step, 'STRONG', `s:${step.round}:${step.chance.int(2)}`))
      this.#run(node, `eve${n}`, (step) => owner(step, 'EVENTUAL', `e:${step.chance.int(EVENTUAL)}`))
      this.#run(node, `mrg${n}`, (step) => merging(step, `mrg${n}`))
      this.#run(node, `pg${n}a`, (step) => groups(step))
      this.#run(node, `pg${n}b`, (step) => groups(step))
    }
  }

  /** No new orders. Resolves when the last ones are answered, or their nodes gone, or the time is over. */
  async stop(withinMs: number): Promise<boolean> {
    this.#isOver = true
    // Those who keep a lock would keep it for ever. Who is just getting it is told again.
    const letGo = (): void => {
      for (const node of this.#options.nodes) {
        const keeper = this.current.get(`keep${node.index}`)
        if (keeper !== undefined) void node.ask({ op: 'let_go' }, keeper.client)
      }
    }
    letGo()
    const telling = setInterval(letGo, 500)
    const over = new Promise<false>((done) => setTimeout(() => done(false), withinMs).unref())
    return Promise.race([Promise.all(this.#loops).then(() => true), over]).finally(() => clearInterval(telling))
  }

  #round(): number {
    return Math.floor((performance.now() - this.#startedMs) / ROUND_MS)
  }

  #run(node: ChaosNode, base: string, choose: Choose, thinkMs = this.#options.thinkMs): void {
    const { history, seed } = this.#options
    const chance = new Chance(seed ^ hash(base))
    const loop = async (): Promise<void> => {
      let generation = 0
      let last: Operation | undefined
      let count = 0
      while (!this.#isOver) {
        await wait(thinkMs * (0.3 + 1.4 * chance.fraction()))
        if (!node.isReady) {
          await Promise.race([node.ready(), wait(500)])
          continue
        }
        const client = `${base}.${generation}`
        this.current.set(base, { client, node: node.index })
        const order = choose({ chance, round: this.#round(), client, last, count })
        if (order === undefined || this.#isOver) continue
        count++
        const answer = await node.ask(order, client)
        last = history.add(client, node.index, order, answer)
        this.#remember(last)
        if (answer.kind === 'gone' || order.op === 'die') {
          generation++
          last = undefined
        }
      }
    }
    this.#loops.push(loop())
  }

  /** Reads and writes the same keys through the admin interface. */
  #admin(node: ChaosNode, client: string): void {
    const { history, seed, thinkMs } = this.#options
    const chance = new Chance(seed ^ hash(client))
    const loop = async (): Promise<void> => {
      while (!this.#isOver) {
        await wait(thinkMs * (0.3 + 1.4 * chance.fraction()))
        if (!node.isReady) {
          await Promise.race([node.ready(), wait(500)])
          continue
        }
        const order = this.#register({ chance, round: this.#round(), client, last: undefined, count: 0 })
        this.#remember(history.add(client, node.index, order, await askAdmin(node, order)))
      }
    }
    this.#loops.push(loop())
  }

  #remember({ order, reply }: Operation): void {
    const version = reply?.['version'] ?? reply?.err?.version
    if (typeof version === 'string' && typeof order['key'] === 'string') this.#seen.set(order['key'], version)
  }

  #register({ chance, round }: Step): Order {
    const key = `r:${round}.${chance.int(REGISTERS)}`
    const value = `v${this.#values++}`
    const version = this.#seen.get(key)
    switch (chance.weighted({ get: 8, put: 4, cas: 5, absent: 2, delete: 1, deleteIf: 1 })) {
      case 'get':
        return { op: 'get', key }
      case 'put':
        return { op: 'put', key, value }
      case 'cas':
        return version === undefined
          ? { op: 'put', key, value, absent: true }
          : { op: 'put', key, value, if_version: version }
      case 'absent':
        return { op: 'put', key, value, absent: true }
      case 'delete':
        return { op: 'delete', key }
      case 'deleteIf':
        return version === undefined ? { op: 'get', key } : { op: 'delete', key, if_version: version }
    }
  }
}

function bank({ chance }: Step): Order {
  if (chance.chance(0.4)) return { op: 'list', prefix: 'bank:' }
  const from = chance.int(ACCOUNTS)
  const to = (from + 1 + chance.int(ACCOUNTS - 1)) % ACCOUNTS
  return { op: 'move', from: `bank:${from}`, to: `bank:${to}`, amount: chance.between(1, 20) }
}

function locks({ chance, last }: Step): Order {
  const token = last?.reply?.['token']
  if (typeof token === 'number' && chance.chance(0.15)) return { op: 'stale_fence', name: last?.order['name'], token }
  const order = { op: 'lock', name: chance.pick(LOCKS), hold: chance.fraction() * 0.6, guard: chance.chance(0.7) }
  switch (chance.weighted({ wait: 5, none: 1, ttl: 2, renewed: 1 })) {
    case 'wait':
      return { ...order, wait: chance.pick(['2s', '5s', '15s']) }
    case 'none':
      return order
    case 'ttl':
      // Often shorter than the lock is held: it is lost on the way.
      return { ...order, wait: '5s', ttl: chance.pick(['300ms', '1s']) }
    case 'renewed':
      return { ...order, wait: '5s', ttl: '1s', renew: true, hold: 1.5 }
  }
}

/** One name that there is always one owner of. */
function sole({ last }: Step): Order {
  // Who has it keeps it, and says so when it is asked again.
  if (last?.reply?.['ok'] === true) return { op: 'lookup', name: 'sole', linearizable: true }
  return { op: 'register', name: 'sole', scope: 'CONSISTENT' }
}

function owner({ chance, count }: Step, scope: string, name: string): Order {
  if (count % 40 === 0 && scope === 'STRONG') return { op: 'canary' }
  const weights = {
    register: 4,
    unregister: 2,
    lookup: 5,
    linearizable: scope === 'EVENTUAL' ? 0 : 4,
    die: 0.4,
    canary: 0.4,
  }
  switch (chance.weighted(weights)) {
    case 'register':
      return { op: 'register', name, scope }
    case 'unregister':
      return { op: 'unregister', name, scope }
    case 'lookup':
      return { op: 'lookup', name }
    case 'linearizable':
      return { op: 'lookup', name, linearizable: true }
    case 'die':
      return { op: 'die' }
    case 'canary':
      return scope === 'STRONG' ? { op: 'canary' } : { op: 'lookup', name }
  }
}

/** Keys of its own, which nobody else writes, and some that all write. */
function merging({ chance, count }: Step, base: string): Order {
  const own = `own:${base}:${chance.int(3)}`
  switch (chance.weighted({ set: 4, remove: 1, get: 2, shared: 3, sharedRemove: 1, ttl: 1 })) {
    case 'set':
      return { op: 'merge_set', key: own, value: `${base}#${count}` }
    case 'remove':
      return { op: 'merge_delete', key: own }
    case 'get':
      return { op: 'merge_get', key: own }
    case 'shared':
      return { op: 'merge_set', key: `all:${chance.int(6)}`, value: `${base}#${count}` }
    case 'sharedRemove':
      return { op: 'merge_delete', key: `all:${chance.int(6)}` }
    case 'ttl':
      return { op: 'merge_set', key: `brief:${chance.int(6)}`, value: `${base}#${count}`, ttl: chance.between(1, 5) }
  }
}

function groups({ chance, last }: Step): Order {
  const group = chance.pick(GROUPS)
  const slots = (last?.reply?.['slots'] ?? {}) as Record<string, number>
  const isIn = (slots[group] ?? 0) > 0
  switch (chance.weighted({ change: 5, slots: 2, broadcast: 1, die: 0.3 })) {
    case 'change':
      return { op: isIn ? 'leave' : 'join', group }
    case 'slots':
      return { op: 'slots' }
    case 'broadcast':
      return { op: 'broadcast', group, value: `b${chance.int(1e9)}` }
    case 'die':
      return { op: 'die' }
  }
}

/** What the admin interface answers, in the words of the clients. */
async function askAdmin(node: ChaosNode, order: Order): Promise<Answer> {
  const { run } = node
  const sentMs = performance.now()
  if (run === undefined) return { kind: 'gone', run, sentMs }
  const path = `/v1/kv/chaos:kv/${encodeURIComponent(String(order['key']))}`
  const condition = order['if_version']
  const headers: Record<string, string> = typeof condition === 'string' ? { 'if-match': `"${condition}"` } : {}
  if (order['absent'] === true) headers['if-none-match'] = '*'
  const timeoutMs = 15_000
  const reply = async (): Promise<Omit<Reply, 'pid' | 't0' | 't1'>> => {
    switch (order.op) {
      case 'get': {
        const { value, version } = await ask<{ value: unknown; version: string }>(node.socket, path)
        return { value, version }
      }
      case 'put': {
        const body = order['value']
        const { version } = await ask<{ version: string }>(node.socket, path, {
          method: 'PUT',
          body,
          headers,
          timeoutMs,
        })
        return { version }
      }
      default: {
        const { deleted } = await ask<{ deleted: boolean }>(node.socket, path, { method: 'DELETE', headers, timeoutMs })
        return { existed: deleted }
      }
    }
  }
  try {
    return { kind: 'reply', reply: (await reply()) as Reply, run, sentMs, atMs: performance.now() }
  } catch (error) {
    const atMs = performance.now()
    if (!(error instanceof MoonmeshError)) return { kind: 'gone', run, sentMs }
    const { kind, message } = error
    if (kind === 'NotFound' && order.op === 'get')
      return { kind: 'reply', reply: { absent: true } as unknown as Reply, run, sentMs, atMs }
    const details = (error.details ?? {}) as { version?: string; ambiguous?: boolean }
    const isSure = ['AlreadyExists', 'Conflict', 'NotFound', 'Invalid'].includes(kind)
    const err = {
      kind,
      message,
      ambiguous: !isSure,
      ...(details.version === undefined ? {} : { version: details.version }),
    }
    return { kind: 'reply', reply: { err } as unknown as Reply, run, sentMs, atMs }
  }
}

export const wait = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms))

function hash(text: string): number {
  let sum = 2166136261
  for (const char of text) sum = Math.imul(sum ^ char.charCodeAt(0), 16777619)
  return sum >>> 0
}
