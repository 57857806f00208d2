// Module `stream`, and streams as scripts hold them. lua-libraries.md §20, lua-core.md §21. The module itself is empty: streams come from other
// modules, which make a StreamObject of a ByteStream.

import { errorFrom } from '../runtime/base/plain.ts'
import { ErrorValue } from '../runtime/base/value.ts'
import {
  type Call,
  ErrorObject,
  type HostClass,
  HostObject,
  type LuaValue,
  type Returns,
} from '../runtime/lua/engine.ts'
import type { LibraryModule, ScriptProcess } from '../runtime/services.ts'
import { type ByteStream, HeldStream, WHENCES, type Whence } from './stream/byte-stream.ts'
import { Scanner, ScannerObject, scan, scannerOf } from './stream/scanner.ts'
import { SPLITS, type Split } from './stream/tokens.ts'
import { badArgument, integerArg, objectArg, optionalNumber, optionalString, stringArg } from './support/args.ts'
import { blocking } from './support/blocking.ts'
import { TRUE_NIL } from './support/fail.ts'
import { awaitWork } from './support/wait.ts'

const READ_BYTES = 32 * 1024
/** What one call of `read` asks for at most. */
const READ_BYTES_MAX = 16 * 1024 * 1024

/** Something that can be read or written as a stream: streams, and the files of `fs`. */
export abstract class StreamHolder extends HostObject {
  abstract readonly held: HeldStream
}

/** A stream as a script holds it. It belongs to the process that got it, and closes when that ends. */
export class StreamObject extends StreamHolder {
  override readonly held: HeldStream
  constructor(process: ScriptProcess, stream: ByteStream) {
    super()
    this.held = new HeldStream(process, stream)
  }
  override get className(): string {
    return 'stream.Stream'
  }
}

const self = (call: Call, fn: string): HeldStream => objectArg(call, 1, fn, StreamObject, 'stream.Stream').held

/** Whatever goes wrong with a stream is kind `Internal`; the message is that of the failure. */
function streamError(thrown: unknown): ErrorObject {
  const { message, retryable, details } = errorFrom(thrown)
  return new ErrorObject(new ErrorValue('Internal', message, retryable ?? false, details))
}

/** Waits for what `work` resolves to; a failure returns `failed` and the error. */
function perform(
  call: Call,
  fn: string,
  work: (stream: HeldStream) => Promise<readonly LuaValue[]>,
  failed?: LuaValue,
): Returns {
  const stream = self(call, fn)
  blocking(call, `stream:${fn}`)
  return awaitWork(call, async () => {
    try {
      return await work(stream)
    } catch (thrown) {
      return [failed, streamError(thrown)]
    }
  })
}

function oneOf<T extends string>(call: Call, index: number, fn: string, choices: readonly T[], fallback: T): T {
  const given = optionalString(call, index, fn) ?? fallback
  const choice = choices.find((each) => each === given)
  return choice ?? badArgument(index, fn, `invalid option '${given}', expected ${choices.join(', ')}`)
}

function read(call: Call): Returns {
  const wanted = Math.floor(optionalNumber(call, 2, 'read', 0))
  const bytesMax = wanted > 0 ? Math.min(wanted, READ_BYTES_MAX) : READ_BYTES
  return perform(call, 'read', async (stream) => [await stream.read(bytesMax), undefined])
}

function write(call: Call): Returns {
  const bytes = stringArg(call, 2, 'write')
  return perform(call, 'write', async (stream) => [await stream.write(bytes), undefined], 0)
}

function seek(call: Call): Returns {
  const whence: Whence = oneOf(call, 2, 'seek', WHENCES, 'set')
  const offset = call.arg(3) === undefined ? 0 : integerArg(call, 3, 'seek')
  return perform(call, 'seek', async (stream) => [await stream.seek(whence, offset), undefined], -1)
}

function stat(call: Call): Returns {
  const { engine } = call
  return perform(call, 'stat', async (stream) => {
    const { sizeBytes, position } = await stream.stat()
    const table = engine.newTable()
    engine.set(table, 'size', sizeBytes ?? -1)
    engine.set(table, 'position', position)
    engine.set(table, 'readable', stream.isReadable)
    engine.set(table, 'writable', stream.isWritable)
    engine.set(table, 'seekable', stream.isSeekable)
    return [table, undefined]
  })
}

function scanner(call: Call): Returns {
  const stream = self(call, 'scanner')
  const split: Split = oneOf(call, 2, 'scanner', SPLITS, 'lines')
  return [new ScannerObject(SCANNER, new Scanner(stream, split)), undefined]
}

const streamClass: HostClass = {
  name: 'stream.Stream',
  saving: 'an open stream',
  methods: {
    read,
    write,
    seek,
    flush: (call) =>
      perform(
        call,
        'flush',
        async (stream) => {
          await stream.flush()
          return TRUE_NIL
        },
        false,
      ),
    close: (call) =>
      perform(
        call,
        'close',
        async (stream) => {
          await stream.close()
          return TRUE_NIL
        },
        false,
      ),
    stat,
    scanner,
  },
  metamethods: {
    tostring: (call) => (self(call, 'tostring').isClosed ? 'stream.Stream{closed}' : 'stream.Stream{}'),
  },
}

const SCANNER = 'stream.Scanner'

const scannerClass: HostClass = {
  name: SCANNER,
  methods: {
    scan: (call) => {
      const found = scannerOf(call, SCANNER, 'scan')
      blocking(call, 'scanner:scan')
      const values = (isThere: boolean): readonly LuaValue[] => [
        isThere,
        found.error === undefined ? undefined : streamError(found.error),
      ]
      return scan(found, values, (work) => awaitWork(call, work))
    },
    text: (call) => scannerOf(call, SCANNER, 'text').text,
    err: (call) => [scannerOf(call, SCANNER, 'err').error?.message],
  },
}

export const streamModule: LibraryModule = {
  name: 'stream',
  description: 'streams of bytes, which other modules hand out',
  tags: ['io', 'nondeterministic'],
  build: () => ({}),
  classes: [streamClass, scannerClass],
}
