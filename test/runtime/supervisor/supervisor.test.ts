import { describe, expect, test } from 'vitest'
import { MoonmeshError } from '../../../runtime/base/errors.ts'
import { ErrorValue } from '../../../runtime/base/value.ts'
import type { Outcome } from '../../../runtime/services.ts'
import {
  type ServiceControl,
  type ServiceDefinition,
  type StateChange,
  Supervisor,
  type SupervisorHooks,
} from '../../../runtime/supervisor/supervisor.ts'
import { FakeEnv, settle } from './fake-env.ts'
import { service } from './services.ts'

interface Instance {
  end(outcome: Outcome): void
}

/** Services that start and stop at once, unless told otherwise. */
class FakeControl implements ServiceControl {
  readonly calls: string[] = []
  readonly running = new Map<string, Instance>()
  /** How often each start fails first, and with what. */
  readonly failures = new Map<string, unknown[]>()
  /** Starts of these hang until they are stopped. */
  readonly hanging = new Set<string>()
  /** These end only by force. */
  readonly stubborn = new Set<string>()
  readonly #pendingStops = new Map<string, () => void>()

  async start(id: string): Promise<{ ended: Promise<Outcome> }> {
    this.calls.push(`start ${id}`)
    if (this.running.has(id)) throw new Error(`two instances of ${id}`)
    const [failure] = this.failures.get(id)?.splice(0, 1) ?? []
    if (failure !== undefined) throw failure
    if (this.hanging.has(id)) return new Promise(() => {})
    return {
      ended: new Promise((resolve) => this.running.set(id, { end: (outcome) => this.#end(id, outcome, resolve) })),
    }
  }

  async stop(id: string, { timeoutMs }: { timeoutMs: number }): Promise<'graceful' | 'forced'> {
    this.calls.push(`stop ${id} ${timeoutMs}`)
    const instance = this.running.get(id)
    if (instance === undefined) return 'graceful'
    if (!this.stubborn.has(id)) {
      instance.end({ ok: true, value: undefined })
      return 'graceful'
    }
    if (timeoutMs > 0) await new Promise<void>((resolve) => this.#pendingStops.set(id, resolve))
    instance.end({ ok: false, error: new ErrorValue('Internal', 'process terminated') })
    this.#pendingStops.get(id)?.()
    return 'forced'
  }

  #end(id: string, outcome: Outcome, resolve: (outcome: Outcome) => void): void {
    this.running.delete(id)
    resolve(outcome)
  }

  fail(id: string, error = new ErrorValue('Internal', 'boom')): void {
    this.running.get(id)?.end({ ok: false, error })
  }
}

interface Setup {
  readonly supervisor: Supervisor
  readonly control: FakeControl
  readonly env: FakeEnv
  readonly log: string[]
  readonly changes: StateChange[]
}

function setUp(definitions: readonly ServiceDefinition[], hooks: Partial<SupervisorHooks> = {}): Setup {
  const control = new FakeControl()
  const env = new FakeEnv()
  const log: string[] = []
  const changes: StateChange[] = []
  const supervisor = new Supervisor(definitions, control, env, {
    onState: (change) => changes.push(change),
    log: (level, text, fields) => log.push(`${level} ${text} ${JSON.stringify(fields)}`),
    ...hooks,
  })
  return { supervisor, control, env, log, changes }
}

const stateOf = ({ supervisor }: Setup, id: string): string | undefined =>
  supervisor.services().find((each) => each.id === id)?.state

describe('start', () => {
  test('resolves when all services that start with the node run (§22.3)', async () => {
    const setup = setUp([service('app', { needs: ['host'] }), service('host', { autoStart: false })])
    await setup.supervisor.start()
    expect(setup.control.calls).toEqual(['start host', 'start app'])
    expect(setup.supervisor.services().map(({ id, state }) => `${id} ${state}`)).toEqual([
      'app running',
      'host running',
    ])
    expect(setup.env.timerCount).toBe(0)
  })

  test('rejects with the first required failure, which names the service and its reason; nothing is left (§22.3)', async () => {
    const setup = setUp([service('host'), service('app', { needs: ['host'] })])
    const cause = new MoonmeshError('NotFound', 'unknown entry app:main', { retryable: false })
    setup.control.failures.set('app', [cause])
    const error = await setup.supervisor.start().catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(MoonmeshError)
    expect(error).toMatchObject({
      kind: 'NotFound',
      message: 'service app did not start: unknown entry app:main',
      retryable: false,
      details: { service: 'app' },
      cause,
    })
    expect(setup.control.running.size).toBe(0)
    expect(setup.env.timerCount).toBe(0)
    await setup.supervisor.stop()
  })

  test('rejects when a start hangs for start_timeout; the hanging start is stopped (§22.3)', async () => {
    const setup = setUp([service('app', { startTimeoutMs: 3000 })])
    setup.control.hanging.add('app')
    const started = setup.supervisor.start()
    setup.env.advance(3000)
    await expect(started).rejects.toMatchObject({ kind: 'Timeout', details: { service: 'app' } })
    expect(setup.control.calls).toEqual(['start app', 'stop app 10000'])
    expect(stateOf(setup, 'app')).toBe('failed')
  })

  test('rejects with Canceled when stopped meanwhile', async () => {
    const setup = setUp([service('app')])
    setup.control.hanging.add('app')
    const started = setup.supervisor.start()
    const stopped = setup.supervisor.stop()
    await expect(started).rejects.toMatchObject({ kind: 'Canceled' })
    await stopped
  })

  test('rejects a cycle before anything starts (§22.3)', async () => {
    const setup = setUp([service('a', { needs: ['b'] }), service('b', { needs: ['a'] })])
    await expect(setup.supervisor.start()).rejects.toMatchObject({ kind: 'Invalid', message: /a -> b -> a/ })
    expect(setup.control.calls).toEqual([])
  })

  test('happens once', async () => {
    const setup = setUp([])
    await setup.supervisor.start()
    await expect(setup.supervisor.start()).rejects.toMatchObject({ kind: 'InvalidState' })
    await setup.supervisor.stop()
    const other = setUp([])
    await other.supervisor.stop()
    await expect(other.supervisor.start()).rejects.toMatchObject({ kind: 'InvalidState' })
  })

  test('a failure that is no MoonmeshError counts as Internal, retryable unset', async () => {
    const setup = setUp([service('app')])
    setup.control.failures.set('app', [new TypeError('x is not a function')])
    const started = setup.supervisor.start()
    await settle()
    expect(setup.supervisor.services()[0]).toMatchObject({
      state: 'failed',
      error: { kind: 'Internal', message: 'x is not a function' },
    })
    setup.env.advance(1000)
    await started
    expect(stateOf(setup, 'app')).toBe('running')
  })
})

describe('running', () => {
  test('a service that fails is started again after its delay (§22.2)', async () => {
    const setup = setUp([service('app')])
    await setup.supervisor.start()
    setup.control.fail('app')
    await settle()
    expect(stateOf(setup, 'app')).toBe('failed')
    setup.env.advance(999)
    expect(setup.control.calls).toEqual(['start app'])
    setup.env.advance(1)
    await settle()
    expect(setup.control.calls).toEqual(['start app', 'start app'])
    expect(setup.changes.map(({ id, from, to, error }) => `${id} ${from} ${to} ${error?.message}`)).toEqual([
      'app unknown starting undefined',
      'app starting running undefined',
      'app running failed boom',
      'app failed starting undefined',
      'app starting running undefined',
    ])
    await setup.supervisor.stop()
  })

  test('an error value keeps kind and text, and decides whether there is a restart (§22.1)', async () => {
    const setup = setUp([service('app')])
    await setup.supervisor.start()
    setup.control.fail('app', new ErrorValue('Conflict', 'caf\xc3\xa9 closed', false))
    await settle()
    expect(setup.supervisor.services()[0]).toMatchObject({
      state: 'exited',
      error: { kind: 'Conflict', message: 'café closed', retryable: false },
    })
    expect(setup.log).toEqual([expect.stringMatching(/^warn service app exited: café closed; .* {"service":"app"}$/)])
  })

  test('a host whose end resolves before that of its services costs them no attempt', async () => {
    const restart = { maxAttempts: 1 }
    const setup = setUp([service('host'), service('app', { needs: ['host'], restart })])
    await setup.supervisor.start()
    setup.control.fail('host')
    setup.control.fail('app')
    await settle()
    setup.env.advance(1000)
    await settle()
    expect(stateOf(setup, 'app')).toBe('running')
    await setup.supervisor.stop()
  })

  test('a hook may call the supervisor: that is looked at after the step', async () => {
    let setup: Setup | undefined
    const answers: Promise<void>[] = []
    setup = setUp([service('a'), service('b', { autoStart: false })], {
      onState: ({ id, to }) => {
        if (id === 'a' && to === 'running' && setup !== undefined) answers.push(setup.supervisor.startService('b'))
      },
    })
    await setup.supervisor.start()
    await Promise.all(answers)
    expect(stateOf(setup, 'b')).toBe('running')
    await setup.supervisor.stop()
  })

  test('delays beyond what a timer can hold are cut, not fired at once', async () => {
    const setup = setUp([service('app', { restart: { initialDelayMs: 1e12, maxDelayMs: 1e12 } })])
    const delays: number[] = []
    const { setTimer } = setup.env
    setup.env.setTimer = (delayMs, fire) => {
      delays.push(delayMs)
      return setTimer.call(setup.env, delayMs, fire)
    }
    await setup.supervisor.start()
    setup.control.fail('app')
    await settle()
    expect(delays.at(-1)).toBe(2 ** 31 - 1)
    await setup.supervisor.stop()
  })
})

describe('one service on request', () => {
  test('startService, stopService and restart resolve when done', async () => {
    const setup = setUp([service('host', { autoStart: false }), service('app', { autoStart: false, needs: ['host'] })])
    await setup.supervisor.start()
    await setup.supervisor.startService('app')
    await setup.supervisor.restart('host')
    expect(stateOf(setup, 'host')).toBe('running')
    await setup.supervisor.startService('app')
    await setup.supervisor.stopService('host')
    expect(setup.control.calls).toEqual([
      'start host',
      'start app',
      'stop app 10000',
      'stop host 10000',
      'start host',
      'start app',
      'stop app 10000',
      'stop host 10000',
    ])
    expect(setup.env.timerCount).toBe(0)
  })

  test('startService rejects with the reason', async () => {
    const setup = setUp([service('app', { autoStart: false })])
    await setup.supervisor.start()
    setup.control.failures.set('app', [
      new MoonmeshError('Invalid', 'app.lua:3: unexpected symbol', { retryable: false }),
    ])
    await expect(setup.supervisor.startService('app')).rejects.toMatchObject({
      message: 'app.lua:3: unexpected symbol',
    })
    await expect(setup.supervisor.startService('nobody')).rejects.toMatchObject({ kind: 'NotFound' })
  })
})

describe('stop', () => {
  test('stops dependents first and leaves no timer (§22.3)', async () => {
    const setup = setUp([service('host'), service('app', { needs: ['host'] }), service('flaky')])
    await setup.supervisor.start()
    setup.control.fail('flaky')
    await settle()
    await setup.supervisor.stop()
    expect(setup.control.calls.slice(3)).toEqual(['stop app 10000', 'stop host 10000'])
    expect(setup.env.timerCount).toBe(0)
    setup.env.advance(1_000_000)
    expect(setup.control.calls).toHaveLength(5)
  })

  test('is idempotent', async () => {
    const setup = setUp([service('app')])
    await setup.supervisor.start()
    await Promise.all([setup.supervisor.stop(), setup.supervisor.stop()])
    await setup.supervisor.stop()
    expect(setup.control.calls).toEqual(['start app', 'stop app 10000'])
  })

  test('a second stop with force ends at once what does not want to', async () => {
    const setup = setUp([service('host'), service('app', { needs: ['host'] })])
    setup.control.stubborn.add('app')
    await setup.supervisor.start()
    const stopped = setup.supervisor.stop()
    await settle()
    expect(stateOf(setup, 'app')).toBe('stopping')
    await setup.supervisor.stop({ force: true })
    await stopped
    expect(setup.control.calls.slice(2)).toEqual(['stop app 10000', 'stop app 0', 'stop host 0'])
    expect(stateOf(setup, 'app')).toBe('stopped')
  })

  test('a control that cannot stop a service does not keep the rest from stopping', async () => {
    const setup = setUp([service('host'), service('app', { needs: ['host'] })])
    await setup.supervisor.start()
    const { stop } = setup.control
    setup.control.stop = (id, options) =>
      id === 'app' ? Promise.reject(new Error('port closed')) : stop.call(setup.control, id, options)
    await setup.supervisor.stop()
    expect(stateOf(setup, 'app')).toBe('failed')
    expect(stateOf(setup, 'host')).toBe('stopped')
    expect(setup.log).toContain(
      'error service app could not be stopped: port closed; it is not restarted {"service":"app"}',
    )
  })
})
