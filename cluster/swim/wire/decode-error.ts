// The one thing that a decoder of gossip throws: a peer's bytes are never a bug of ours.

/** The bytes are not what they should be. `message` says what was expected; no byte of the peer is quoted. */
export class DecodeError extends Error {
  override readonly name = 'DecodeError'
}

/** The bytes end too early; on a stream the rest may still come. */
export class TruncatedError extends DecodeError {
  /** Bytes that the buffer needs in total before another attempt can get further. */
  readonly bytesNeeded: number

  constructor(bytesNeeded: number) {
    super('ends too early')
    this.bytesNeeded = bytesNeeded
  }
}

/** The bytes are encrypted with a key that is not ours, or not at all. */
export class DecryptError extends DecodeError {}
