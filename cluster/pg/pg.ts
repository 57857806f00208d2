// Process groups of one node: its scopes, and what other nodes say to them. cluster.md §9.

import type { Env } from '../../runtime/base/env.ts'
import { MoonmeshError } from '../../runtime/base/errors.ts'
import { getOrAdd } from '../../runtime/base/maps.ts'
import { UnpackError } from '../../runtime/base/msgpack.ts'
import type { Fabric, Run } from '../fabric.ts'
import { type ScopeHooks, ScopeRunner, type ScopeSettings } from './runner.ts'
import {
  DELTA,
  decodeBroadcast,
  decodeMessage,
  decodePull,
  encodeAnswer,
  encodeMessage,
  HELLO,
  NONE,
  PULL,
} from './wire/codec.ts'

export interface PgParts {
  /** The node's name. */
  readonly name: string
  readonly env: Env
  /** Undefined: the node is alone, and its groups are its own. */
  readonly fabric: Fabric | undefined
  /** Runs something in a later turn of the event loop. */
  readonly defer: (run: () => void) => void
  readonly log: Fabric['log']
}

const TELL_AGAIN_MS = 1000

export class ProcessGroups {
  readonly #parts: PgParts
  readonly #scopes = new Map<string, ScopeRunner>()
  /** How often a scope began in this run of the node. */
  readonly #runs = new Map<string, number>()
  readonly #links = new Map<string, Run>()
  /** Nodes whose messages cannot be read, to say so once. */
  readonly #unreadable = new Set<string>()
  readonly #closers: (() => void)[] = []
  /** Nodes that are still to be told that a scope is not here, by name, with the scopes. */
  readonly #untold = new Map<string, Set<string>>()
  #cancelTelling: (() => void) | undefined
  /** Broadcasts of other nodes that nobody here could take. */
  unreadableMessages = 0
  unknownScopes = 0

  constructor(parts: PgParts) {
    this.#parts = parts
    const { fabric } = parts
    if (fabric === undefined) return
    for (const node of fabric.linked()) this.#links.set(node.name, node)
    this.#closers.push(
      fabric.onLink(({ kind, node }) => (kind === 'up' ? this.#up(node) : this.#down(node))),
      ...[HELLO, DELTA, NONE].map((method) =>
        fabric.onNotify(method, (from, body) => this.#guarded(from, () => this.#heard(from, method, body))),
      ),
      fabric.serve(PULL, (body) => this.#answer(body)),
      fabric.onMessage('pg', (from, bytes) => this.#guarded(from, () => this.#broadcast(from, bytes))),
    )
  }

  /** Begins a scope, with nobody in it. */
  open(id: string, settings: ScopeSettings, hooks: ScopeHooks): ScopeRunner {
    this.stop(id)
    const run = this.#runs.get(id) ?? 0
    this.#runs.set(id, run + 1)
    const scope = new ScopeRunner({ id, run, settings, hooks, links: this.#links }, this.#parts)
    this.#scopes.set(id, scope)
    return scope
  }

  stop(id: string): void {
    const untold = this.#scopes.get(id)?.close() ?? []
    this.#scopes.delete(id)
    for (const node of untold) this.#tellLater(node, id)
  }

  /** By id. */
  scopes(): readonly ScopeRunner[] {
    return [...this.#scopes.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
  }

  close(): void {
    for (const id of [...this.#scopes.keys()]) this.stop(id)
    for (const close of this.#closers.splice(0)) close()
    this.#cancelTelling?.()
    this.#untold.clear()
  }

  #up(node: Run): void {
    this.#links.set(node.name, node)
    for (const scope of this.scopes()) scope.nodeUp(node)
  }

  #down(node: Run): void {
    this.#unreadable.delete(node.name)
    this.#untold.delete(node.name)
    if (this.#links.get(node.name)?.epoch === node.epoch) this.#links.delete(node.name)
    for (const scope of this.scopes()) scope.nodeDown(node)
  }

  #heard(from: Run, method: string, body: Uint8Array): void {
    const decoded = decodeMessage(method, body)
    if (decoded === undefined) return
    const { scope: id, message } = decoded
    const scope = this.#scopes.get(id)
    if (scope !== undefined) return scope.heard(from, message)
    // A message that is not taken here is answered as often as it comes: that is not worth remembering.
    if (message.kind !== 'none') this.#tellNone(from, id)
  }

  /** @returns whether it was taken */
  #tellNone(to: Run, id: string): boolean {
    const { method, body } = encodeMessage(id, { kind: 'none' })
    return this.#parts.fabric?.notify(to, method, body) === undefined
  }

  /** Members that a node goes on seeing although their scope has ended would be missed by nobody. */
  #tellLater(node: string, id: string): void {
    getOrAdd(this.#untold, node, () => new Set<string>()).add(id)
    this.#cancelTelling ??= this.#parts.fabric?.after(TELL_AGAIN_MS, () => {
      this.#cancelTelling = undefined
      for (const [name, ids] of [...this.#untold]) {
        this.#untold.delete(name)
        const to = this.#links.get(name)
        for (const each of ids) {
          // One that has begun again speaks for itself.
          if (to !== undefined && !this.#scopes.has(each) && !this.#tellNone(to, each)) this.#tellLater(name, each)
        }
      }
    })
  }

  #answer(body: Uint8Array): Uint8Array {
    try {
      const { scope: id, request } = decodePull(body)
      const scope = this.#scopes.get(id)
      if (scope !== undefined) return encodeAnswer(scope.answerPull(request))
    } catch (error) {
      if (!(error instanceof UnpackError)) throw error
      throw new MoonmeshError('Invalid', `pg.pull: ${error.message}`, { retryable: false })
    }
    throw new MoonmeshError('NotFound', `node ${this.#parts.name} has no such scope of groups`, { retryable: true })
  }

  #broadcast(from: Run, bytes: Uint8Array): void {
    const frame = decodeBroadcast(bytes)
    const scope = this.#scopes.get(frame.scope)
    if (scope === undefined) this.unknownScopes++
    else scope.broadcastFrom(from, frame)
  }

  #guarded(from: Run, read: () => void): void {
    try {
      read()
    } catch (error) {
      if (!(error instanceof UnpackError)) throw error
      this.unreadableMessages++
      if (this.#unreadable.has(from.name)) return
      this.#unreadable.add(from.name)
      this.#parts.log('warn', 'pg_unreadable', { peer: from.name, reason: error.message })
    }
  }
}
