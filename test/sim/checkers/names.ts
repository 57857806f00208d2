// The invariants of names that one state machine shows by itself: N1, N2 and N6's remembered answers. cluster.md §13.

import type { Machine } from '../../../cluster/state/core/machine.ts'
import { epochOf, parsePid } from '../../../runtime/base/pid.ts'
import { InvariantError } from './invariant-error.ts'

/** @throws InvariantError when a name's owner has no open session (N1) or is of an older run (N2) */
export function checkNames(machine: Machine): void {
  for (const name of machine.names.names()) {
    const { pid, session } = machine.names.lookup(name) ?? { pid: '', session: 0 }
    const open = machine.sessions.get(session)
    if (open === undefined) throw new InvariantError(`${name} belongs to ${pid}, whose session ${session} is over (N1)`)
    const parts = parsePid(pid)
    if (parts?.node !== open.node || epochOf(parts.uniq) !== open.epoch) {
      throw new InvariantError(`${name} belongs to ${pid}, and ${open.node} runs in epoch ${open.epoch} (N2)`)
    }
    const pending = machine.names.reservation(name)
    if (pending !== undefined && pending.pid !== pid) {
      throw new InvariantError(`${name} belongs to ${pid} and is reserved for ${pending.pid} (N1)`)
    }
  }
}
