// A process that is killed in the middle of writing loses nothing of what it had said was written. cluster.md §13 R6.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { Store } from '../../cluster/raft/store.ts'

const root = join(dirname(fileURLToPath(import.meta.url)), '../..')

/** Appends from many sides at once, votes, compacts and saves snapshots, and says what is durable. */
const writer = `
import { Store } from ${JSON.stringify(join(root, '.modules/cluster/raft/store.js'))}
const store = await Store.open({ path: process.argv[1], retain: 2 })
const { recovered, log, snapshots } = store
let term = recovered.hardState.term
let last = log.lastIndex
const append = async () => {
  const index = ++last
  const data = new Uint8Array(1 + (index * 7919) % 5000).fill(index)
  await log.persist({ log: { after: index - 1, entries: [{ index, term, clockMs: index, kind: 'commands', data }] } })
  process.stdout.write('entry ' + index + '\\n')
}
const vote = async () => {
  const next = ++term
  await log.persist({ hardState: { term: next, vote: 'n' + next + '/1' } })
  process.stdout.write('term ' + next + '\\n')
}
const save = async () => {
  const index = last
  const termAt = async (at) => (await log.read(at - 1, { entriesMax: 1, bytesMax: 1 }))[0].term
  const position = { index, term: await termAt(index), clockMs: index, configuration: { voters: ['a/1'], standbys: [] } }
  await append()
  const file = await snapshots.create(position)
  for (let at = 0; at < 20; at++) await file.write(new Uint8Array(50000).fill(index))
  await file.finish()
  process.stdout.write('snapshot ' + index + '\\n')
  const base = index - 50
  if (base > log.base.index) await log.compact({ index: base, term: await termAt(base) })
}
await vote()
for (;;) {
  await Promise.all(Array.from({ length: 20 }, append))
  if (last % 60 < 20) await vote()
  if (last > 100 && last % 200 < 20) await save()
}
`

interface Told {
  entry: number
  term: number
  snapshot: number
}

/** Runs the writer until it has said `lines` things. */
async function runAndKill(path: string, lines: number): Promise<Told> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', writer, path], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const told: Told = { entry: 0, term: 0, snapshot: 0 }
  let errors = ''
  child.stderr.on('data', (bytes) => {
    errors += bytes
  })
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  let count = 0
  for await (const line of createInterface({ input: child.stdout })) {
    const [what, number] = line.split(' ') as [keyof Told, string]
    told[what] = Math.max(told[what], Number(number))
    if (++count === lines) child.kill('SIGKILL')
  }
  await ended
  expect(errors).toBe('')
  return told
}

test('what was said to be written is there after kill -9', async () => {
  const place = mkdtempSync(join(tmpdir(), 'moonmesh-kill-'))
  const path = join(place, 'raft')
  try {
    let storeId: string | undefined
    for (let round = 0; round < 12; round++) {
      const told = await runAndKill(path, 37 + ((round * 131) % 700))
      const store = await Store.open({ path, retain: 2 })
      storeId ??= store.storeId
      expect(store.storeId).toBe(storeId)
      expect(store.damaged).toEqual([])
      expect(store.log.lastIndex).toBeGreaterThanOrEqual(told.entry)
      expect(store.recovered.hardState.term).toBeGreaterThanOrEqual(told.term)
      expect(store.recovered.snapshot?.index ?? 0).toBeGreaterThanOrEqual(told.snapshot)
      for (const entry of store.recovered.entries) {
        if (entry.kind !== 'commands') continue
        expect(entry.data.length).toBe(1 + ((entry.index * 7919) % 5000))
        expect(entry.data.every((byte) => byte === (entry.index & 255))).toBe(true)
      }
      await store.close()
    }
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
})
