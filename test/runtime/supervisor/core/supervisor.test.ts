import { describe, expect, test } from 'vitest'
import { service } from '../services.ts'
import { linkDown, Machine, notRetryable, raised, retryable, terminated } from './machine.ts'

/** One service that runs. */
function running(options: Parameters<typeof service>[1] = {}): Machine {
  const machine = new Machine([service('a', options)])
  machine.start()
  machine.started('a')
  machine.take()
  return machine
}

/** A chain: c needs b, b needs a; all run. */
function chain(): Machine {
  const machine = new Machine([service('c', { needs: ['b'] }), service('b', { needs: ['a'] }), service('a')])
  machine.start()
  for (const id of ['a', 'b', 'c']) machine.started(id)
  machine.take()
  return machine
}

describe('states (§22.1)', () => {
  test('a service goes unknown, starting, running, stopping, stopped', () => {
    const machine = new Machine([service('a')])
    expect(machine.state('a')).toBe('unknown')
    machine.start()
    machine.started('a')
    machine.stop()
    machine.stopped('a')
    expect(machine.take('state-changed')).toEqual([
      'a: unknown -> starting',
      'a: starting -> running',
      'a: running -> stopping',
      'a: stopping -> stopped',
    ])
  })

  test('a normal return makes it exited, and it is not restarted', () => {
    const machine = running()
    machine.returned('a')
    expect(machine.take()).toEqual(['a: running -> exited', 'info: service a returned; it is not restarted'])
    machine.advance(1_000_000)
    expect(machine.take()).toEqual([])
  })

  test('an error that is not retryable makes it exited, with a warning that says why there is no restart', () => {
    const machine = running()
    machine.failed('a', notRetryable)
    expect(machine.take()).toEqual([
      'a: running -> exited (Internal: no stock)',
      'warn: service a exited: no stock; it is not restarted, because the error is not retryable (nor is any error that is returned as plain text)',
    ])
    machine.advance(1_000_000)
    expect(machine.take()).toEqual([])
  })

  test.each([
    ['raises', raised],
    ['is terminated', terminated],
    ['dies through a link', linkDown],
    ['fails with a retryable error', retryable],
  ])('a process that %s makes it failed, and it is restarted', (_, error) => {
    const machine = running()
    machine.failed('a', error)
    expect(machine.status('a')).toMatchObject({ state: 'failed', error, nextRestartMs: 1000 })
    machine.advance(1000)
    expect(machine.take('start')).toEqual(['start a #2'])
    machine.started('a')
    expect(machine.state('a')).toBe('running')
    expect(machine.status('a').error).toBeUndefined()
  })

  test('a service that cannot be started is exited when the error is not retryable', () => {
    const machine = new Machine([service('a', { startup: 'optional' })])
    machine.start()
    machine.startFailed('a', notRetryable)
    expect(machine.state('a')).toBe('exited')
    machine.advance(1_000_000)
    expect(machine.take('start')).toEqual(['start a #1'])
  })

  test('a service that cannot be started is failed otherwise, and restarted', () => {
    const machine = new Machine([service('a')])
    machine.start()
    machine.startFailed('a', raised)
    expect(machine.state('a')).toBe('failed')
    machine.advance(1000)
    expect(machine.take('start')).toEqual(['start a #1', 'start a #2'])
  })

  test('a service that is stopped on request is stopped, and not restarted', () => {
    const machine = running()
    machine.request('stop-service', 'a')
    machine.failed('a', terminated)
    machine.stopped('a')
    expect(machine.state('a')).toBe('stopped')
    machine.advance(1_000_000)
    expect(machine.take('start')).toEqual([])
  })
})

