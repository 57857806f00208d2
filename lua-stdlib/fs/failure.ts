// What the operating system's refusals mean to a script. Messages name paths within the volume, never where it lies.

import { type ErrorKind, MoonmeshError, messageOf } from '../../runtime/base/errors.ts'

const MEANINGS: Readonly<Record<string, readonly [kind: ErrorKind, text: string]>> = {
  ENOENT: ['NotFound', 'no such file or directory'],
  ENOTDIR: ['Invalid', 'not a directory'],
  EISDIR: ['Invalid', 'is a directory'],
  EEXIST: ['AlreadyExists', 'already exists'],
  ENOTEMPTY: ['Invalid', 'directory not empty'],
  EINVAL: ['Invalid', 'invalid argument'],
  ENAMETOOLONG: ['Invalid', 'name too long'],
  EACCES: ['PermissionDenied', 'permission denied'],
  EPERM: ['PermissionDenied', 'operation not permitted'],
  EROFS: ['PermissionDenied', 'read-only file system'],
  ENXIO: ['Invalid', 'not a regular file'],
  ENOSPC: ['Internal', 'no space left on device'],
  EDQUOT: ['Internal', 'disk quota exceeded'],
  EFBIG: ['Internal', 'file too large'],
  EMFILE: ['LimitExceeded', 'too many open files'],
  ENFILE: ['LimitExceeded', 'too many open files in the system'],
}

export function codeOf(thrown: unknown): string | undefined {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined
  return typeof code === 'string' ? code : undefined
}

export function failure(kind: ErrorKind, text: string): MoonmeshError {
  return new MoonmeshError(kind, text, { retryable: false })
}

export const leadsOut = (shown: string): MoonmeshError =>
  failure('Invalid', `path traversal not allowed: ${shown} is a link that leads out of the volume`)

/**
 * @param shown the path within the volume
 * @param kinds where an operation departs from the usual kinds, by code
 */
export function ioFailure(
  thrown: unknown,
  shown: string,
  kinds: Readonly<Record<string, ErrorKind>> = {},
): MoonmeshError {
  if (thrown instanceof MoonmeshError) return thrown
  const code = codeOf(thrown)
  // A link that was not one a moment ago.
  if (code === 'ELOOP') return leadsOut(shown)
  const [kind, text] = (code === undefined ? undefined : MEANINGS[code]) ?? [
    'Internal',
    `failed (${code ?? messageOf(thrown)})`,
  ]
  return failure((code === undefined ? undefined : kinds[code]) ?? kind, `${text}: ${shown}`)
}
