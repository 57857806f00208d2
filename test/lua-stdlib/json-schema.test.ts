// JSON Schema draft 2020-12, a row or more for each keyword. The draft's public test suite passes too, except for schemas that fetch
// others or declare vocabularies, and for contains under a condition beside unevaluatedItems, which is refused.

import { describe, expect, test } from 'vitest'
import { JsonSchema, SchemaError } from '../../lua-stdlib/support/json-schema.ts'
import { treeFromText } from '../../lua-stdlib/support/json-tree.ts'
import { toBytes } from '../../runtime/base/bytes.ts'

const check = (schema: unknown, data: unknown): string | undefined =>
  new JsonSchema(treeFromText(toBytes(JSON.stringify(schema)))).validate(treeFromText(toBytes(JSON.stringify(data))))

const wideSchema = (count: number): { properties: Record<string, unknown> } => ({
  properties: Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, { type: 'string' }])),
})

/** `definition(i)` for each of so many `$defs`; the schema is the first. */
const chain = (count: number, definition: (next: { $ref: string }) => unknown, last: unknown): unknown => ({
  $ref: '#/$defs/0',
  $defs: Object.fromEntries(
    Array.from({ length: count }, (_, i) => [i, i === count - 1 ? last : definition({ $ref: `#/$defs/${i + 1}` })]),
  ),
})

