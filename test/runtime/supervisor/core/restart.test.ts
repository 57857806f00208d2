import { expect, test } from 'vitest'
import { type RestartOptions, RestartPolicy } from '../../../../runtime/supervisor/core/restart.ts'
import { DEFAULT_LIFECYCLE } from '../../../../runtime/supervisor/lifecycle.ts'
import { FakeEnv } from '../fake-env.ts'

function policy(options: Partial<RestartOptions> = {}, env = new FakeEnv()): RestartPolicy {
  return new RestartPolicy({ ...DEFAULT_LIFECYCLE.restart, stableThresholdMs: 5000, ...options }, env)
}

/** Starts, and fails at once, `count` times: the delays that follow. */
function failInARow(each: RestartPolicy, count: number): (number | undefined)[] {
  return Array.from({ length: count }, () => {
    each.starting()
    return each.failed(0)
  })
}

test('the delay before restart n is initial_delay × backoff_factor^(n−1), at most max_delay (§22.2)', () => {
  expect(failInARow(policy(), 9)).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 90_000, 90_000])
})

test('jitter changes the delay by at most its share in either direction (§22.2)', () => {
  const env = new FakeEnv()
  const each = policy({ jitter: 0.2, backoffFactor: 1 }, env)
  const delays = [0, 0.25, 0.5, 0.75, 1].map((chance) => {
    env.chance = chance
    return failInARow(each, 1)[0]
  })
  expect(delays).toEqual([800, 900, 1000, 1100, 1200])
})

test('a delay of zero stays zero, however often it is multiplied', () => {
  const delays = failInARow(policy({ initialDelayMs: 0, backoffFactor: 10 }), 2000)
  expect(new Set(delays)).toEqual(new Set([0]))
})

test('max_attempts = N allows N starts in a row, the first included (§22.2)', () => {
  expect(failInARow(policy({ maxAttempts: 3, jitter: 0 }), 3)).toEqual([1000, 2000, undefined])
  expect(failInARow(policy({ maxAttempts: 1 }), 1)).toEqual([undefined])
})

test('max_attempts = 0 sets no limit (§22.2)', () => {
  expect(failInARow(policy(), 5000)).not.toContain(undefined)
})

test('running at least stable_threshold sets the count and the delay back (§22.2)', () => {
  const each = policy({ maxAttempts: 2 })
  failInARow(each, 1)
  each.starting()
  each.running(10_000)
  expect(each.attempts(14_999)).toBe(2)
  expect(each.attempts(15_000)).toBe(0)
  expect(each.failed(15_000)).toBe(1000)
  expect(failInARow(each, 2)).toEqual([2000, undefined])
})

test('a run shorter than stable_threshold counts like a failed start (§22.2)', () => {
  const each = policy({ maxAttempts: 2 })
  each.starting()
  each.running(0)
  expect(each.failed(4999)).toBe(1000)
  each.starting()
  each.running(6000)
  expect(each.failed(10_999)).toBeUndefined()
})

test('an excused failure costs no attempt and makes no delay longer', () => {
  const each = policy({ maxAttempts: 2 })
  failInARow(each, 1)
  for (let i = 0; i < 10; i++) {
    each.starting()
    each.excused(0)
  }
  expect(each.attempts(0)).toBe(1)
  each.starting()
  expect(each.failed(0)).toBeUndefined()
})

test('an excused failure after a stable run leaves a clean record', () => {
  const each = policy()
  failInARow(each, 3)
  each.starting()
  each.running(0)
  each.excused(5000)
  expect(each.attempts(5000)).toBe(0)
  expect(failInARow(each, 1)).toEqual([1000])
})

test('options that make no sense are refused', () => {
  expect(() => policy({ jitter: 1.5 })).toThrow('jitter')
  expect(() => policy({ maxAttempts: -1 })).toThrow('maxAttempts')
  expect(() => policy({ initialDelayMs: -1 })).toThrow('delays')
  expect(() => policy({ backoffFactor: 0 })).toThrow('backoffFactor')
})