describe('restarts (§22.2)', () => {
  test('restarts follow each other with growing delays', () => {
    const machine = running()
    const delays = [1, 2, 3, 4].map(() => {
      machine.failed('a', raised)
      const delayMs = machine.status('a').nextRestartMs ?? Number.NaN
      machine.advance(delayMs)
      machine.started('a')
      return delayMs
    })
    expect(delays).toEqual([1000, 2000, 4000, 8000])
  })

  test('a run of stable_threshold sets the count back', () => {
    const machine = running({ stableThresholdMs: 5000 })
    machine.failed('a', raised)
    machine.advance(1000)
    machine.started('a')
    expect(machine.status('a').attempts).toBe(2)
    machine.advance(5000)
    expect(machine.status('a').attempts).toBe(0)
    machine.failed('a', raised)
    expect(machine.status('a').nextRestartMs).toBe(1000)
  })

  test('max_attempts = N allows N starts in a row, then it stays failed', () => {
    const machine = running({ restart: { maxAttempts: 2 } })
    machine.failed('a', raised)
    expect(machine.take('log')).toEqual(['warn: service a failed: boom; it restarts in 1000 ms (attempt 2 of 2)'])
    machine.advance(1000)
    machine.started('a')
    machine.failed('a', raised)
    expect(machine.take('log')).toEqual([
      'error: service a failed: boom; it is not restarted, because restart.max_attempts is 2, and no run was stable',
    ])
    machine.advance(1_000_000)
    expect(machine.state('a')).toBe('failed')
    expect(machine.attempt('a')).toBe(2)
  })

  test('max_attempts = 0 restarts without limit', () => {
    const machine = running({ restart: { maxAttempts: 0, maxDelayMs: 1000 } })
    for (let i = 0; i < 200; i++) {
      machine.failed('a', raised)
      machine.advance(1000)
      machine.started('a')
    }
    expect(machine.attempt('a')).toBe(201)
  })

  test('each start is a new attempt', () => {
    const machine = running()
    machine.failed('a', raised)
    machine.advance(1000)
    expect(machine.take('start')).toEqual(['start a #2'])
  })

  test('a restart that is due while a dependency is down waits until that runs again', () => {
    const machine = new Machine([service('a'), service('b', { needs: ['a'] })])
    machine.start()
    machine.started('a')
    machine.started('b')
    machine.failed('b', raised)
    machine.failed('a', raised)
    machine.take()
    machine.advance(1000)
    expect(machine.take('start', 'log')).toEqual(['info: service b restarts when a (failed) runs again', 'start a #2'])
    expect(machine.status('b')).toMatchObject({ state: 'failed', waitsFor: ['a'], attempts: 1 })
    machine.started('a')
    expect(machine.take('start')).toEqual(['start b #2'])
  })

  test('services of a host that failed burn no attempts and start as soon as it runs again', () => {
    const needs = ['host']
    const restart = { maxAttempts: 1 }
    const machine = new Machine([service('host'), service('b', { needs, restart }), service('c', { needs, restart })])
    machine.start()
    for (const id of ['host', 'b', 'c']) machine.started(id)
    machine.take()
    machine.failed('host', raised)
    machine.failed('b', terminated)
    machine.failed('c', terminated)
    expect(machine.take('log')).toEqual([
      'warn: service host failed: boom; it restarts in 1000 ms (attempt 2)',
      'warn: service b failed: process terminated; it restarts when host (failed) runs again',
      'warn: service c failed: process terminated; it restarts when host (failed) runs again',
    ])
    expect(machine.status('b')).toMatchObject({ state: 'failed', attempts: 0 })
    machine.advance(1000)
    expect(machine.take('start')).toEqual(['start host #2'])
    machine.started('host')
    expect(machine.take('start')).toEqual(['start b #2', 'start c #2'])
  })

  test('a service goes on running while a dependency is restarted', () => {
    const machine = chain()
    machine.failed('a', raised)
    machine.advance(1000)
    machine.started('a')
    expect(machine.states()).toBe('c running, b running, a running')
    expect(machine.take('start', 'stop')).toEqual(['start a #2'])
  })
})

