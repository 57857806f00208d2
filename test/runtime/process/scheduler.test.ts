import { expect, test } from 'vitest'
import type { Env } from '../../../runtime/base/env.ts'
import type { Process } from '../../../runtime/process/process.ts'
import { Scheduler } from '../../../runtime/process/scheduler.ts'

/** A scheduler whose turns are run by hand, and processes that do what the test says in each slice. */
class World {
  nowMs = 0
  #deferred: (() => void)[] = []
  readonly scheduler = new Scheduler({
    env: { nowMs: () => this.nowMs } as Env,
    defer: (run) => {
      this.#deferred.push(run)
    },
    timeout: () => () => {},
  })

  turn(): void {
    const deferred = this.#deferred
    this.#deferred = []
    for (const run of deferred) run()
  }

  start(slice: () => void): Process {
    const process = { isEnded: false, isQueued: false, slice } as unknown as Process
    this.scheduler.ready(process)
    return process
  }
}

/** As many slices as it is given at once. */
function takeAll(world: World, msOfSlice: number): number {
  let count = 1
  world.nowMs += msOfSlice
  for (; world.scheduler.anotherSlice() > 0; count++) world.nowMs += msOfSlice
  return count
}

test('a process that is alone has slices until the turn is over', () => {
  const world = new World()
  const counts: number[] = []
  const process = world.start(() => {
    counts.push(takeAll(world, 0.5))
    if (counts.length < 2) world.scheduler.ready(process)
  })
  world.turn()
  expect(counts).toEqual([8])
  world.turn()
  expect(counts).toEqual([8, 8])
  expect(world.scheduler.slices).toBe(16)
  expect(world.scheduler.sliceTimes.counts.count).toBe(16)
  expect(world.scheduler.busyMs).toBe(8)
})

test('a turn has no more slices than it may, however short they are', () => {
  const world = new World()
  let count = 0
  world.start(() => {
    count = takeAll(world, 0)
  })
  world.turn()
  expect(count).toBe(256)
})

test('who is not alone stands in line', () => {
  const world = new World()
  const log: string[] = []
  world.start(() => {
    log.push(`a ${world.scheduler.anotherSlice()}`)
  })
  world.start(() => {
    log.push(`b ${world.scheduler.anotherSlice() > 0}`)
    // Whom it has woken meanwhile comes after this slice.
    world.start(() => log.push('c'))
    log.push(`b ${world.scheduler.anotherSlice()}`)
  })
  world.turn()
  expect(log).toEqual(['a 0', 'b true', 'b 0', 'c'])
})

test('a timer that is due ends the slices of a process that is alone', () => {
  const world = new World()
  const log: unknown[] = []
  world.scheduler.after(1, () => log.push('timer'))
  const process = world.start(() => {
    log.push(takeAll(world, 0.3))
    if (log.length < 3) world.scheduler.ready(process)
  })
  world.turn()
  // The clock is read after each four slices.
  expect(log).toEqual([4, 'timer', 12])
})
