// What programs in JavaScript hand in, where the types promise something else.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { requireForm, requireOptions } from '../../../runtime/base/given.ts'
import { createNode, describeDocument } from '../../../runtime/index.ts'
import { defineActor } from '../../../runtime/process/actor.ts'

test('a wrong type is named, and what came instead, however long it is', () => {
  const of = (value: unknown): string => {
    try {
      requireForm('pid', value, 'text')
      return ''
    } catch (error) {
      return (error as Error).message
    }
  }
  expect(of('')).toBe('')
  expect([5, null, undefined, {}, [], Symbol('a'), () => {}].map(of)).toEqual([
    'pid must be a string, not 5',
    'pid must be a string, not null',
    'pid must be a string, not undefined',
    'pid must be a string, not an object',
    'pid must be a string, not an array',
    'pid must be a string, not Symbol(a)',
    'pid must be a string, not a function',
  ])
  expect(() => requireForm('document', 'x'.repeat(1000), 'bytes')).toThrow(
    'document must be a Uint8Array, not a string of 1000 characters',
  )
})

test('options that are absent have their defaults; each has its form', () => {
  const forms = { stop: 'flag', timeoutMs: 'ms', maxBytes: 'count' } as const
  for (const good of [{}, { stop: undefined }, { stop: true, timeoutMs: 0, maxBytes: 1 }, { timeoutMs: 0.5 }])
    requireOptions(good, forms)
  for (const bad of [
    null,
    5,
    { stop: 1 },
    { timeoutMs: -1 },
    { timeoutMs: Number.NaN },
    { maxBytes: 0 },
    { maxBytes: 1.5 },
  ])
    expect(() => requireOptions(bad, forms)).toThrow(expect.objectContaining({ kind: 'Invalid' }))
})

test('no method of a node fails as a TypeError, whatever it is given', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'mm-'))
  const node = await createNode({ entries: [], log: false, set: [`node.data_dir=${dir}`, 'node.name=n1'] })
  await node.start()
  const junk = [5, null, undefined, {}, [], Symbol('a'), 'junk', new Uint8Array(3)] as never[]
  const asked: [string, (given: never) => unknown][] = [
    ['capture', (given) => node.capture(given)],
    ['capture', (given) => node.capture('{a:h|1}', given)],
    ['resume', (given) => node.resume(given)],
    ['resume', (given) => node.resume(given, given)],
    ['lookup', (given) => node.lookup(given)],
    ['spawn', (given) => node.spawn(given)],
    ['spawn', (given) => node.spawn('a:b', given)],
    ['exec', (given) => node.exec(given)],
    ['send', (given) => node.send(given, given)],
    ['define', (given) => node.define(given)],
    ['describeDocument', (given) => describeDocument(given)],
    ['createNode', (given) => createNode(given)],
    ['createNode', (given) => createNode({ entries: [], set: given, actors: given })],
    ['defineActor', (given) => defineActor(given, given)],
  ]
  for (const [what, method] of asked) {
    for (const given of junk) {
      const outcome = await (async () => method(given))().catch((error: unknown) => error)
      expect([what, String(given), outcome instanceof TypeError]).toEqual([what, String(given), false])
    }
  }
  await node.stop({ force: true })
  rmSync(dir, { recursive: true })
})
