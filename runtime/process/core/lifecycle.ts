// How a process ends and what that means: the rules of lua-core.md §6.3, §8, as functions of what happened.

import { ErrorValue, type Value } from '../../base/value.ts'

type ProcessOutcome = { ok: true; value: Value } | { ok: false; error: ErrorValue }

export const LINKED_PROCESS_FAILED = 'linked process failed'
export const PROCESS_TERMINATED = 'process terminated'

/** What a method's return values mean: `v, x` with a string or an error object as `x` is a failure. */
export function outcomeOfReturn(first: Value, second: Value): ProcessOutcome {
  if (typeof second === 'string') return { ok: false, error: new ErrorValue('Internal', second, false) }
  if (second instanceof ErrorValue) return { ok: false, error: second }
  return { ok: true, value: first }
}

/** What an uncaught error means. `text` is how a value that is neither string nor error object shows. */
export function outcomeOfRaise(raised: Value, text: string, traceback: string): ProcessOutcome {
  if (!(raised instanceof ErrorValue))
    return { ok: false, error: new ErrorValue('Internal', text, undefined, undefined, traceback) }
  const { message, retryable, details } = raised
  const kind = raised.kind === '' ? 'Internal' : raised.kind
  return {
    ok: false,
    error: new ErrorValue(kind, message, retryable, details, raised.stack === '' ? traceback : raised.stack),
  }
}

export const terminated = (): ProcessOutcome => ({ ok: false, error: new ErrorValue('Internal', PROCESS_TERMINATED) })

/** It goes on elsewhere, from what was written down: nobody here is to start it again. */
export const captured = (): ProcessOutcome => ({
  ok: false,
  error: new ErrorValue('Canceled', 'process captured', false),
})

export const linkedProcessFailed = (): ProcessOutcome => ({
  ok: false,
  error: new ErrorValue('Internal', LINKED_PROCESS_FAILED),
})

/** Why a process ended, as it is counted: by itself, or by what came from outside. */
export function exitReason(outcome: ProcessOutcome): 'ok' | 'failed' | 'linked' | 'terminated' {
  if (outcome.ok) return 'ok'
  const { message } = outcome.error
  return message === LINKED_PROCESS_FAILED ? 'linked' : message === PROCESS_TERMINATED ? 'terminated' : 'failed'
}

export const deadlock = (): ProcessOutcome => ({
  ok: false,
  error: new ErrorValue('Internal', 'deadlock: every coroutine of the process waits for something that cannot happen'),
})

/** What a linked process does about a partner's failure. */
export function onLinkDown(options: { trapLinks: boolean }): 'fail' | 'notify' {
  return options.trapLinks ? 'notify' : 'fail'
}
