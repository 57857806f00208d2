import { describe, expect, test } from 'vitest'
import { type Entry, entryBytes } from '../../../../cluster/raft/core/entry.ts'
import { Log } from '../../../../cluster/raft/core/log.ts'
import { type Configuration, configurationOf, NOBODY } from '../../../../cluster/raft/core/membership.ts'
import { fc } from '../../../tools/property.ts'

const start = { base: { index: 0, term: 0 }, runs: [], onDisk: { index: 0, clockMs: 0 } }
const initial = { index: 0, configuration: NOBODY }
const all = { entriesMax: Number.POSITIVE_INFINITY, bytesMax: Number.POSITIVE_INFINITY }

function noop(index: number, term: number): Entry {
  return { index, term, clockMs: index, kind: 'noop' }
}

/** A log with entries of these terms. */
function logOf(...terms: number[]): Log {
  const entries = terms.map((term, at) => noop(at + 1, term))
  return new Log(start, initial, entries)
}

describe('the log', () => {
  test('knows the term of every entry', () => {
    const log = logOf(1, 1, 3, 5, 5)
    expect([0, 1, 2, 3, 4, 5, 6].map((index) => log.term(index))).toEqual([0, 1, 1, 3, 5, 5, undefined])
    expect(log.last).toEqual({ index: 5, term: 5 })
    expect(log.lastIndexOf(1)).toBe(2)
    expect(log.lastIndexOf(2)).toBeUndefined()
    expect(log.lastIndexOf(5)).toBe(5)
  })

  test('refuses gaps and falling terms', () => {
    const log = logOf(1, 2)
    expect(() => log.append(noop(4, 2))).toThrow('entry 4 follows 2')
    expect(() => log.append(noop(3, 1))).toThrow('term 1 of entry 3')
  })

  test('names where to go on after a conflict: once a term, not once an entry (Raft §5.3)', () => {
    const log = logOf(1, 1, 4, 4, 4)
    expect(log.conflict({ index: 9, term: 6 })).toEqual({ index: 6 })
    expect(log.conflict({ index: 5, term: 5 })).toEqual({ index: 3, term: 4 })
    log.compactTo(4)
    expect(log.conflict({ index: 2, term: 3 })).toEqual({ index: 5 })
  })

  test('a configuration is in force from its entry on and goes with it', () => {
    const placed = (index: number, configuration: Configuration): Entry => ({
      index,
      term: 1,
      clockMs: 0,
      kind: 'configuration',
      configuration,
    })
    const log = new Log(start, initial, [
      placed(1, configurationOf(['a'])),
      noop(2, 1),
      placed(3, configurationOf(['a'], ['b'])),
    ])
    expect(log.newest.index).toBe(3)
    expect(log.configurationAt(2).configuration.standbys).toEqual([])
    expect(log.configurationsBetween(1, 3)).toHaveLength(1)
    log.truncateAfter(2)
    expect(log.newest.index).toBe(1)
    log.compactTo(2)
    expect(log.newest).toEqual({ index: 1, configuration: configurationOf(['a']) })
  })

  test('one from a snapshot outweighs those of entries before it', () => {
    const old: Entry = { index: 4, term: 1, clockMs: 0, kind: 'configuration', configuration: configurationOf(['a']) }
    const log = new Log(
      { base: { index: 3, term: 1 }, runs: [{ first: 4, term: 1 }], onDisk: { index: 3, clockMs: 0 } },
      { index: 5, configuration: configurationOf(['a', 'b']) },
      [old, noop(5, 1)],
    )
    expect(log.newest.index).toBe(5)
  })

  test('limits of a slice: at least one entry, then count and bytes', () => {
    const data = new Uint8Array(100)
    const entries: Entry[] = [1, 2, 3].map((index) => ({ index, term: 1, clockMs: 0, kind: 'commands', data }))
    const log = new Log(start, initial, entries)
    const size = entryBytes(entries[0] as Entry)
    const count = (limits: { entriesMax: number; bytesMax: number }): number => {
      const slice = log.after(0, limits)
      return slice.kind === 'entries' ? slice.entries.length : -1
    }
    expect(count({ entriesMax: 2, bytesMax: 10_000 })).toBe(2)
    expect(count({ entriesMax: 9, bytesMax: 1 })).toBe(1)
    expect(count({ entriesMax: 9, bytesMax: 2 * size })).toBe(2)
  })

  test('what left the memory is on the disk; what was compacted is gone', () => {
    const log = logOf(1, 1, 1, 2, 2)
    log.evict(3, 10)
    expect(log.after(2, all)).toEqual({ kind: 'on-disk' })
    expect(log.term(2)).toBe(1)
    log.compactTo(2)
    expect(log.after(1, all)).toEqual({ kind: 'compacted' })
    expect(log.after(2, all)).toEqual({ kind: 'on-disk' })
    expect(log.base).toEqual({ index: 2, term: 1 })
  })

  test('behaves as a plain array does', () => {
    const command = fc.oneof(
      fc.record({ kind: fc.constant('append' as const), newTerm: fc.boolean() }),
      fc.record({ kind: fc.constant('truncate' as const), back: fc.nat(5) }),
      fc.record({ kind: fc.constant('compact' as const), ahead: fc.nat(5) }),
      fc.record({ kind: fc.constant('evict' as const), ahead: fc.nat(8) }),
    )
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
        const log = logOf()
        let naive: Entry[] = []
        let base = { index: 0, term: 0 }
        let cachedAfter = 0
        let term = 1
        for (const each of commands) {
          const lastIndex = base.index + naive.length
          if (each.kind === 'append') {
            if (each.newTerm) term++
            naive.push(noop(lastIndex + 1, term))
            log.append(noop(lastIndex + 1, term))
          } else if (each.kind === 'truncate') {
            const index = Math.max(lastIndex - each.back, base.index, cachedAfter)
            naive = naive.slice(0, index - base.index)
            log.truncateAfter(index)
          } else if (each.kind === 'compact') {
            const index = Math.min(base.index + each.ahead, lastIndex)
            if (index === base.index) continue
            const last = naive[index - base.index - 1] as Entry
            naive = naive.slice(index - base.index)
            base = { index, term: last.term }
            cachedAfter = Math.max(cachedAfter, index)
            log.compactTo(index)
          } else {
            const index = Math.min(cachedAfter + each.ahead, lastIndex)
            log.evict(index, 0)
            if (log.cachedBytes >= 0 && lastIndex > cachedAfter) cachedAfter = Math.max(cachedAfter, index)
          }
          expect(log.base).toEqual(base)
          expect(log.lastIndex).toBe(base.index + naive.length)
          for (const entry of naive) {
            expect(log.term(entry.index)).toBe(entry.term)
            expect(log.lastIndexOf(entry.term)).toBe(naive.filter((other) => other.term === entry.term).at(-1)?.index)
          }
          const slice = log.after(cachedAfter, all)
          expect(slice.kind === 'entries' && slice.entries).toEqual(naive.filter((entry) => entry.index > cachedAfter))
          expect(log.cachedBytes).toBe(32 * (log.lastIndex - cachedAfter))
        }
      }),
    )
  })
})
