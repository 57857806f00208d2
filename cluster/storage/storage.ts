// What the consensus log and the stores ask of a disk: atomic changes that are durable when they are answered, and reads in
// the order of the keys. Two implementations: level.ts on a disk, memory.ts for nodes that keep nothing.

export type Operation =
  | { readonly kind: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly kind: 'delete'; readonly key: Uint8Array }

export interface KeyRange {
  /** The first key. */
  readonly from: Uint8Array
  /** The first key behind the range. */
  readonly to: Uint8Array
}

export type Row = readonly [key: Uint8Array, value: Uint8Array]

/**
 * A map of bytes to bytes; keys are ordered bytewise. Nobody writes to a key or a value once it has been given or was
 * returned. Every failure is a MoonmeshError made by failure.ts.
 */
export interface Storage {
  get(key: Uint8Array): Promise<Uint8Array | undefined>

  /**
   * Applies all operations, in their order, or none; resolves when they are durable. Calls take effect in their order, also
   * those that share a sync. After one failure every later call fails in the same way: what the disk holds of the failed
   * ones is unknown until it is opened anew.
   * @throws MoonmeshError of a failed disk (failure.ts); `LimitExceeded` when too much is waiting for the disk, which ends writing too
   */
  write(operations: readonly Operation[]): Promise<void>

  /** Rows in ascending order, in pages that are never empty and take about a quarter of a megabyte at most, or one row. */
  rows(range: KeyRange): AsyncIterable<readonly Row[]>

  /** As `rows`, without values. */
  keys(range: KeyRange): AsyncIterable<readonly Uint8Array[]>

  /** The failure after which nothing more is written, if there was one. */
  readonly failure: Error | undefined

  /** Bytes that wait for the disk, those being written among them. */
  readonly waitingBytes: number

  /** Lets what is waiting reach the disk, then gives everything back. Idempotent. */
  close(): Promise<void>
}

/** A page ends when it has grown to this. */
export const PAGE_BYTES = 256 * 1024

/** What one synced write took. */
export interface SyncReport {
  readonly durationMs: number
  readonly operationCount: number
  readonly sizeBytes: number
}
