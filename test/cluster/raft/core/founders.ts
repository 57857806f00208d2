// Servers that found a group, on one clock and a network that a test can hold back: the core with the least of a driver around it.

import { createHash } from 'node:crypto'
import {
  type BootAnswer,
  type BootRequest,
  Bootstrap,
  type BootstrapEffect,
  type BootstrapInput,
  type BootstrapRecord,
  type BootstrapStatus,
  type Plan,
  type Seen,
} from '../../../../cluster/raft/core/bootstrap.ts'
import { FakeEnv } from '../../../tools/fake-env.ts'

export const sha256 = (text: string): Uint8Array => createHash('sha256').update(text, 'latin1').digest()

interface Disk extends BootstrapRecord {
  readonly store: string
  readonly formation: string | undefined
  readonly plan: Plan | undefined
  readonly releasedBefore: readonly string[]
}

interface FounderOptions {
  readonly expect?: number
  readonly priority?: number
  readonly isEligible?: boolean
  readonly hasJoinAddresses?: boolean
}

interface Server {
  readonly name: string
  readonly options: FounderOptions
  epoch: number
  disk: Disk
  core: Bootstrap | undefined
  status: BootstrapStatus
  readonly events: string[]
}

const STABILITY_MS = 5000

export class Founders {
  readonly env = new FakeEnv()
  readonly servers = new Map<string, Server>()
  readonly conversation: string[] = []
  hasJoined = true
  /** Whether a message arrives, an answer too. */
  passes: (from: string, to: string, what: string) => boolean = () => true
  /** Called before an effect; false: the server dies first. */
  survives: (name: string, effect: BootstrapEffect) => boolean = () => true
  #stores = 0
  #queue: (() => void)[] = []

  add(name: string, options: FounderOptions = {}): this {
    const server = {
      name,
      options,
      epoch: 0,
      disk: this.#blank([]),
      core: undefined,
      status: 'out' as const,
      events: [],
    }
    this.servers.set(name, server)
    return this.start(name)
  }

  start(name: string, options: { wiped?: boolean } = {}): this {
    const server = this.server(name)
    if (options.wiped === true) server.disk = this.#blank([])
    server.epoch++
    const { disk } = server
    const { expect = 3, priority = 100, isEligible = true, hasJoinAddresses = true } = server.options
    const limits = { votersMax: 5, votersMin: 3, standbysMax: 4 }
    server.core = new Bootstrap(
      {
        ...{ name, store: disk.store, clusterId: 'c', priority, domain: '', isEligible, expect, limits, sha256 },
        ...{ stabilityMs: STABILITY_MS, hasJoinAddresses, settings: Uint8Array.of(1) },
      },
      { ...disk, isEmpty: disk.formation === undefined },
      this.env,
    )
    this.#perform(server, server.core, server.core.start())
    return this
  }

  crash(name: string): this {
    this.server(name).core = undefined
    return this
  }

  /** A leader of another group makes it a member, before anything else comes to its disk. */
  adopt(name: string, formation: string): this {
    const server = this.server(name)
    const { core } = server
    server.disk = { ...server.disk, formation }
    this.#queue.push(() => server.core === core && this.#feed(server, { kind: 'adopted', formation }))
    return this
  }

  server(name: string): Server {
    return this.servers.get(name) as Server
  }

  /** Lets time pass, with views that are true. */
  run(seconds: number): this {
    for (let second = 0; second < seconds; second++) {
      for (const server of this.servers.values()) this.#view(server)
      this.#drain()
      this.env.advance(1000)
    }
    return this
  }

  /** `a: in 1, b: pre, c: -`: status and which of the groups. */
  get state(): string {
    const groups: string[] = []
    const text = ({ name, core, status, disk }: Server): string => {
      if (core === undefined) return `${name}: -`
      if (disk.formation === undefined) return `${name}: ${status}`
      if (!groups.includes(disk.formation)) groups.push(disk.formation)
      return `${name}: ${status} ${groups.indexOf(disk.formation) + 1}`
    }
    return [...this.servers.values()].map(text).join(', ')
  }

