// Zstandard in WebAssembly, loaded with its first use. RFC 8878.

const MAGIC = 0xfd2fb528
/** Room for the output of a frame that does not tell its size; doubled until it is enough. */
const GUESS_BYTES = 1024 * 1024

/** `message` says what is wrong with the data. */
export class ZstdError extends Error {
  override readonly name = 'ZstdError'
}

interface Zstd {
  compress(data: Uint8Array, level: number, dict: Uint8Array | undefined): Uint8Array
  /** @throws ZstdError when the output would be larger; anything else for corrupt data or the wrong dictionary */
  decompress(
    data: Uint8Array,
    options: { sizeHint: number | undefined; outputBytesMax: number; dict: Uint8Array | undefined },
  ): Uint8Array
}

/**
 * The size of its content that the first frame tells, in bytes; undefined when it tells none.
 * @throws ZstdError when this is no frame
 */
export function frameSizeOf(data: Uint8Array): number | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.length)
  if (data.length < 6 || view.getUint32(0, true) !== MAGIC) throw new ZstdError('it does not begin with a zstd frame')
  const descriptor = view.getUint8(4)
  const isSingleSegment = (descriptor & 0x20) !== 0
  const dictIdBytes = [0, 1, 2, 4][descriptor & 3] as number
  const at = 5 + (isSingleSegment ? 0 : 1) + dictIdBytes
  const sizeFlag = descriptor >> 6
  const sizeBytes = sizeFlag === 0 ? (isSingleSegment ? 1 : 0) : 2 ** sizeFlag
  if (sizeBytes === 0) return undefined
  if (data.length < at + sizeBytes) throw new ZstdError('the frame is cut off')
  switch (sizeBytes) {
    case 1:
      return view.getUint8(at)
    case 2:
      return view.getUint16(at, true) + 256
    case 4:
      return view.getUint32(at, true)
    default:
      return Number(view.getBigUint64(at, true))
  }
}

// The library itself is one instance a thread, and starting it a second time would pull the memory away from under the first.
let starting: Promise<Zstd> | undefined

export function loadZstd(): Promise<Zstd> {
  starting ??= start()
  return starting
}

async function start(): Promise<Zstd> {
  const library = await import('@bokuweb/zstd-wasm')
  await library.init()
  return {
    compress: (data, level, dict) => {
      if (dict === undefined) return library.compress(data, level)
      const context = library.createCCtx()
      try {
        return library.compressUsingDict(context, data, dict, level)
      } finally {
        library.freeCCtx(context)
      }
    },
    decompress: (data, { sizeHint, outputBytesMax, dict }) => {
      const attempt = (bytes: number): Uint8Array => {
        const options = { defaultHeapSize: bytes }
        if (dict === undefined) return library.decompress(data, options)
        const context = library.createDCtx()
        try {
          return library.decompressUsingDict(context, data, dict, options)
        } finally {
          library.freeDCtx(context)
        }
      }
      if (sizeHint !== undefined) return attempt(Math.max(1, sizeHint))
      for (let bytes = Math.min(GUESS_BYTES, outputBytesMax); ; bytes = Math.min(bytes * 2, outputBytesMax)) {
        try {
          return attempt(bytes)
        } catch (error) {
          if (bytes >= outputBytesMax) throw error
        }
      }
    },
  }
}
