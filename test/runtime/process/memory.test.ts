// What processes are said to hold.

import { afterEach, describe, expect, test } from 'vitest'
import type { Engine } from '../../../runtime/lua/engine.ts'
import { FengariEngine } from '../../../runtime/lua/fengari.ts'
import { VmEngine } from '../../../runtime/lua/vm/engine.ts'
import { TestNode } from '../../tools/lua.ts'

const MEBIBYTE = 2 ** 20

describe('an engine', () => {
  function held(source: string, stepsMax: number) {
    const engine = new VmEngine()
    const shared = engine.newTable()
    engine.set(shared, 'shared', engine.moduleTable('shared', { text: 'x'.repeat(MEBIBYTE) }))
    engine.set(shared, 'wait', (engine.standardLibrary.libraries['coroutine'] as never)['yield'])
    const thread = engine.newThread(engine.load(engine.compile('t', source), engine.newEnvironment(shared)), true)
    expect(engine.run(thread, {}, 10_000_000, { values: [] })).toBe('yielded')
    return engine.memoryOf(thread, stepsMax)
  }
  const list = 'local t = {} for i = 1, 10000 do t[i] = { i } end wait() return t'

  test('counts what the variables reach, and nothing that all processes share', () => {
    expect(held('local m = shared wait() return m', 1e6).bytes).toBeLessThan(10_000)
    const { bytes, isWhole } = held(list, 1e6)
    expect(isWhole).toBe(true)
    expect(bytes).toBeGreaterThan(10_000 * 72)
    expect(bytes).toBeLessThan(2 * MEBIBYTE)
  })

  test('ends where it may do no more work, and says so', () => {
    const { bytes, steps, isWhole } = held(list, 3000)
    expect(isWhole).toBe(false)
    expect(steps).toBeGreaterThanOrEqual(3000)
    expect(steps).toBeLessThan(3200)
    expect(bytes).toBeLessThan(held(list, 1e6).bytes)
  })

  test('does not go through a list that is too long, but counts its elements', () => {
    const { bytes, isWhole } = held('local t = {} for i = 1, 1000000 do t[i] = i end wait() return t', 20_000)
    expect(isWhole).toBe(false)
    expect(bytes).toBeGreaterThanOrEqual(8_000_000)
  })

  test('that cannot tell has no count', () => {
    const fengari: Engine = new FengariEngine()
    expect(fengari.memoryOf).toBeUndefined()
    fengari.close()
  })
})

describe('a host', () => {
  let node: TestNode | undefined
  afterEach(() => node?.close())

  const HOLDER = `return function()
    local kept = {}
    local inbox = process.inbox()
    while true do
      local count = inbox:receive():payload():data()
      kept = {}
      for i = 1, count do kept[i] = { i } end
    end
  end`

  async function memories(countsMemory: boolean): Promise<(number | null)[]> {
    const inspected = node!.relay.inspect({ countsMemory })
    node!.driver.settle()
    return (await inspected).flatMap(({ processes }) => processes.map(({ memory }) => memory))
  }

  test('counts when it is asked to, and keeps the figure', async () => {
    node = new TestNode({ 'app:holder': HOLDER })
    const { pid } = node.spawn('app:holder')
    expect(await memories(false)).toEqual([null])
    const [small] = await memories(true)
    expect(small).toBeLessThan(10_000)
    node.send(pid, 'hold', 1000)
    expect(await memories(false)).toEqual([small])
    const [large] = await memories(true)
    expect(large).toBeGreaterThan(1000 * 72)
    expect(await memories(true)).toEqual([large])
    node.send(pid, 'hold', 0)
    expect((await memories(true))[0]).toBeLessThan(20_000)
  })

  test('counts some at a time, first those that it knows nothing of', async () => {
    node = new TestNode({ 'app:holder': HOLDER })
    const pids = Array.from({ length: 12 }, () => node!.spawn('app:holder').pid)
    for (const pid of pids) node.send(pid, 'hold', 50_000)
    const first = await memories(true)
    expect(first[0]).toBeGreaterThan(0)
    expect(first.at(-1)).toBeNull()
    // The first are busy again.
    for (const pid of pids.slice(0, 5)) node.send(pid, 'hold', 50_000)
    for (let times = 0; times < 3; times++) await memories(true)
    expect((await memories(true)).every((memory) => memory !== null && memory > 0)).toBe(true)
  })
})
