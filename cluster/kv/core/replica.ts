// The convergent store among others: which writes are told to whom, and how two nodes become equal. Small writes travel with gossip,
// large ones over the mesh; whatever is lost on the way is found by comparing with one node after the other. cluster.md §8.7.

import { unreachable } from '../../../runtime/base/assert.ts'
import type { Env } from '../../../runtime/base/env.ts'
import { type CrdtStore, type Forgotten, isForgotten, type WriteOutcome } from './crdt.ts'
import { compare, type Held, PAGE_BYTES, PAGE_SUMMARIES_MAX, SHARDS, type Summary } from './digest.ts'
import { type Entry, entryBytes } from './entry.ts'

/** A request to another node; each has one answer of its kind. */
export type ExchangeRequest =
  /** In what do we differ? */
  | { readonly kind: 'digest'; readonly hashes: Uint8Array }
  /** What is in a shard behind `after`, up to the last of the summaries or, if `isLast`, to its end. */
  | {
      readonly kind: 'page'
      readonly shard: number
      readonly after: string
      readonly isLast: boolean
      readonly summaries: readonly Summary[]
      readonly forgotten: Forgotten
    }
  | { readonly kind: 'entries'; readonly entries: readonly Entry[] }

export type ExchangeAnswer =
  | { readonly kind: 'digest'; readonly shards: readonly number[] }
  | {
      readonly kind: 'page'
      /** Newer there, or only there. */
      readonly entries: readonly Entry[]
      /** Key hashes of what is asked for. */
      readonly want: readonly string[]
      /** Key hashes of what was deleted so long ago that the delete is forgotten. */
      readonly gone: readonly string[]
      /** Undefined: the shard is done. */
      readonly upTo: string | undefined
    }
  | { readonly kind: 'entries' }

export type ReplicaInput =
  /** `node-up`: it can be reached from now on, and is compared with; `node-known`: it is one of those to choose from. */
  | { kind: 'node-up' | 'node-known' | 'node-down'; node: string }
  /** From gossip, or large ones from the mesh. */
  | { kind: 'delta'; entry: Entry }
  /** Undefined: there was none. */
  | { kind: 'answered'; exchange: number; answer: ExchangeAnswer | undefined }
  /** Push/pull brought the hashes of another node: reason to compare soon. */
  | { kind: 'hint'; node: string; hashes: Uint8Array }
  | { kind: 'wake' }

/** What leaves the node. */
export type OutgoingEffect =
  | { kind: 'gossip'; entry: Entry }
  /** Over the mesh, one way; what does not arrive is found later. */
  | { kind: 'push'; nodes: readonly string[]; entry: Entry }
  | { kind: 'request'; node: string; exchange: number; request: ExchangeRequest }

/** To be done in this order: what is to be saved is on disk before what follows leaves the node. */
export type ReplicaEffect =
  | OutgoingEffect
  | { kind: 'save-clock'; ms: number }
  /** An entry of a durable namespace changed. */
  | { kind: 'append'; entry: Entry }
  | { kind: 'exchanged'; node: string; differing: number; received: number; sent: number }

export interface ReplicaSettings {
  readonly antiEntropyIntervalMs: number
  /** Larger entries are pushed over the mesh. */
  readonly gossipBytesMax: number
  /** To how many nodes at random. */
  readonly pushNodes: number
  readonly durable: ReadonlySet<string>
}

export const defaultReplicaSettings: ReplicaSettings = {
  antiEntropyIntervalMs: 10_000,
  gossipBytesMax: 900,
  pushNodes: 3,
  durable: new Set(),
}

const EXCHANGES_MAX = 2
/** What came with a comparison is told on when it is little: then it was lost on the way, and others may lack it as well. */
const TOLD_ON_MAX = 64
/** How often values that are past their deadline are dropped. */
const SWEEP_INTERVAL_MS = 1000

interface Exchange {
  readonly id: number
  readonly node: string
  /** Those that wait, and the one that is compared. */
  readonly shards: number[]
  shard: number | undefined
  differing: number
  after: string
  /** What was told of in the page that is out. */
  page: ReadonlyMap<string, Held>
  /** Where to go on when all that was asked for is sent. */
  next: string | undefined
  toSend: Entry[]
  received: number
  sent: number
}

export class Replica {
  readonly #env: Env
  readonly store: CrdtStore
  readonly #settings: ReplicaSettings
  /** Ascending. */
  #nodes: string[] = []
  /** Nodes to compare with, in this order; each once. */
  #due: string[] = []
  readonly #exchanges = new Map<number, Exchange>()
  #nextExchange = 1
  #compareAtMs: number
  #sweepAtMs: number

  constructor(store: CrdtStore, settings: Partial<ReplicaSettings>, env: Env) {
    this.#env = env
    this.store = store
    this.#settings = { ...defaultReplicaSettings, ...settings }
    this.#compareAtMs = env.nowMs() + this.#settings.antiEntropyIntervalMs
    this.#sweepAtMs = env.nowMs() + SWEEP_INTERVAL_MS
  }

