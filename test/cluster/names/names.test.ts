import { afterEach, describe, expect, test } from 'vitest'
import { Names } from '../../../cluster/names/names.ts'
import { MoonmeshError } from '../../../runtime/base/errors.ts'
import { FabricNet, type FakeFabric } from '../../tools/fabric.ts'
import { pidOf } from './core/rig.ts'

/** A node with processes. */
class Lab {
  readonly net = new FabricNet()
  readonly nodes = new Map<string, Names>()
  readonly fabrics = new Map<string, FakeFabric>()
  readonly dead = new Set<string>()
  readonly local = new Map<string, string>()
  readonly told: string[] = []
  readonly revoked: string[] = []

  start(name: string, epoch = 1): Names {
    const fabric = this.net.join(name, epoch)
    const names = new Names({
      fabric,
      host: {
        bear: (pid, done) => {
          this.net.after(1, () =>
            done(this.dead.has(pid) ? new MoonmeshError('NotFound', 'process not found') : undefined),
          )
        },
        localHolder: (each) => this.local.get(`${name} ${each}`),
        localCount: () => 0,
        releaseLocal: (each) => this.local.delete(`${name} ${each}`),
        changed: (changes) => {
          for (const change of changes) this.told.push(`${name}: ${change.name} = ${change.pid ?? 'none'}`)
        },
        revoked: (each, pid) => this.revoked.push(`${name}: ${each} of ${pid}`),
      },
    })
    this.nodes.set(name, names)
    this.fabrics.set(name, fabric)
    return names
  }

  names(node: string): Names {
    return this.nodes.get(node) as Names
  }

  register(name: string, node: string, pid = pidOf(node, 1), caller = pid): Promise<string> {
    const { signal } = new AbortController()
    return this.names(node)
      .register({ name, pid, scope: 'eventual', caller, signal })
      .then(
        () => 'ok',
        (error: MoonmeshError) => `${error.kind}: ${error.message}`,
      )
  }

  unregister(name: string, node: string): Promise<boolean> {
    const { signal } = new AbortController()
    return this.names(node).unregister({ name, scope: 'eventual', caller: pidOf(node, 1), signal })
  }
}

let lab: Lab
const begin = (...nodes: string[]): Lab => {
  lab = new Lab()
  for (const node of nodes) lab.start(node)
  return lab
}

afterEach(() => {
  for (const names of lab.nodes.values()) names.close()
})

