// Module `security`: who acts, which policies apply, and what they say. lua-libraries.md §25.

import { toText } from '../runtime/base/bytes.ts'
import { TableValue } from '../runtime/base/value.ts'
import {
  type Call,
  HostObject,
  type LuaTable,
  type LuaValue,
  type ObjectSaving,
  type Returns,
} from '../runtime/lua/engine.ts'
import type { LibraryModule, Verdict } from '../runtime/services.ts'
import { objectArg, processOf, stringArg, tableArg } from './support/args.ts'
import { fail } from './support/fail.ts'
import { ActorObject, actorSaving, ScopeObject, scopeSaving } from './support/identity.ts'
import { demand, refusal } from './support/permit.ts'
import { damaged } from './support/saving.ts'

class PolicyObject extends HostObject {
  readonly id: string
  constructor(id: string) {
    super()
    this.id = id
  }
  override get className(): string {
    return 'security.Policy'
  }
}

const policySaving: ObjectSaving<PolicyObject> = {
  save: ({ id }) => ({ data: [id], values: [] }),
  restore([id]) {
    if (typeof id !== 'string') throw damaged('a policy')
    return new PolicyObject(id)
  },
}

const actor = (call: Call, index: number, fn: string): ActorObject =>
  objectArg(call, index, fn, ActorObject, 'security.Actor')
const scope = (call: Call, fn: string): ScopeObject => objectArg(call, 1, fn, ScopeObject, 'security.Scope')
const policy = (call: Call, index: number, fn: string): PolicyObject =>
  objectArg(call, index, fn, PolicyObject, 'security.Policy')

/** Facts for conditions: the table of an argument, or nothing. */
function metaArg(call: Call, index: number, fn: string): TableValue | undefined {
  return call.arg(index) === undefined ? undefined : (call.engine.copyOut(tableArg(call, index, fn)) as TableValue)
}

/** What the policies say of an actor's action: arguments actor, action, resource, meta from `index` on. */
function verdict(call: Call, index: number, fn: string, policyIds: readonly string[]): Verdict {
  const who = actor(call, index, fn).actor
  const action = stringArg(call, index + 1, fn)
  const resource = stringArg(call, index + 2, fn)
  const meta = metaArg(call, index + 3, fn)
  return processOf(call).policies.evaluate(policyIds, { actor: who, action, resource, meta })
}

function can(call: Call): Returns {
  const action = stringArg(call, 1, 'can')
  const resource = stringArg(call, 2, 'can')
  const meta = metaArg(call, 3, 'can')
  const { identity, policies } = processOf(call)
  if (identity?.actor === undefined || identity.scope === undefined) return false
  return policies.evaluate(identity.scope, { actor: identity.actor, action, resource, meta }) === 'allow'
}

function newActor(call: Call): Returns {
  const id = stringArg(call, 1, 'new_actor')
  const meta = metaArg(call, 2, 'new_actor') ?? new TableValue()
  demand(call, 'security.actor.create', id)
  return new ActorObject({ id, meta })
}

function newScope(call: Call): Returns {
  const ids: string[] = []
  if (call.arg(1) !== undefined) {
    const table: LuaTable = tableArg(call, 1, 'new_scope')
    for (let i = 1; i <= call.engine.length(table); i++) {
      const item: LuaValue = call.engine.get(table, i)
      if (item instanceof PolicyObject && !ids.includes(item.id)) ids.push(item.id)
    }
  }
  demand(call, 'security.scope.create', 'custom')
  return new ScopeObject(ids)
}

function policyById(call: Call): Returns {
  const id = stringArg(call, 1, 'policy')
  const refused = refusal(call, 'security.policy.get', id)
  if (refused !== undefined) return refused
  if (!processOf(call).policies.has(id)) return fail('Internal', `policy not found: ${toText(id)}`)
  return [new PolicyObject(id), undefined]
}

function namedScope(call: Call): Returns {
  const group = stringArg(call, 1, 'named_scope')
  const refused = refusal(call, 'security.policy_group.get', group)
  if (refused !== undefined) return refused
  const ids = processOf(call).policies.group(group)
  if (ids.length === 0) return fail('Internal', `policy group not found: ${toText(group)}`)
  return [new ScopeObject(ids), undefined]
}

export const securityModule: LibraryModule = {
  name: 'security',
  description: 'actors, scopes and policies',
  tags: ['security', 'nondeterministic'],
  build: () => ({
    actor: (call) => {
      const { identity } = processOf(call)
      return identity?.actor === undefined ? [undefined] : new ActorObject(identity.actor)
    },
    scope: (call) => {
      const { identity } = processOf(call)
      return identity?.scope === undefined ? [undefined] : new ScopeObject(identity.scope)
    },
    can,
    new_actor: newActor,
    new_scope: newScope,
    policy: policyById,
    named_scope: namedScope,
  }),
  classes: [
    {
      name: 'security.Actor',
      saving: actorSaving,
      methods: {
        id: (call) => actor(call, 1, 'id').actor.id,
        meta: (call) => call.engine.copyIn(actor(call, 1, 'meta').actor.meta),
      },
      metamethods: { tostring: (call) => `security.Actor{${actor(call, 1, 'tostring').actor.id}}` },
    },
    {
      name: 'security.Scope',
      saving: scopeSaving,
      methods: {
        with: (call) => {
          const { policyIds } = scope(call, 'with')
          const { id } = policy(call, 2, 'with')
          return new ScopeObject(policyIds.includes(id) ? policyIds : [...policyIds, id])
        },
        without: (call) => {
          const { policyIds } = scope(call, 'without')
          const id = stringArg(call, 2, 'without')
          return new ScopeObject(policyIds.filter((each) => each !== id))
        },
        contains: (call) => scope(call, 'contains').policyIds.includes(stringArg(call, 2, 'contains')),
        policies: (call) => {
          const table = call.engine.newTable()
          for (const [i, id] of scope(call, 'policies').policyIds.entries()) {
            call.engine.set(table, i + 1, new PolicyObject(id))
          }
          return table
        },
        evaluate: (call) => verdict(call, 2, 'evaluate', scope(call, 'evaluate').policyIds),
      },
      metamethods: { tostring: (call) => `security.Scope{${scope(call, 'tostring').policyIds.length} policies}` },
    },
    {
      name: 'security.Policy',
      saving: policySaving,
      methods: {
        id: (call) => policy(call, 1, 'id').id,
        evaluate: (call) => verdict(call, 2, 'evaluate', [policy(call, 1, 'evaluate').id]),
      },
      metamethods: { tostring: (call) => `security.Policy{${policy(call, 1, 'tostring').id}}` },
    },
  ],
}
