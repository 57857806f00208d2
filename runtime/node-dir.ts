// A node's directory `<data_dir>/<node name>/`: one node at a time, and an epoch that no earlier run of it had (cluster.md §0.1).
//
// Who listens on `admin.sock` owns the directory. The kernel answers for a dead owner at once, which a process id in a file cannot:
// ids are used again, and in a container every program may be number 1.

import { createHash, randomBytes } from 'node:crypto'
import { chmod, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { assert } from './base/assert.ts'
import { codeOf, MoonmeshError, messageOf } from './base/errors.ts'
import { holdsEpoch, keepEpoch, nextEpoch, writeEpoch } from './epoch.ts'
import { makeDirectory } from './make-directory.ts'

interface NodeDirectoryOptions {
  dataDir: string
  nodeName: string
  /** Wall-clock milliseconds since 1970. */
  wallMs?: () => number
}

/** What the kernels take for a socket's path is 104 bytes or more. */
const SOCKET_PATH_BYTES_MAX = 100
const SOCKET_FILE = 'admin.sock'
/** Holds the socket's place when it had to be made elsewhere. */
const SOCKET_PLACE_FILE = 'admin.sock.path'
const PID_FILE = 'pid'
const CLAIM_FILE = 'claim'
/** Claiming takes milliseconds; a claim this old was left by a program that died over it. */
const CLAIM_STALE_MS = 10_000
const CLAIM_POLL_MS = 20
const LOOK_MS = 2000

/** What became of the directory of a running node. */
export type DirectoryState =
  | { readonly kind: 'same' }
  /** It was removed, or what the node keeps in it was; it is there anew. */
  | { readonly kind: 'renewed' }
  /** It was removed, and cannot be made anew. */
  | { readonly kind: 'lost'; readonly error: MoonmeshError }

export class NodeDirectory {
  readonly path: string
  readonly #nodeName: string
  #socketPath: string
  #epoch: number
  /** Raises one after the other: the last one written is the highest. */
  #raising: Promise<void> = Promise.resolve()
  #server: Server
  /** Of the socket's file: whether what lies there is this node's. */
  #socketInode: number
  #looking: Promise<DirectoryState> | undefined
  #looker: NodeJS.Timeout | undefined
  readonly #connections = new Set<Socket>()
  #handler: ((socket: Socket) => void) | undefined
  #closing: Promise<void> | undefined

  private constructor(parts: { path: string; nodeName: string; epoch: number; claimed: Claimed }) {
    this.path = parts.path
    this.#nodeName = parts.nodeName
    this.#epoch = parts.epoch
    this.#socketPath = parts.claimed.socketPath
    this.#socketInode = parts.claimed.socketInode
    this.#server = this.#attend(parts.claimed.server)
  }

  #attend(server: Server): Server {
    server.on('connection', (socket) => {
      this.#connections.add(socket)
      // Whoever hangs up early is nobody's failure.
      socket.on('error', () => {})
      socket.once('close', () => this.#connections.delete(socket))
      if (this.#handler !== undefined) this.#handler(socket)
      else socket.destroy()
    })
    // Accepting fails when the program is out of file descriptors: that costs a client its connection, not the node its life.
    server.on('error', () => {})
    return server
  }

  /** Where the admin interface listens. */
  get socketPath(): string {
    return this.#socketPath
  }

  /**
   * Creates the directory if need be, and takes it for this program.
   * @throws MoonmeshError `AlreadyExists` (a node runs in it; details: `{ pid }`), `Invalid` (node name, damaged epoch), `PermissionDenied`,
   *   `Unavailable` (the disk)
   */
  static async open(options: NodeDirectoryOptions): Promise<NodeDirectory> {
    const { nodeName, wallMs = Date.now } = options
    if (nodeName === '' || nodeName === '.' || nodeName === '..' || /[/\\\0]/.test(nodeName)) {
      throw new MoonmeshError('Invalid', `node.name ${JSON.stringify(nodeName)} cannot name a directory`)
    }
    const path = join(resolve(options.dataDir), nodeName)
    try {
      await makeDirectory(path, 0o700)
      const claimed = await claim(path, nodeName)
      try {
        const epoch = await nextEpoch(path, wallMs())
        await writeFile(join(path, PID_FILE), `${process.pid}\n`)
        return new NodeDirectory({ path, nodeName, epoch, claimed })
      } catch (error) {
        await release(claimed.server, path, claimed.socketPath)
        throw error
      }
    } catch (error) {
      throw explained(error, path)
    }
  }

  /** Greater than that of every earlier run: `max(the last one + 1, wall-clock milliseconds)`. */
  get epoch(): number {
    return this.#epoch
  }

  /**
   * Takes a higher epoch, because gossip still knows an earlier run of this node that had one above ours: its disk was lost, or its clock
   * ran ahead. Durable before it is taken, so that the next run is above it too. An epoch that is not higher changes nothing.
   * @throws MoonmeshError as `open` does; the epoch stays what it was
   */
  raiseEpoch(epoch: number): Promise<void> {
    assert(Number.isSafeInteger(epoch), 'an epoch is a safe integer')
    const raised = this.#raising.then(async () => {
      if (epoch <= this.#epoch) return
      await writeEpoch(this.path, epoch).catch((error: unknown) => {
        throw explained(error, this.path)
      })
      this.#epoch = epoch
    })
    this.#raising = raised.catch(() => {})
    return raised
  }

  /**
   * Looks after the directory now and then, until it is closed. Somebody may remove it while the node runs: a next run would then start with an
   * epoch that is not above this one, and nobody would find the node's socket.
   * @param changed called when something has changed: once for each loss, however long it lasts
   */
  watch(changed: (state: DirectoryState) => void): void {
    let last: DirectoryState['kind'] = 'same'
    this.#looker = setInterval(() => {
      if (this.#looking !== undefined) return
      void this.look().then((state) => {
        if (state.kind !== 'same' && state.kind !== last && this.#closing === undefined) changed(state)
        last = state.kind
      })
    }, LOOK_MS)
    this.#looker.unref()
  }

  /** Looks whether the directory still holds what the node wrote there, and writes it anew if not. Never rejects. */
  look(): Promise<DirectoryState> {
    this.#looking ??= this.#look()
      .catch((error: unknown): DirectoryState => ({ kind: 'lost', error: explained(error, this.path) }))
      .finally(() => {
        this.#looking = undefined
      })
    return this.#looking
  }

  async #look(): Promise<DirectoryState> {
    const inode = await inodeOf(this.#socketPath)
    if (inode === this.#socketInode && (await holdsEpoch(this.path, this.#epoch))) return { kind: 'same' }
    if (this.#closing !== undefined) return { kind: 'same' }
    // To stop listening removes whatever lies at the path; that must not be another node's socket.
    if (inode !== undefined && inode !== this.#socketInode) throw await alreadyRunning(this.path, this.#nodeName)
    await makeDirectory(this.path, 0o700)
    if (inode === undefined) {
      await new Promise<void>((done) => {
        this.#server.close(() => done())
        for (const socket of this.#connections) socket.destroy()
      })
      const { server, socketPath, socketInode } = await claim(this.path, this.#nodeName)
      this.#socketPath = socketPath
      this.#socketInode = socketInode
      this.#server = this.#attend(server)
    }
    await keepEpoch(this.path, this.#epoch)
    await writeFile(join(this.path, PID_FILE), `${process.pid}\n`)
    return { kind: 'renewed' }
  }

  /** Hands every connection to the socket to `handler`; without one they are refused. */
  serve(handler: ((socket: Socket) => void) | undefined): void {
    this.#handler = handler
  }

  /** Ends all connections and gives the directory up. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#handler = undefined
      clearInterval(this.#looker)
      await this.#looking
      await this.#raising
      const inode = await inodeOf(this.#socketPath).catch(() => undefined)
      if (inode !== undefined && inode !== this.#socketInode) {
        // Another node has the directory by now.
        this.#server.unref()
        for (const socket of this.#connections) socket.destroy()
        return
      }
      await rm(join(this.path, PID_FILE), { force: true })
      const released = release(this.#server, this.path, this.socketPath)
      for (const socket of this.#connections) socket.destroy()
      await released
    })()
    return this.#closing
  }
}

/**
 * Where the node in this directory listens; undefined when none ever did. Nobody need be listening any more.
 * @throws what reading the directory throws, but for "no such file"
 */
export async function findSocket(path: string): Promise<string | undefined> {
  const here = join(path, SOCKET_FILE)
  if (isShort(here) && (await exists(here))) return here
  return (await readIfThere(join(path, SOCKET_PLACE_FILE)))?.trim()
}

interface Claimed {
  readonly server: Server
  readonly socketPath: string
  readonly socketInode: number
}

/** Undefined when there is no such file. */
async function inodeOf(file: string): Promise<number | undefined> {
  try {
    return (await stat(file)).ino
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined
    throw error
  }
}

/** Listens on the directory's socket, unless somebody does already. */
async function claim(path: string, nodeName: string): Promise<Claimed> {
  // Two programs that both find a dead socket would both remove it, the second one the first one's new socket.
  const unlock = await lock(join(path, CLAIM_FILE), path)
  try {
    const old = await findSocket(path)
    if (old !== undefined) {
      if (await isLive(old)) throw await alreadyRunning(path, nodeName)
      await removeSocket(path, old)
    }
    const socketPath = await placeForSocket(path)
    const server = createServer()
    await listen(server, socketPath)
    await chmod(socketPath, 0o600)
    return { server, socketPath, socketInode: (await stat(socketPath)).ino }
  } finally {
    await unlock()
  }
}

async function lock(file: string, path: string): Promise<() => Promise<void>> {
  for (;;) {
    try {
      await writeFile(file, `${process.pid}\n`, { flag: 'wx' })
      return () => rm(file, { force: true })
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
    }
    const age = await ageMs(file)
    if (age !== undefined && age > CLAIM_STALE_MS) await rm(file, { force: true })
    else await new Promise((next) => setTimeout(next, CLAIM_POLL_MS))
    // The directory itself may have gone: then the next attempt says so.
    await stat(path)
  }
}

async function ageMs(file: string): Promise<number | undefined> {
  try {
    return Date.now() - (await stat(file)).mtimeMs
  } catch {
    return undefined
  }
}

async function alreadyRunning(path: string, nodeName: string): Promise<MoonmeshError> {
  const pid = (await readIfThere(join(path, PID_FILE)))?.trim()
  const who = pid === undefined || pid === '' ? '' : ` (pid ${pid})`
  return new MoonmeshError(
    'AlreadyExists',
    `node ${nodeName} is already running${who} in ${path}; stop it, or start this one under another name: --set node.name=other`,
    { retryable: true, details: { pid: pid === undefined ? undefined : Number(pid), path } },
  )
}

/** Whether somebody listens. A connection that is refused for lack of room is an answer too. */
function isLive(socketPath: string): Promise<boolean> {
  return new Promise((done, fail) => {
    const socket = connect(socketPath)
    socket.once('connect', () => {
      socket.destroy()
      done(true)
    })
    socket.once('error', (error) => {
      const code = codeOf(error)
      if (code === 'ECONNREFUSED' || code === 'ENOENT' || code === 'ENOTSOCK') done(false)
      else if (code === 'EAGAIN') done(true)
      else fail(error)
    })
  })
}

/** Beside the directory's other files; in a directory of its own under the system's temporary one when that path is too long. */
async function placeForSocket(path: string): Promise<string> {
  const here = join(path, SOCKET_FILE)
  if (isShort(here)) return here
  const name = `moonmesh-${createHash('sha256').update(path).digest('hex').slice(0, 12)}-${randomBytes(4).toString('hex')}`
  const there = join(tmpdir(), name, SOCKET_FILE)
  if (!isShort(there)) {
    const bytes = Buffer.byteLength(here)
    throw new MoonmeshError(
      'Invalid',
      `${here} is too long for a Unix socket (${bytes} bytes; ${SOCKET_PATH_BYTES_MAX} are allowed), and so is ${there}; choose a ` +
        'shorter directory: --set node.data_dir=PATH',
    )
  }
  await mkdir(dirname(there), { mode: 0o700 })
  await writeFile(join(path, SOCKET_PLACE_FILE), `${there}\n`)
  return there
}

async function removeSocket(path: string, socketPath: string): Promise<void> {
  await rm(socketPath, { force: true })
  if (dirname(socketPath) === path) return
  // The place comes from a file: remove nothing but what `placeForSocket` makes.
  if (basename(dirname(socketPath)).startsWith('moonmesh-'))
    await rm(dirname(socketPath), { recursive: true, force: true })
  await rm(join(path, SOCKET_PLACE_FILE), { force: true })
}

function listen(server: Server, socketPath: string): Promise<void> {
  return new Promise((done, fail) => {
    server.once('error', fail)
    server.listen(socketPath, () => {
      server.off('error', fail)
      done()
    })
  })
}

async function release(server: Server, path: string, socketPath: string): Promise<void> {
  await new Promise<void>((done) => server.close(() => done()))
  await removeSocket(path, socketPath)
}

const isShort = (socketPath: string): boolean => Buffer.byteLength(socketPath) <= SOCKET_PATH_BYTES_MAX

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file)
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The error of a system call in words: which directory, and what helps. */
function explained(error: unknown, path: string): MoonmeshError {
  if (error instanceof MoonmeshError) return error
  const elsewhere = 'choose another with --set node.data_dir=PATH'
  const { path: place = path, syscall } = error as NodeJS.ErrnoException
  if (codeOf(error) === 'ENOENT' && syscall === 'mkdir') {
    const why = `${place} cannot be made for the node's data, its file system takes no directories`
    return new MoonmeshError('Invalid', `${why}; ${elsewhere}`, { retryable: false, cause: error })
  }
  switch (codeOf(error)) {
    case 'EACCES':
    case 'EPERM':
      return new MoonmeshError(
        'PermissionDenied',
        `no permission to write to ${place}, the node's data directory; give it to this user, or ${elsewhere}`,
        { retryable: false, cause: error },
      )
    case 'EROFS':
      return new MoonmeshError('PermissionDenied', `${place} is on a read-only file system; ${elsewhere}`, {
        retryable: false,
        cause: error,
      })
    case 'ENOSPC':
    case 'EDQUOT':
      return new MoonmeshError('Unavailable', `no space left on the disk of ${path}; make some, or ${elsewhere}`, {
        retryable: true,
        cause: error,
      })
    case 'ENOTDIR':
    case 'EEXIST':
      return new MoonmeshError(
        'Invalid',
        `${place} cannot be the node's data directory: a file is in the way; ${elsewhere}`,
        {
          retryable: false,
          cause: error,
        },
      )
    default:
      return new MoonmeshError('Unavailable', `the node's data directory ${path} cannot be used: ${messageOf(error)}`, {
        retryable: true,
        cause: error,
      })
  }
}