describe('eventual names', () => {
  test('are known here at once, before the answer, and elsewhere soon', async () => {
    begin('a', 'b')
    const done = lab.register('x', 'a')
    expect(lab.told).toEqual([`a: x = ${pidOf('a', 1)}`])
    expect(await done).toBe('ok')
    await lab.net.advance(20)
    expect(lab.names('b').lookup('x')).toBe(pidOf('a', 1))
    expect(lab.told.at(-1)).toBe(`b: x = ${pidOf('a', 1)}`)
  })

  test('many in a turn are told in few frames, and none is lost', async () => {
    begin('a', 'b')
    for (let i = 0; i < 2000; i++) void lab.register(`n${i}`, 'a')
    await lab.net.advance(2000)
    expect(lab.names('b').entries()).toHaveLength(2000)
  })

  test('are free when their process ends', async () => {
    begin('a', 'b')
    await lab.register('x', 'a')
    await lab.net.advance(20)
    lab.names('a').exited(pidOf('a', 1))
    expect(lab.names('a').lookup('x')).toBeUndefined()
    await lab.net.advance(20)
    expect(lab.told.slice(-2)).toEqual(['a: x = none', 'b: x = none'])
  })

  test('are gone with their node', async () => {
    begin('a', 'b')
    await lab.register('x', 'a')
    await lab.net.advance(20)
    lab.net.crash('a')
    expect(lab.names('b').lookup('x')).toBeUndefined()
    expect(await lab.register('x', 'b')).toBe('ok')
  })

  test('of two who took one, the later one is told', async () => {
    begin('a', 'b')
    lab.net.cuts.add('a b')
    await lab.register('x', 'a')
    await lab.net.advance(10)
    expect(await lab.register('x', 'b')).toBe('ok')
    lab.net.cuts.clear()
    await lab.net.advance(30_000)
    expect(lab.revoked).toEqual([`b: x of ${pidOf('b', 1)}`])
    expect([lab.names('a').lookup('x'), lab.names('b').lookup('x')]).toEqual([pidOf('a', 1), pidOf('a', 1)])
    expect(lab.fabrics.get('b')?.logs).toEqual([`name_revoked x ${pidOf('b', 1)}`])
  })

  test('a process elsewhere is asked for where it lives, and its end there ends the name', async () => {
    begin('a', 'b')
    const done = lab.register('x', 'a', pidOf('b', 1), pidOf('a', 1))
    await lab.net.advance(20)
    expect(await done).toBe('ok')
    expect(lab.names('b').lookup('x')).toBe(pidOf('b', 1))
    lab.names('b').exited(pidOf('b', 1))
    await lab.net.advance(20)
    expect(lab.names('a').lookup('x')).toBeUndefined()
  })

  test('who is not there gets no name', async () => {
    begin('a', 'b')
    lab.dead.add(pidOf('b', 1)).add(pidOf('a', 1, 2))
    const answers = Promise.all([
      lab.register('x', 'a', pidOf('a', 1, 2), pidOf('a', 1)),
      lab.register('x', 'a', pidOf('b', 1), pidOf('a', 1)),
      lab.register('x', 'a', pidOf('b', 2), pidOf('a', 1)),
      lab.register('x', 'a', pidOf('nowhere', 1), pidOf('a', 1)),
    ])
    await lab.net.advance(20)
    for (const answer of await answers) expect(answer).toMatch(/^NotFound: process not found/)
  })

  test('a name taken here or elsewhere is refused, with its holder; one of this node alone too', async () => {
    begin('a', 'b')
    await lab.register('x', 'a')
    await lab.net.advance(20)
    const { signal } = new AbortController()
    const request = { name: 'x', pid: pidOf('b', 1), scope: 'eventual', caller: pidOf('b', 1), signal } as const
    await expect(lab.names('b').register(request)).rejects.toMatchObject({
      kind: 'AlreadyExists',
      details: { name: 'x', existing_pid: pidOf('a', 1) },
    })
    const elsewhere = lab.names('b').register({ ...request, pid: pidOf('a', 1, 2) })
    await Promise.all([
      expect(elsewhere).rejects.toMatchObject({
        kind: 'AlreadyExists',
        retryable: false,
        details: { existing_pid: pidOf('a', 1) },
      }),
      lab.net.advance(20),
    ])
    expect(lab.names('b').holder('x')).toBe(pidOf('a', 1))
    lab.local.set('b y', pidOf('b', 1, 2))
    expect(await lab.register('y', 'b')).toBe('AlreadyExists: name already registered')
    expect(await lab.register('y', 'a')).toBe('ok')
  })

  test('are given up by their node only', async () => {
    begin('a', 'b')
    await lab.register('x', 'a')
    await lab.net.advance(20)
    expect(await lab.unregister('x', 'b')).toBe(false)
    expect(await lab.unregister('x', 'a')).toBe(true)
    expect(await lab.unregister('x', 'a')).toBe(false)
  })

  test('what gossip lost comes with an exchange of states, or with comparing', async () => {
    begin('a', 'b', 'c')
    lab.net.losesGossip = true
    await lab.register('x', 'a')
    await lab.net.advance(20)
    lab.fabrics.get('b')?.exchange('eventualNames', lab.fabrics.get('a') as FakeFabric)
    await lab.net.advance(200)
    expect(lab.names('b').lookup('x')).toBe(pidOf('a', 1))
    await lab.net.advance(40_000)
    expect(lab.names('c').lookup('x')).toBe(pidOf('a', 1))
  })

  test('a frame that cannot be read is counted', () => {
    begin('a')
    lab.fabrics.get('a')?.hear('eventualNames', Uint8Array.of(0, 0, 200))
    lab.fabrics.get('a')?.hear('eventualNames', new Uint8Array())
    expect(lab.names('a').statistics().malformed).toBe(2)
  })

  test('what was registered is counted by its result', async () => {
    begin('a')
    await lab.register('x', 'a')
    await lab.register('x', 'a', pidOf('a', 1, 2))
    expect(lab.names('a').statistics().registrations).toEqual([
      { scope: 'eventual', result: 'AlreadyExists', count: 1 },
      { scope: 'eventual', result: 'ok', count: 1 },
    ])
  })
})