describe('order of start (§22.3)', () => {
  test('dependencies run first', () => {
    const machine = new Machine([service('c', { needs: ['b'] }), service('b', { needs: ['a'] }), service('a')])
    machine.start()
    const starts = ['a', 'b', 'c'].map((id) => {
      const taken = machine.take('start', 'ready')
      machine.started(id)
      return taken
    })
    expect(starts).toEqual([['start a #1'], ['start b #1'], ['start c #1']])
    expect(machine.take('ready')).toEqual(['ready'])
  })

  test('independent services start in parallel', () => {
    const machine = new Machine([service('a'), service('b'), service('c')])
    machine.start()
    expect(machine.take('start')).toEqual(['start a #1', 'start b #1', 'start c #1'])
  })

  test('a dependency that has no lifecycle counts as running', () => {
    const machine = new Machine([service('a', { needs: ['app:process'] })])
    machine.start()
    expect(machine.state('a')).toBe('starting')
  })

  test('only services reachable from auto_start ones start: a dependency starts because it is needed', () => {
    const machine = new Machine([
      service('needed', { autoStart: false }),
      service('idle', { autoStart: false }),
      service('a', { needs: ['needed'] }),
    ])
    machine.start()
    machine.started('needed')
    machine.started('a')
    expect(machine.states()).toBe('needed running, idle unknown, a running')
    expect(machine.take('ready')).toEqual(['ready'])
  })

  test('without any auto_start service all is ready at once', () => {
    const machine = new Machine([service('a', { autoStart: false })])
    machine.start()
    expect(machine.take()).toEqual(['ready'])
  })

  test('a cycle is an error before anything starts', () => {
    const machine = new Machine([service('x'), service('a', { needs: ['b'] }), service('b', { needs: ['a'] })])
    machine.start()
    expect(machine.take()).toEqual([
      'start-failed a (Invalid: services need each other: a -> b -> a; remove one of these dependencies)',
      'all-stopped',
    ])
  })

  test('a required service that does not reach running within start_timeout fails the start', () => {
    const machine = new Machine([service('a', { startTimeoutMs: 3000 }), service('b')])
    machine.start()
    machine.started('b')
    machine.advance(2999)
    expect(machine.take('start-failed')).toEqual([])
    machine.advance(1)
    expect(machine.take('start-failed', 'stop')).toEqual([
      'stop a #1 within 10000 ms: service stopping',
      'start-failed a (Timeout: service a did not start: it did not reach running within 3000 ms)',
      'stop b #1 within 10000 ms: service stopping',
    ])
    machine.stopped('b')
    machine.stopped('a', 'forced')
    expect(machine.states()).toBe('a failed, b stopped')
    expect(machine.take('all-stopped')).toEqual(['all-stopped'])
  })

  test('a required service may be restarted within start_timeout; then it fails the start with its own error', () => {
    const machine = new Machine([service('a')])
    machine.start()
    for (const delayMs of [1000, 2000, 4000]) {
      machine.startFailed('a', raised)
      machine.advance(delayMs)
    }
    machine.startFailed('a', raised)
    expect(machine.take('start')).toHaveLength(4)
    machine.advance(3000)
    expect(machine.take('start-failed', 'all-stopped')).toEqual([
      'start-failed a (Internal: service a did not start: boom)',
      'all-stopped',
    ])
    expect(machine.state('a')).toBe('stopped')
  })

  test.each([
    ['exited', notRetryable, 0],
    ['failed', raised, 1],
  ])('a required service that is %s for good fails the start at once', (state, error, maxAttempts) => {
    const machine = new Machine([service('a', { restart: { maxAttempts } })])
    machine.start()
    machine.startFailed('a', error)
    expect(machine.take('start-failed', 'all-stopped')).toEqual([
      `start-failed a (Internal: service a did not start: ${error.message})`,
      'all-stopped',
    ])
    expect(machine.state('a')).toBe(state)
  })

  test('time to reach running counts from when the dependencies have run', () => {
    const machine = new Machine([service('a'), service('b', { needs: ['a'] })])
    machine.start()
    machine.advance(9000)
    machine.started('a')
    machine.advance(9000)
    machine.started('b')
    expect(machine.take('ready', 'start-failed')).toEqual(['ready'])
  })

  test('an optional service that fails is logged, what depends on it is skipped, the rest goes on', () => {
    const machine = new Machine([
      service('cache', { startup: 'optional' }),
      service('web', { needs: ['cache'] }),
      service('page', { needs: ['web'] }),
      service('other'),
    ])
    machine.start()
    machine.startFailed('cache', notRetryable)
    expect(machine.take('log').at(-1)).toBe(
      'warn: service cache did not start: no stock; it is optional, so the rest goes on; skipped with it: page, web',
    )
    machine.started('other')
    expect(machine.take('ready', 'start-failed')).toEqual(['ready'])
    expect(machine.states()).toBe('cache exited, web unknown, page unknown, other running')
  })

  test('an optional service that takes too long is skipped, and its attempt is stopped before the next one', () => {
    const machine = new Machine([service('a', { startup: 'optional', startTimeoutMs: 3000 })])
    machine.start()
    machine.advance(3000)
    expect(machine.take('ready', 'stop', 'state-changed').slice(1)).toEqual([
      'ready',
      'a: starting -> stopping (Timeout: it did not reach running within 3000 ms)',
      'stop a #1 within 10000 ms: service stopping',
    ])
    machine.stopped('a')
    expect(machine.status('a')).toMatchObject({ state: 'failed', nextRestartMs: 1000 })
  })

  test('a skipped branch follows when the optional service comes up by its restart policy', () => {
    const machine = new Machine([
      service('a', { startup: 'optional', startTimeoutMs: 500 }),
      service('b', { needs: ['a'] }),
    ])
    machine.start()
    machine.startFailed('a', raised)
    machine.advance(1000)
    machine.started('a')
    machine.started('b')
    expect(machine.states()).toBe('a running, b running')
  })

  test('a dependency that ends for good before its dependents could start fails them at once', () => {
    const machine = new Machine([service('once'), service('slow'), service('a', { needs: ['once', 'slow'] })])
    machine.start()
    machine.started('once')
    machine.returned('once')
    expect(machine.take('start-failed')).toEqual([
      'start-failed a (Unavailable: service a did not start: it needs once, which is exited: service once has returned and does not run any more)',
    ])
  })

  test('a dependency that ends for good does not fail what is being started already', () => {
    const machine = new Machine([service('once'), service('a', { needs: ['once'] })])
    machine.start()
    machine.started('once')
    machine.returned('once')
    machine.started('a')
    expect(machine.take('ready', 'start-failed')).toEqual(['ready'])
  })

  test('a dependency that ends for good does not fail what needs it only through others', () => {
    const machine = new Machine([service('once'), service('b', { needs: ['once'] }), service('c', { needs: ['b'] })])
    machine.start()
    machine.started('once')
    machine.started('b')
    machine.startFailed('c', raised)
    machine.returned('once')
    machine.advance(1000)
    machine.started('c')
    expect(machine.take('ready', 'start-failed')).toEqual(['ready'])
  })

  test('a dependency that is down again when the last one comes up is waited for, within start_timeout', () => {
    const machine = new Machine([
      service('flaky', { restart: { initialDelayMs: 60_000 } }),
      service('slow'),
      service('a', { needs: ['flaky', 'slow'] }),
    ])
    machine.start()
    machine.started('flaky')
    machine.failed('flaky', raised)
    machine.started('slow')
    machine.advance(10_000)
    expect(machine.take('start-failed')).toEqual([
      'start-failed a (Unavailable: service a did not start: it waited 10000 ms until flaky (failed) runs)',
    ])
  })

  test('a service that ran once has started, whatever becomes of it', () => {
    const machine = new Machine([service('a'), service('b')])
    machine.start()
    machine.started('a')
    machine.failed('a', notRetryable)
    machine.started('b')
    expect(machine.take('ready', 'start-failed')).toEqual(['ready'])
  })
})

