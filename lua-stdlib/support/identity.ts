// Actors and scopes as scripts hold them. lua-libraries.md §25.

import { type Call, HostObject } from '../../runtime/lua/engine.ts'
import type { Actor, Identity } from '../../runtime/services.ts'
import { objectArg } from './args.ts'

/** Who acts. */
export class ActorObject extends HostObject {
  readonly actor: Actor
  constructor(actor: Actor) {
    super()
    this.actor = actor
  }
  override get className(): string {
    return 'security.Actor'
  }
}

/** Which policies apply: ids, each once, in the order in which they were added. */
export class ScopeObject extends HostObject {
  readonly policyIds: readonly string[]
  constructor(policyIds: readonly string[]) {
    super()
    this.policyIds = policyIds
  }
  override get className(): string {
    return 'security.Scope'
  }
}

/** The identity with the actor of argument `index` in it. */
export function withActor(call: Call, index: number, fn: string, base: Identity | undefined): Identity {
  const { actor } = objectArg(call, index, fn, ActorObject, 'security.Actor')
  return { actor, scope: base?.scope }
}

/** The identity with the scope of argument `index` in it. */
export function withScope(call: Call, index: number, fn: string, base: Identity | undefined): Identity {
  const { policyIds } = objectArg(call, index, fn, ScopeObject, 'security.Scope')
  return { actor: base?.actor, scope: policyIds }
}
