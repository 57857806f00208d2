import { describe, expect, it } from 'vitest'
import { formationOf, planProblem } from '../../../../cluster/raft/core/bootstrap.ts'
import { Founders, sha256 } from './founders.ts'

const three = (): Founders => new Founders().add('a').add('b').add('c')

describe('founding a group (cluster.md §5.4)', () => {
  it('happens once all expected servers have been there for a while', () => {
    const founders = new Founders().add('b').add('c').run(20)
    expect(founders.state).toBe('b: pre, c: pre')
    founders.add('a').run(4)
    expect(founders.state).toBe('b: pre, c: pre, a: pre')
    founders.run(4)
    expect(founders.state).toBe('b: in 1, c: in 1, a: in 1')
    expect(founders.server('a').disk.plan?.configuration.voters).toHaveLength(3)
    expect(founders.conversation).toContain('a b propose')
    expect(founders.server('a').disk.promise).toBeUndefined()
  })

  it('is proposed by the first by priority and name', () => {
    const founders = new Founders().add('a').add('b').add('c', { priority: 1 }).run(8)
    expect(founders.conversation.filter((line) => line.endsWith('propose'))).toEqual(['c a propose', 'c b propose'])
  })

  it('chooses nobody when there are more servers than expected', () => {
    const founders = three().add('d').run(60)
    expect(founders.state).toBe('a: pre, b: pre, c: pre, d: pre')
    expect(founders.server('a').events).toContain('raft_bootstrap_too_many')
  })

  it('says so when servers expect different numbers', () => {
    const founders = new Founders().add('a').add('b').add('c', { expect: 2 }).run(40)
    expect(founders.state).toBe('a: pre, b: pre, c: pre')
    expect(founders.server('a').events).toContain('raft_bootstrap_disagreement')
  })

  it('is done by one server alone when it has nobody to join', () => {
    const founders = new Founders().add('a', { expect: 1, hasJoinAddresses: false }).run(8)
    expect(founders.state).toBe('a: in 1')
  })

  it('waits for an answer before one server is taken for the only one', () => {
    const founders = new Founders().add('a', { expect: 1 })
    founders.hasJoined = false
    founders.run(60)
    expect(founders.state).toBe('a: pre')
    founders.hasJoined = true
    expect(founders.run(8).state).toBe('a: in 1')
  })

  it('does not happen beside a group that is there', () => {
    const founders = three().run(8).add('d', { expect: 1 }).add('e', { expect: 0 }).run(60)
    expect(founders.state).toBe('a: in 1, b: in 1, c: in 1, d: pre, e: out')
  })

  it('starts over after a refusal, with a fresh number', () => {
    const founders = three()
    founders.passes = (from, to, what) => !(what === 'gossip' && from === 'b' && to === 'c')
    founders.run(15)
    expect(founders.state).toBe('a: pre, b: pre, c: pre')
    expect(founders.server('a').events).toContain('raft_bootstrap_failed')
    founders.passes = () => true
    expect(founders.run(12).state).toBe('a: in 1, b: in 1, c: in 1')
  })

  it('starts over when an answer does not come', () => {
    const founders = three()
    founders.passes = (_from, _to, what) => what !== 'propose answer'
    founders.run(20)
    expect(founders.state).toBe('a: pre, b: pre, c: pre')
    founders.passes = () => true
    expect(founders.run(16).state).toBe('a: in 1, b: in 1, c: in 1')
  })

  it('reaches those who missed its end', () => {
    const founders = three()
    founders.passes = (_from, _to, what) => what !== 'commit'
    expect(founders.run(12).state).toBe('a: in 1, b: in 1, c: in 1')
    expect(founders.conversation).toContain('b a status')
  })

  it('is forgotten when the proposer crashes before it has decided', () => {
    const founders = three()
    founders.survives = (name, effect) => !(name === 'a' && effect.kind === 'form')
    founders.run(8)
    expect(founders.state).toBe('a: -, b: pre, c: pre')
    expect(founders.server('b').disk.promise).toBeDefined()
    founders.survives = () => true
    founders.start('a').run(14)
    expect(founders.state).toBe('a: in 1, b: in 1, c: in 1')
    expect(founders.server('a').events.filter((event) => event === 'raft_bootstrapped')).toHaveLength(1)
  })

  it('is given up for good by a majority when the proposer does not come back, who then begins anew', () => {
    const founders = three()
    founders.passes = (_from, _to, what) => what !== 'commit'
    founders.survives = (name, effect) => !(name === 'a' && effect.kind === 'status' && effect.status === 'in')
    founders.run(8)
    expect(founders.state).toBe('a: -, b: pre, c: pre')
    founders.run(20)
    expect(founders.server('b').disk.promise).toBeUndefined()
    const given = founders.server('a').disk.formation
    expect(founders.server('b').disk.released).toEqual([given])
    founders.passes = () => true
    founders.survives = () => true
    // Its decision is on its disk, and it is worth nothing any more.
    const store = founders.server('a').disk.store
    founders.start('a').run(1)
    expect(founders.server('a').status).toBe('in')
    founders.run(60)
    expect(founders.server('a').disk.store).not.toBe(store)
    expect(founders.state).toBe('a: in 1, b: in 1, c: in 1')
    expect(founders.server('a').disk.formation).not.toBe(given)
  })

  it('does not believe a wiped proposer that it had decided nothing', () => {
    const founders = three()
    founders.passes = (_from, to, what) => what !== 'commit' || to === 'b'
    founders.survives = (name, effect) => !(name === 'b' && effect.kind === 'status' && effect.status === 'in')
    founders.run(6)
    founders.crash('a').start('a', { wiped: true }).run(6)
    expect(founders.state).toBe('a: pre, b: -, c: pre')
    expect(founders.server('c').disk.promise).toBeDefined()
    founders.survives = () => true
    founders.start('b').run(6)
    expect(founders.state).toBe('a: pre, b: in 1, c: in 1')
  })

  it('accepts nothing once a group has made the server a member, also while the promise is being written', () => {
    const founders = three()
    founders.survives = (name, effect) => {
      if (name === 'c' && effect.kind === 'save' && effect.record.promise !== undefined)
        founders.adopt('c', 'ff'.repeat(16))
      return true
    }
    founders.run(20)
    expect(founders.server('c').core?.formation).toBe('ff'.repeat(16))
    expect(founders.server('c').disk.promise).toBeUndefined()
    expect(founders.state).toBe('a: pre, b: pre, c: in 1')
    expect(founders.conversation).not.toContain('a b commit')
  })

  it('survives a crash of anybody at any step', () => {
    const steps = ['save', 'ask', 'answer', 'form', 'status']
    for (const victim of ['a', 'b', 'c']) {
      for (const kind of steps) {
        for (let nth = 1; nth <= 8; nth++) {
          const founders = three()
          let count = 0
          founders.survives = (name, effect) => name !== victim || effect.kind !== kind || ++count !== nth
          founders.run(9)
          founders.survives = () => true
          if (founders.server(victim).core === undefined) founders.start(victim)
          founders.run(60)
          expect(`${victim} ${kind} ${nth}: ${founders.state}`).toBe(
            `${victim} ${kind} ${nth}: a: in 1, b: in 1, c: in 1`,
          )
        }
      }
    }
  })
})