describe('order of stop (§22.3)', () => {
  test('dependents stop first', () => {
    const machine = chain()
    machine.stop()
    const stops = ['c', 'b', 'a'].map((id) => {
      const taken = machine.take('stop', 'all-stopped')
      machine.stopped(id)
      return taken
    })
    expect(stops).toEqual([
      ['stop c #1 within 10000 ms: service stopping'],
      ['stop b #1 within 10000 ms: service stopping'],
      ['stop a #1 within 10000 ms: service stopping'],
    ])
    expect(machine.take('all-stopped')).toEqual(['all-stopped'])
  })

  test('independent services stop in parallel', () => {
    const machine = new Machine([service('a'), service('b')])
    machine.start()
    machine.started('a')
    machine.started('b')
    machine.take()
    machine.stop()
    expect(machine.take('stop')).toEqual([
      'stop b #1 within 10000 ms: service stopping',
      'stop a #1 within 10000 ms: service stopping',
    ])
  })

  test('a dependent that runs while what lies between is down still stops first', () => {
    const machine = chain()
    machine.failed('b', raised)
    machine.stop()
    expect(machine.take('stop')).toEqual(['stop c #1 within 10000 ms: service stopping'])
    machine.stopped('c')
    expect(machine.take('stop')).toEqual(['stop a #1 within 10000 ms: service stopping'])
  })

  test('a process that does not return within stop_timeout is terminated: failed with stop timeout', () => {
    const machine = running({ stopTimeoutMs: 700 })
    machine.stop()
    expect(machine.take('stop')).toEqual(['stop a #1 within 700 ms: service stopping'])
    machine.failed('a', terminated)
    machine.stopped('a', 'forced')
    expect(machine.take()).toEqual([
      'warn: service a did not end within 700 ms of CANCEL and was terminated',
      'a: stopping -> failed (Timeout: stop timeout)',
      'all-stopped',
    ])
  })

  test('a process that ends with an error while stopping is stopped, and the error is told', () => {
    const machine = running()
    machine.stop()
    machine.failed('a', raised)
    expect(machine.state('a')).toBe('stopping')
    machine.stopped('a')
    expect(machine.take('log')).toEqual(['warn: service a ended with an error while stopping: boom'])
    expect(machine.status('a')).toMatchObject({ state: 'stopped', error: raised })
  })

  test('an error of an earlier stop is not told again', () => {
    const machine = running()
    machine.request('restart-service', 'a')
    machine.failed('a', raised)
    machine.stopped('a')
    machine.started('a')
    machine.take()
    machine.stop()
    machine.stopped('a')
    expect(machine.take('log')).toEqual([])
    expect(machine.status('a').error).toBeUndefined()
  })

  test('a stop during starting stops the start; its late result is ignored', () => {
    const machine = new Machine([service('a')])
    machine.start()
    machine.stop()
    machine.started('a')
    expect(machine.state('a')).toBe('stopping')
    machine.stopped('a')
    expect(machine.take('stop', 'start-failed', 'all-stopped')).toEqual([
      'start-failed (Canceled: stopped before all services were running)',
      'stop a #1 within 10000 ms: service stopping',
      'all-stopped',
    ])
    machine.started('a')
    expect(machine.state('a')).toBe('stopped')
  })

  test('a start that fails because it is stopped is no failure', () => {
    const machine = new Machine([service('a')])
    machine.start()
    machine.stop()
    machine.startFailed('a', notRetryable)
    machine.stopped('a')
    expect(machine.status('a')).toMatchObject({ state: 'stopped' })
    expect(machine.take('log')).toEqual([])
  })

  test('a stop during backoff cancels the restart', () => {
    const machine = running()
    machine.failed('a', raised)
    machine.take()
    machine.stop()
    expect(machine.take()).toEqual(['cancel timer 3', 'a: failed -> stopped (Internal: boom)', 'all-stopped'])
    expect(machine.env.timerCount).toBe(0)
  })

  test('a stop while a start that took too long is being stopped: failed, and not restarted', () => {
    const machine = new Machine([service('a', { startup: 'optional' })])
    machine.start()
    machine.advance(10_000)
    machine.stop()
    machine.stopped('a')
    expect(machine.states()).toBe('a failed')
    expect(machine.take('all-stopped')).toEqual(['all-stopped'])
    expect(machine.env.timerCount).toBe(0)
  })

  test('a second stop changes nothing', () => {
    const machine = running()
    machine.stop()
    machine.take()
    machine.stop()
    expect(machine.take()).toEqual([])
    machine.stopped('a')
    machine.take()
    machine.stop()
    expect(machine.take()).toEqual(['all-stopped'])
  })

  test('a second stop with force cuts the time short; being forced on request is not a stop timeout', () => {
    const machine = chain()
    machine.stop()
    machine.take()
    machine.stop(true)
    expect(machine.take()).toEqual(['stop c #1 within 0 ms: service stopping'])
    machine.stop(true)
    expect(machine.take()).toEqual([])
    machine.stopped('c', 'forced')
    expect(machine.take('stop')).toEqual(['stop b #1 within 0 ms: service stopping'])
    machine.stopped('b', 'forced')
    machine.stopped('a', 'forced')
    expect(machine.states()).toBe('c stopped, b stopped, a stopped')
  })

  test('a stop before the start has nothing to do', () => {
    const machine = new Machine([service('a')])
    machine.stop()
    expect(machine.take()).toEqual(['all-stopped'])
    expect(machine.state('a')).toBe('unknown')
  })

  test('a stop that fails leaves the service failed, and no second instance is started', () => {
    const machine = running()
    const request = machine.request('restart-service', 'a')
    machine.stopFailed('a', raised)
    machine.advance(1_000_000)
    expect(machine.states()).toBe('a failed')
    expect(machine.take('reply', 'start')).toEqual([`reply ${request} (Internal: boom)`])
  })

  test('what ends by itself before its turn to be stopped keeps its own state', () => {
    const machine = chain()
    machine.stop()
    machine.failed('a', raised)
    machine.returned('b')
    machine.stopped('c')
    expect(machine.states()).toBe('c stopped, b exited, a failed')
    expect(machine.take('log', 'all-stopped')).toEqual([
      'warn: service a failed before it was stopped: boom',
      'all-stopped',
    ])
  })
})