/** Schema, data that fit, data that do not. */
const rows: [name: string, schema: unknown, good: unknown[], bad: unknown[]][] = [
  ['true', true, [1, null], []],
  ['false', false, [], [1, null]],
  ['type', { type: 'integer' }, [1, -2, 3.0], [1.5, '1', null]],
  ['type: number', { type: 'number' }, [1, 1.5], ['1', true]],
  ['type: array', { type: 'array' }, [[]], [{}]],
  ['type: object', { type: 'object' }, [{}], [[], null]],
  ['type: several', { type: ['string', 'null'] }, ['a', null], [1]],
  ['enum', { enum: [1, 'a', null, { b: [1] }] }, [1, 'a', null, { b: [1] }], [2, {}, { b: [2] }]],
  ['const', { const: { a: 1, b: 2 } }, [{ b: 2, a: 1 }], [{ a: 1 }, 1]],
  ['minimum', { minimum: 1, maximum: 3 }, [1, 3, 'x'], [0.5, 3.5]],
  ['exclusive limits', { exclusiveMinimum: 1, exclusiveMaximum: 3 }, [2], [1, 3]],
  ['multipleOf', { multipleOf: 0.1 }, [0.3, 1, 0], [0.25]],
  ['lengths count characters', { minLength: 1, maxLength: 2 }, ['é', '😀😀'], ['', 'abc']],
  ['pattern', { pattern: '^\\p{Lu}' }, ['Ä', 1], ['ä']],
  ['items', { items: { type: 'integer' } }, [[], [1, 2]], [[1, 'a']]],
  ['prefixItems', { prefixItems: [{ const: 1 }], items: false }, [[1], []], [[2], [1, 2]]],
  ['minItems', { minItems: 1, maxItems: 2 }, [[1], [1, 2]], [[], [1, 2, 3]]],
  [
    'uniqueItems',
    { uniqueItems: true },
    [[1, '1', [1], { a: 1 }]],
    [
      [1, 1],
      [
        { a: 1, b: 2 },
        { b: 2, a: 1 },
      ],
    ],
  ],
  ['contains', { contains: { const: 1 }, minContains: 1, maxContains: 2 }, [[1, 2]], [[2], [1, 1, 1]]],
  ['properties', { properties: { a: { type: 'string' } } }, [{ a: 'x' }, {}, 5], [{ a: 1 }]],
  ['required', { required: ['a'] }, [{ a: null }], [{}]],
  ['patternProperties', { patternProperties: { '^n': { type: 'number' } } }, [{ n1: 1, x: 'y' }], [{ n1: 'y' }]],
  [
    'additionalProperties',
    { properties: { a: true }, patternProperties: { '^x': true }, additionalProperties: false },
    [{ a: 1, x1: 2 }],
    [{ b: 1 }],
  ],
  ['propertyNames', { propertyNames: { maxLength: 1 } }, [{ a: 1 }], [{ ab: 1 }]],
  ['minProperties', { minProperties: 1, maxProperties: 1 }, [{ a: 1 }], [{}, { a: 1, b: 2 }]],
  ['dependentRequired', { dependentRequired: { a: ['b'] } }, [{}, { a: 1, b: 2 }], [{ a: 1 }]],
  ['dependentSchemas', { dependentSchemas: { a: { required: ['b'] } } }, [{}, { a: 1, b: 2 }], [{ a: 1 }]],
  ['allOf', { allOf: [{ minimum: 1 }, { maximum: 2 }] }, [1], [0, 3]],
  ['anyOf', { anyOf: [{ type: 'string' }, { minimum: 5 }] }, ['a', 5], [4]],
  ['oneOf', { oneOf: [{ multipleOf: 2 }, { multipleOf: 3 }] }, [2, 3], [6, 1]],
  ['not', { not: { type: 'string' } }, [1], ['a']],
  // biome-ignore lint/suspicious/noThenProperty: a keyword of the draft
  ['if then else', { if: { minimum: 10 }, then: { multipleOf: 10 }, else: { maximum: 5 } }, [20, 5], [15, 7]],
  ['$ref', { $defs: { n: { type: 'number' } }, items: { $ref: '#/$defs/n' } }, [[1]], [['a']]],
  [
    '$ref to itself',
    { properties: { next: { $ref: '#' } }, required: ['v'] },
    [{ v: 1, next: { v: 2 } }],
    [{ v: 1, next: {} }],
  ],
  ['$anchor', { $defs: { n: { $anchor: 'num', type: 'number' } }, $ref: '#num' }, [1], ['a']],
  ['$id', { $defs: { n: { $id: 'http://x.test/n', type: 'number' } }, $ref: 'http://x.test/n' }, [1], ['a']],
  [
    '$dynamicRef',
    {
      $id: 'http://x.test/strict',
      $dynamicAnchor: 'node',
      $ref: 'tree',
      unevaluatedProperties: false,
      $defs: {
        tree: {
          $id: 'tree',
          $dynamicAnchor: 'node',
          properties: { children: { items: { $dynamicRef: '#node' } } },
        },
      },
    },
    [{ children: [{ children: [] }] }],
    [{ children: [{ kinder: [] }] }],
  ],
  [
    'unevaluatedProperties',
    {
      allOf: [{ properties: { a: true } }],
      anyOf: [{ required: ['b'], properties: { b: true } }, true],
      unevaluatedProperties: false,
    },
    [{ a: 1 }, { a: 1, b: 2 }],
    [{ c: 1 }],
  ],
  [
    'unevaluatedItems',
    { prefixItems: [true], contains: { const: 'x' }, unevaluatedItems: false },
    [['a', 'x']],
    [['x', 'b']],
  ],
  [
    'unevaluatedItems sees the contains of allOf and $ref',
    {
      allOf: [{ contains: { const: 1 } }],
      $ref: '#/$defs/two',
      unevaluatedItems: false,
      $defs: { two: { contains: { const: 2 } } },
    },
    [[1, 2, 1]],
    [[1, 2, 3], [1]],
  ],
  [
    'unevaluatedProperties sees a condition only where it holds',
    {
      if: { properties: { a: { const: 1 } }, required: ['a'] },
      else: { properties: { b: true }, required: ['b'] },
      unevaluatedProperties: false,
    },
    [{ a: 1 }, { b: 1 }],
    [
      { a: 2, b: 1 },
      { a: 1, b: 1 },
    ],
  ],
  [
    'unevaluatedItems where only the run tells',
    { anyOf: [{ items: { type: 'string' } }, true], unevaluatedItems: { type: 'boolean' } },
    [['a', 'b'], [true]],
    [[1]],
  ],
  [
    'members that objects of JavaScript have',
    { required: ['__proto__', 'toString'], properties: { constructor: { type: 'number' } } },
    [JSON.parse('{"__proto__":1,"toString":1}')],
    [{}, JSON.parse('{"__proto__":1,"toString":1,"constructor":"x"}')],
  ],
  [
    'dependencies of __proto__',
    JSON.parse('{"dependentRequired":{"__proto__":["a"]},"dependentSchemas":{"__proto__":{"required":["b"]}}}'),
    [{}, JSON.parse('{"__proto__":1,"a":1,"b":1}')],
    [JSON.parse('{"__proto__":1,"a":1}'), JSON.parse('{"__proto__":1,"b":1}')],
  ],
  [
    'patternProperties: __proto__',
    JSON.parse('{"patternProperties":{"__proto__":{"type":"string"}}}'),
    [{ x__proto__: 'a' }],
    [{ x__proto__: 1 }],
  ],
  [
    'relative $id',
    {
      $id: 'http://x.test/outer',
      properties: { a: { $id: 'inner', $defs: { n: { properties: { b: { type: 'string' } } } }, $ref: '#/$defs/n' } },
      $ref: 'inner',
    },
    [{ a: { b: 'x' }, b: 'x' }],
    [{ a: { b: 1 } }, { b: 1 }],
  ],
  [
    'a pointer to where no keyword leads',
    { components: { n: { type: 'number', id: 'n' } }, $ref: '#/components/n' },
    [1],
    ['a'],
  ],
  [
    'keywords of others say nothing',
    {
      id: 'x',
      nullable: 5,
      $async: true,
      dependencies: { a: ['b'] },
      $schema: 'http://json-schema.org/draft-07/schema#',
    },
    [{ a: 1 }],
    [],
  ],
  [
    'patterns: long names of classes, hexadecimal escapes',
    { pattern: '^\\p{Letter}\\u00e9\\p{Script=Greek}$' },
    ['aéα'],
    ['1éα', 'aéa'],
  ],
  [
    'more properties than one function should check',
    { ...wideSchema(300), additionalProperties: false },
    [{ p0: 'a', p299: 'b' }],
    [{ p150: 1 }, { q: 'a' }],
  ],
  ['format asserts nothing (O-7)', { format: 'email' }, ['not an address'], []],
  ['an empty array stands for an empty object', { properties: [], $defs: [], items: [] }, [{ a: 1 }, [1]], []],
]

