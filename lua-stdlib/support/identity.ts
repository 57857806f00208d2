// Actors and scopes as scripts hold them. lua-libraries.md §25.

import { TableValue, type Value } from '../../runtime/base/value.ts'
import { type Call, HostObject, type ObjectSaving } from '../../runtime/lua/engine.ts'
import type { Actor, Identity } from '../../runtime/services.ts'
import { objectArg } from './args.ts'
import { damaged } from './saving.ts'

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

// ---- saving

export const actorSaving: ObjectSaving<ActorObject> = {
  save: ({ actor }) => ({ data: [actor.id, actor.meta], values: [] }),
  restore: (data) => new ActorObject(actorFrom(data)),
}

export const scopeSaving: ObjectSaving<ScopeObject> = {
  save: ({ policyIds }) => ({ data: policyIds, values: [] }),
  restore: (data) => new ScopeObject(policyIdsFrom(data)),
}

/** Of options that name who acts. */
export function identityData(identity: Identity | undefined): Value {
  if (identity === undefined) return undefined
  const { actor, scope } = identity
  return new TableValue([
    actor === undefined ? false : new TableValue([actor.id, actor.meta]),
    scope === undefined ? false : new TableValue([...scope]),
  ])
}

/** @throws MoonmeshError `Invalid` for what `identityData` never gives */
export function identityFrom(data: Value): Identity | undefined {
  if (data === undefined) return undefined
  const [actor, scope] = itemsOf(data)
  return {
    actor: actor === false ? undefined : actorFrom(itemsOf(actor)),
    scope: scope === false ? undefined : policyIdsFrom(itemsOf(scope)),
  }
}

function actorFrom([id, meta]: readonly Value[]): Actor {
  if (typeof id !== 'string' || !(meta instanceof TableValue)) throw damaged('an actor')
  return { id, meta }
}

function policyIdsFrom(data: readonly Value[]): readonly string[] {
  if (!data.every((id) => typeof id === 'string')) throw damaged('a scope')
  return data
}

function itemsOf(value: Value): readonly Value[] {
  if (!(value instanceof TableValue)) throw damaged('an identity')
  return value.array
}