describe('late results', () => {
  test('what is told of an earlier attempt is ignored', () => {
    const machine = running()
    machine.failed('a', raised)
    machine.advance(1000)
    machine.take()
    machine.started('a', 1)
    machine.failed('a', notRetryable, 1)
    machine.startFailed('a', notRetryable, 1)
    machine.stopped('a', 'forced', 1)
    expect(machine.take()).toEqual([])
    expect(machine.state('a')).toBe('starting')
  })

  test('an end that is told twice counts once', () => {
    const machine = running()
    machine.failed('a', raised)
    machine.take()
    machine.failed('a', raised)
    machine.started('a')
    expect(machine.take()).toEqual([])
  })

  test('a timer that fired before it could be cancelled is ignored', () => {
    const machine = running()
    machine.failed('a', raised)
    machine.request('start-service', 'a')
    machine.take()
    machine.step({ kind: 'timer', id: 'a', purpose: 'restart', timer: 3 })
    machine.step({ kind: 'timer', id: 'a', purpose: 'start-timeout', timer: 2 })
    machine.step({ kind: 'timer', id: 'a', purpose: 'launch', timer: 1 })
    expect(machine.take()).toEqual([])
    machine.advance(10_000)
    expect(machine.state('a')).toBe('stopping')
  })
})