describe('data', () => {
  test.each(rows)('%s', (_name, schema, good, bad) => {
    for (const data of good) expect(check(schema, data), JSON.stringify(data)).toBeUndefined()
    for (const data of bad) expect(check(schema, data), JSON.stringify(data)).toEqual(expect.any(String))
  })

  test('the text says where and what', () => {
    const schema = {
      properties: { user: { properties: { age: { type: 'integer', minimum: 0 } }, required: ['name'] } },
    }
    expect(check(schema, { user: { name: 'x', age: 'old' } })).toBe('/user/age: expected integer, got string')
    expect(check(schema, { user: { name: 'x', age: -1 } })).toBe('/user/age: expected at least 0, got -1')
    expect(check(schema, { user: {} })).toBe('/user: member "name" is required')
  })

  test('no name of a member is special', () => {
    const schema = { properties: { ['__proto__']: { type: 'string' } }, additionalProperties: false }
    expect(
      new JsonSchema(treeFromText('{"properties":{"__proto__":{"type":"string"}}}')).validate(
        treeFromText('{"__proto__":1}'),
      ),
    ).toContain('expected string')
    expect(check(schema, {})).toBeUndefined()
  })
})

describe('wrong schemas', () => {
  test.each<[unknown]>([
    [5],
    [[1]],
    [{ type: 'text' }],
    [{ type: 5 }],
    [{ minimum: '1' }],
    [{ multipleOf: 0 }],
    [{ minLength: -1 }],
    [{ pattern: '(' }],
    [{ patternProperties: { '[': true } }],
    [{ required: 'a' }],
    [{ enum: 1 }],
    [{ properties: 1 }],
    [{ properties: { a: 1 } }],
    [{ allOf: {} }],
    [{ items: 'x' }],
    [{ uniqueItems: 1 }],
    [{ dependentRequired: { a: 'b' } }],
    [{ $ref: '#/nowhere' }],
    [{ $ref: 'http://elsewhere.test/schema' }],
    [{ $ref: '#unknown' }],
  ])('%j is refused', (schema) => {
    expect(() => new JsonSchema(treeFromText(toBytes(JSON.stringify(schema))))).toThrow(SchemaError)
  })

  test.each<[text: string, schema: unknown]>([
    [
      'cannot resolve reference "http://elsewhere.test/schema": it is not part of this schema',
      { $ref: 'http://elsewhere.test/schema' },
    ],
    ['cannot resolve reference "#/nowhere": there is no such place', { $defs: { a: { $ref: '#/nowhere' } } }],
    ['bad pattern "a(?=b)"', { pattern: 'a(?=b)' }],
    ['/properties/a/type must be', { properties: { a: { type: 'text' } } }],
    ['not supported', { anyOf: [{ contains: true }, true], unevaluatedItems: false }],
    ['more than 500 schemas', { anyOf: Array.from({ length: 501 }, () => ({ type: 'string' })) }],
    ['more than 5000 parts', wideSchema(6000)],
  ])('what is wrong is said: %s', (text, schema) => {
    expect(() => check(schema, 1)).toThrow(text)
  })
})

