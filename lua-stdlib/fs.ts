// Module `fs`: files in sandboxed volumes. lua-libraries.md §18. The node knows which volumes there are (fs.directory entries); reading and
// writing happens here, in the thread that runs the script. No other coroutine of the process runs meanwhile: from the script's view the
// operations are synchronous.

import { MoonmeshError } from '../runtime/base/errors.ts'
import type { TableValue } from '../runtime/base/value.ts'
import type { Call, HostClass, LuaValue, ModuleTable, Returns } from '../runtime/lua/engine.ts'
import type { LibraryModule, ScriptProcess } from '../runtime/services.ts'
import { failure } from './fs/failure.ts'
import { attempt, failed, fileClass, infoTable, scannerClass } from './fs/file-class.ts'
import { FILE_IS_CLOSED, FileObject, LISTING, ListingObject, VOLUME, VolumeObject } from './fs/objects.ts'
import { resolvePath, showPath, type VolumePath } from './fs/path.ts'
import { Sandbox } from './fs/sandbox.ts'
import { type OpenMode, Volume } from './fs/volume.ts'
import { StreamHolder, StreamObject } from './stream.ts'
import { objectArg, optionalString, processOf, stringArg } from './support/args.ts'
import { blocking } from './support/blocking.ts'
import { fail, failWith, TRUE_NIL } from './support/fail.ts'
import { refusal } from './support/permit.ts'
import { awaitAlone, awaitWork, waitAlone } from './support/wait.ts'

const NAME_RULES = { isWindows: process.platform === 'win32' }
/** Of one process: files are shared among all of a node. */
const OPEN_FILES_MAX = 256
/** What is copied at a time from a stream. */
const CHUNK_BYTES = 64 * 1024

// ---- volumes

/** What the node answers about a volume. */
async function openVolume(settings: TableValue): Promise<Volume> {
  try {
    return new Volume(await Sandbox.open(settings.get('directory') as string), settings.get('mode') as number)
  } catch {
    throw failure('Internal', 'the directory of the volume is not there any more')
  }
}

function get(call: Call): Returns {
  const id = stringArg(call, 1, 'get')
  if (id === '') return fail('Invalid', 'filesystem name required')
  const refused = refusal(call, 'fs.get', id)
  if (refused !== undefined) return refused
  return waitAlone(call, (done) =>
    processOf(call).request('fs', 'volume', [id], (answer) => {
      if (!answer.ok) return done(failWith(answer.error))
      const opened = attempt(undefined, async () => [
        new VolumeObject(id, await openVolume(answer.value as TableValue)),
        undefined,
      ])
      void opened.then(done)
    }),
  )
}

const self = (call: Call, fn: string): VolumeObject => objectArg(call, 1, fn, VolumeObject, VOLUME)

interface Method {
  readonly fn: string
  /** What stands before the error. */
  readonly first?: LuaValue
}

type Work = (volume: VolumeObject, path: VolumePath) => Promise<readonly LuaValue[]>

/** Argument 2, seen from a directory. @throws MoonmeshError */
function pathArg(call: Call, fn: string, from: VolumePath): VolumePath {
  const resolved = resolvePath(stringArg(call, 2, fn), from, NAME_RULES)
  if (!resolved.ok) throw failure('Invalid', resolved.why)
  return resolved.path
}

/** Goes on with the path that argument 2 means. */
function onPath(call: Call, { fn, first }: Method, work: Work): Returns {
  const volume = self(call, fn)
  return unless(first, () => {
    const path = pathArg(call, fn, volume.directory)
    return awaitAlone(call, () => attempt(first, () => work(volume, path)))
  })
}

/** What `run` returns; `first, err` when it throws one of our failures. */
function unless(first: LuaValue, run: () => Returns): Returns {
  try {
    return run()
  } catch (thrown) {
    if (thrown instanceof MoonmeshError) return failed(first, thrown)
    throw thrown
  }
}

/** A method that does something and tells no more than that it went well. */
function acting(fn: string, work: (volume: VolumeObject, path: VolumePath) => Promise<void>): (call: Call) => Returns {
  return (call) =>
    onPath(call, { fn, first: false }, async (volume, path) => {
      await work(volume, path)
      return TRUE_NIL
    })
}

function readFile(call: Call): Returns {
  return onPath(call, { fn: 'readfile' }, async ({ volume }, path) => [await volume.read(path), undefined])
}

const WRITE_MODES = ['w', 'a', 'wx'] as const
const OPEN_MODES = ['r', ...WRITE_MODES] as const

function modeOf<M extends OpenMode>(given: string, modes: readonly M[]): M {
  const mode = modes.find((each) => each === given)
  if (mode === undefined) throw failure('Invalid', `invalid mode: use ${modes.map((each) => `"${each}"`).join(', ')}`)
  return mode
}

function writeFile(call: Call): Returns {
  const fn = 'writefile'
  const { volume, directory } = self(call, fn)
  return unless(false, () => {
    const path = pathArg(call, fn, directory)
    const data = call.arg(3)
    if (data === undefined) throw failure('Invalid', 'data argument required')
    const next = typeof data === 'string' ? once(data) : piecesOf(data)
    const mode = modeOf(optionalString(call, 4, fn) ?? 'w', WRITE_MODES)
    const work = (): Promise<readonly LuaValue[]> =>
      attempt(false, async () => {
        await volume.write(path, mode, next)
        return TRUE_NIL
      })
    if (!(data instanceof StreamObject)) return awaitAlone(call, work)
    // What comes through a stream may come from another coroutine of this very process.
    blocking(call, 'writefile')
    return awaitWork(call, work)
  })
}

