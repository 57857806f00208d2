import { expect, test } from 'vitest'
import { record, TableValue } from '../../../../runtime/base/value.ts'
import { policyConditions } from '../../../../runtime/security/conditions.ts'
import { matches, type Policy, PolicyTable } from '../../../../runtime/security/core/policies.ts'

const policy = (id: string, over: Partial<Policy> = {}): Policy => ({
  id,
  groups: [],
  actions: ['*'],
  resources: ['*'],
  effect: 'allow',
  conditions: [],
  expression: undefined,
  ...over,
})

const ann = { id: 'ann', meta: record({ level: 3, teams: new TableValue(['red', 'blue']) }) }
const request = { actor: ann, action: 'docs.read', resource: 'docs:a', meta: record({ owner: 'ann', size: 10 }) }

function verdict(...policies: Policy[]): string {
  const table = new PolicyTable(policyConditions((source) => (source === 'fails' ? undefined : source === 'true')))
  table.replace({ isStrict: false, policies })
  return table.evaluate(
    policies.map(({ id }) => id),
    request,
  )
}

test('any deny denies, else any allow allows, else nothing is said (lua-libraries.md §25)', () => {
  expect(verdict()).toBe('undefined')
  expect(verdict(policy('a', { actions: ['docs.write'] }))).toBe('undefined')
  expect(verdict(policy('a'))).toBe('allow')
  expect(verdict(policy('a'), policy('b', { effect: 'deny' }))).toBe('deny')
})

test('a policy that does not exist says nothing', () => {
  const table = new PolicyTable(() => true)
  expect(table.evaluate(['gone'], request)).toBe('undefined')
})

test('groups list their policies', () => {
  const table = new PolicyTable(() => true)
  table.replace({ isStrict: true, policies: [policy('a', { groups: ['g'] }), policy('b', { groups: ['g', 'h'] })] })
  expect([table.group('g'), table.group('h'), table.group('none')]).toEqual([['a', 'b'], ['b'], []])
  expect(table.isStrict).toBe(true)
})

test.each([
  ['*', '', true],
  ['docs.*', 'docs.read', true],
  ['*.read', 'docs.read', true],
  ['d*s.*d', 'docs.read', true],
  ['docs', 'docs.read', false],
  ['*x*', 'abc', false],
  ['a*a', 'a', false],
])('pattern %s and %s: %s', (pattern, text, isMatch) => expect(matches(pattern, text)).toBe(isMatch))

test.each([
  ['actor.id', 'eq', 'ann', true],
  ['actor.id', 'ne', 'ann', false],
  ['actor.meta.level', 'gt', 2, true],
  ['actor.meta.level', 'lt', 3, false],
  ['actor.meta.level', 'gte', 3, true],
  ['actor.meta.level', 'lte', 2, false],
  ['actor.meta.level', 'gt', 'text', false],
  ['action', 'in', new TableValue(['docs.read', 'x']), true],
  ['action', 'nin', new TableValue(['docs.read']), false],
  ['meta.owner', 'exists', undefined, true],
  ['meta.none', 'exists', undefined, false],
  ['meta.none', 'nexists', undefined, true],
  ['actor.meta.teams', 'contains', 'red', true],
  ['actor.meta.teams', 'ncontains', 'green', true],
  ['resource', 'contains', 'docs', true],
  ['resource', 'matches', '^docs:[a-z]$', true],
  ['resource', 'nmatches', '^x', true],
  ['resource', 'matches', '(', false],
])('condition %s %s %o: %s', (field, operator, value, holds) => {
  const conditions = [{ field, operator, value, valueFrom: undefined }]
  expect(verdict(policy('a', { conditions }))).toBe(holds ? 'allow' : 'undefined')
})

test('a condition compares two fields; an expression must be true', () => {
  const own = [{ field: 'meta.owner', operator: 'eq', value: undefined, valueFrom: 'actor.id' }]
  expect(verdict(policy('a', { conditions: own }))).toBe('allow')
  expect(verdict(policy('a', { expression: 'true' }))).toBe('allow')
  expect(verdict(policy('a', { expression: 'false' }))).toBe('undefined')
})

test('an expression that cannot be evaluated lets nobody in', () => {
  expect(verdict(policy('a', { expression: 'fails' }))).toBe('undefined')
  expect(verdict(policy('a'), policy('b', { expression: 'fails', effect: 'deny' }))).toBe('deny')
  expect(verdict(policy('a'), policy('b', { expression: 'false', effect: 'deny' }))).toBe('allow')
})
