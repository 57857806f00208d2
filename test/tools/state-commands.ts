import type { Envelope } from '../../cluster/state/core/commands.ts'
import { encodeEnvelope, joinEnvelopes } from '../../cluster/state/wire/commands.ts'

/** The data of an entry of the log, as a leader puts it together. */
export function encodeCommands(envelopes: readonly Envelope[]): Uint8Array {
  return joinEnvelopes(envelopes.map(encodeEnvelope))
}
