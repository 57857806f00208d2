// Backups through a member and through a client, on one server that leads: consistent while writes go on, bounded, and given up when nobody
// reads them.

import { beforeEach, expect, test } from 'vitest'
import { Backups } from '../../../cluster/backup/backups.ts'
import { ContentsCounter } from '../../../cluster/backup/core/contents.ts'
import { type Backup, TAKING_IDLE_MS } from '../../../cluster/backup/taking.ts'
import { type BackupPart, readBackup } from '../../../cluster/backup/wire/file.ts'
import { encodeEnvelope } from '../../../cluster/state/wire/commands.ts'
import { FabricNet } from '../../tools/fabric.ts'
import { OneServer } from '../../tools/one-server.ts'

let net: FabricNet
let server: OneServer
let member: Backups
let client: Backups
let session: number
let seq: number

beforeEach(async () => {
  net = new FabricNet()
  const fabric = net.join('m')
  server = new OneServer(fabric)
  const common = { clusterId: 'shop', version: '0.1.0', defer: (run: () => void) => queueMicrotask(run) }
  const state = {
    replica: server.machine,
    barrier: async (): Promise<void> => void (await server.barrier()),
  }
  member = new Backups({ ...common, fabric, consensus: server, state })
  const none = { replica: undefined, barrier: async (): Promise<void> => {} }
  client = new Backups({ ...common, fabric: net.join('c'), consensus: undefined, state: none })
  const command = { kind: 'node-up', node: 'm', epoch: 1, role: 'server' } as const
  const outcome = await settled(server.propose(encodeEnvelope({ session: 0, seq: 0, floor: 0, command })))
  session = outcome.status === 'session' ? outcome.session : 0
  seq = 0
})

/** Lets time pass until it is there. */
async function settled<T>(promise: Promise<T>): Promise<T> {
  let isOver = false
  const over = promise.finally(() => {
    isOver = true
  })
  over.catch(() => {})
  while (!isOver) await net.advance(1)
  return over
}

async function put(key: string, bytes = 10): Promise<void> {
  const value = new Uint8Array(bytes).fill(7)
  const kv = {
    kind: 'put',
    namespace: 'data',
    put: { key, value, ttlMs: 0, keepsExpiry: false },
    condition: 'none',
    fence: undefined,
  } as const
  seq++
  await settled(server.propose(encodeEnvelope({ session, seq, floor: seq, command: { kind: 'kv', command: kv } })))
}

async function rest(backup: Backup): Promise<{ parts: BackupPart[]; keys: number }> {
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (let piece = await backup.next(); piece !== undefined; piece = await backup.next()) yield piece
  }
  const parts: BackupPart[] = []
  const counter = new ContentsCounter()
  for await (const part of readBackup(pieces())) {
    parts.push(part)
    if (part.kind === 'records') for (const record of part.records) counter.add(part.section, record)
  }
  return { parts, keys: counter.counts.keys }
}

test('it holds what was there when it began, whatever is written meanwhile', async () => {
  for (let i = 0; i < 20; i++) await put(`k:${i}`, 20_000)
  const backup = await settled(member.take())
  const first = await settled(backup.next())
  for (let i = 0; i < 40; i++) await put(`k:${i}`)
  const head = { ...backup, next: backup.next.bind(backup) }
  let isFirst = true
  head.next = async () => {
    if (!isFirst) return backup.next()
    isFirst = false
    return first
  }
  const { parts, keys } = await settled(rest(head))
  expect(parts[0]).toMatchObject({
    kind: 'header',
    header: { node: 'm', clusterId: 'shop', counts: { keys: 20, valueBytes: 400_000 } },
  })
  expect(keys).toBe(20)
})

test('a client reads it from a member, in pieces', async () => {
  for (let i = 0; i < 10; i++) await put(`k:${i}`, 60_000)
  const { parts, keys } = await settled(rest(await settled(client.take())))
  expect(parts[0]).toMatchObject({ kind: 'header', header: { node: 'm' } })
  expect(keys).toBe(10)
  // And may do so again: nothing of the first is left.
  for (let i = 0; i < 3; i++) expect((await settled(rest(await settled(client.take())))).keys).toBe(10)
})

test('two at a time', async () => {
  const [first] = [await settled(member.take()), await settled(client.take())]
  await expect(settled(member.take())).rejects.toMatchObject({ kind: 'LimitExceeded' })
  first?.close()
  await settled(member.take())
})

test('what nobody reads is given up', async () => {
  const idle = [await settled(member.take()), await settled(client.take())]
  await net.advance(TAKING_IDLE_MS + 1000)
  for (const backup of idle) await expect(settled(backup.next())).rejects.toMatchObject({ kind: 'Canceled' })
  await settled(member.take())
  await settled(client.take())
})

test('a client that is gone takes its backup along', async () => {
  await settled(client.take())
  await settled(client.take())
  net.cut('c', 'm')
  await net.advance(100)
  await settled(member.take())
  await expect(settled(client.take())).rejects.toMatchObject({ kind: 'Unavailable' })
})

test('a node that stops gives up what is being taken of it', async () => {
  const backup = await settled(member.take())
  member.close()
  member.close()
  await expect(settled(backup.next())).rejects.toMatchObject({ kind: 'Canceled' })
})
