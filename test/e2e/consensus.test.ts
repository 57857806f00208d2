// A group of three processes under load whose members are killed again and again: nothing that was acknowledged is lost, and what clients
// saw has one order. cluster.md §12 rows 1 to 3, §13. MOONMESH_KILL_SECONDS: for how long; 20 unless told.

import { afterEach, expect, test } from 'vitest'
import { checkLinearizable, type Model, type Operation } from '../sim/checkers/linearizable.ts'
import { eventually } from '../tools/eventually.ts'
import { type Member, RaftGroup } from '../tools/raft-group.ts'

type Call = { readonly key: string; readonly write?: string }
type Result = string | null

const register: Model<Result, Call, Result> = {
  initial: null,
  step: (state, { write }, result) => {
    if (write !== undefined) return write
    return result === undefined || result === state ? state : undefined
  },
  key: (state) => String(state),
  isRead: ({ write }) => write === undefined,
}

const SECONDS = Number(process.env['MOONMESH_KILL_SECONDS'] ?? 20)
const CLIENTS = 8
const KEYS = ['k0', 'k1', 'k2', 'k3']
const NAMES = ['a', 'b', 'c']
const QUICK = {
  raft: {
    heartbeat_timeout: '500ms',
    election_timeout: '500ms',
    commit_timeout: '100ms',
    // So that those who come back late are sent snapshots.
    snapshot_threshold: 200,
    snapshot_interval: '1s',
    trailing_logs: 50,
  },
  membership: { gossip_interval: '50ms', probe_interval: '200ms', probe_timeout: '100ms', suspicion_max_mult: 2 },
}

const group = new RaftGroup(QUICK)
afterEach(() => group.close())

class Clients {
  readonly history: Operation<Call, Result>[] = []
  isOver = false
  #written = 0
  #turn = 0

  /** One after the other, each through whoever runs. */
  async run(client: string): Promise<void> {
    while (!this.isOver) {
      const key = KEYS[this.#turn++ % KEYS.length] as string
      if (this.#turn % 3 === 0) await this.#read(client, key)
      else await this.#write(client, key)
    }
  }

  async #write(client: string, key: string): Promise<void> {
    const member = this.#anyone()
    if (member === undefined) return pause()
    const write = `v${++this.#written}`
    const calledMs = performance.now()
    const answer = await member.ask('put', { key, value: write })
    const call = { key, write }
    // Without an answer it may have happened, or may yet.
    if (!answer.ok) this.history.push({ client, call, calledMs })
    else this.history.push({ client, call, calledMs, returned: { atMs: performance.now(), result: null } })
  }

  async #read(client: string, key: string): Promise<void> {
    const member = this.#anyone()
    if (member === undefined) return pause()
    const calledMs = performance.now()
    const answer = await member.ask('get', { key })
    if (!answer.ok) return
    const returned = { atMs: performance.now(), result: answer['value'] as Result }
    this.history.push({ client, call: { key }, calledMs, returned })
  }

  #anyone(): Member | undefined {
    const running = group.running()
    return running[this.#turn % Math.max(1, running.length)]
  }
}

/**
 * The same question without writes of unknown outcome, of which a search would try all: values are written once, so a write that nobody
 * has read may as well not have happened, and one that somebody has read happened before that read returned.
 */
function decided(history: readonly Operation<Call, Result>[]): Operation<Call, Result>[] {
  const seenMs = new Map<Result, number>()
  for (const { call, returned } of history) {
    if (call.write !== undefined || returned === undefined) continue
    const { atMs, result } = returned
    seenMs.set(result, Math.min(atMs, seenMs.get(result) ?? Number.POSITIVE_INFINITY))
  }
  return history.flatMap((operation) => {
    const atMs = seenMs.get(operation.call.write ?? null)
    if (operation.returned !== undefined) return [operation]
    return atMs === undefined ? [] : [{ ...operation, returned: { atMs, result: null } }]
  })
}

const pause = (): Promise<void> => new Promise((next) => setTimeout(next, 20))

test(
  'members are killed under load, and nothing that was acknowledged is lost',
  async () => {
    await group.form(NAMES)
    const clients = new Clients()
    const running = Array.from({ length: CLIENTS }, (_, i) => clients.run(`client ${i}`))
    const endMs = performance.now() + SECONDS * 1000
    let kills = 0
    while (performance.now() < endMs) {
      const acknowledged = (): number => clients.history.filter(({ returned }) => returned !== undefined).length
      const before = acknowledged()
      // Leaders and followers alike, at times two of the three at once.
      const leader = await group.leader()
      const others = group.running().filter((member) => member !== leader)
      const victims = kills % 2 === 0 ? [leader] : kills % 5 === 0 ? others : others.slice(0, 1)
      await Promise.all(victims.map((victim) => victim.kill()))
      kills += victims.length
      for (const { name } of victims) await group.start(name)
      await group.leader()
      await eventually(() => acknowledged() >= before + 50, { timeoutMs: 20_000, what: '50 more answers' })
    }
    clients.isOver = true
    await Promise.all(running)
    for (const [at, key] of KEYS.entries()) {
      const calledMs = performance.now()
      const answer = await (group.running()[at % NAMES.length] as Member).ask('get', { key })
      expect(answer.ok).toBe(true)
      const returned = { atMs: performance.now(), result: answer['value'] as Result }
      clients.history.push({ client: 'the last', call: { key }, calledMs, returned })
    }
    for (const key of KEYS) {
      const verdict = checkLinearizable(decided(clients.history.filter(({ call }) => call.key === key)), register)
      expect(verdict).toEqual({ ok: true })
    }
    // All replicas come to the same state.
    await eventually(
      async () => {
        const digests = await Promise.all(group.running().map((member) => member.ask('digest')))
        expect(digests.length).toBe(NAMES.length)
        const [first] = digests
        for (const { index, digest } of digests)
          expect({ index, digest }).toEqual({ index: first?.['index'], digest: first?.['digest'] })
      },
      { timeoutMs: 20_000 },
    )
    process.stderr.write(`${kills} kills, ${clients.history.length} operations\n`)
  },
  (SECONDS + 90) * 1000,
)
