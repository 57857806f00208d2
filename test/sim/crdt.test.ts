import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { CrdtStore } from '../../cluster/kv/core/crdt.ts'
import type { Entry } from '../../cluster/kv/core/entry.ts'
import { FakeEnv } from '../tools/fake-env.ts'
import { CrdtChecker } from './checkers/crdt.ts'
import { runCrdtChaos } from './crdt.ts'

describe('the convergent store under faults', () => {
  test.each([1, 2, 3, 4])('keeps C1, C2 and C3 (seed %i)', (seed) => {
    const report = runCrdtChaos({ seed, nodes: 2 + (seed % 4), minutes: 5 })
    expect(report.writes).toBeGreaterThan(100)
  })

  test('loses no key and brings none back when deletes are forgotten meanwhile', () => {
    let collected = 0
    for (const seed of [102, 105]) {
      collected += runCrdtChaos({ seed, nodes: 4, minutes: 30, settings: { retentionMs: 600_000 } }).collected
    }
    expect(collected).toBeGreaterThan(0)
  })

  test('becomes equal by comparing alone', () => {
    runCrdtChaos({ seed: 9, nodes: 3, minutes: 4, loss: 1 })
  })

  test('a run is repeated exactly by its seed', () => {
    const options = { seed: 11, nodes: 3, minutes: 2 }
    expect(runCrdtChaos(options)).toEqual(runCrdtChaos(options))
  })

  test('a node that never meets the others is found (C1)', () => {
    expect(() =>
      runCrdtChaos({
        seed: 5,
        nodes: 3,
        minutes: 1,
        loss: 1,
        tamper: (node, input) =>
          input.kind === 'node-up' && (node.name === 'n1' || input.node === 'n1') ? undefined : input,
      }),
    ).toThrow('(C1)')
  })
})

describe('the checker', () => {
  const env = new FakeEnv()
  const storeOf = (): CrdtStore =>
    new CrdtStore({ origin: 'a', hash: (bytes) => createHash('sha256').update(bytes).digest() }, env)
  const write = (store: CrdtStore, value: string | undefined): Entry => {
    const outcome = value === undefined ? store.delete('s', 'k') : store.set('s', 'k', new TextEncoder().encode(value))
    if (outcome?.ok !== true) throw new Error('not written')
    return outcome.entry
  }

  test('sees a store fall back, a key come back and a write that is not there', () => {
    const store = storeOf()
    const node = { name: 'a', isRunning: true, replica: { store } }
    const first = write(store, 'first')
    const checker = new CrdtChecker<typeof node>(1)
    checker.written(node, first)
    checker.written(node, write(store, 'second'))
    checker.stepped(node)
    const behind = storeOf()
    behind.merge(first)
    node.replica.store = behind
    expect(() => checker.stepped(node)).toThrow('falls back to an earlier write (C2)')
    expect(() => checker.written(node, first)).toThrow('earlier than what it has (C2)')
    expect(() => checker.written(node, write(store, 'third'))).toThrow('does not see its own write')
    node.replica.store = store
    checker.written(node, write(store, undefined))
    node.replica.store = behind
    expect(() => checker.stepped(node)).toThrow('was deleted and is there again (C3)')
    expect(checker.disagreement([node])).toContain('(C3)')
  })
})
