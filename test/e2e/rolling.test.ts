// A rolling restart under load: three nodes are stopped and started again, one after the other, while 64 clients write. What was acknowledged stays,
// and no client sees an error but such that it may try again.

import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Check, ClusterStatusBody, StoreItem, StorePage } from '../../runtime/admin/shapes.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { ask } from '../../runtime/cli/client.ts'
import { CommandFailure } from '../../runtime/cli/exit.ts'
import { Cli, type Program } from '../tools/cli.ts'
import { eventually } from '../tools/eventually.ts'
import { Nodes } from '../tools/nodes.ts'

const NAMES = ['a', 'b', 'c']
const CLIENTS = 64
const APP = `version: "1.0"
namespace: app
cluster:
  enabled: true
  membership: { bind_addr: 127.0.0.1, bind_port: 0 }
  raft: { bootstrap_expect: 3, bootstrap_stability: 1s }
entries:
  - { name: store, kind: store.kv.raft, namespace: data, lifecycle: { auto_start: true } }
`

let cli: Cli
let nodes: Nodes

beforeAll(async () => {
  cli = new Cli()
  nodes = new Nodes(cli)
  cli.write({ 'app.yaml': APP })
  await start('a')
  await Promise.all([start('b'), start('c')])
  for (const name of NAMES) await ready(name)
})

afterAll(() => cli.close())

const start = (name: string): Promise<void> => nodes.start(name)
const socketOf = (name: string): string => nodes.socketOf(name)
const pathOf = (key: string): string => `/v1/kv/app:store/${encodeURIComponent(key)}`

/** As the guide says: `readyz` answers 200, and all three vote. */
async function ready(name: string): Promise<void> {
  await eventually(
    async () => {
      const checks = await ask<Check[]>(socketOf(name), '/readyz')
      expect(checks.filter(({ ok }) => !ok)).toEqual([])
      const { voters } = await ask<ClusterStatusBody>(socketOf(name), '/v1/raft')
      expect([...voters].sort()).toEqual(NAMES)
    },
    { timeoutMs: 60_000 },
  )
}

interface Load {
  /** Keys whose write was acknowledged. */
  readonly acknowledged: Set<string>
  /** What clients saw instead of an acknowledgement, by kind. */
  readonly passing: Map<string, number>
  readonly failures: string[]
  slowestMs: number
}

/** Why the client may try again; undefined: it may not. */
function whyAgain(error: unknown): string | undefined {
  // Nobody listens, or the connection broke: the node is away.
  if (error instanceof CommandFailure) return 'connection'
  if (!(error instanceof MoonmeshError)) return undefined
  return error.retryable === true || error.kind === 'Timeout' ? error.kind : undefined
}

/** One client: a write after the other, each under a key of its own, at another node when one does not take it. */
async function client(number: number, load: Load, isOver: () => boolean): Promise<void> {
  let node = number % NAMES.length
  for (let i = 0; !isOver(); i++) {
    const key = `w:${number}.${i}`
    const beganMs = performance.now()
    for (let isDone = false; !isDone; ) {
      try {
        await ask<StoreItem>(socketOf(NAMES[node] as string), pathOf(key), { method: 'PUT', body: i })
        load.acknowledged.add(key)
        isDone = true
      } catch (error) {
        const why = whyAgain(error)
        if (why === undefined)
          load.failures.push(
            `${NAMES[node]} ${(error as { kind?: string }).kind} ${String(error)} ${JSON.stringify(error)}`,
          )
        load.passing.set(why ?? 'final', (load.passing.get(why ?? 'final') ?? 0) + 1)
        node = (node + 1) % NAMES.length
        isDone = isOver() || why === undefined
        await new Promise((next) => setTimeout(next, 50))
      }
    }
    load.slowestMs = Math.max(load.slowestMs, performance.now() - beganMs)
    await new Promise((next) => setTimeout(next, 100))
  }
}

async function keysOn(name: string): Promise<Set<string>> {
  const keys = new Set<string>()
  for (let after = '', isMore = true; isMore; ) {
    const page = await ask<StorePage>(socketOf(name), `/v1/kv/app:store?limit=1000&after=${encodeURIComponent(after)}`)
    for (const { key } of page.items) keys.add(key)
    after = page.items.at(-1)?.key ?? ''
    isMore = page.has_more
  }
  return keys
}

test('a rolling restart under 64 clients loses no acknowledged write, and no client fails for good', {
  timeout: 300_000,
}, async () => {
  const load: Load = { acknowledged: new Set(), passing: new Map(), failures: [], slowestMs: 0 }
  let isOver = false
  const clients = Array.from({ length: CLIENTS }, (_, i) => client(i, load, () => isOver))
  await eventually(() => load.acknowledged.size >= CLIENTS)
  const beganMs = performance.now()
  /** Of each node: milliseconds to stop, to start, to be ready. */
  const steps: number[][] = []
  for (const name of NAMES) {
    const marks = [performance.now()]
    const mark = (): void => void marks.push(performance.now())
    const program = nodes.get(name) as Program
    program.signal('SIGTERM')
    expect((await program.exit()).code).toBe(0)
    nodes.delete(name)
    mark()
    await start(name)
    mark()
    await ready(name)
    mark()
    steps.push(marks.slice(1).map((ms, i) => Math.round(ms - (marks[i] as number))))
  }
  const tookMs = performance.now() - beganMs
  const { size } = load.acknowledged
  await eventually(() => load.acknowledged.size >= size + CLIENTS, { timeoutMs: 30_000 })
  isOver = true
  await Promise.all(clients)
  const figures = {
    acknowledged: load.acknowledged.size,
    tried_again: Object.fromEntries(load.passing),
    slowest_ms: Math.round(load.slowestMs),
    restarts_ms: Math.round(tookMs),
    steps,
  }
  if (process.env['MOONMESH_FIGURES'] !== undefined) console.log(JSON.stringify(figures))
  expect(load.failures).toEqual([])
  for (const name of NAMES) {
    const keys = await keysOn(name)
    expect([...load.acknowledged].filter((key) => !keys.has(key))).toEqual([])
  }
})
