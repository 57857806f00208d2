// Which policies say what about an action on a resource: any deny denies, else any allow allows. lua-libraries.md §25.

import type { TableValue, Value } from '../../base/value.ts'

/** On whose behalf code runs: who (actor), and the policies that apply (scope). lua-libraries.md §25. */
export interface Identity {
  readonly actor: Actor | undefined
  /** Ids of `security.policy` entries; undefined: no scope at all. */
  readonly scope: readonly string[] | undefined
}

export interface Actor {
  readonly id: string
  readonly meta: TableValue
}

/** The policies of the app, as every host knows them. */
export interface PolicySet {
  /** Whether a check with an incomplete identity refuses. */
  readonly isStrict: boolean
  readonly policies: readonly Policy[]
}

/** A `security.policy` or `security.policy.expr` entry in neutral form. */
export interface Policy {
  readonly id: string
  readonly groups: readonly string[]
  readonly actions: readonly string[]
  readonly resources: readonly string[]
  readonly effect: 'allow' | 'deny'
  readonly conditions: readonly PolicyCondition[]
  /** Text in the language of `expr`; the policy applies when it is true. */
  readonly expression: string | undefined
}

export interface PolicyCondition {
  readonly field: string
  readonly operator: string
  readonly value: Value
  readonly valueFrom: string | undefined
}

export type Verdict = 'allow' | 'deny' | 'undefined'

/** The app's policies, in force (lua-libraries.md §25). */
export interface Policies {
  readonly isStrict: boolean
  has(policyId: string): boolean
  /** Ids of the policies of a group; empty for an unknown group. */
  group(name: string): readonly string[]
  /** Any deny denies, else any allow allows; policies that do not exist any more say nothing. */
  evaluate(policyIds: readonly string[], request: PolicyRequest): Verdict
}

export interface PolicyRequest {
  readonly actor: Actor
  readonly action: string
  readonly resource: string
  /** Facts about the action, beside its resource. */
  readonly meta: TableValue | undefined
}

/** Tells whether a policy's conditions hold for a request. */
export type Conditions = (policy: Policy, request: PolicyRequest) => boolean

export class PolicyTable implements Policies {
  readonly #conditions: Conditions
  #policies = new Map<string, Policy>()
  #groups = new Map<string, string[]>()
  #isStrict = false

  constructor(conditions: Conditions) {
    this.#conditions = conditions
  }

  get isStrict(): boolean {
    return this.#isStrict
  }

  replace({ isStrict, policies }: PolicySet): void {
    this.#isStrict = isStrict
    this.#policies = new Map(policies.map((policy) => [policy.id, policy]))
    this.#groups = new Map()
    for (const { id, groups } of policies) {
      for (const group of groups) {
        const members = this.#groups.get(group)
        if (members === undefined) this.#groups.set(group, [id])
        else members.push(id)
      }
    }
  }

  has(policyId: string): boolean {
    return this.#policies.has(policyId)
  }

  group(name: string): readonly string[] {
    return this.#groups.get(name) ?? []
  }

  evaluate(policyIds: readonly string[], request: PolicyRequest): Verdict {
    let verdict: Verdict = 'undefined'
    for (const id of policyIds) {
      const policy = this.#policies.get(id)
      if (policy === undefined || !applies(policy, request) || !this.#conditions(policy, request)) continue
      if (policy.effect === 'deny') return 'deny'
      verdict = 'allow'
    }
    return verdict
  }
}

function applies({ actions, resources }: Policy, { action, resource }: PolicyRequest): boolean {
  return actions.some((pattern) => matches(pattern, action)) && resources.some((pattern) => matches(pattern, resource))
}

/** `*` stands for any text, also none. Linear in pattern and text for one star, bounded by their product for several. */
export function matches(pattern: string, text: string): boolean {
  let p = 0
  let t = 0
  let star = -1
  let mark = 0
  while (t < text.length) {
    if (pattern[p] === '*') {
      star = p++
      mark = t
    } else if (pattern[p] === text[t]) {
      p++
      t++
    } else if (star >= 0) {
      p = star + 1
      t = ++mark
    } else return false
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}
