import { describe, expect, it } from 'vitest'
import {
  applyChange,
  type Configuration,
  configurationOf,
  membersOf,
} from '../../../../cluster/raft/core/membership.ts'
import {
  type MemberState,
  Reconciler,
  type ReconcilerEffect,
  type ReconcilerView,
  type ServerNode,
} from '../../../../cluster/raft/core/reconciler.ts'
import { nameOf, type ServerId, storeOf } from '../../../../cluster/raft/core/server.ts'
import { FakeEnv } from '../../../tools/fake-env.ts'

const GRACE_MS = 30_000

interface Machine {
  store: string
  isLive: boolean
  isLinked: boolean
  isEligible: boolean
  domain: string
  status: ServerNode['status']
  isSynced: boolean
  isRegressed: boolean
  syncMs: number
}

/** A leader's view of a cluster, whose steps all happen at once unless `refuses` says no. */
class Group {
  readonly env = new FakeEnv()
  readonly machines = new Map<string, Machine>()
  readonly reconciler: Reconciler
  readonly log: string[] = []
  configuration: Configuration
  refuses: (what: string) => string | undefined = () => undefined

  constructor(voters: string, standbys = '', options: { votersMax?: number; standbysMax?: number } = {}) {
    const names = (text: string): string[] => text.split(' ').filter(Boolean)
    this.add(...names(voters), ...names(standbys))
    const servers = (text: string): ServerId[] => names(text).map((name) => this.server(name))
    this.configuration = configurationOf(servers(voters), servers(standbys))
    const { votersMax = 5, standbysMax = 4 } = options
    this.reconciler = new Reconciler(
      {
        self: this.server('a'),
        limits: { votersMax, votersMin: 3, standbysMax },
        ...{ debounceMs: 2000, timeoutMs: 2000, evictGraceMs: GRACE_MS, heartbeatTimeoutMs: 3000 },
      },
      this.env,
    )
    this.reconciler.step({ kind: 'lead' })
  }

  add(...names: string[]): this {
    for (const name of names) {
      const fine = { isLive: true, isLinked: true, isEligible: true, isSynced: true, isRegressed: false }
      this.machines.set(name, { store: '1'.repeat(32), ...fine, domain: '', status: 'in', syncMs: 1 })
    }
    return this
  }

  machine(name: string): Machine {
    return this.machines.get(name) as Machine
  }

  server(name: string): ServerId {
    return `${name}/${this.machine(name).store}`
  }

  kill(...names: string[]): this {
    for (const name of names) this.machine(name).isLive = false
    this.reconciler.step({ kind: 'news' })
    return this
  }

