// Module `compress`: gzip, deflate, zlib, brotli and zstd. lua-libraries.md §21. Work of any size is done beside the script's thread where
// Node.js can; zstd runs in WebAssembly.

import { constants as bufferLimits } from 'node:buffer'
import { promisify } from 'node:util'
import {
  brotliCompress,
  brotliDecompress,
  constants,
  deflate,
  deflateRaw,
  gunzip,
  gzip,
  inflate,
  inflateRaw,
} from 'node:zlib'
import type { Call, LuaTable, LuaValue, ModuleTable, Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule } from '../runtime/services.ts'
import { inspectDict, trainDict } from './compress/dictionaries.ts'
import { frameSizeOf, loadZstd, ZstdError } from './compress/zstd.ts'
import { toNumber } from './support/args.ts'
import { fail } from './support/fail.ts'
import { waitAlone } from './support/wait.ts'

const MEBIBYTE = 1024 * 1024
const OUTPUT_BYTES_DEFAULT = 128 * MEBIBYTE
const OUTPUT_BYTES_MAX = 1024 * MEBIBYTE

interface EncodeOptions {
  readonly level: number
  readonly dict: Buffer | undefined
}

interface DecodeOptions {
  readonly outputBytesMax: number
  readonly dict: Buffer | undefined
}

interface Algorithm {
  readonly levels: readonly [min: number, max: number, otherwise: number]
  readonly levelProblem: string
  readonly takesDict?: boolean
  encode(data: Buffer, options: EncodeOptions): Promise<Uint8Array>
  decode(data: Buffer, options: DecodeOptions): Promise<Uint8Array>
  /** `nil, err` for what `decode` threw. */
  failure(error: unknown): readonly LuaValue[]
}

const codeOf = (error: unknown): string => String((error as { code?: unknown }).code)

/** Node's codes: too much output, a bad header, bad data. */
function zlibFailure(name: string, kinds: { limit: 'Internal' | 'Invalid'; body: 'Internal' | 'Invalid' }) {
  return (error: unknown): readonly LuaValue[] => {
    if (codeOf(error) === 'ERR_BUFFER_TOO_LARGE') return fail(kinds.limit, `${name}: output exceeds limit`)
    const text = error instanceof Error ? error.message : String(error)
    const isHeader =
      /incorrect header|unknown header|header crc|unknown compression method|invalid window size|missing dictionary/i.test(
        text,
      )
    return fail(isHeader ? 'Invalid' : kinds.body, `invalid ${name} data: ${text}`)
  }
}

const LEVELS = [1, 9, 6] as const
const LEVEL_PROBLEM = 'compression level must be between 1 and 9'

function zlibAlgorithm(
  name: string,
  compress: (data: Buffer, options: { level: number }) => Promise<Buffer>,
  decompress: (data: Buffer, options: { maxOutputLength: number }) => Promise<Buffer>,
  { headerBytes, ...kinds }: Parameters<typeof zlibFailure>[1] & { headerBytes: number },
): Algorithm {
  return {
    levels: LEVELS,
    levelProblem: LEVEL_PROBLEM,
    encode: (data, { level }) => compress(data, { level }),
    decode: (data, { outputBytesMax }) => {
      if (data.length < headerBytes) return Promise.reject(new Error('incorrect header: it is cut off'))
      return decompress(data, { maxOutputLength: outputBytesMax })
    },
    failure: zlibFailure(name, kinds),
  }
}

const brotliEncode = promisify(brotliCompress)
const brotliDecode = promisify(brotliDecompress)

