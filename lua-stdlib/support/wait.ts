// Waiting for an answer that may come at once or later.

import { errorFrom } from '../../runtime/base/plain.ts'
import { type Call, type LuaValue, type Returns, SUSPEND } from '../../runtime/lua/engine.ts'
import type { WaitKind } from '../../runtime/services.ts'
import { processOf, raise } from './args.ts'
import { failWith } from './fail.ts'

type Begin = (done: (values: readonly LuaValue[]) => void) => void

/** The call returns what `done` is given; only the calling coroutine waits. */
export function wait(call: Call, begin: Begin, kind: WaitKind = 'operation'): Returns {
  return waitWith(call, begin, () => processOf(call).willWait(kind))
}

/** The same for calls that must not let another coroutine of the process run. They are allowed while the chunk loads. */
export function waitAlone(call: Call, begin: Begin): Returns {
  if (!call.canSuspend) {
    raise(
      'attempt to yield: a call that may wait cannot be made inside a metamethod, comparator or callback of a library',
    )
  }
  return waitWith(call, begin, () => processOf(call).willBlock())
}

/** Like `waitAlone`, for work that is a promise of what the call returns. What it throws becomes `nil, err`. */
export function awaitAlone(call: Call, work: () => Promise<readonly LuaValue[]>): Returns {
  return waitAlone(call, whenDone(work))
}

/** Like `wait`, for work that is a promise of what the call returns. What it throws becomes `nil, err`. */
export function awaitWork(call: Call, work: () => Promise<readonly LuaValue[]>): Returns {
  return wait(call, whenDone(work))
}

function whenDone(work: () => Promise<readonly LuaValue[]>): Begin {
  return (done) => {
    work().then(done, (thrown) => done(failWith(errorFrom(thrown))))
  }
}

function waitWith(call: Call, begin: Begin, willWait: () => void): Returns {
  const process = processOf(call)
  const { fiber } = process
  let early: readonly LuaValue[] | undefined
  let isWaiting = false
  begin((values) => {
    if (isWaiting) fiber.resume(values)
    else early = values
  })
  // A process that ended by its own call runs no more Lua.
  if (early !== undefined && !process.isEnding) return early
  isWaiting = true
  willWait()
  return SUSPEND
}
