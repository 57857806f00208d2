// Numbers of workers: a node runs for years and its hosts crash, yet no PID comes twice. cluster.md §0.1.

import { expect, test } from 'vitest'
import { PidMaker, SLOTS } from '../../../runtime/base/pid.ts'
import { ErrorValue } from '../../../runtime/base/value.ts'
import { type HostLine, Relay } from '../../../runtime/relay/relay.ts'
import { FakeDriver } from '../../tools/fake-driver.ts'

const CRASH = new ErrorValue('Unavailable', 'crashed', true)

function makeRelay(): Relay {
  const unused = (): never => {
    throw new Error('not part of this test')
  }
  return new Relay({ node: undefined, epoch: 1 }, new FakeDriver().env, {
    log: unused,
    terminal: unused,
    stopped: unused,
    ready: unused,
    request: unused,
    clientEnded: unused,
    clientsLost: () => {},
  })
}

const line = (hostId: string, slot: number): HostLine => ({
  hostId,
  slot,
  port: { post: () => {}, give: () => {}, onMessage: () => {}, close: () => {} },
})

test('workers may die more often than there are slots, and PIDs never repeat', () => {
  const relay = makeRelay()
  const seen = new Set<string>()
  for (let i = 0; i < 3 * SLOTS; i++) {
    const place = relay.takeSlot()
    const host = `app:${i % 2}`
    const pids = new PidMaker({ ...place, host, epoch: 1 })
    seen.add(pids.next()).add(pids.nextForFunction('app:fn'))
    const worker = line(host, place.slot)
    relay.open(worker)
    relay.lost(worker, CRASH)
    // To be lost twice frees nothing twice.
    relay.lost(worker, CRASH)
  }
  expect(seen.size).toBe(6 * SLOTS)
})

test('slots in use are nobody else’s', () => {
  const relay = makeRelay()
  const lines = Array.from({ length: SLOTS }, () => line('app:a', relay.takeSlot().slot))
  for (const each of lines) relay.open(each)
  expect(new Set(lines.map(({ slot }) => slot)).size).toBe(SLOTS)
  expect(() => relay.takeSlot()).toThrow('at most 1024')
  relay.lost(lines[5] as HostLine, CRASH)
  expect(relay.takeSlot()).toEqual({ slot: 5, generation: 1 })
})
