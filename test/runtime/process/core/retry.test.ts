import { expect, test } from 'vitest'
import { type RetryPolicy, retryDelayMs } from '../../../../runtime/process/core/retry.ts'

const policy: RetryPolicy = {
  maxAttempts: 3,
  backoff: { initialMs: 100, maxMs: 150, factor: 2, jitter: 0 },
  skipKinds: ['Conflict'],
  retryKinds: [],
}
const env = { randomInt: () => 0 }
const unavailable = { kind: 'Unavailable', retryable: undefined }

test.each([
  ['the first repetition waits the initial delay', policy, 1, unavailable, 100],
  ['the delay grows up to its maximum', policy, 2, unavailable, 150],
  ['max_attempts counts all tries', policy, 3, unavailable, undefined],
  ['without a policy there is no repetition', undefined, 1, unavailable, undefined],
  ['an error that says so is final', policy, 1, { kind: 'Unavailable', retryable: false }, undefined],
  ['skip_kinds are final', policy, 1, { kind: 'Conflict', retryable: undefined }, undefined],
  ['Internal is final unless it is named', policy, 1, { kind: 'Internal', retryable: undefined }, undefined],
  ['retry_kinds name it', { ...policy, retryKinds: ['Internal'] }, 1, { kind: 'Internal', retryable: undefined }, 100],
  ['retry_kinds are the only ones', { ...policy, retryKinds: ['Internal'] }, 1, unavailable, undefined],
] as const)('%s (lua-core.md §15.2)', (_rule, given, attempt, error, delayMs) => {
  expect(retryDelayMs(given, attempt, error, env)).toBe(delayMs)
})
