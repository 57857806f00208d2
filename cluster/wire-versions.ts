// Which versions of the protocols between nodes this program speaks, for people who are about to mix two.

import { PROTOCOL_VERSIONS } from './mesh/core/handshake.ts'
import { VERSIONS } from './swim/core/settings.ts'

const [min, max, speaks] = VERSIONS.serf

export const WIRE = {
  gossip: { speaks, min, max },
  /** Two nodes speak the higher of those that both understand. */
  mesh: { min: PROTOCOL_VERSIONS[0], max: PROTOCOL_VERSIONS[1] },
} as const
