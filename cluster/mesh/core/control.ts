// Messages of class link: they keep a connection alive and say what arrived. cluster.md §4.5, §4.6, §4.8.

import type { Received } from './handshake.ts'

export type Control =
  | { readonly kind: 'ping' | 'pong'; readonly token: number }
  /** Everything up to these numbers arrived; `bytes`: of frames of the classes that share the window, on this connection. */
  | { readonly kind: 'ack'; readonly received: Received; readonly bytes: number }
  /** What may be sent in total on this connection, in bytes of messages. */
  | { readonly kind: 'credit'; readonly bulk: number; readonly rlog: number }
  /** Precedes every deliberate close. */
  | { readonly kind: 'goodbye'; readonly reason: GoodbyeReason }

export const GOODBYE_REASONS = [
  /** Another connection of the pair won. */
  'duplicate',
  /** Nothing to say for long; whoever has something dials. */
  'idle',
  /** The node stops. */
  'shutdown',
  /** Gossip says that the receiver is dead, left or another run. */
  'not_member',
  /** The link session is over. */
  'session_over',
  /** The receiver broke the protocol. */
  'protocol',
  /** The receiver's certificate is past its time. */
  'cert_expired',
] as const

export type GoodbyeReason = (typeof GOODBYE_REASONS)[number]