  run(seconds: number): this {
    for (let i = 0; i < seconds * 10; i++) {
      this.env.advance(100)
      for (let rounds = 0; this.reconciler.wakeAtMs <= this.env.nowMs(); rounds++) {
        if (rounds > 20) throw new Error('it does not come to rest')
        for (const effect of this.reconciler.step({ kind: 'tick', view: this.#view() })) this.#perform(effect)
      }
    }
    return this
  }

  /** `a b c | d`. */
  get members(): string {
    const text = (servers: readonly ServerId[]): string =>
      servers.map((server) => nameOf(server) + (storeOf(server).startsWith('1') ? '' : '*')).join(' ')
    return `${text(this.configuration.voters)} | ${text(this.configuration.standbys)}`
  }

  /** What has happened since it was asked last. */
  get done(): string {
    return this.log.splice(0).join(', ')
  }

  #view(): ReconcilerView {
    const nodes: ServerNode[] = []
    for (const [name, machine] of this.machines) {
      const { store, isLive, isLinked, isEligible, domain, status } = machine
      if (!isLive) continue
      const told = { store: store.slice(0, 16), server: this.server(name), formation: 'f'.repeat(16) }
      nodes.push({ name, ...told, status, isLinked, isEligible, domain, priority: 100 })
    }
    const members = new Map<ServerId, MemberState>()
    for (const server of membersOf(this.configuration)) {
      const machine = this.machine(nameOf(server))
      if (server === this.server('a')) continue
      const isHere = machine.isLive && this.server(nameOf(server)) === server
      const { isSynced, isRegressed, syncMs } = machine
      members.set(server, { isSynced: isSynced && isHere, isRegressed, silentMs: isHere ? 100 : 1e9, syncMs })
    }
    const { configuration } = this
    const syncMs = this.machine('a').syncMs
    return { formation: 'f'.repeat(32), configuration, isSettled: true, members, nodes, syncMs }
  }

  #perform(effect: ReconcilerEffect): void {
    if (effect.kind === 'burst') this.log.push('burst')
    if (effect.kind === 'transfer') {
      this.log.push(['transfer', ...(effect.to === undefined ? [] : [nameOf(effect.to)])].join(' '))
      this.reconciler.step({ kind: 'done', ref: effect.ref, ok: true })
    }
    if (effect.kind !== 'change') return
    const { op, server } = effect.change
    const what = `${op} ${nameOf(server)}${storeOf(server).startsWith('1') ? '' : '*'}`
    const why = this.refuses(what)
    const result = applyChange(this.configuration, effect.change)
    if (why !== undefined || !result.ok) {
      this.log.push(`no ${what}`)
      const told = this.reconciler.step({ kind: 'done', ref: effect.ref, ok: false, why: why ?? 'impossible' })
      for (const each of told) this.#perform(each)
      return
    }
    this.configuration = result.configuration
    this.log.push(what)
    for (const each of this.reconciler.step({ kind: 'done', ref: effect.ref, ok: true })) this.#perform(each)
  }
}

describe('the reconciler (cluster.md §5.8)', () => {
  it('leaves a dead voter in when nobody can replace it (a)', () => {
    const group = new Group('a b c').kill('c').run(300)
    expect(group.members).toBe('a b c | ')
    expect(group.done).toBe('')
  })

  it('promotes a standby for a dead voter after its grace, and removes that one then (b)', () => {
    const group = new Group('a b c', 'd').kill('c').run(29)
    expect(group.done).toBe('')
    expect(group.run(5).done).toBe('promote d, remove c')
    expect(group.members).toBe('a b d | ')
  })

  it('shrinks by two when two are dead (c)', () => {
    const group = new Group('a b c d e').kill('e').run(120)
    expect(group.members).toBe('a b c d e | ')
    group.kill('d').run(40)
    expect(group.members).toBe('a b c | ')
  })

  it('exchanges a voter of a crowded domain, once a minute (e)', () => {
    const group = new Group('a b c d e').add('f', 'g')
    for (const [name, domain] of Object.entries({ a: 'x', b: 'x', c: 'x', d: 'y', e: 'z', f: 'y', g: 'z' })) {
      group.machine(name).domain = domain
    }
    expect(group.run(120).done).toBe('add-standby f, add-standby g, promote f, demote c')
    expect(group.members).toBe('a b d e f | c g')
  })

  it('makes voters odd again after one has left (g)', () => {
    const group = new Group('a b c d e')
    group.reconciler.step({ kind: 'leave', server: group.server('e') })
    expect(group.run(3).done).toBe('remove e, demote d')
    expect(group.members).toBe('a b c | d')
  })

  it('promotes a standby for a voter that leaves before it removes that one', () => {
    const group = new Group('a b c', 'd')
    group.reconciler.step({ kind: 'leave', server: group.server('b') })
    expect(group.run(3).done).toBe('promote d, remove b')
  })

  it('replaces a wiped store at once (h)', () => {
    const group = new Group('a b c')
    group.machine('c').store = '2'.repeat(32)
    group.reconciler.step({ kind: 'news' })
    expect(group.run(4).done).toBe('add-standby c*, promote c*, remove c')
    expect(group.members).toBe('a b c* | ')
  })

  it('replaces a store that has lost entries', () => {
    const group = new Group('a b c', 'd')
    group.machine('c').isRegressed = true
    expect(group.run(12).done).toBe('promote d, remove c')
  })

  it('grows by two, when both are ready', () => {
    const group = new Group('a b c').add('d', 'e')
    group.machine('e').isSynced = false
    expect(group.run(60).done).toBe('add-standby d, add-standby e')
    group.machine('e').isSynced = true
    expect(group.run(12).done).toBe('promote d, promote e')
  })

  it('leaves the rest of a large cluster outside', () => {
    const group = new Group('a b c').add('d', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l').run(60)
    expect(group.members).toBe('a b c d e | f g h i')
  })

  it('does nothing while servers come and go', () => {
    const group = new Group('a b c', 'd', { votersMax: 3 }).add('e').run(5)
    expect(group.done).toBe('add-standby e')
    for (let i = 0; i < 100; i++) {
      const name = ['b', 'c', 'd', 'e'][i % 4] as string
      group.kill(name).run(3)
      group.machine(name).isLive = true
      group.reconciler.step({ kind: 'news' })
      group.run(2)
    }
    expect(group.done).toBe('')
  })

  it('keeps a voter that gossip calls live, however silent it is', () => {
    const group = new Group('a b c', 'd')
    group.machine('c').isLinked = false
    group.machine('c').isSynced = false
    expect(group.run(200).done).toBe('')
  })

  it('removes dead standbys after their grace, and brings in others', () => {
    const group = new Group('a b c', 'd e', { votersMax: 3, standbysMax: 2 }).kill('d')
    group.add('f').run(25)
    expect(group.done).toBe('')
    expect(group.run(15).done).toBe('add-standby f, remove d')
  })

  it('demotes who may not vote any more', () => {
    const group = new Group('a b c', 'd')
    group.machine('b').isEligible = false
    expect(group.run(12).done).toBe('promote d, demote b')
  })

  it('hands over when this server may not vote any more', () => {
    const group = new Group('a b c')
    group.machine('a').isEligible = false
    expect(group.run(2).done).toContain('transfer')
  })

  it('hands over to the fastest when its own disk is slow for ten seconds', () => {
    const group = new Group('a b c')
    group.machine('a').syncMs = 1500
    group.machine('b').syncMs = 100
    expect(group.run(9.9).done).toBe('')
    expect(group.run(0.9).done).toBe('transfer c')
    const allSlow = new Group('a b c')
    for (const name of ['a', 'b', 'c']) allSlow.machine(name).syncMs = 1500
    expect(allSlow.run(60).done).toBe('')
  })

  it('looks every second whether its disk is still slow', () => {
    const group = new Group('a b c')
    for (let i = 0; i < 6; i++) {
      group.machine('a').syncMs = 1500
      group.run(5)
      group.machine('a').syncMs = 1
      group.run(2)
    }
    expect(group.done).toBe('')
  })

  it('tries a refused step again, ever less often, and others meanwhile', () => {
    const group = new Group('a b c').add('d', 'e', 'f')
    group.refuses = (what) => (what === 'add-standby d' ? 'no' : undefined)
    group.run(100)
    expect(group.configuration.standbys.map(nameOf)).toContain('f')
    const tries = group.done.split(', ').filter((what) => what === 'no add-standby d').length
    expect(tries).toBeGreaterThan(4)
    expect(tries).toBeLessThan(12)
  })

  it('stops to change voters that change too often, but goes on to replace them', () => {
    const group = new Group('a b c d e', 'f g h', { votersMax: 5 }).kill('c', 'd', 'e').run(31)
    expect(group.done).toBe('promote f, promote g, promote h, remove c, burst')
    expect(group.run(20).done).toBe('')
    expect(group.run(20).done).toBe('remove d, burst')
    expect(group.run(30).done).toBe('remove e')
  })

  it('adds nobody who is not reached, or is of another formation', () => {
    const group = new Group('a b c').add('d', 'e')
    group.machine('d').isLinked = false
    group.machine('e').status = 'leaving'
    expect(group.run(60).done).toBe('')
  })
})
