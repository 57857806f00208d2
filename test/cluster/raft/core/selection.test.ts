import { describe, expect, it } from 'vitest'
import { type Candidate, largestOdd, type SelectionInput, select } from '../../../../cluster/raft/core/selection.ts'
import { nameOf, type ServerId } from '../../../../cluster/raft/core/server.ts'
import { fc } from '../../../tools/property.ts'

const LIMITS = { votersMax: 5, votersMin: 3, standbysMax: 4 }

/** `a`, `a:5` with priority 5, `a@z` in the domain z, `a!` may not vote; the store is 1 unless written `a/2`. */
function candidate(text: string): Candidate {
  const [, name = '', store = '1', priority = '100', domain = '', mark] =
    /^(\w+)(?:\/(\d))?(?::(\d+))?(?:@(\w+))?(!)?$/.exec(text) ?? []
  return { server: `${name}/${store}`, priority: Number(priority), domain, isEligible: mark === undefined }
}

const servers = (text: string): ServerId[] =>
  text
    .split(' ')
    .filter(Boolean)
    .map((name) => candidate(name).server)

interface Told extends Partial<Pick<SelectionInput, 'leader' | 'limits' | 'maySpread'>> {
  voters?: string
  standbys?: string
  present: string
  absent?: string
  evictable?: string
}

const inputOf = ({
  voters = '',
  standbys = '',
  present,
  absent = '',
  evictable = '',
  ...rest
}: Told): SelectionInput => ({
  limits: LIMITS,
  voters: servers(voters),
  standbys: servers(standbys),
  present: present.split(' ').filter(Boolean).map(candidate),
  absent: absent.split(' ').filter(Boolean).map(candidate),
  evictable: new Set(servers(evictable)),
  ...rest,
})

/** `a b c | d` as voters and standbys, without the stores that are 1. */
function chosen(told: Told): string {
  const { voters, standbys } = select(inputOf(told))
  const text = (list: readonly ServerId[]): string =>
    list.map((server) => (server.endsWith('/1') ? nameOf(server) : server)).join(' ')
  return `${text(voters)} | ${text(standbys)}`
}

describe('select (cluster.md §5.8)', () => {
  it('keeps a dead voter whom nobody can replace (a)', () => {
    expect(chosen({ voters: 'a b c', present: 'a b', evictable: 'c' })).toBe('a b | ')
    expect(select(inputOf({ voters: 'a b c', present: 'a b', evictable: 'c' })).target).toBe(3)
  })

  it('replaces a voter only after its grace (b)', () => {
    expect(chosen({ voters: 'a b c', standbys: 'd', present: 'a b d' })).toBe('a b c | d')
    expect(chosen({ voters: 'a b c', standbys: 'd', present: 'a b d', evictable: 'c' })).toBe('a b d | ')
    expect(chosen({ voters: 'a b c d', present: 'a b d', evictable: 'c' })).toBe('a b d | ')
  })

  it('shrinks by two when two are lost for good, and not by one (c)', () => {
    const told = { voters: 'a b c d e', present: 'a b c d', evictable: 'e' }
    expect(select(inputOf(told)).target).toBe(5)
    expect(chosen({ ...told, present: 'a b c', evictable: 'd e' })).toBe('a b c | ')
    expect(chosen({ voters: 'a b c d', present: 'a b c', evictable: 'd' })).toBe('a b c | ')
  })

  it('leaves voters alone whose domains are even (d)', () => {
    const told = { voters: 'a b c d e', present: 'a@x b@x c@y d@y e@z f@z', maySpread: true }
    expect(select(inputOf(told)).spread).toBeUndefined()
  })

  it('exchanges one of a domain that holds a majority (e)', () => {
    const told = { voters: 'a b c d e', leader: 'c/1', present: 'a@x b@x c@x d@y e@z f@y', maySpread: true }
    expect(select(inputOf(told)).spread).toEqual({ out: 'b/1', in: 'f/1' })
    expect(chosen({ ...told, maySpread: false })).toBe('a b c d e | f')
    // Once the new one votes too, the same one goes.
    expect(chosen({ ...told, voters: 'a b c d e f', maySpread: false })).toBe('a c d e f | b')
  })

  it('exchanges nobody while a lost voter is still to go: with one voter more nobody could take its place', () => {
    const told = { present: 'a@x b@x c@x d@z', evictable: 'd/2', maySpread: true }
    expect(select(inputOf({ ...told, voters: 'a b c d/2' })).spread).toBeUndefined()
    expect(chosen({ ...told, voters: 'a b c d/2' })).toBe('a b c | d')
  })

  it('makes an odd number of voters out of a new group (f)', () => {
    expect(chosen({ present: 'a b c d' })).toBe('a b c | d')
    expect(chosen({ present: 'a b' })).toBe('a | b')
    expect(chosen({ present: 'a b c d e f g' })).toBe('a b c d e | f g')
    expect(chosen({ present: 'a b:1 c d:0 e!' })).toBe('d b a | c e')
  })

  it('makes voters odd again after one has left (g)', () => {
    expect(chosen({ voters: 'a b c d', leader: 'd/1', present: 'a b c d' })).toBe('a b d | c')
  })

  it('replaces a wiped store by the new one of the same node (h)', () => {
    expect(chosen({ voters: 'a b c', present: 'a b c/2', evictable: 'c' })).toBe('a b c/2 | ')
  })

  it('evicts nobody for a better priority', () => {
    expect(chosen({ voters: 'a b c', present: 'a b c d:0 e!' })).toBe('a b c | d e')
    expect(chosen({ voters: 'a b c', present: 'a b c d:0 e:1' })).toBe('d e a b c | ')
  })

  it('lets who may not vote stand by, when there are others to vote', () => {
    expect(chosen({ voters: 'a b c', present: 'a! b c d' })).toBe('b c d | a')
  })

  it('keeps the place of a standby who is away for a moment', () => {
    const limits = { ...LIMITS, standbysMax: 1 }
    expect(chosen({ voters: 'a b c', standbys: 'd', present: 'a b c e', limits })).toBe('a b c | d')
    expect(chosen({ voters: 'a b c', standbys: 'd', present: 'a b c e', evictable: 'd', limits })).toBe('a b c | e')
  })

  it('asks the domain before the priority', () => {
    expect(chosen({ present: 'a:0@x b:1@x c:2@y d:3@z' })).toBe('a c d | b')
  })
})

