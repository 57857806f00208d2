// The one thing that a decoder of the mesh throws: a peer's bytes are never a bug of ours.

/** The peer breaks the protocol; the connection is closed. The message says which rule, and quotes nothing of the peer. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError'
}