const ALGORITHMS: Readonly<Record<string, Algorithm>> = {
  gzip: zlibAlgorithm('gzip', promisify(gzip), promisify(gunzip), {
    headerBytes: 10,
    limit: 'Internal',
    body: 'Internal',
  }),
  deflate: zlibAlgorithm('deflate', promisify(deflateRaw), promisify(inflateRaw), {
    headerBytes: 0,
    limit: 'Invalid',
    body: 'Invalid',
  }),
  zlib: zlibAlgorithm('zlib', promisify(deflate), promisify(inflate), {
    headerBytes: 2,
    limit: 'Internal',
    body: 'Internal',
  }),
  brotli: {
    levels: [0, 11, 6],
    levelProblem: 'brotli quality must be between 0 and 11',
    encode: (data, { level }) => brotliEncode(data, { params: { [constants.BROTLI_PARAM_QUALITY]: level } }),
    decode: (data, { outputBytesMax }) => brotliDecode(data, { maxOutputLength: outputBytesMax }),
    failure: zlibFailure('brotli', { limit: 'Invalid', body: 'Invalid' }),
  },
  zstd: {
    levels: [1, 22, 3],
    levelProblem: 'zstd level must be between 1 and 22',
    takesDict: true,
    encode: async (data, { level, dict }) => (await loadZstd()).compress(data, level, dict),
    decode: async (data, { outputBytesMax, dict }) => {
      const zstd = await loadZstd()
      const size = frameSizeOf(data)
      if (size !== undefined && size > outputBytesMax) throw new ZstdError('output exceeds limit')
      return zstd.decompress(data, { sizeHint: size, outputBytesMax, dict })
    },
    failure: (error) => {
      const text = error instanceof ZstdError ? error.message : 'the data is corrupt, or needs another dictionary'
      return fail('Internal', `invalid zstd data: ${text}`)
    },
  },
}

type Read<T> = { ok: true; value: T } | { ok: false; problem: readonly LuaValue[] }

const refused = (text: string): { ok: false; problem: readonly LuaValue[] } => ({
  ok: false,
  problem: fail('Invalid', text),
})

function dataArg(call: Call): Read<Buffer> {
  const data = call.arg(1)
  if (typeof data !== 'string') return refused('string expected')
  return data === '' ? refused('input data cannot be empty') : { ok: true, value: Buffer.from(data, 'latin1') }
}

function option(call: Call, name: string): LuaValue {
  return call.type(2) === 'table' ? call.engine.get(call.arg(2) as LuaTable, name) : undefined
}

function dictOf(call: Call, { takesDict }: Algorithm): Read<Buffer | undefined> {
  const dict = takesDict === true ? option(call, 'dict') : undefined
  if (dict === undefined) return { ok: true, value: undefined }
  if (typeof dict !== 'string' || dict === '') return refused('dict must be a non-empty string')
  return { ok: true, value: Buffer.from(dict, 'latin1') }
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}

function answer(call: Call, work: Promise<Uint8Array>, failure: (error: unknown) => readonly LuaValue[]): Returns {
  return waitAlone(call, (done) => {
    work.then(textOf).then(
      (text) => done([text, undefined]),
      (error) => done(failure(error)),
    )
  })
}

function encode(call: Call, algorithm: Algorithm): Returns {
  const data = dataArg(call)
  if (!data.ok) return data.problem
  const [min, max, otherwise] = algorithm.levels
  const given = option(call, 'level')
  const level = given === undefined ? otherwise : toNumber(given)
  if (level === undefined || !Number.isInteger(level) || level < min || level > max) {
    return fail('Invalid', algorithm.levelProblem)
  }
  const dict = dictOf(call, algorithm)
  if (!dict.ok) return dict.problem
  return answer(call, algorithm.encode(data.value, { level, dict: dict.value }), (error) =>
    fail('Internal', error instanceof Error ? error.message : String(error)),
  )
}

function decode(call: Call, algorithm: Algorithm): Returns {
  const data = dataArg(call)
  if (!data.ok) return data.problem
  const dict = dictOf(call, algorithm)
  if (!dict.ok) return dict.problem
  const asked = toNumber(option(call, 'max_size'))
  const isAllowed = asked !== undefined && asked >= 1 && asked <= OUTPUT_BYTES_MAX
  // What cannot become a string is never unpacked.
  const outputBytesMax = Math.min(isAllowed ? Math.floor(asked) : OUTPUT_BYTES_DEFAULT, bufferLimits.MAX_STRING_LENGTH)
  return answer(call, algorithm.decode(data.value, { outputBytesMax, dict: dict.value }), algorithm.failure)
}

function tableOf(algorithm: Algorithm): ModuleTable {
  return { encode: (call) => encode(call, algorithm), decode: (call) => decode(call, algorithm) }
}

function buildTables(): ModuleTable {
  const tables = Object.fromEntries(Object.entries(ALGORITHMS).map(([name, algorithm]) => [name, tableOf(algorithm)]))
  return { ...tables, zstd: { ...tables['zstd'], train_dict: trainDict, inspect_dict: inspectDict } }
}

export const compressModule: LibraryModule = {
  name: 'compress',
  description: 'gzip, deflate, zlib, brotli and zstd',
  tags: ['encoding', 'deterministic'],
  build: buildTables,
}
