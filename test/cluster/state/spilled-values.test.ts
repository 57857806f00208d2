// Values beyond memory: whatever is written, read and deleted in whatever order, they are those of a plain map; memory and disk stay bounded.

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Machine } from '../../../cluster/state/core/machine.ts'
import { clearSpill, SpilledValues } from '../../../cluster/state/spilled-values.ts'
import { decodeCommands } from '../../../cluster/state/wire/commands.ts'
import type { MoonmeshError } from '../../../runtime/base/errors.ts'
import { eventually } from '../../tools/eventually.ts'
import { fc } from '../../tools/property.ts'
import { encodeCommands } from '../../tools/state-commands.ts'

const MEMORY_BYTES = 2048
const FILE_BYTES = 8192

let directory: string
let failures: MoonmeshError[]
let nowMs: number

beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'moonmesh-values-')), 'values')
  failures = []
  nowMs = 0
})

afterEach(() => rmSync(join(directory, '..'), { recursive: true, force: true }))

const make = (): SpilledValues =>
  new SpilledValues({
    directory,
    memoryBytesMax: MEMORY_BYTES,
    fileBytesMax: FILE_BYTES,
    failed: (error) => failures.push(error),
    nowMs: () => nowMs,
  })

function bytesOf(seed: number, lengthBytes: number): Uint8Array {
  return Uint8Array.from({ length: lengthBytes }, (_, i) => (seed * 31 + i * 7) & 0xff)
}

const hex = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : Buffer.from(bytes).toString('hex')

/** Lets writes that are under way land. */
const turn = (): Promise<void> => new Promise((next) => setImmediate(next))

test('they are those of a plain map', async () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('set' as const), key: fc.nat(30), bytes: fc.nat(1500) }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('delete' as const), key: fc.nat(30) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('turn' as const) }) },
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 50, maxLength: 300 }), async (steps) => {
      const values = make()
      const model = new Map<string, Uint8Array>()
      for (const [i, act] of steps.entries()) {
        if (act.kind === 'turn') await turn()
        else if (act.kind === 'delete') {
          values.delete(`k${act.key}`)
          model.delete(`k${act.key}`)
        } else {
          const value = bytesOf(i, act.bytes)
          values.set(`k${act.key}`, value)
          model.set(`k${act.key}`, value)
        }
        expect(hex(values.get(`k${i % 31}`))).toBe(hex(model.get(`k${i % 31}`)))
      }
      for (let key = 0; key <= 30; key++) expect(hex(values.get(`k${key}`))).toBe(hex(model.get(`k${key}`)))
      values.close()
      expect(failures).toEqual([])
    }),
    { numRuns: 60 },
  )
})

test('memory holds the latest, the disk at most some more than twice what is needed', async () => {
  const values = make()
  for (let i = 0; i < 2000; i++) {
    values.set(`k${i % 100}`, bytesOf(i, 1000))
    if (i % 10 === 0) await turn()
  }
  await eventually(() => expect(values.memoryBytes).toBeLessThanOrEqual(MEMORY_BYTES))
  expect(values.diskBytes).toBeLessThanOrEqual(2 * 100_000 + 4 * FILE_BYTES)
  // The files have no names, so a crash leaves nothing.
  expect(readdirSync(directory)).toEqual([])
  for (let i = 1900; i < 2000; i++) expect(hex(values.get(`k${i % 100}`))).toBe(hex(bytesOf(i, 1000)))
  for (let i = 0; i < 100; i++) values.delete(`k${i}`)
  await eventually(() => expect(values.diskBytes).toBeLessThanOrEqual(FILE_BYTES))
  values.close()
  values.close()
  expect(values.get('k1')).toBeUndefined()
})

test('where the disk takes nothing they stay in memory, and go when it does', async () => {
  writeFileSync(directory, 'in the way')
  const values = make()
  for (let i = 0; i < 10; i++) values.set(`k${i}`, bytesOf(i, 1000))
  expect(failures).toHaveLength(1)
  expect(failures[0]?.message).toContain('stay in memory')
  for (let i = 0; i < 10; i++) expect(hex(values.get(`k${i}`))).toBe(hex(bytesOf(i, 1000)))
  rmSync(directory)
  nowMs = 10_000
  values.set('k10', bytesOf(10, 1000))
  await eventually(() => expect(values.memoryBytes).toBeLessThanOrEqual(MEMORY_BYTES))
  for (let i = 0; i <= 10; i++) expect(hex(values.get(`k${i}`))).toBe(hex(bytesOf(i, 1000)))
  values.close()
  clearSpill(directory)
})

test('a machine with values on the disk is the same as one without, also in a view of before', async () => {
  const machines = [new Machine(decodeCommands), new Machine(decodeCommands, make())] as const
  const run = (index: number, key: string, value: Uint8Array): void => {
    const put = { key, value, ttlMs: 0, keepsExpiry: false }
    const kv = { kind: 'put', namespace: 'data', put, condition: 'none', fence: undefined } as const
    const commands = [
      index === 1
        ? { session: 0, seq: 0, floor: 0, command: { kind: 'node-up', node: 'a', epoch: 1, role: 'server' } as const }
        : { session: 1, seq: index, floor: index, command: { kind: 'kv', command: kv } as const },
    ]
    for (const machine of machines)
      machine.apply({ index, clockMs: 0, kind: 'commands', data: encodeCommands(commands) })
  }
  for (let i = 1; i <= 60; i++) run(i, `k:${i % 20}`, bytesOf(i, 700))
  const views = machines.map((machine) => machine.view())
  for (let i = 61; i <= 200; i++) {
    run(i, `k:${i % 20}`, bytesOf(i, 700))
    if (i % 7 === 0) await turn()
  }
  const restored = Machine.restored(machines[1].snapshot(), decodeCommands)
  // The second is replaced while a view of it is open.
  machines[1].replaceBy(restored)
  const records = views.map((view) => [...view.records()].map(({ record }) => hex(record)))
  expect(records[1]).toEqual(records[0])
  for (const view of views) view.close()
  expect(machines[1].digest()).toBe(machines[0].digest())
  for (const machine of machines) machine.close()
})
