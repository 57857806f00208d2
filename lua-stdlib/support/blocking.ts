// The one place that decides whether a call marked [Y] may be made here (lua-core.md §5.3, §2.1).

import type { Call } from '../../runtime/lua/engine.ts'
import { processOf, raise } from './args.ts'

/** Raises where a call that may suspend is not allowed: at a chunk's top level, or where the engine cannot suspend. */
export function blocking(call: Call, fn: string): void {
  if (processOf(call).isLoading) {
    raise(
      `attempt to yield: '${fn}' may wait and cannot be called while the chunk loads; move the call into the method`,
    )
  }
  if (!call.canSuspend) {
    raise(
      `attempt to yield: '${fn}' may wait and cannot be called inside a metamethod, comparator or callback of a library`,
    )
  }
}