describe('bounds', () => {
  test.each<[unknown]>([
    [{ $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/b' }, b: { $ref: '#/$defs/a' } } }],
    [{ allOf: [{ $ref: '#' }] }],
    [{ $dynamicAnchor: 'a', not: { $dynamicRef: '#a' } }],
  ])('references in a circle end: %j', (schema) => {
    expect(() => check(schema, 1)).toThrow('refers to itself without end')
  })

  test('schemas that each apply two others end', () => {
    const schema = chain(60, (next) => ({ anyOf: [next, next] }), { type: 'string' })
    expect(() => check(schema, 1)).toThrow('too much work')
  })

  test('a long chain of references is no deep recursion', () => {
    expect(
      check(
        chain(900, (next) => next, { type: 'string' }),
        'a',
      ),
    ).toBeUndefined()
    expect(
      check(
        chain(900, (next) => ({ properties: { a: next } }), true),
        { a: { a: {} } },
      ),
    ).toBeUndefined()
  })

  test('no pattern takes longer than its text is long', () => {
    expect(check({ pattern: '^(a+)+$' }, `${'a'.repeat(50_000)}!`)).toContain('pattern')
  })

  test('a long list compares its items in linear time', () => {
    const items = Array.from({ length: 20_000 }, (_, i) => ({ i }))
    expect(check({ uniqueItems: true }, items)).toBeUndefined()
    expect(check({ items: { enum: items } }, items)).toBeUndefined()
  })

  test('a check that was given up leaves nothing behind', () => {
    const schema = new JsonSchema(treeFromText('{"items":{"allOf":[{"items":{"$ref":"#/items"}}]},"minItems":1}'))
    for (let i = 0; i < 2000; i++) expect(schema.validate([])).toContain('at least 1')
    expect(schema.validate([[[]]])).toBeUndefined()
  })

  test('what is shown of data has an end', () => {
    expect(check({ const: 1 }, 'x'.repeat(10_000))?.length).toBeLessThan(300)
  })
})
