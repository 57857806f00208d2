// Paths within a volume, as scripts write them: bytes, `/` between the parts, `/` alone is the volume's root. Resolving is text only; what
// links in the file system do to a path is sandbox.ts's concern. lua-libraries.md §18.

import { toText } from '../../runtime/base/bytes.ts'

/** The names from the root down; none for the root itself. */
export type VolumePath = readonly string[]

export const ROOT: VolumePath = []

const PATH_BYTES_MAX = 4096
const NAME_BYTES_MAX = 255

type Resolved = { ok: true; path: VolumePath } | { ok: false; why: string }

const refuse = (why: string): Resolved => ({ ok: false, why })

/** What a system reads into names beyond the separator. */
export interface NameRules {
  /** Backslashes separate, colons name drives and streams, some names are devices, spaces and dots at the end are dropped. */
  readonly isWindows: boolean
}

/** `written` from the directory `from`. */
export function resolvePath(written: string, from: VolumePath, rules: NameRules): Resolved {
  if (written === '') return refuse('path required')
  if (written.includes('\0')) return refuse('path contains a null byte')
  if (written.length > PATH_BYTES_MAX) return refuse(`path is longer than ${PATH_BYTES_MAX} bytes`)
  const path = written.startsWith('/') ? [] : [...from]
  for (const name of written.split('/')) {
    if (name === '' || name === '.') continue
    if (name === '..') {
      if (path.pop() === undefined) return refuse('path traversal not allowed: it leads out of the volume')
      continue
    }
    if (name.length > NAME_BYTES_MAX) return refuse(`a name in the path is longer than ${NAME_BYTES_MAX} bytes`)
    if (rules.isWindows && !isPlainOnWindows(name)) {
      return refuse('path traversal not allowed: a name in it means something else on this system')
    }
    path.push(name)
  }
  return { ok: true, path }
}

const DEVICE = /^(?:con|prn|aux|nul|conin\$|conout\$|com[0-9\xb9\xb2\xb3]|lpt[0-9\xb9\xb2\xb3])(?:[ .]|$)/i

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are among what Windows forbids
const isPlainOnWindows = (name: string): boolean => !/[\\:*?"<>|\x00-\x1f]|[ .]$/.test(name) && !DEVICE.test(name)

/** As scripts see it: a byte string. */
export const showPath = (path: VolumePath): string => `/${path.join('/')}`

/** For messages: text. */
export const pathText = (path: VolumePath): string => toText(showPath(path))
