// Failures of the world, as one class. The kind is the same word in Lua, the admin interface and the logs.

/** The kinds that code may branch on. Scripts may use further ones of their own. */
export type ErrorKind =
  | 'Invalid'
  | 'NotFound'
  | 'AlreadyExists'
  | 'PermissionDenied'
  | 'Unavailable'
  | 'Internal'
  | 'Canceled'
  | 'Conflict'
  | 'Timeout'
  | 'RateLimited'
  | 'InvalidState'
  | 'LimitExceeded'
  | 'Terminated'
  | 'Exited'

interface ErrorOptions {
  /** Whether trying again may help; absent: unknown. */
  retryable?: boolean
  /** Facts for programs, in plain data. */
  details?: Record<string, unknown>
  cause?: unknown
}

/** A failure that reaches callers. Branch on `kind`; `message` tells a person what happened, with which value, and what to do. */
export class MoonmeshError extends Error {
  override readonly name = 'MoonmeshError'
  readonly kind: ErrorKind | (string & {})
  readonly retryable: boolean | undefined
  readonly details: Record<string, unknown> | undefined

  constructor(kind: ErrorKind | (string & {}), message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.kind = kind
    this.retryable = options.retryable
    this.details = options.details
  }

  /** Within results that are written as JSON: what a person and a program need, and nothing of the class. */
  toJSON(): Record<string, unknown> {
    const { kind, message, retryable, details } = this
    return {
      kind,
      message,
      ...(retryable === undefined ? {} : { retryable }),
      ...(details === undefined ? {} : { details }),
    }
  }
}

/** The text of anything thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}

/** The code of a system error, such as `EADDRINUSE`. */
export function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code
}