describe('one service on request', () => {
  test('stop: dependents go first, and all stay down', () => {
    const machine = chain()
    const request = machine.request('stop-service', 'b')
    expect(machine.take('stop')).toEqual(['stop c #1 within 10000 ms: service stopping'])
    machine.stopped('c')
    expect(machine.take('stop', 'reply')).toEqual(['stop b #1 within 10000 ms: service stopping'])
    machine.stopped('b')
    expect(machine.take('reply')).toEqual([`reply ${request}`])
    expect(machine.states()).toBe('c stopped, b stopped, a running')
  })

  test('stop: what does not run is answered at once', () => {
    const machine = running()
    machine.returned('a')
    const request = machine.request('stop-service', 'a')
    expect(machine.take('reply')).toEqual([`reply ${request}`])
    expect(machine.state('a')).toBe('exited')
  })

  test('stop: a service that is being started with the node does not fail the start', () => {
    const machine = new Machine([service('a'), service('b', { needs: ['a'] }), service('c')])
    machine.start()
    machine.started('c')
    machine.request('stop-service', 'a')
    machine.stopped('a')
    expect(machine.take('ready', 'start-failed')).toEqual(['ready'])
    expect(machine.states()).toBe('a stopped, b unknown, c running')
  })

  test('stop: twice, both are answered', () => {
    const machine = running()
    machine.request('stop-service', 'a')
    machine.request('stop-service', 'a')
    machine.stopped('a')
    expect(machine.take('reply', 'stop')).toEqual(['stop a #1 within 10000 ms: service stopping', 'reply 1', 'reply 2'])
  })

  test('start: brings up what it needs', () => {
    const machine = new Machine([service('a', { autoStart: false }), service('b', { autoStart: false, needs: ['a'] })])
    machine.start()
    const request = machine.request('start-service', 'b')
    machine.started('a')
    machine.started('b')
    expect(machine.take('start', 'reply')).toEqual(['start a #1', 'start b #1', `reply ${request}`])
  })

  test('start: what runs is answered at once', () => {
    const machine = running()
    machine.request('start-service', 'a')
    expect(machine.take()).toEqual(['reply 1'])
  })

  test('start: a pending restart is brought forward and earlier failures are forgotten', () => {
    const machine = running({ restart: { maxAttempts: 2 } })
    machine.failed('a', raised)
    machine.request('start-service', 'a')
    expect(machine.take('start')).toEqual(['start a #2'])
    expect(machine.status('a').attempts).toBe(1)
  })

  test.each([
    ['exited', notRetryable],
    ['failed', raised],
  ])('start: works again after it was %s for good', (state, error) => {
    const machine = running({ restart: { maxAttempts: 1 } })
    machine.failed('a', error)
    expect(machine.state('a')).toBe(state)
    machine.request('start-service', 'a')
    machine.started('a')
    expect(machine.take('reply')).toEqual(['reply 1'])
  })

  test('start: answered with the failure of what it needs', () => {
    const machine = new Machine([service('a', { autoStart: false }), service('b', { autoStart: false, needs: ['a'] })])
    machine.start()
    machine.request('start-service', 'b')
    machine.startFailed('a', raised)
    expect(machine.take('reply')).toEqual(['reply 1 (Internal: service b needs a: boom)'])
  })

  test('start: during a stop, a new instance follows the old one', () => {
    const machine = running()
    machine.request('stop-service', 'a')
    machine.request('start-service', 'a')
    expect(machine.take('start')).toEqual([])
    machine.stopped('a')
    machine.started('a')
    expect(machine.take('start', 'reply')).toEqual(['reply 1', 'start a #2', 'reply 2'])
  })

  test('start: canceled by a stop', () => {
    const machine = new Machine([service('a', { autoStart: false })])
    machine.start()
    machine.request('start-service', 'a')
    machine.request('stop-service', 'a')
    expect(machine.take('reply')).toEqual(['reply 1 (Canceled: service a is being stopped)'])
  })

  test('restart: dependents stop before and start after it', () => {
    const machine = chain()
    const request = machine.request('restart-service', 'b')
    const steps = ['c', 'b'].map((id) => {
      machine.stopped(id)
      return machine.take('stop', 'start')
    })
    expect(steps).toEqual([
      ['stop c #1 within 10000 ms: service stopping', 'stop b #1 within 10000 ms: service stopping'],
      ['start b #2'],
    ])
    machine.started('b')
    expect(machine.take('start', 'reply')).toEqual([`reply ${request}`, 'start c #2'])
    expect(machine.state('a')).toBe('running')
  })

  test('restart: a stop timeout does not keep it from starting again', () => {
    const machine = running()
    machine.request('restart-service', 'a')
    machine.stopped('a', 'forced')
    machine.started('a')
    expect(machine.take('state-changed', 'reply')).toEqual([
      'a: running -> stopping',
      'a: stopping -> failed (Timeout: stop timeout)',
      'a: failed -> starting',
      'a: starting -> running',
      'reply 1',
    ])
  })

  test('restart: what is down is started, and what runs without it goes on', () => {
    const machine = chain()
    machine.failed('a', raised)
    machine.take()
    machine.request('restart-service', 'a')
    expect(machine.take('start', 'stop')).toEqual(['start a #2'])
  })

  test('restart: earlier failures are forgotten', () => {
    const machine = running({ restart: { maxAttempts: 2 } })
    machine.failed('a', raised)
    machine.advance(1000)
    machine.started('a')
    machine.request('restart-service', 'a')
    machine.stopped('a')
    expect(machine.status('a').attempts).toBe(1)
  })

  test('restart: answered by the new instance, not by one that comes up on its way out', () => {
    const machine = chain()
    machine.failed('a', raised)
    machine.advance(1000)
    const request = machine.request('restart-service', 'a')
    machine.started('a')
    expect(machine.take('reply')).toEqual([])
    for (const id of ['c', 'b', 'a']) machine.stopped(id)
    machine.started('a')
    expect(machine.take('reply')).toEqual([`reply ${request}`])
  })

  test('restart: a stop wins over it', () => {
    const machine = running()
    machine.request('restart-service', 'a')
    machine.stop()
    machine.stopped('a')
    expect(machine.take('reply', 'start', 'all-stopped')).toEqual([
      'reply 1 (Canceled: service a is being stopped)',
      'all-stopped',
    ])
  })

  test('an unknown id is NotFound', () => {
    const machine = running()
    machine.request('restart-service', 'nobody')
    expect(machine.take()).toEqual(['reply 1 (NotFound: there is no service nobody)'])
  })

  test('nothing starts before the start and after the stop', () => {
    const machine = new Machine([service('a')])
    machine.request('start-service', 'a')
    machine.stop()
    machine.request('start-service', 'a')
    expect(machine.take('reply')).toEqual([
      'reply 1 (InvalidState: service a cannot start: the node is idle)',
      'reply 2 (InvalidState: service a cannot start: the node is stopped)',
    ])
  })
})

test('a status tells kind, state, attempts, since when, why and what comes next', () => {
  const machine = running()
  machine.advance(250)
  machine.failed('a', raised)
  machine.advance(400)
  expect(machine.status('a')).toEqual({
    id: 'a',
    kind: 'process.service',
    state: 'failed',
    attempts: 1,
    sinceMs: 1_700_000_000_250,
    error: raised,
    nextRestartMs: 600,
  })
})
