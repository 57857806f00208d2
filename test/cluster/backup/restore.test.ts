// A backup becomes the state of a new group: data and versions as they were, nothing that belonged to processes, and revisions that go on
// above all that were ever given. cluster.md §5.12, §7.

import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { BackupHeader } from '../../../cluster/backup/core/contents.ts'
import { Reviver, revivedRevision } from '../../../cluster/backup/core/revive.ts'
import { inspectBackup, restoreBackup, saveBackup } from '../../../cluster/backup/files.ts'
import type { Backup } from '../../../cluster/backup/taking.ts'
import { writeBackup } from '../../../cluster/backup/wire/file.ts'
import { holdsState, Store } from '../../../cluster/raft/store.ts'
import type { Command } from '../../../cluster/state/core/commands.ts'
import { Machine } from '../../../cluster/state/core/machine.ts'
import type { Outcome } from '../../../cluster/state/core/outcomes.ts'
import { decodeCommands } from '../../../cluster/state/wire/commands.ts'
import { readSnapshot } from '../../../cluster/state/wire/snapshot.ts'
import { toBytes } from '../../../runtime/base/bytes.ts'
import { UnpackError } from '../../../runtime/base/msgpack.ts'
import { encodeCommands } from '../../tools/state-commands.ts'

const TAKEN_MS = Date.UTC(2026, 0, 1)
const fixture = join(import.meta.dirname, 'testdata/format-1.backup')

let place: string
let storePath: string
let file: string

beforeEach(() => {
  place = mkdtempSync(join(tmpdir(), 'moonmesh-backup-'))
  storePath = join(place, 'n1', '_sys', 'raft')
  file = join(place, 'x.backup')
})

afterEach(() => rmSync(place, { recursive: true, force: true }))

const pid = (node: string, n: number): string => `{${node}@h|1.${n}}`

class Rig {
  readonly machine = new Machine(decodeCommands)
  clockMs = 1000
  #seq = 0

