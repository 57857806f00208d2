// The commands of the replicated state machine: all that an entry can ask of it. cluster.md §5.11, §6.2, §7, §8.2.

import type { KvCommand } from '../../kv/core/commands.ts'
import type { GlobalScope } from './outcomes.ts'

export type Command =
  | { readonly kind: 'node-up'; readonly node: string; readonly epoch: number; readonly role: string }
  | { readonly kind: 'node-down'; readonly node: string; readonly session: number; readonly reason: string }
  | { readonly kind: 'proc-down'; readonly pids: readonly string[] }
  | { readonly kind: 'register'; readonly name: string; readonly pid: string }
  /** Without a PID: whoever owns it. */
  | {
      readonly kind: 'unregister'
      readonly name: string
      readonly pid?: string | undefined
      readonly scope: GlobalScope
    }
  | { readonly kind: 'strong-open'; readonly name: string; readonly pid: string; readonly ttlMs: number }
  | {
      readonly kind: 'strong-ack'
      readonly name: string
      readonly revision: number
      readonly sessions: readonly number[]
    }
  | {
      readonly kind: 'strong-reject'
      readonly name: string
      readonly revision: number
      readonly session: number
      readonly holder: string
    }
  | { readonly kind: 'strong-abort'; readonly name: string; readonly revision: number }
  /** `waitMs` 0: fail fast. `ttlMs` 0: until released. */
  | {
      readonly kind: 'lock-acquire'
      readonly name: string
      readonly pid: string
      readonly waitMs: number
      readonly ttlMs: number
    }
  /** Without a token: whichever grant. */
  | { readonly kind: 'lock-release'; readonly name: string; readonly pid: string; readonly token?: number | undefined }
  | {
      readonly kind: 'lock-renew'
      readonly name: string
      readonly pid: string
      readonly token: number
      readonly ttlMs: number
    }
  /**
   * Undoes an earlier request of the same session whose answer nobody waits for any more: it stops waiting, a lock that it was granted is
   * released, and if it has not arrived yet it never will.
   */
  | { readonly kind: 'cancel'; readonly seq: number }
  | { readonly kind: 'kv'; readonly command: KvCommand }

/** A command and who asks. Session 0: the leader or a node without a session, for commands that are idempotent by themselves. */
export interface Envelope {
  readonly session: number
  /** From 1, rising within the session. */
  readonly seq: number
  /** The smallest seq that the submitter has got no answer for, not even `pending`; at most `seq`. */
  readonly floor: number
  /** Earlier requests that are over for the submitter: told `pending` and ended since, or given up. What has not arrived never will. */
  readonly done?: readonly number[]
  readonly command: Command
}

/** Requests that one command may say its node is done with. */
export const DONE_MAX = 1024

/** Commands that carry their own identity and need no session. */
export const SESSIONLESS: ReadonlySet<Command['kind']> = new Set([
  'node-up',
  'node-down',
  'strong-ack',
  'strong-reject',
  'strong-abort',
])

/** Reads what an entry of commands holds. @throws UnpackError when it is not of this version of the program */
export type DecodeCommands = (data: Uint8Array) => Envelope[]

const NAME_BYTES_MAX = 255
const encoder = new TextEncoder()

/** Whether every scope takes this name: 1..255 bytes of UTF-8, no control characters, no PID and no topic. cluster.md §6.1. */
export function isName(text: string): boolean {
  if (text === '' || text.length > NAME_BYTES_MAX || text[0] === '{' || text[0] === '@') return false
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit < 0x20 || (unit >= 0x7f && unit < 0xa0)) return false
  }
  return encoder.encode(text).length <= NAME_BYTES_MAX
}
