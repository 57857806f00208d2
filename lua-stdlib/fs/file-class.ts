// The methods of open files and of their scanners. lua-libraries.md §18.

import type { MoonmeshError } from '../../runtime/base/errors.ts'
import { errorFrom } from '../../runtime/base/plain.ts'
import {
  type Call,
  type Engine,
  ErrorObject,
  type HostClass,
  type LuaTable,
  type LuaValue,
  type Returns,
} from '../../runtime/lua/engine.ts'
import { WHENCES, type Whence } from '../stream/byte-stream.ts'
import { Scanner, ScannerObject, scan, scannerOf } from '../stream/scanner.ts'
import { SPLITS, type Split } from '../stream/tokens.ts'
import { integerArg, objectArg, optionalNumber, optionalString, stringArg } from '../support/args.ts'
import { TRUE_NIL } from '../support/fail.ts'
import { awaitAlone } from '../support/wait.ts'
import { failure } from './failure.ts'
import { FILE, FILE_IS_CLOSED, FileObject, SCANNER } from './objects.ts'
import { type FileInfo, READ_BYTES_MAX } from './volume.ts'

const READ_BYTES = 4096

/** `failed, err`. */
export const failed = (first: LuaValue, thrown: unknown): readonly LuaValue[] => [
  first,
  new ErrorObject(errorFrom(thrown)),
]

/** What `work` resolves to, or `first, err` when it fails. */
export async function attempt(first: LuaValue, work: () => Promise<readonly LuaValue[]>): Promise<readonly LuaValue[]> {
  try {
    return await work()
  } catch (thrown) {
    return failed(first, thrown)
  }
}

export function infoTable(engine: Engine, info: FileInfo): LuaTable {
  const table = engine.newTable()
  engine.set(table, 'name', info.name)
  engine.set(table, 'size', info.sizeBytes)
  engine.set(table, 'mode', info.mode)
  engine.set(table, 'modified', info.modifiedS)
  engine.set(table, 'is_dir', info.type === 'directory')
  engine.set(table, 'type', info.type)
  return table
}

const self = (call: Call, fn: string): FileObject => objectArg(call, 1, fn, FileObject, FILE)

/** Goes on with a file that is open. */
function onOpen(
  call: Call,
  { fn, first, problem }: { fn: string; first?: LuaValue; problem?: (file: FileObject) => MoonmeshError | undefined },
  work: (file: FileObject) => Promise<readonly LuaValue[]>,
): Returns {
  const file = self(call, fn)
  const why = file.held.isClosed ? FILE_IS_CLOSED : problem?.(file)
  if (why !== undefined) return failed(first, why)
  return awaitAlone(call, () => attempt(first, () => work(file)))
}

function read(call: Call): Returns {
  const wanted = Math.floor(optionalNumber(call, 2, 'read', READ_BYTES))
  const problem = ({ held }: FileObject): MoonmeshError | undefined => {
    if (!held.isReadable) return failure('Invalid', 'file is not open for reading')
    return wanted > 0 ? undefined : failure('Invalid', 'size must be positive')
  }
  return onOpen(call, { fn: 'read', problem }, async ({ held }) => {
    const bytes = await held.read(Math.min(wanted, READ_BYTES_MAX))
    return bytes === undefined ? failed(undefined, failure('NotFound', 'EOF')) : [bytes, undefined]
  })
}

function write(call: Call): Returns {
  const bytes = stringArg(call, 2, 'write')
  const problem = ({ held }: FileObject): MoonmeshError | undefined => {
    if (!held.isWritable) return failure('Invalid', 'file is not open for writing')
    return bytes === '' ? failure('Invalid', 'data required') : undefined
  }
  return onOpen(call, { fn: 'write', first: false, problem }, async ({ held }) => {
    await held.write(bytes)
    return TRUE_NIL
  })
}

function seek(call: Call): Returns {
  const given = stringArg(call, 2, 'seek')
  const offset = integerArg(call, 3, 'seek')
  const whence: Whence | undefined = WHENCES.find((each) => each === given)
  const problem = (): MoonmeshError | undefined =>
    whence === undefined ? failure('Invalid', 'invalid whence: use "set", "cur" or "end"') : undefined
  return onOpen(call, { fn: 'seek', problem }, async ({ held }) => [
    await held.seek(whence ?? 'set', offset),
    undefined,
  ])
}

function scanner(call: Call): Returns {
  const file = self(call, 'scanner')
  const given = optionalString(call, 2, 'scanner') ?? 'lines'
  if (file.held.isClosed) return failed(undefined, FILE_IS_CLOSED)
  const split: Split | undefined = SPLITS.find((each) => each === given)
  if (split === undefined) {
    return failed(undefined, failure('Invalid', `invalid split type: use ${SPLITS.join(', ')}`))
  }
  return [new ScannerObject(SCANNER, new Scanner(file.held, split)), undefined]
}

function close(call: Call): Returns {
  const { held } = self(call, 'close')
  if (held.isClosed) return TRUE_NIL
  const work = async (): Promise<readonly LuaValue[]> => {
    await held.close()
    return TRUE_NIL
  }
  return awaitAlone(call, () => attempt(false, work))
}

export const fileClass: HostClass = {
  name: FILE,
  saving: 'an open file',
  methods: {
    read,
    write,
    seek,
    stat: (call) => {
      const { engine } = call
      return onOpen(call, { fn: 'stat' }, async ({ file }) => [infoTable(engine, await file.info()), undefined])
    },
    sync: (call) =>
      onOpen(call, { fn: 'sync', first: false }, async ({ held }) => {
        await held.flush()
        return TRUE_NIL
      }),
    close,
    scanner,
  },
  metamethods: { tostring: (call) => (self(call, 'tostring').held.isClosed ? 'fs.File{closed}' : 'fs.File{}') },
}

export const scannerClass: HostClass = {
  name: SCANNER,
  methods: {
    scan: (call) =>
      scan(
        scannerOf(call, SCANNER, 'scan'),
        (isThere) => [isThere],
        (work) => awaitAlone(call, work),
      ),
    text: (call) => scannerOf(call, SCANNER, 'text').text,
    err: (call) => {
      const { error } = scannerOf(call, SCANNER, 'err')
      return [error === undefined ? undefined : new ErrorObject(error)]
    },
  },
}