describe('a plan', () => {
  const founders = [
    { name: 'a', epoch: 1, store: '00'.repeat(16) },
    { name: 'b', epoch: 2, store: '11'.repeat(16) },
  ]
  const nonce = '0102030405060708'
  const formation = formationOf({ nonce, clusterId: 'c', founders }, sha256)
  const [a, b] = founders.map(({ name, store }) => `${name}/${store}`) as [string, string]
  const configuration = { voters: [a], standbys: [b] }
  const plan = { formation, nonce, proposer: 'a', founders, configuration, settings: new Uint8Array() }

  it('is refused unless all of it fits together', () => {
    const problem = (change: object): string | undefined =>
      planProblem({ ...plan, ...change }, { clusterId: 'c', sha256 })
    expect(problem({})).toBeUndefined()
    expect(problem({ proposer: 'x' })).toMatch('proposer')
    expect(problem({ formation: '00'.repeat(16) })).toMatch('id')
    expect(problem({ founders: [...founders].reverse() })).toMatch('order')
    expect(problem({ configuration: { voters: ['x/1'], standbys: [] } })).toMatch('configuration')
    expect(problem({ configuration: { voters: [a], standbys: [a] } })).toMatch('configuration')
    expect(problem({ configuration: { voters: [], standbys: [a] } })).toMatch('nobody')
    expect(planProblem(plan, { clusterId: 'd', sha256 })).toMatch('id')
  })
})