  #blank(releasedBefore: readonly string[]): Disk {
    const store = sha256(`store ${++this.#stores}`)
    const hex = Buffer.from(store.subarray(0, 16)).toString('hex')
    return { store: hex, formation: undefined, plan: undefined, promise: undefined, released: [], releasedBefore }
  }

  #view(server: Server): void {
    const others: Seen[] = []
    for (const { name, options, epoch, disk, core } of this.servers.values()) {
      if (core === undefined || name === server.name) continue
      if (!this.passes(name, server.name, 'gossip')) continue
      const { expect = 3, priority = 100, isEligible = true } = options
      others.push({
        ...{
          name,
          epoch,
          store: disk.store.slice(0, 16),
          status: core.status,
          isEligible,
          priority,
          domain: '',
          expect,
        },
        ...{ formation: core.formation?.slice(0, 16), isLinked: true },
      })
    }
    others.sort((a, b) => (a.name < b.name ? -1 : 1))
    const { plan } = server.disk
    const group =
      plan === undefined ? {} : { group: { lastIndex: 2, voters: plan.configuration.voters, hasLeader: false } }
    this.#feed(server, { kind: 'view', view: { epoch: server.epoch, others, hasJoined: this.hasJoined, ...group } })
  }

  #feed(server: Server, input: BootstrapInput): void {
    const { core } = server
    if (core !== undefined) this.#perform(server, core, core.step(input))
  }

  #perform(server: Server, core: Bootstrap, effects: readonly BootstrapEffect[]): void {
    for (const effect of effects) {
      if (server.core !== core) return
      if (!this.survives(server.name, effect)) {
        server.core = undefined
        return
      }
      this.#do(server, core, effect)
    }
  }

  #do(server: Server, core: Bootstrap, effect: BootstrapEffect): void {
    const later = (input: BootstrapInput): void => {
      this.#queue.push(() => server.core === core && this.#feed(server, input))
    }
    switch (effect.kind) {
      case 'ask':
        return this.#ask(server, core, effect.to, effect.ask, effect.request)
      case 'answer':
        return this.#answers.get(effect.ref)?.(effect.answer)
      case 'save':
        server.disk = { ...server.disk, ...effect.record }
        return later(effect.done)
      case 'form': {
        const { plan } = effect
        server.disk = { ...server.disk, formation: plan.formation, plan }
        return later(effect.done)
      }
      case 'reset': {
        const { released, releasedBefore } = server.disk
        server.events.push('reset')
        server.disk = this.#blank([...releasedBefore, ...released])
        server.core = undefined
        this.start(server.name)
        return
      }
      case 'status':
        server.status = effect.status
        return
      case 'note':
        server.events.push(effect.event)
    }
  }

  readonly #answers = new Map<number, (answer: BootAnswer | undefined) => void>()
  #refs = 0

  #ask(from: Server, core: Bootstrap, to: { name: string; epoch: number }, ask: number, request: BootRequest): void {
    const answered = (answer: BootAnswer | undefined): void => {
      this.#queue.push(() => from.core === core && this.#feed(from, { kind: 'answered', ask, answer }))
    }
    const target = this.servers.get(to.name)
    const isThere = target?.core !== undefined && (to.epoch === 0 || to.epoch === target.epoch)
    this.conversation.push(`${from.name} ${to.name} ${request.kind}`)
    if (target === undefined || !isThere || !this.passes(from.name, to.name, request.kind)) return answered(undefined)
    const ref = ++this.#refs
    this.#answers.set(ref, (answer) => {
      answered(this.passes(to.name, from.name, `${request.kind} answer`) ? answer : undefined)
    })
    this.#queue.push(() => this.#feed(target, { kind: 'request', ref, from: from.name, request }))
  }

  #drain(): void {
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) next()
  }
}
