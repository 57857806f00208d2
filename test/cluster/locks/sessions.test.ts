// Locks of a client over sessions that end, with all that it takes below them. cluster.md §5.10, §13 K4.

import { afterEach, beforeEach, expect, test } from 'vitest'
import { Locks } from '../../../cluster/locks/locks.ts'
import { Possessions } from '../../../cluster/state/possessions.ts'
import { ClusterState } from '../../../cluster/state/state.ts'
import { FabricNet, type FakeFabric } from '../../tools/fabric.ts'
import { OneServer } from '../../tools/one-server.ts'

const SESSION = { ttlMs: 15_000, renewIntervalMs: 3000, graceCount: 3 }
const PID = '{a@h|1.1}'

let net: FabricNet
let m: FakeFabric
let a: FakeFabric
let server: OneServer
let locks: Locks
const closers: (() => void)[] = []

beforeEach(async () => {
  net = new FabricNet()
  m = net.join('m')
  a = net.join('a')
  server = new OneServer(m)
  const states = [
    new ClusterState({ fabric: m, consensus: server, session: SESSION, role: 'server' }),
    new ClusterState({ fabric: a, consensus: undefined, session: SESSION, role: 'client' }),
  ]
  const state = states[1] as ClusterState
  const possessions = new Possessions(a, state)
  locks = new Locks({ fabric: a, state, possessions, lost: () => {} })
  for (const each of states) each.start()
  closers.push(
    () => locks.close(),
    () => possessions.close(),
    ...states.map((each) => () => void each.close()),
  )
  await net.advance(2000)
})

afterEach(async () => {
  for (const close of closers.splice(0)) close()
  await net.advance(3000)
})

test('a lock that was asked for in one session and given in the next ends with its process', async () => {
  net.cut('m', 'a')
  await net.advance(20_000)
  const acquired = locks.acquire({ name: 'l', pid: PID, waitMs: 300_000, ttlMs: 0 })
  m.saw('left', a)
  await net.advance(20_000)
  net.heal('m', 'a')
  m.saw('joined', a)
  await net.advance(10_000)
  expect(await acquired).toMatchObject({ kind: 'granted' })
  expect(server.machine.locks.holder('l')?.pid).toBe(PID)
  locks.exited(PID)
  await net.advance(5000)
  expect(server.machine.locks.holder('l')).toBeUndefined()
})

test('who lost a lock by a suspension may have it again when contact returns', async () => {
  const first = locks.acquire({ name: 'l', pid: PID, waitMs: 0, ttlMs: 0 })
  await net.advance(100)
  expect(await first).toMatchObject({ kind: 'granted' })
  net.cut('m', 'a')
  await net.advance(20_000)
  const again = locks.acquire({ name: 'l', pid: PID, waitMs: 0, ttlMs: 0 })
  net.heal('m', 'a')
  await net.advance(5000)
  expect(await again).toMatchObject({ kind: 'granted' })
  expect(await again).not.toEqual(await first)
  expect(locks.isHeld('l', PID)).toBe(true)
})
