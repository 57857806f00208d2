// Where a PID lives: one of this node's hosts, a host that is not running, or nowhere.

import { isFunctionHost, parsePid } from '../../base/pid.ts'

interface HostSlots {
  /** Whether the node has a host of this id at all. */
  knowsHost(id: string): boolean
  /** The host of the open line with this slot. */
  hostOfSlot(slot: number): string | undefined
}

/** Why a process cannot be reached: its PID is one of another run of the node, or it is not there (any more). */
export type Undelivered = 'stale_epoch' | 'noproc'

type Route =
  | { kind: 'here'; host: string; slot: number }
  | { kind: 'unknown-host'; host: string }
  /** On another node, in this run of it. */
  | { kind: 'peer'; node: string; epoch: number }
  /** The host exists; the process, its worker or its run of the node does not. */
  | { kind: 'gone'; why: Undelivered }

export function routeOf(pid: string, self: { node: string | undefined; epoch: number }, hosts: HostSlots): Route {
  const parts = parsePid(pid)
  if (parts === undefined) return { kind: 'gone', why: 'noproc' }
  const { host, epoch, slot } = parts
  if (parts.node !== undefined && self.node !== undefined && parts.node !== self.node) {
    return { kind: 'peer', node: parts.node, epoch }
  }
  const isFunction = isFunctionHost(host)
  if (parts.node !== self.node || !(isFunction || hosts.knowsHost(host))) return { kind: 'unknown-host', host }
  if (epoch !== self.epoch) return { kind: 'gone', why: Number.isNaN(epoch) ? 'noproc' : 'stale_epoch' }
  const holder = hosts.hostOfSlot(slot)
  if (holder === undefined || !(isFunction || holder === host)) return { kind: 'gone', why: 'noproc' }
  return { kind: 'here', host: holder, slot }
}
