import { expect, test } from 'vitest'
import { MoonmeshError } from '../../../runtime/base/errors.ts'
import type { Outcome } from '../../../runtime/services.ts'
import { type ServiceControl, type ServiceDefinition, Supervisor } from '../../../runtime/supervisor/supervisor.ts'
import { FakeEnv } from './fake-env.ts'
import { service } from './services.ts'

/** Services that start and stop at once; those in `broken` do not start. */
class Control implements ServiceControl {
  readonly calls: string[] = []
  readonly broken = new Set<string>()
  readonly #running = new Map<string, (outcome: Outcome) => void>()

  async start(id: string): Promise<{ ended: Promise<Outcome> }> {
    this.calls.push(`start ${id}`)
    if (this.broken.has(id)) throw new MoonmeshError('Internal', 'broken', { retryable: false })
    return { ended: new Promise((resolve) => this.#running.set(id, resolve)) }
  }

  async stop(id: string): Promise<'graceful'> {
    this.calls.push(`stop ${id}`)
    this.#running.get(id)?.({ ok: true, value: undefined })
    this.#running.delete(id)
    return 'graceful'
  }

  take(): string[] {
    return this.calls.splice(0)
  }
}

async function started(
  definitions: readonly ServiceDefinition[],
): Promise<{ supervisor: Supervisor; control: Control }> {
  const control = new Control()
  const supervisor = new Supervisor(definitions, control, new FakeEnv(), { log: () => {} })
  await supervisor.start()
  control.take()
  return { supervisor, control }
}

const auto = { autoStart: true }
const states = (supervisor: Supervisor): Record<string, string> =>
  Object.fromEntries(supervisor.services().map(({ id, state }) => [id, state]))

test('what is new starts, what is gone stops, the rest does not notice', async () => {
  const kept = service('kept', auto)
  const { supervisor, control } = await started([kept, service('old', auto)])
  await supervisor.reconfigure([kept, service('new', auto), service('later', { autoStart: false })], new Set())
  expect(control.take()).toEqual(['stop old', 'start new'])
  expect(states(supervisor)).toEqual({ kept: 'running', new: 'running', later: 'unknown' })
})

test('what changed stops and starts again, with what needs it', async () => {
  const definitions = [service('a', auto), service('b', { ...auto, needs: ['a'] }), service('c', auto)]
  const { supervisor, control } = await started(definitions)
  await supervisor.reconfigure(definitions, new Set(['a']))
  expect(control.take()).toEqual(['stop b', 'stop a', 'start a', 'start b'])
  expect(states(supervisor)).toEqual({ a: 'running', b: 'running', c: 'running' })
})

test('a service that somebody stopped stays down', async () => {
  const definitions = [service('a', auto), service('b', { ...auto, needs: ['a'] })]
  const { supervisor, control } = await started(definitions)
  await supervisor.stopService('b')
  control.take()
  await supervisor.reconfigure(definitions, new Set(['a']))
  expect(control.take()).toEqual(['stop a', 'start a'])
})

test('a cycle is refused before anything happens', async () => {
  const { supervisor, control } = await started([service('a', auto)])
  const cycle = [service('a', { ...auto, needs: ['b'] }), service('b', { needs: ['a'], autoStart: false })]
  await expect(supervisor.reconfigure(cycle, new Set())).rejects.toMatchObject({ kind: 'Invalid' })
  expect(control.take()).toEqual([])
})

test('a required service that does not start is told; the old definitions can be put back', async () => {
  const before = [service('a', auto)]
  const { supervisor, control } = await started(before)
  control.broken.add('b')
  const after = [...before, service('b', auto)]
  await expect(supervisor.reconfigure(after, new Set())).rejects.toMatchObject({ details: { service: 'b' } })
  await supervisor.reconfigure(before, new Set())
  expect(states(supervisor)).toEqual({ a: 'running' })
  expect(control.take()).toEqual(['start b'])
})

test('an optional one that does not start is left alone', async () => {
  const { supervisor, control } = await started([])
  control.broken.add('b')
  await supervisor.reconfigure([service('b', { ...auto, startup: 'optional' })], new Set())
  expect(states(supervisor)).toEqual({ b: 'exited' })
})

test('reconfigurations follow each other, and none comes after a stop', async () => {
  const { supervisor, control } = await started([])
  const first = supervisor.reconfigure([service('a', auto)], new Set())
  const second = supervisor.reconfigure([service('b', auto)], new Set())
  await Promise.all([first, second])
  expect(control.take()).toEqual(['start a', 'stop a', 'start b'])
  await supervisor.stop()
  await expect(supervisor.reconfigure([], new Set())).rejects.toMatchObject({ kind: 'InvalidState' })
})