describe('select, whatever the cluster', () => {
  const cluster = fc
    .record({
      names: fc.uniqueArray(fc.constantFrom(...'abcdefghijkl'), { minLength: 1 }),
      shape: fc.array(
        fc.record({
          role: fc.constantFrom('voter', 'voter', 'standby', 'client'),
          isPresent: fc.boolean(),
          isLost: fc.boolean(),
          isEligible: fc.boolean(),
          priority: fc.nat(3),
          domain: fc.constantFrom('', 'x', 'y'),
        }),
        { minLength: 12, maxLength: 12 },
      ),
      votersMax: fc.constantFrom(1, 3, 5, 7),
      standbysMax: fc.nat(4),
      maySpread: fc.boolean(),
    })
    .map(({ names, shape, votersMax, standbysMax, maySpread }): SelectionInput => {
      const all = names.map((name, at) => ({ server: `${name}/1`, ...(shape[at] as (typeof shape)[number]) }))
      const of = (role: string): ServerId[] =>
        all
          .filter((each) => each.role === role)
          .map(({ server }) => server)
          .sort()
      return {
        limits: { votersMax, votersMin: Math.min(3, votersMax), standbysMax },
        voters: of('voter'),
        standbys: of('standby'),
        present: all.filter(({ isPresent }) => isPresent),
        evictable: new Set(all.filter(({ isPresent, isLost }) => !isPresent && isLost).map(({ server }) => server)),
        maySpread,
      }
    })

  it('never chooses more than it may, nobody twice, nobody who is lost, no voter who may not vote', () => {
    fc.assert(
      fc.property(cluster, (input) => {
        const { target, voters, standbys } = select(input)
        expect(voters.length).toBeLessThanOrEqual(target)
        expect(target).toBeLessThanOrEqual(input.limits.votersMax)
        expect(target % 2 === 1 || target === 0).toBe(true)
        expect(standbys.length).toBeLessThanOrEqual(input.limits.standbysMax)
        expect(new Set([...voters, ...standbys]).size).toBe(voters.length + standbys.length)
        for (const server of [...voters, ...standbys]) expect(input.evictable.has(server)).toBe(false)
        for (const { server, isEligible } of input.present) if (!isEligible) expect(voters).not.toContain(server)
      }),
    )
  })

  it('does not depend on the order in which servers are told of', () => {
    fc.assert(
      fc.property(cluster, (input) => {
        const turned = {
          ...input,
          present: [...input.present].reverse(),
          voters: [...input.voters].reverse(),
          standbys: [...input.standbys].reverse(),
        }
        expect(select(turned)).toEqual(select(input))
      }),
    )
  })

  it('chooses again what it has chosen', () => {
    fc.assert(
      fc.property(cluster, (input) => {
        const first = select({ ...input, maySpread: false })
        const second = select({ ...input, maySpread: false, voters: first.voters, standbys: first.standbys })
        if (first.voters.length === first.target) expect(second.voters).toEqual(first.voters)
      }),
    )
  })

  it('shrinks the voters no further than to the smallest number that is wanted', () => {
    fc.assert(
      fc.property(cluster, (input) => {
        const { votersMin, votersMax } = input.limits
        const now = largestOdd(input.voters.length)
        expect(select(input).target).toBeGreaterThanOrEqual(Math.min(votersMax, Math.min(votersMin, now)))
      }),
    )
  })
})
