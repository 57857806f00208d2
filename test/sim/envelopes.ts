// How simulated nodes wrap their packets when the real wire is part of the simulation.

import { Keyring } from '../../cluster/swim/wire/keyring.ts'
import type { Envelope } from '../../cluster/swim/wire/packet.ts'

export const plainEnvelope: Envelope = {
  label: Buffer.alloc(0),
  encryptionVersion: 1,
  verifyIncoming: true,
  verifyOutgoing: true,
  compression: true,
}

export const sealedEnvelope: Envelope = {
  ...plainEnvelope,
  label: Buffer.from('sim'),
  keyring: new Keyring(Buffer.alloc(16, 1)),
}