  /** @param ttlMs 0: no deadline */
  set(
    namespace: string,
    key: string,
    value: Uint8Array,
    ttlMs = 0,
  ): { outcome: WriteOutcome; effects: ReplicaEffect[] } {
    return this.#written(this.store.set(namespace, key, value, ttlMs))
  }

  /** `outcome` undefined: there was nothing. */
  delete(namespace: string, key: string): { outcome: WriteOutcome | undefined; effects: ReplicaEffect[] } {
    const outcome = this.store.delete(namespace, key)
    return outcome === undefined ? { outcome, effects: [] } : this.#written(outcome)
  }

  step(input: ReplicaInput): ReplicaEffect[] {
    switch (input.kind) {
      case 'node-up':
        this.#know(input.node)
        return this.#compareWith(input.node)
      case 'node-known':
        this.#know(input.node)
        return []
      case 'node-down': {
        this.#nodes = this.#nodes.filter((node) => node !== input.node)
        this.#due = this.#due.filter((node) => node !== input.node)
        for (const { id, node } of [...this.#exchanges.values()]) if (node === input.node) this.#exchanges.delete(id)
        return this.#begin()
      }
      case 'delta':
        return this.#merge([input.entry], true)
      case 'answered':
        return this.#answered(input.exchange, input.answer)
      case 'hint': {
        const differing = this.store.digest.differing(input.hashes)
        return differing === undefined || differing.length === 0 ? [] : this.#compareWith(input.node)
      }
      case 'wake':
        return this.#wake()
      default:
        return unreachable(input)
    }
  }

  /** The answer to another node's request, and what else follows from it. */
  serve(request: ExchangeRequest): { answer: ExchangeAnswer; effects: ReplicaEffect[] } {
    const { digest } = this.store
    switch (request.kind) {
      case 'digest':
        return { answer: { kind: 'digest', shards: digest.differing(request.hashes) ?? [] }, effects: [] }
      case 'page': {
        const own = digest.page(request.shard, request.after, Number.POSITIVE_INFINITY).entries
        const { give, want, lack, extra, upTo } = compare(own, request.summaries, request.isLast, entryBytes)
        const entries = give.map(({ entry }) => entry)
        for (const each of extra) {
          // The asking node would know it, had it not been deleted there.
          if (isForgotten(request.forgotten, each.hlc)) this.store.sweep(each.keyHash, each.hash)
          else entries.push(each.entry)
        }
        const gone: string[] = []
        const wanted = [...want]
        for (const { keyHash, hlc } of lack) (isForgotten(this.store.forgotten, hlc) ? gone : wanted).push(keyHash)
        return { answer: { kind: 'page', entries, want: wanted, gone, upTo }, effects: [] }
      }
      case 'entries':
        return {
          answer: { kind: 'entries' },
          effects: this.#merge(request.entries, request.entries.length <= TOLD_ON_MAX),
        }
      default:
        return unreachable(request)
    }
  }

  /** When `wake` is due, on the clock of `Env.nowMs`. */
  get nextDueMs(): number {
    return Math.min(this.#compareAtMs, this.#sweepAtMs)
  }

  get exchangeCount(): number {
    return this.#exchanges.size
  }

  #written(outcome: WriteOutcome): { outcome: WriteOutcome; effects: ReplicaEffect[] } {
    if (!outcome.ok) return { outcome, effects: [] }
    const effects: ReplicaEffect[] = outcome.saveMs === undefined ? [] : [{ kind: 'save-clock', ms: outcome.saveMs }]
    effects.push(...this.#changed(outcome.entry, true))
    return { outcome, effects }
  }

  #merge(entries: readonly Entry[], isToldOn: boolean): ReplicaEffect[] {
    const effects: ReplicaEffect[] = []
    for (const entry of entries) {
      if (this.store.merge(entry) === 'won') effects.push(...this.#changed(entry, isToldOn))
    }
    return effects
  }

  #changed(entry: Entry, isToldOn: boolean): ReplicaEffect[] {
    const effects: ReplicaEffect[] = []
    if (this.#settings.durable.has(entry.namespace)) effects.push({ kind: 'append', entry })
    if (!isToldOn) return effects
    if (entryBytes(entry) <= this.#settings.gossipBytesMax) effects.push({ kind: 'gossip', entry })
    else {
      const nodes = this.#pick(this.#settings.pushNodes)
      if (nodes.length > 0) effects.push({ kind: 'push', nodes, entry })
    }
    return effects
  }

  #pick(count: number): string[] {
    const from = [...this.#nodes]
    const picked: string[] = []
    while (picked.length < count && from.length > 0) {
      picked.push(...from.splice(this.#env.randomInt(from.length), 1))
    }
    return picked.sort()
  }

  #wake(): ReplicaEffect[] {
    const nowMs = this.#env.nowMs()
    if (nowMs >= this.#sweepAtMs) {
      this.#sweepAtMs = nowMs + SWEEP_INTERVAL_MS
      this.store.expire()
    }
    if (nowMs < this.#compareAtMs) return []
    this.#compareAtMs = nowMs + this.#settings.antiEntropyIntervalMs
    const [node] = this.#pick(1)
    return node === undefined ? [] : this.#compareWith(node)
  }

  #know(node: string): void {
    if (!this.#nodes.includes(node)) this.#nodes = [...this.#nodes, node].sort()
  }

  #compareWith(node: string): ReplicaEffect[] {
    if (!this.#nodes.includes(node) || this.#due.includes(node)) return []
    for (const exchange of this.#exchanges.values()) if (exchange.node === node) return []
    this.#due.push(node)
    return this.#begin()
  }

  #begin(): ReplicaEffect[] {
    const effects: ReplicaEffect[] = []
    while (this.#exchanges.size < EXCHANGES_MAX) {
      const node = this.#due.shift()
      if (node === undefined) break
      const exchange: Exchange = {
        id: this.#nextExchange++,
        node,
        shards: [],
        shard: undefined,
        differing: 0,
        after: '',
        page: new Map(),
        next: undefined,
        toSend: [],
        received: 0,
        sent: 0,
      }
      this.#exchanges.set(exchange.id, exchange)
      effects.push(this.#request(exchange, { kind: 'digest', hashes: this.store.digest.hashes }))
    }
    return effects
  }

  #answered(id: number, answer: ExchangeAnswer | undefined): ReplicaEffect[] {
    const exchange = this.#exchanges.get(id)
    if (exchange === undefined) return []
    // Nothing is lost by giving up: the next comparison finds the rest.
    if (answer === undefined) return this.#end(exchange)
    switch (answer.kind) {
      case 'digest': {
        const shards = [...new Set(answer.shards)].filter((shard) => shard >= 0 && shard < SHARDS)
        exchange.shards.push(...shards)
        exchange.differing = shards.length
        return this.#goOn(exchange)
      }
      case 'page': {
        exchange.received += answer.entries.length
        const effects = this.#merge(answer.entries, answer.entries.length <= TOLD_ON_MAX)
        for (const keyHash of answer.gone) {
          const told = exchange.page.get(keyHash)
          if (told !== undefined) this.store.sweep(keyHash, told.hash)
        }
        for (const keyHash of answer.want) {
          const wanted = exchange.page.has(keyHash) ? this.store.digest.get(keyHash) : undefined
          if (wanted !== undefined) exchange.toSend.push(wanted.entry)
        }
        exchange.page = new Map()
        // One that does not move on would be asked for ever.
        exchange.next = answer.upTo !== undefined && answer.upTo > exchange.after ? answer.upTo : undefined
        return [...effects, ...this.#goOn(exchange)]
      }
      case 'entries':
        return this.#goOn(exchange)
      default:
        return unreachable(answer)
    }
  }

  /** What was asked for, then the next page, then the next shard. */
  #goOn(exchange: Exchange): ReplicaEffect[] {
    if (exchange.toSend.length > 0) {
      const entries: Entry[] = []
      for (let bytes = 0; exchange.toSend.length > 0 && bytes <= PAGE_BYTES; ) {
        const entry = exchange.toSend.pop() as Entry
        entries.push(entry)
        bytes += entryBytes(entry)
      }
      exchange.sent += entries.length
      return [this.#request(exchange, { kind: 'entries', entries })]
    }
    if (exchange.next !== undefined) exchange.after = exchange.next
    else {
      exchange.shard = exchange.shards.shift()
      exchange.after = ''
    }
    const { shard } = exchange
    if (shard === undefined) return this.#end(exchange)
    const { entries, isLast } = this.store.digest.page(shard, exchange.after, PAGE_SUMMARIES_MAX)
    exchange.page = new Map(entries.map((each) => [each.keyHash, each]))
    exchange.next = undefined
    return [
      this.#request(exchange, {
        kind: 'page',
        shard,
        after: exchange.after,
        isLast,
        summaries: entries.map(({ keyHash, hlc, hash }) => ({ keyHash, hlc, hash })),
        forgotten: this.store.forgotten,
      }),
    ]
  }

  #request(exchange: Exchange, request: ExchangeRequest): ReplicaEffect {
    return { kind: 'request', node: exchange.node, exchange: exchange.id, request }
  }

  #end(exchange: Exchange): ReplicaEffect[] {
    this.#exchanges.delete(exchange.id)
    const { node, differing, received, sent } = exchange
    return [{ kind: 'exchanged', node, differing, received, sent }, ...this.#begin()]
  }
}
