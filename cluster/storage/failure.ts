// What a disk refuses, in words that say what to do. Every error of this folder goes through here, once.

import { codeOf, type ErrorKind, MoonmeshError, messageOf } from '../../runtime/base/errors.ts'

type FailureReason =
  | 'full'
  | 'permission'
  | 'read-only'
  | 'locked'
  | 'missing'
  | 'directory'
  | 'corrupt'
  | 'too-many-files'
  | 'io'
  | 'closed'

interface Explanation {
  readonly kind: ErrorKind
  readonly text: string
}

const explanations: Record<FailureReason, Explanation> = {
  full: { kind: 'Unavailable', text: 'no space is left on the disk (or the quota is used up); free some' },
  permission: {
    kind: 'PermissionDenied',
    text: 'not permitted; the user of this process must be able to read and write it',
  },
  'read-only': {
    kind: 'PermissionDenied',
    text: 'the file system is mounted read-only, which it may become after errors',
  },
  locked: {
    kind: 'Conflict',
    text: 'another process is using it; stop that one or give this node a directory of its own',
  },
  missing: { kind: 'NotFound', text: 'it is not there' },
  directory: { kind: 'Invalid', text: 'a directory is there; name a file' },
  corrupt: { kind: 'Internal', text: 'its content is damaged' },
  'too-many-files': { kind: 'Unavailable', text: 'too many open files; raise the limit of this process (ulimit -n)' },
  io: { kind: 'Internal', text: 'the disk failed; see the system log for its health' },
  closed: { kind: 'Canceled', text: 'it has been closed' },
}

const byCode: { readonly [code: string]: FailureReason | undefined } = {
  ENOSPC: 'full',
  EDQUOT: 'full',
  EFBIG: 'full',
  EACCES: 'permission',
  EPERM: 'permission',
  EROFS: 'read-only',
  ENOENT: 'missing',
  ENOTDIR: 'missing',
  EISDIR: 'directory',
  EMFILE: 'too-many-files',
  ENFILE: 'too-many-files',
  LEVEL_LOCKED: 'locked',
  LEVEL_CORRUPTION: 'corrupt',
  LEVEL_DATABASE_NOT_OPEN: 'closed',
  LEVEL_ITERATOR_NOT_OPEN: 'closed',
}

// LevelDB hands on the system's words and drops its codes.
const byText: readonly (readonly [RegExp, FailureReason])[] = [
  [/no space left on device|disk quota exceeded|not enough space on the disk/i, 'full'],
  [/file too large/i, 'full'],
  [/permission denied|operation not permitted|access is denied/i, 'permission'],
  [/read-only file system/i, 'read-only'],
  [/too many open files/i, 'too-many-files'],
]

/** Whether `error` was made here, and why: the word that code may branch on. */
export function failureReason(error: unknown): FailureReason | undefined {
  const reason = error instanceof MoonmeshError ? error.details?.['reason'] : undefined
  return typeof reason === 'string' && Object.hasOwn(explanations, reason) ? (reason as FailureReason) : undefined
}

/** A failure of `path` for a known reason; `detail` is put before the general advice. `details`: `{ reason, path }`. */
export function failure(reason: FailureReason, path: string, detail?: string, cause?: unknown): MoonmeshError {
  const { kind, text } = explanations[reason]
  const message = detail === undefined ? `${path}: ${text}` : `${path}: ${detail} (${text})`
  return new MoonmeshError(kind, message, { details: { reason, path }, ...(cause === undefined ? {} : { cause }) })
}

/** Wraps what a file system or LevelDB threw while `doing` something with `path`; a failure made here passes unchanged. */
export function explain(error: unknown, path: string, doing: string): MoonmeshError {
  if (failureReason(error) !== undefined) return error as MoonmeshError
  // LevelDB's reason for not opening is the cause of another error.
  const inner = (error as { cause?: unknown } | undefined)?.cause ?? error
  return failure(reasonOf(inner), path, `${doing}: ${messageOf(inner)}`, error)
}

function reasonOf(error: unknown): FailureReason {
  const known = byCode[codeOf(error) ?? '']
  if (known !== undefined) return known
  const text = messageOf(error)
  for (const [pattern, reason] of byText) if (pattern.test(text)) return reason
  return 'io'
}
