// Where a volume's paths lie on the disk, and that they lie nowhere else. Links within the volume are followed, those that lead out of it are
// refused, whatever anybody changes in between: the directory that holds a name is opened, the operating system tells where this very
// directory is, and what follows is done from there, on a name that is not followed if it is a link. That needs Linux's /proc; without it the
// directory's real path is checked before and after, which somebody who swaps directories at the right moment can get around.
//
// Paths on the disk are byte strings here.

import { constants, promises as fs } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import type { MoonmeshError } from '../../runtime/base/errors.ts'
import { codeOf, failure, leadsOut } from './failure.ts'
import { pathText, type VolumePath } from './path.ts'

const LINKS_MAX = 40

/** Of Linux; Node has no name for it: the directory can be named, not read. */
const O_PATH = 0o10000000
const OPEN_DIRECTORY = (constants.O_DIRECTORY ?? 0) | O_PATH

const BYTES = { encoding: 'latin1' } as const

export const diskPath = (path: string): Buffer => Buffer.from(path, 'latin1')

const join = (directory: string, name: string): string =>
  directory.endsWith('/') ? directory + name : `${directory}/${name}`

function isWithin(root: string, path: string): boolean {
  return path === root || path.startsWith(root.endsWith('/') ? root : `${root}/`)
}

/** The directory that a path stands in, and its last name. */
function split(path: string): { directory: string; name: string } {
  const at = path.lastIndexOf('/')
  return { directory: path.slice(0, at) || '/', name: path.slice(at + 1) }
}

/** A directory that is known to lie within the volume. */
interface Parent {
  /** Its real path. */
  readonly real: string
  /** A path that means this directory, whatever happens to its real path. */
  readonly fixed: string
  /** @throws when the directory is not what it was */
  check(): Promise<void>
  close(): Promise<void>
}

export class Sandbox {
  /** The real path of the volume's root. */
  readonly #root: string
  readonly #hasProc: boolean

  private constructor(root: string, hasProc: boolean) {
    this.#root = root
    this.#hasProc = hasProc
  }

  /**
   * @param directory absolute, a byte string
   * @param options.usesProc false: as on a system without /proc
   * @throws an error of node:fs when it is not there
   */
  static async open(directory: string, { usesProc = true }: { usesProc?: boolean } = {}): Promise<Sandbox> {
    const root = await realPath(directory)
    return new Sandbox(root, usesProc && (await hasProc(root)))
  }

  /**
   * Does something to what a path names. `use` gets a path on the disk that holds until its promise settles, and must not follow the last
   * name of it: that is no link, unless it has become one meanwhile.
   * @param options.followsLast a link as the last name is followed; else it is what `use` gets
   * @throws MoonmeshError `Invalid` when a link leads out; what `use` throws; an error of node:fs when there is no directory on the way,
   *   never ENOTDIR
   */
  async at<T>(path: VolumePath, options: { followsLast: boolean }, use: (onDisk: string) => Promise<T>): Promise<T> {
    const shown = pathText(path)
    let target = path.reduce(join, this.#root)
    for (let links = 0; links <= LINKS_MAX; links++) {
      if (target === this.#root) return use(target)
      const { directory, name } = split(target)
      const parent = await this.#enter(directory, shown)
      try {
        // Such names come from links only.
        if (name === '' || name === '.') target = parent.real
        else if (name === '..') target = parent.real === this.#root ? refuse(shown) : split(parent.real).directory
        else {
          const onDisk = join(parent.fixed, name)
          const link = options.followsLast ? await linkAt(onDisk) : undefined
          if (link === undefined) {
            const result = await use(onDisk)
            await parent.check()
            return result
          }
          target = link.startsWith('/') ? link : join(parent.real, link)
        }
      } finally {
        await parent.close()
      }
    }
    throw tooManyLinks(shown)
  }

  /**
   * What `at` has found must be a directory: `use` gets a path that means this very directory.
   * @throws what `use` throws; an error of node:fs, ENOTDIR when it is none
   */
  async inside<T>(onDisk: string, use: (directory: string) => Promise<T>): Promise<T> {
    if (!this.#hasProc) {
      const stats = await fs.lstat(diskPath(onDisk))
      if (!stats.isDirectory()) throw new NoDirectory()
      return use(onDisk)
    }
    const handle = await fs.open(diskPath(onDisk), OPEN_DIRECTORY | constants.O_NOFOLLOW)
    try {
      return await use(descriptorPath(handle))
    } finally {
      await handle.close()
    }
  }

  /** The operating system follows the links on the way to the directory; where that led is checked afterwards. */
  async #enter(directory: string, shown: string): Promise<Parent> {
    try {
      const parent = await (this.#hasProc ? heldParent(directory) : namedParent(directory, shown))
      if (isWithin(this.#root, parent.real)) return parent
      await parent.close()
    } catch (thrown) {
      const code = codeOf(thrown)
      if (code === 'ELOOP') throw tooManyLinks(shown)
      throw code === 'ENOTDIR' ? new NothingInside() : thrown
    }
    return refuse(shown)
  }
}

/** What is no directory has nothing in it. */
class NothingInside extends Error {
  readonly code = 'ENOENT'
}

class NoDirectory extends Error {
  readonly code = 'ENOTDIR'
}

const tooManyLinks = (shown: string): MoonmeshError => failure('Invalid', `too many links: ${shown}`)

function refuse(shown: string): never {
  throw leadsOut(shown)
}

async function heldParent(directory: string): Promise<Parent> {
  const handle = await fs.open(diskPath(directory), OPEN_DIRECTORY)
  const fixed = descriptorPath(handle)
  try {
    const real = await fs.readlink(fixed, BYTES)
    return { real, fixed, check: async () => {}, close: () => handle.close() }
  } catch (thrown) {
    await handle.close()
    throw thrown
  }
}

async function namedParent(directory: string, shown: string): Promise<Parent> {
  const real = await realPath(directory)
  const check = async (): Promise<void> => {
    if ((await realPath(directory).catch(() => undefined)) !== real) throw leadsOut(shown)
  }
  return { real, fixed: real, check, close: async () => {} }
}

/** A path that means what is open, whatever its name is now. */
const descriptorPath = (handle: FileHandle): string => `/proc/self/fd/${handle.fd}`

/** What the link at the path says; undefined when there is none. */
async function linkAt(path: string): Promise<string | undefined> {
  try {
    return onDiskForm(await fs.readlink(diskPath(path), BYTES))
  } catch (thrown) {
    const code = codeOf(thrown)
    // EINVAL: it is no link. On Windows: UNKNOWN.
    if (code === 'EINVAL' || code === 'ENOENT' || code === 'UNKNOWN') return undefined
    throw thrown
  }
}

const realPath = async (path: string): Promise<string> => onDiskForm(await fs.realpath(diskPath(path), BYTES))

/** With `/` between the names, which Windows takes as well as its own. */
const onDiskForm = (path: string): string => (process.platform === 'win32' ? path.replaceAll('\\', '/') : path)

/** Whether open directories can be named through /proc, and are where they are said to be. */
async function hasProc(root: string): Promise<boolean> {
  if (process.platform !== 'linux') return false
  try {
    const parent = await heldParent(root)
    await parent.close()
    return parent.real === root
  } catch {
    return false
  }
}