  run(command: Command, session = 0): Outcome {
    const data = encodeCommands([
      { session, seq: session === 0 ? 0 : ++this.#seq, floor: session === 0 ? 0 : 1, command },
    ])
    const entry = { index: this.machine.index + 1, clockMs: this.clockMs, kind: 'commands', data } as const
    return this.machine.apply(entry).outcomes[0] as Outcome
  }

  up(node: string): number {
    const outcome = this.run({ kind: 'node-up', node, epoch: 1, role: 'server' })
    return outcome.status === 'session' ? outcome.session : 0
  }

  put(session: number, namespace: string, key: string, value: string, ttlMs = 0): void {
    const put = { key, value: new TextEncoder().encode(value), ttlMs, keepsExpiry: false }
    this.run({ kind: 'kv', command: { kind: 'put', namespace, put, condition: 'none', fence: undefined } }, session)
  }
}

/** One of everything. */
function filled(largeBytes = 100_000): Rig {
  const rig = new Rig()
  const a = rig.up('a')
  const b = rig.up('b')
  const ended = rig.up('c')
  rig.run({ kind: 'node-down', node: 'c', session: ended, reason: 'dead' })
  rig.run({ kind: 'register', name: 'shop', pid: pid('a', 1) }, a)
  rig.run({ kind: 'strong-open', name: 'till', pid: pid('b', 1), ttlMs: 60_000 }, b)
  rig.run({ kind: 'lock-acquire', name: 'safe', pid: pid('a', 2), waitMs: 0, ttlMs: 0 }, a)
  rig.run({ kind: 'lock-acquire', name: 'safe', pid: pid('b', 2), waitMs: 60_000, ttlMs: 0 }, b)
  rig.put(a, 'data', 'kept', 'value')
  rig.put(a, 'data', toBytes('größe'), 'x'.repeat(largeBytes))
  rig.put(a, 'more', 'leased', 'soon gone', 30_000)
  return rig
}

function headerOf({ machine }: Rig): BackupHeader {
  const view = machine.view()
  const { index, clockMs, revision, featureLevel, settings, counts } = view
  view.close()
  return {
    ...{
      clusterId: 'shop',
      formation: 'ab'.repeat(16),
      index,
      term: 3,
      clockMs,
      revision,
      featureLevel,
      settings,
      counts,
    },
    ...{ voters: ['a/1', 'b/2'], standbys: [], takenAtMs: TAKEN_MS, node: 'a', version: '0.1.0' },
  }
}

function backupOf(rig: Rig): Backup & { isClosed: boolean } {
  const pieces = writeBackup(headerOf(rig), rig.machine.view().records())
  const backup = {
    isClosed: false,
    next: async () => pieces.next().value as Uint8Array | undefined,
    close: () => {
      backup.isClosed = true
    },
  }
  return backup
}

/** What a node would begin with. */
async function startedFrom(path: string): Promise<{ machine: Machine; store: Store }> {
  const store = await Store.open({ path, retain: 2 })
  const { snapshot } = store.recovered
  const restoring = Machine.restoring(decodeCommands)
  await readSnapshot(store.snapshots.read(snapshot?.checksum ?? ''), (section, record) =>
    restoring.add(section, record),
  )
  return { machine: restoring.finish(), store }
}

const toHex = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex')

const keysOf = (machine: Machine): unknown[] =>
  machine.store
    .namespaces()
    .flatMap((namespace) =>
      machine.store
        .list(namespace)
        .items.map((item) => [namespace, item, toHex(machine.store.get(namespace, item.key)?.value)]),
    )

test('a saved file is whole under its name and under no other, and says what it holds', async () => {
  const rig = filled()
  const backup = backupOf(rig)
  const saved = await saveBackup(backup, file)
  expect(backup.isClosed).toBe(true)
  expect(readdirSync(place)).toEqual(['x.backup'])
  expect(await inspectBackup(file)).toEqual(saved)
  expect(saved.contents).toEqual({
    sessions: { open: 2, ended: 1 },
    names: { consistent: 1, strong: 0, reserved: 1 },
    locks: { held: 1, waiting: 1 },
    stores: [
      { namespace: 'data', keys: 2, valueBytes: 100_005 },
      { namespace: 'more', keys: 1, valueBytes: 9 },
    ],
  })
})

test('a directory is no backup, and is not blamed on the disk', async () => {
  const reason = { kind: 'Invalid', details: { reason: 'directory' } }
  await expect(inspectBackup(place)).rejects.toMatchObject(reason)
  await expect(saveBackup(backupOf(filled()), place)).rejects.toMatchObject(reason)
  expect(readdirSync(place)).toEqual([])
})

test('a backup that breaks off leaves no file, and an earlier one as it was', async () => {
  await saveBackup(backupOf(filled()), file)
  const before = await inspectBackup(file)
  const pieces = [...writeBackup(headerOf(filled()), filled().machine.view().records())]
  const broken = { next: async () => pieces.splice(0, 1)[0], close: () => {} }
  pieces.pop()
  await expect(saveBackup(broken, file)).rejects.toMatchObject({ kind: 'Invalid' })
  const failing: Backup = { next: () => Promise.reject(new Error('gone')), close: () => {} }
  await expect(saveBackup(failing, file)).rejects.toThrow('gone')
  expect(readdirSync(place)).toEqual(['x.backup'])
  expect(await inspectBackup(file)).toEqual(before)
})

describe('a restored store', () => {
  test('is a group of one, with the data, and without what belonged to processes', async () => {
    const rig = filled()
    await saveBackup(backupOf(rig), file)
    const nowMs = TAKEN_MS + 3_600_000
    const restored = await restoreBackup({ file, storePath, nodeName: 'n1', wallMs: () => nowMs })
    expect(readdirSync(join(place, 'n1', '_sys'))).toEqual(['raft'])
    const { machine, store } = await startedFrom(storePath)
    expect(store.meta).toMatchObject({ formation: restored.formation, released: [] })
    expect(restored.formation).not.toBe('ab'.repeat(16))
    const { hardState, snapshot } = store.recovered
    expect(hardState).toEqual({ term: 3 })
    expect(snapshot?.configuration).toEqual({ voters: [`n1/${store.storeId}`], standbys: [] })
    await store.close()

    expect(machine.index).toBe(rig.machine.index + 1)
    expect(machine.clockMs).toBe(rig.machine.clockMs)
    expect(keysOf(machine)).toEqual(keysOf(rig.machine))
    expect(machine.sessions.count).toBe(0)
    expect(machine.names.count).toBe(0)
    expect([...machine.names.reservations()]).toEqual([])
    expect(machine.locks.count).toBe(0)
    // An hour, and a day for clocks that differ, of as many revisions as nobody can use up.
    expect(machine.revision).toBe(rig.machine.revision + 25 * 3600 * 2 ** 20)
    expect(restored.revision).toBe(machine.revision)
    // Runs of before are over for good; deadlines are as far away as they were.
    expect(machine.sessions.epochOf('a')).toBe(1)
    expect(machine.nextExpiryMs).toBe(rig.clockMs + 30_000)
  })

  test('gives tokens above all that were given before, also when it is restored a second time', async () => {
    await saveBackup(backupOf(filled()), file)
    const first = await restoreBackup({ file, storePath, nodeName: 'n1', wallMs: () => TAKEN_MS + 1000 })
    const later = TAKEN_MS + 60_000
    const second = await restoreBackup({ file, storePath, nodeName: 'n1', wallMs: () => later })
    expect(second.revision - first.revision).toBe(59 * 2 ** 20)
    expect(second.formation).not.toBe(first.formation)
    // A clock that is behind the backup's does not matter within a day.
    const before = await restoreBackup({ file, storePath, nodeName: 'n1', wallMs: () => TAKEN_MS - 3_600_000 })
    expect(before.revision).toBeGreaterThan(before.header.revision)
  })

  test('takes the place of what was there, at once, and of nothing when the backup is damaged', async () => {
    await saveBackup(backupOf(filled()), file)
    expect(await holdsState(storePath)).toBe(false)
    const { formation } = await restoreBackup({ file, storePath, nodeName: 'n1' })
    expect(await holdsState(storePath)).toBe(true)
    writeFileSync(file, 'nothing')
    await expect(restoreBackup({ file, storePath, nodeName: 'n1' })).rejects.toMatchObject({ kind: 'Invalid' })
    const store = await Store.open({ path: storePath, retain: 2 })
    expect(store.meta.formation).toBe(formation)
    await expect(restoreBackup({ file: fixture, storePath, nodeName: 'n1' })).rejects.toMatchObject({
      kind: 'Conflict',
    })
    await store.close()
    expect(readdirSync(join(place, 'n1', '_sys'))).toEqual(['raft'])
  })

  test('is made of the file of format 1', async () => {
    const { contents, header } = await inspectBackup(fixture)
    expect(contents).toEqual({
      sessions: { open: 2, ended: 1 },
      names: { consistent: 1, strong: 0, reserved: 1 },
      locks: { held: 1, waiting: 1 },
      stores: [
        { namespace: 'data', keys: 2, valueBytes: 105 },
        { namespace: 'more', keys: 1, valueBytes: 9 },
      ],
    })
    await restoreBackup({ file: fixture, storePath, nodeName: 'n1', wallMs: () => header.takenAtMs })
    const { machine, store } = await startedFrom(storePath)
    await store.close()
    expect(toHex(machine.store.get('data', 'kept')?.value)).toBe(toHex(new TextEncoder().encode('value')))
    expect(machine.locks.count).toBe(0)
  })
})

test('what a later version has added to the state is refused, not dropped', () => {
  const reviver = new Reviver({ index: 1, revision: 1 }, 2)
  expect(() => reviver.record(7, new Uint8Array(0))).toThrow(UnpackError)
  expect(() => revivedRevision(1, { takenAtMs: 0, nowMs: Number.MAX_SAFE_INTEGER })).toThrow(UnpackError)
})
