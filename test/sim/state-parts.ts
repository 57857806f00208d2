// The parts of the state that a simulated node is built of: those of the product, or a copy with a bug planted in it.

import { Names } from '../../cluster/names/names.ts'
import { Machine } from '../../cluster/state/core/machine.ts'
import { Possessions } from '../../cluster/state/possessions.ts'
import { ClusterState } from '../../cluster/state/state.ts'
import { decodeCommands, decodeEnvelope, joinEnvelopes } from '../../cluster/state/wire/commands.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'

export interface StateParts {
  readonly ClusterState: typeof ClusterState
  readonly Machine: typeof Machine
  readonly Names: typeof Names
  readonly Possessions: typeof Possessions
  readonly decodeCommands: typeof decodeCommands
  readonly decodeEnvelope: typeof decodeEnvelope
  readonly joinEnvelopes: typeof joinEnvelopes
  /** Errors cross between the parts and the world around them, and are told by their class. */
  readonly MoonmeshError: typeof MoonmeshError
}

export const PRODUCT: StateParts = {
  ClusterState,
  Machine,
  Names,
  Possessions,
  decodeCommands,
  decodeEnvelope,
  joinEnvelopes,
  MoonmeshError,
}
