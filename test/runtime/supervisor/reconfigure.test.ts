import { expect, test } from 'vitest'
import { MoonmeshError } from '../../../runtime/base/errors.ts'
import { ErrorValue } from '../../../runtime/base/value.ts'
import type { Outcome } from '../../../runtime/services.ts'
import { type ServiceControl, type ServiceDefinition, Supervisor } from '../../../runtime/supervisor/supervisor.ts'
import { FakeEnv, settle } from './fake-env.ts'
import { service } from './services.ts'

/** Services that start and stop at once, unless told otherwise; those in `broken` do not start. */
class Control implements ServiceControl {
  readonly calls: string[] = []
  readonly broken = new Set<string>()
  /** Starts of these hang until they are stopped. */
  readonly hanging = new Set<string>()
  /** Stops of these fail. */
  readonly stuck = new Set<string>()
  readonly #running = new Map<string, (outcome: Outcome) => void>()

  async start(id: string): Promise<{ ended: Promise<Outcome> }> {
    this.calls.push(`start ${id}`)
    if (this.broken.has(id)) throw new MoonmeshError('Internal', 'broken', { retryable: false })
    if (this.hanging.has(id)) return new Promise(() => {})
    return { ended: new Promise((resolve) => this.#running.set(id, resolve)) }
  }

  async stop(id: string): Promise<'graceful'> {
    this.calls.push(`stop ${id}`)
    if (this.stuck.has(id)) throw new Error('port closed')
    this.#running.get(id)?.({ ok: true, value: undefined })
    this.#running.delete(id)
    return 'graceful'
  }

  fail(id: string, retryable: boolean): void {
    this.#running.get(id)?.({ ok: false, error: new ErrorValue('Internal', 'boom', retryable) })
    this.#running.delete(id)
  }

  end(id: string): void {
    this.#running.get(id)?.({ ok: true, value: undefined })
    this.#running.delete(id)
  }

  take(): string[] {
    return this.calls.splice(0)
  }
}

async function started(definitions: readonly ServiceDefinition[]): Promise<Setup> {
  const setup = setUp(definitions)
  await setup.supervisor.start()
  setup.control.take()
  return setup
}

interface Setup {
  readonly supervisor: Supervisor
  readonly control: Control
  readonly env: FakeEnv
  readonly log: string[]
}

function setUp(definitions: readonly ServiceDefinition[]): Setup {
  const control = new Control()
  const env = new FakeEnv()
  const log: string[] = []
  const supervisor = new Supervisor(definitions, control, env, {
    log: (level, text, fields) => log.push(`${level} ${text} ${JSON.stringify(fields)}`),
  })
  return { supervisor, control, env, log }
}

/** Whether a promise has been settled by now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  let settled = false
  const note = (): void => {
    settled = true
  }
  promise.then(note, note)
  await settle()
  return settled
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

test('a changed service that somebody stopped stays down, also when it starts with the node; whoever starts it gets the new one', async () => {
  const { supervisor, control } = await started([service('a', auto), service('b', auto)])
  await supervisor.stopService('a')
  const after = [service('a', { ...auto, stopTimeoutMs: 1 }), service('b', auto)]
  await supervisor.reconfigure(after, new Set(['a']))
  expect(control.take()).toEqual(['stop a'])
  expect(states(supervisor)).toEqual({ a: 'stopped', b: 'running' })
  await supervisor.startService('a')
  expect(control.take()).toEqual(['start a'])
})

test('what needs a service that somebody stopped waits for it, and is not waited for', async () => {
  const { supervisor, control } = await started([service('a', auto), service('b', auto)])
  await supervisor.stopService('a')
  control.take()
  await supervisor.reconfigure([service('a', auto), service('b', { ...auto, needs: ['a'] })], new Set())
  expect(control.take()).toEqual(['stop b'])
  expect(supervisor.services()[1]).toMatchObject({ state: 'stopped', waitsFor: ['a'] })
  await supervisor.startService('a')
  await settle()
  expect(control.take()).toEqual(['start a', 'start b'])
})

test('a service that is being restarted when it changes comes back by its new definition', async () => {
  const { supervisor, control } = await started([service('a', auto), service('b', { ...auto, needs: ['a'] })])
  const restarted = supervisor.restart('a')
  await supervisor.reconfigure(
    [service('a', auto), service('b', { ...auto, needs: ['a'], stopTimeoutMs: 1 })],
    new Set(['a']),
  )
  await restarted
  expect(states(supervisor)).toEqual({ a: 'running', b: 'running' })
  expect(control.take()).toEqual(['stop b', 'stop a', 'start a', 'start b'])
})

test('a changed service that waits for its restart, or has given up, starts at once; one that returned does so if it starts with the node', async () => {
  const ids = ['retried', 'hopeless', 'returned', 'manual']
  const definitions = ids.map((id) => service(id, { autoStart: id !== 'manual' }))
  const { supervisor, control, env } = await started(definitions)
  await supervisor.startService('manual')
  control.fail('retried', true)
  control.fail('hopeless', false)
  control.end('returned')
  control.end('manual')
  await settle()
  control.take()
  await supervisor.reconfigure(definitions, new Set(ids))
  expect(control.take()).toEqual(['start retried', 'start hopeless', 'start returned'])
  expect(supervisor.services().map(({ attempts }) => attempts)).toEqual([1, 1, 1, 0])
  expect(env.timerCount).toBe(0)
})

test('an id that is defined twice is refused, and a dependency on what is not known, where the caller says what is', async () => {
  const { supervisor, control } = await started([service('a', auto)])
  const twice = [service('b', auto), service('b', auto)]
  await expect(supervisor.reconfigure(twice, new Set())).rejects.toMatchObject({ kind: 'Invalid' })
  const needy = [service('a', { ...auto, needs: ['code'] })]
  await expect(supervisor.reconfigure(needy, new Set(), { knownIds: new Set() })).rejects.toMatchObject({
    kind: 'Invalid',
    message: 'service a needs code, which is not defined; define it or remove the dependency',
  })
  expect(control.take()).toEqual([])
  await supervisor.reconfigure(needy, new Set(), { knownIds: new Set(['code']) })
  await supervisor.reconfigure([service('a', { ...auto, needs: ['other'] })], new Set())
  expect(control.take()).toEqual(['stop a', 'start a', 'stop a', 'start a'])
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

test('a required service that fails is told at once, whatever else still starts; the way back stops that', async () => {
  const before = [service('a', auto)]
  const { supervisor, control, env } = await started(before)
  control.broken.add('b')
  control.hanging.add('slow')
  const after = [...before, service('slow', auto), service('b', auto)]
  await expect(supervisor.reconfigure(after, new Set())).rejects.toMatchObject({
    kind: 'Internal',
    message: 'service b did not start: broken',
    retryable: false,
    details: { service: 'b' },
    cause: { message: 'broken' },
  })
  expect(states(supervisor)).toEqual({ a: 'running', slow: 'starting', b: 'exited' })
  await supervisor.reconfigure(before, new Set())
  expect(control.take()).toEqual(['start slow', 'start b', 'stop slow'])
  expect(env.timerCount).toBe(0)
})

test('a required service has start_timeout to come up, by as many starts as that allows', async () => {
  const { supervisor, control, env } = await started([])
  control.hanging.add('b')
  const change = supervisor.reconfigure([service('b', { ...auto, startTimeoutMs: 3000 })], new Set())
  expect(await isSettled(change)).toBe(false)
  env.advance(3000)
  await expect(change).rejects.toMatchObject({ kind: 'Timeout', details: { service: 'b' } })
  expect(control.take()).toEqual(['start b', 'stop b'])
})

test('the way back restores what ran, also where the new definition had started and returned, and what depends on it', async () => {
  const before = [service('a', auto), service('b', { ...auto, needs: ['a'] })]
  const { supervisor, control } = await started(before)
  control.broken.add('b')
  const after = [service('a', { ...auto, stopTimeoutMs: 1 }), service('b', { ...auto, needs: ['a'] })]
  await expect(supervisor.reconfigure(after, new Set())).rejects.toMatchObject({ details: { service: 'b' } })
  control.end('a')
  await settle()
  control.broken.clear()
  await supervisor.reconfigure(before, new Set(['a']))
  expect(states(supervisor)).toEqual({ a: 'running', b: 'running' })
})

test('a required service that cannot be stopped is told, and is not started twice; the rest goes on by the new definitions', async () => {
  const before = [service('a', auto), service('b', { ...auto, needs: ['a'] }), service('c', auto)]
  const { supervisor, control } = await started(before)
  control.stuck.add('a')
  await expect(supervisor.reconfigure(before, new Set(['a', 'c']))).rejects.toMatchObject({
    message: 'service a could not be stopped: port closed',
    details: { service: 'a' },
  })
  await settle()
  expect(control.take()).toEqual(['stop c', 'stop b', 'stop a', 'start c'])
  expect(states(supervisor)).toEqual({ a: 'failed', b: 'stopped', c: 'running' })
  control.stuck.clear()
  await supervisor.reconfigure(before, new Set(['a']))
  expect(control.take()).toEqual([])
  await supervisor.startService('a')
  await settle()
  expect(control.take()).toEqual(['start a', 'start b'])
})

test('a service that somebody stops while it changes stays down, and the change does not wait for it', async () => {
  const { supervisor, control } = await started([])
  control.hanging.add('a')
  const change = supervisor.reconfigure([service('a', auto), service('b', auto)], new Set())
  await settle()
  await supervisor.stopService('a')
  await change
  expect(states(supervisor)).toEqual({ a: 'stopped', b: 'running' })
})

test('whoever waits for a service that is gone by then is told so; whoever starts a changed one gets the new one', async () => {
  const { supervisor, control } = await started([service('a', auto), service('b', auto)])
  const change = supervisor.reconfigure(
    [service('b', { ...auto, needs: ['c'] }), service('c', { autoStart: false })],
    new Set(),
  )
  const gone = supervisor.startService('a')
  const renewed = supervisor.startService('b')
  await expect(gone).rejects.toMatchObject({ kind: 'NotFound' })
  await Promise.all([change, renewed])
  expect(control.take()).toEqual(['stop b', 'stop a', 'start c', 'start b'])
})

test('during the start it waits for that; a start that fails cancels it', async () => {
  const { supervisor, control, env } = setUp([service('a', auto)])
  control.hanging.add('a')
  const start = supervisor.start()
  const change = supervisor.reconfigure([service('b', auto)], new Set())
  expect(await isSettled(change)).toBe(false)
  expect(control.take()).toEqual(['start a'])
  env.advance(10_000)
  await expect(start).rejects.toMatchObject({ kind: 'Timeout' })
  await expect(change).rejects.toMatchObject({ kind: 'Canceled' })
  expect(control.take()).toEqual(['stop a'])
})

test('it asks for a supervisor that was started', async () => {
  const { supervisor } = setUp([])
  await expect(supervisor.reconfigure([], new Set())).rejects.toMatchObject({ kind: 'InvalidState' })
})

test('a stop meanwhile wins: nothing more starts, and all that wait are told', async () => {
  const { supervisor, control, env } = await started([service('a', auto)])
  control.hanging.add('b')
  const first = supervisor.reconfigure([service('b', auto)], new Set())
  const second = supervisor.reconfigure([service('c', auto)], new Set())
  const answers = Promise.allSettled([first, second])
  await settle()
  await supervisor.stop()
  expect((await answers).map((answer) => answer.status === 'rejected' && answer.reason.kind)).toEqual([
    'Canceled',
    'Canceled',
  ])
  expect(control.take()).toEqual(['stop a', 'start b', 'stop b'])
  expect(env.timerCount).toBe(0)
})

test('only so many wait for their turn', async () => {
  const { supervisor, control } = await started([])
  control.hanging.add('a')
  const waiting = Array.from({ length: 100 }, () => supervisor.reconfigure([service('a', auto)], new Set()))
  const answers = Promise.allSettled(waiting)
  await expect(supervisor.reconfigure([], new Set())).rejects.toMatchObject({ kind: 'RateLimited', retryable: true })
  await supervisor.stop()
  await answers
})

test('the lists belong to the caller: changing them afterwards changes nothing', async () => {
  const { supervisor, control } = await started([service('a', auto)])
  const definitions = [service('a', auto), service('b', auto)]
  const changedIds = new Set<string>()
  const first = supervisor.reconfigure([service('a', auto)], new Set(['a']))
  const second = supervisor.reconfigure(definitions, changedIds)
  definitions.pop()
  changedIds.add('a')
  await Promise.all([first, second])
  expect(control.take()).toEqual(['stop a', 'start a', 'start b'])
})

test('new definitions are noted in the log', async () => {
  const { supervisor, log } = await started([service('a', auto), service('b', auto)])
  log.length = 0
  await supervisor.reconfigure([service('b', auto), service('c', auto)], new Set(['b']))
  expect(log).toEqual([
    'debug services redefined: 1 new, 1 changed, 1 gone {"added":["c"],"changed":["b"],"gone":["a"]}',
  ])
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
