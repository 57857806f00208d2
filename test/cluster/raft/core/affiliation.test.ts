import { describe, expect, it } from 'vitest'
import { affiliate, type Sighting } from '../../../../cluster/raft/core/affiliation.ts'

/** `a b* c` of a group: those with a star do not vote. */
const seen = (formation: string, names: string): Sighting[] =>
  names.split(' ').map((name) => ({ name: name.replace('*', ''), formation, isVoter: !name.endsWith('*') }))

const MET = { formation: 'f', voters: ['a', 'b', 'c'] }

describe('affiliate (cluster.md §5.4)', () => {
  it('holds to the first group whose voters it meets', () => {
    expect(affiliate(undefined, [])).toBeUndefined()
    expect(affiliate(undefined, seen('f', 'd*'))).toBeUndefined()
    expect(affiliate(undefined, seen('f', 'c a b d*'))).toEqual(MET)
  })

  it('of two groups that it meets at once takes one, the same whatever the order', () => {
    const both = [...seen('g', 'x y'), ...seen('f', 'a b c')]
    expect(affiliate(undefined, both)).toEqual(MET)
    expect(affiliate(undefined, both.reverse())).toEqual(MET)
    expect(affiliate(undefined, [...seen('h', 'z'), ...seen('g', 'x')])?.formation).toBe('g')
  })

  it('never goes to another group by itself, also when its own is out of reach', () => {
    expect(affiliate(MET, seen('g', 'x y z'))).toBe(MET)
    expect(affiliate(MET, seen('g', 'a y z'))).toBe(MET)
    expect(affiliate(MET, [...seen('g', 'a b x'), ...seen('f', 'c')])).toBe(MET)
    expect(affiliate(MET, [])).toBe(MET)
  })

  it('goes along when most of those who were its group are another one, and nobody is left of it', () => {
    expect(affiliate(MET, seen('g', 'a b x'))).toEqual({ formation: 'g', voters: ['a', 'b', 'x'] })
    expect(affiliate(MET, seen('g', 'a b* x'))).toBe(MET)
  })

  it('learns who votes by now, and keeps who is out of reach', () => {
    expect(affiliate(MET, seen('f', 'a b d'))).toEqual({ formation: 'f', voters: ['a', 'b', 'd'] })
    expect(affiliate(MET, seen('f', 'a b'))).toBe(MET)
  })
})
