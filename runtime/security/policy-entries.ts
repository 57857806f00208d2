// `security.policy` entries as hosts evaluate them. lua-libraries.md §25.

import type { Entry, PolicyEntry, Security } from '../app/load.ts'
import { toBytes } from '../base/bytes.ts'
import { fromPlain } from '../base/plain.ts'
import { TableValue } from '../base/value.ts'
import type { Identity, Policy, PolicySet } from './core/policies.ts'

export function policySetOf(entries: readonly Entry[], isStrict: boolean): PolicySet {
  const policies = entries.flatMap((entry) =>
    entry.kind === 'security.policy' || entry.kind === 'security.policy.expr' ? [policyOf(entry)] : [],
  )
  return { isStrict, policies }
}

function policyOf({ id, namespace, groups, policy }: PolicyEntry): Policy {
  const { actions, resources, effect, conditions } = policy
  return {
    id: toBytes(id),
    // A group is known by the name it is given, and by that name within the entry's namespace.
    groups: [...new Set(groups.flatMap((group) => [group, fullId(group, namespace)]))].map(toBytes),
    actions: actions.map(toBytes),
    resources: resources.map(toBytes),
    effect,
    conditions: conditions.map((condition) => ({ ...condition, value: fromPlain(condition.value) })),
    expression: 'expression' in policy ? toBytes(policy.expression) : undefined,
  }
}

/** Groups may bear any name; one without a colon belongs to the namespace of whoever writes it. */
function fullId(reference: string, namespace: string): string {
  return reference.includes(':') ? reference : `${namespace}:${reference}`
}

/** On whose behalf the process of a service runs; undefined when its entry says nothing of it. */
export function identityOf(
  security: Security | undefined,
  namespace: string,
  { policies: known }: PolicySet,
): Identity | undefined {
  if (security === undefined) return undefined
  const { actor, groups, policies } = security
  const inGroups = groups.map((group) => toBytes(fullId(group, namespace)))
  const ids = [
    ...policies.map((policy) => toBytes(fullId(policy, namespace))),
    ...known.flatMap(({ id, groups: each }) => (each.some((group) => inGroups.includes(group)) ? [id] : [])),
  ]
  const meta = actor === undefined ? undefined : fromPlain(actor.meta)
  return {
    actor:
      actor === undefined
        ? undefined
        : { id: toBytes(actor.id), meta: meta instanceof TableValue ? meta : new TableValue() },
    scope: [...new Set(ids)],
  }
}
