import { beforeEach, describe, expect, test } from 'vitest'
import type { Entry } from '../../../cluster/raft/core/entry.ts'
import { configurationOf } from '../../../cluster/raft/core/membership.ts'
import { StateHost } from '../../../cluster/state/host.ts'
import { encodeEnvelope } from '../../../cluster/state/wire/commands.ts'
import { UnpackError } from '../../../runtime/base/msgpack.ts'
import { encodeCommands } from '../../tools/state-commands.ts'

const up = (node: string) =>
  ({ session: 0, seq: 0, floor: 0, command: { kind: 'node-up', node, epoch: 1, role: 'server' } }) as const

const entry = (index: number, nodes: readonly string[] = [`n${index}`]): Entry => ({
  index,
  term: 1,
  clockMs: index,
  kind: 'commands',
  data: encodeCommands(nodes.map(up)),
})

/** Every look at the clock takes its time. */
class Rig {
  now = 0
  stepMs = 0
  turns: (() => void)[] = []
  failures: unknown[] = []
  halted: string[] = []
  applied: number[] = []
  host = this.make()

  make(): StateHost {
    const host = new StateHost({
      nowMs: () => {
        this.now += this.stepMs
        return this.now
      },
      defer: (run) => this.turns.push(run),
      failed: (error) => this.failures.push(error),
    })
    host.onHalt = (error) => this.halted.push(error.message)
    return host
  }

  /** One turn of the event loop. */
  turn(): void {
    for (const run of this.turns.splice(0)) run()
  }

  apply(entries: readonly Entry[], done: () => void = () => {}): void {
    this.host.apply(entries, ({ index }) => this.applied.push(index), done)
  }

  save(): Uint8Array {
    const { index, clockMs } = this.host
    const saved = this.host.save('00'.repeat(16), { index, term: 1, clockMs, configuration: configurationOf(['a/1']) })
    const bytes = Buffer.concat([...saved.pieces])
    saved.close()
    return bytes
  }
}

let rig: Rig
beforeEach(() => {
  rig = new Rig()
})

describe('the replica of a server (cluster.md §5.12)', () => {
  test('applies at once what is quick', () => {
    let isDone = false
    rig.apply([entry(1), entry(2)], () => {
      isDone = true
    })
    expect([rig.applied, isDone, rig.host.index, rig.host.isIdle]).toEqual([[1, 2], true, 2, true])
  })

  test('gives the event loop back after five milliseconds, in the middle of an entry too', () => {
    rig.stepMs = 1
    const nodes = Array.from({ length: 20 }, (_, i) => `m${i}`)
    let isDone = false
    rig.apply([entry(1, nodes), entry(2)], () => {
      isDone = true
    })
    expect(rig.applied).toEqual([])
    expect(rig.host.isIdle).toBe(false)
    let turns = 0
    while (!isDone && turns < 100) {
      rig.turn()
      turns++
    }
    expect(rig.applied).toEqual([1, 2])
    expect(turns).toBeGreaterThan(2)
    expect(rig.host.machine.sessions.count).toBe(21)
  })

  test('passes over what is applied already', () => {
    rig.apply([entry(1), entry(2)])
    rig.apply([entry(1), entry(2), entry(3)])
    expect(rig.applied).toEqual([1, 2, 3])
  })

  test('one turn of proposals is the data of one entry', () => {
    const commands = ['x', 'y'].map((node) => encodeEnvelope(up(node)))
    for (const command of commands) rig.host.check(command)
    rig.apply([{ ...entry(1), data: rig.host.join(commands) } as Entry])
    expect(rig.host.machine.sessions.count).toBe(2)
    expect(() => rig.host.check(encodeCommands([up('x')]))).toThrow(UnpackError)
  })

  test('an entry that cannot be applied ends it, rather than making it differ from others', () => {
    rig.apply([entry(1), { ...entry(2), data: Uint8Array.of(1) } as Entry, entry(3)])
    expect(rig.applied).toEqual([1])
    expect(rig.halted.length).toBe(1)
    rig.apply([entry(2)])
    expect(rig.host.index).toBe(1)
  })

  test('a listener that throws is told of and stops nothing', () => {
    rig.host.onApplied(() => {
      throw new Error('a bug')
    })
    rig.apply([entry(1), entry(2)])
    expect([rig.host.index, rig.failures.length]).toEqual([2, 2])
  })

  test('a snapshot restores the same state elsewhere, and what comes after it goes on', async () => {
    rig.apply([entry(1), entry(2), entry(3)])
    const bytes = rig.save()
    const other = new Rig()
    other.apply([entry(1)])
    const restored: number[] = []
    other.host.onRestored((index) => restored.push(index))
    const pieces = async function* (): AsyncGenerator<Uint8Array> {
      yield bytes
    }
    await new Promise<void>((resolve) => {
      other.host.restore(3, pieces, resolve)
      other.apply([entry(4)])
    })
    rig.apply([entry(4)])
    expect(other.host.machine.digest()).toBe(rig.host.machine.digest())
    expect(restored).toEqual([3])
    // One that is behind changes nothing.
    await new Promise<void>((resolve) => other.host.restore(3, pieces, resolve))
    expect(other.host.index).toBe(4)
  })

  test('a damaged snapshot ends it', async () => {
    rig.apply([entry(1), entry(2)])
    const bytes = rig.save().slice(0, -3)
    const other = new Rig()
    const halted = new Promise<string>((resolve) => {
      other.host.onHalt = (error) => resolve(error.message)
    })
    other.host.restore(
      2,
      async function* () {
        yield bytes
      },
      () => {},
    )
    expect(await halted).toContain('the snapshot at 2')
    expect(other.host.index).toBe(0)
  })

  test('a snapshot that cannot be read any more once it is not wanted any more stops nothing', async () => {
    let fail: (error: Error) => void = () => {}
    const gone = new Promise<never>((_, reject) => {
      fail = reject
    })
    let halts = 0
    rig.host.onHalt = () => halts++
    rig.host.restore(
      5,
      // biome-ignore lint/correctness/useYield: it fails first.
      async function* () {
        await gone
      },
      () => {},
    )
    rig.host.clear()
    rig.apply([entry(1)])
    fail(new Error('the store is closed'))
    await new Promise((resolve) => setImmediate(resolve))
    expect([halts, rig.host.index, rig.host.isIdle]).toEqual([0, 1, true])
  })

  test('a new store begins with an empty state, also in the middle of an entry', () => {
    rig.stepMs = 2
    rig.apply([entry(1, ['a', 'b', 'c', 'd', 'e', 'f'])])
    expect(rig.host.isIdle).toBe(false)
    rig.host.clear()
    rig.turn()
    expect([rig.host.index, rig.host.isIdle, rig.host.machine.sessions.count]).toEqual([0, true, 0])
    rig.stepMs = 0
    rig.apply([entry(1)])
    expect(rig.host.index).toBe(1)
  })
})