type Pieces = () => Promise<string | undefined>

function once(text: string): Pieces {
  let rest: string | undefined = text === '' ? undefined : text
  return async () => {
    const piece = rest
    rest = undefined
    return piece
  }
}

/** @throws MoonmeshError `Invalid` for what cannot be read */
function piecesOf(data: LuaValue): Pieces {
  if (!(data instanceof StreamHolder)) {
    throw failure('Invalid', 'invalid input type: expected a string, a readable stream or a file')
  }
  // Before the target is opened, which empties it.
  if (data.held.isClosed) {
    throw data instanceof StreamObject ? failure('Invalid', 'stream is closed') : FILE_IS_CLOSED
  }
  if (!data.held.isReadable) throw failure('Invalid', 'invalid input type: the stream or file is not readable')
  return () => data.held.read(CHUNK_BYTES)
}

function readDirectory(call: Call): Returns {
  const { engine } = call
  return onPath(call, { fn: 'readdir' }, async ({ volume }, path) => {
    const listing = new ListingObject(await volume.list(path))
    return [engine.function('next_entry', nextEntry), listing]
  })
}

function nextEntry(call: Call): Returns {
  const entry = objectArg(call, 1, 'next_entry', ListingObject, LISTING).next()
  if (entry === undefined) return [undefined]
  const { engine } = call
  const table = engine.newTable()
  engine.set(table, 'name', entry.name)
  engine.set(table, 'type', entry.type)
  return [table]
}

// ---- files

// By identity of processes, so nothing meets here that did not meet before.
const openCounts = new WeakMap<ScriptProcess, number>()

/** Counts a file that the process opens. @returns counts it off again @throws MoonmeshError `LimitExceeded` */
function countOpen(process: ScriptProcess): () => void {
  const count = openCounts.get(process) ?? 0
  if (count >= OPEN_FILES_MAX) {
    throw failure('LimitExceeded', `too many open files: a process has at most ${OPEN_FILES_MAX}; close some`)
  }
  openCounts.set(process, count + 1)
  return () => openCounts.set(process, (openCounts.get(process) ?? 1) - 1)
}

function open(call: Call): Returns {
  const { volume, directory } = self(call, 'open')
  return unless(undefined, () => {
    const path = pathArg(call, 'open', directory)
    const mode = modeOf(stringArg(call, 3, 'open'), OPEN_MODES)
    const process = processOf(call)
    return awaitAlone(call, () =>
      attempt(undefined, async () => [await openFor(process, volume, path, mode), undefined]),
    )
  })
}

/** @returns undefined when the process has ended meanwhile */
async function openFor(
  process: ScriptProcess,
  volume: Volume,
  path: VolumePath,
  mode: OpenMode,
): Promise<FileObject | undefined> {
  const release = countOpen(process)
  let hasEnded = false
  const forget = process.onEnd(() => {
    hasEnded = true
  })
  try {
    const file = await volume.open(path, mode)
    if (!hasEnded) return new FileObject(process, file, release)
    await file.stream.close()
    return undefined
  } catch (thrown) {
    release()
    throw thrown
  } finally {
    forget()
  }
}

// ---- the module

const methods: HostClass['methods'] = {
  readfile: readFile,
  read_file: readFile,
  writefile: writeFile,
  write_file: writeFile,
  exists: (call) => onPath(call, { fn: 'exists' }, async ({ volume }, path) => [await volume.exists(path), undefined]),
  isdir: (call) =>
    onPath(call, { fn: 'isdir', first: false }, async ({ volume }, path) => [
      (await volume.stat(path)).type === 'directory',
      undefined,
    ]),
  stat: (call) => {
    const { engine } = call
    return onPath(call, { fn: 'stat' }, async ({ volume }, path) => [
      infoTable(engine, await volume.stat(path)),
      undefined,
    ])
  },
  mkdir: acting('mkdir', ({ volume }, path) => volume.makeDirectory(path)),
  remove: acting('remove', ({ volume }, path) => volume.remove(path)),
  readdir: readDirectory,
  open,
  chdir: acting('chdir', async (handle, path) => {
    await handle.volume.assertDirectory(path)
    handle.directory = path
  }),
  pwd: (call) => [showPath(self(call, 'pwd').directory), undefined],
}

const build = (): ModuleTable => ({
  get,
  type: { FILE: 'file', DIR: 'directory' },
  seek: { SET: 'set', CUR: 'cur', END: 'end' },
})

export const fsModule: LibraryModule = {
  name: 'fs',
  description: 'files in sandboxed volumes',
  tags: ['storage', 'io', 'nondeterministic'],
  build,
  classes: [
    {
      name: VOLUME,
      methods,
      metamethods: { tostring: (call) => `fs.Volume{${self(call, 'tostring').id}}` },
      saving: 'an open volume',
    },
    { name: LISTING, methods: {}, saving: 'a directory that is being read' },
    fileClass,
    scannerClass,
  ],
}
