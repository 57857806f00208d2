// Random values go through messages, JSON, YAML and a store, and come back as what each of them promises.

import { afterAll, expect, test } from 'vitest'
import { toBytes } from '../../runtime/base/bytes.ts'
import { fromPlain, type Plain, toPlain } from '../../runtime/base/plain.ts'
import { record } from '../../runtime/base/value.ts'
import { MemoryStore } from '../../runtime/store/core/memory-store.ts'
import { TestNode } from '../tools/lua.ts'
import { fc } from '../tools/property.ts'

const store = new MemoryStore(10, { nowMs: () => 0 })
const node = new TestNode({
  'test:echo': 'return function() local m = process.inbox():receive() return m:payload():data() end',
  'test:message': {
    source: `return function(v)
      local pid = process.spawn_monitored("test:echo", "app:b")
      process.send(pid, "value", v)
      return process.events():receive().result.value
    end`,
  },
  'test:json': { source: 'return function(v) return (json.decode(json.encode(v))) end', modules: ['json'] },
  'test:yaml': {
    source: 'return function(v) local t, e = yaml.encode({ v = v }) return yaml.decode(t).v end',
    modules: ['yaml'],
  },
  'test:store': {
    source: `return function(v)
      local s = store.get("test:s")
      assert(s:set("k", v))
      return (s:get("k"))
    end`,
    modules: ['store'],
  },
})
node.services.add('store', {
  methods: {
    open: () => undefined,
    put: ([, key, value]) => {
      store.put(key as string, value, {})
      return undefined
    },
    get: ([, key]) => {
      const entry = store.get(key as string)
      return entry === undefined ? undefined : record({ key: entry.key, value: entry.value, version: entry.version })
    },
  },
})
afterAll(() => node.close())

// Integers that every engine holds; texts of any characters, also such as YAML has to quote.
const integer = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })
const decimal = fc
  .double({ min: -1e6, max: 1e6, noNaN: true, noDefaultInfinity: true })
  .filter((n) => !Number.isInteger(n))
const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.constantFrom(
    '',
    'true',
    'null',
    '12',
    '1e3',
    '~',
    '- a',
    'a: b',
    '2024-01-02',
    ' lead',
    'two\nlines',
    '#',
    "'",
    '"',
  ),
)
const key = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '-', '1', ' '), minLength: 1, maxLength: 5 })
const value = fc.letrec<{ value: Plain }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.boolean(),
    integer,
    decimal,
    text,
    fc.array(tie('value'), { minLength: 1, maxLength: 4 }),
    fc.dictionary(key, tie('value'), { minKeys: 1, maxKeys: 4, noNullPrototype: true }),
  ),
})).value

test.each(['test:message', 'test:json', 'test:yaml', 'test:store'])(
  '%s brings back what was given',
  (entry) => {
    fc.assert(
      fc.property(value, (given) => {
        expect(node.run(entry, [given])).toEqual(toPlain(fromPlain(given)))
      }),
      { numRuns: 150 },
    )
  },
  30_000,
)

test('bytes of any kind pass through messages and stores', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (data) => {
      const bytes = String.fromCharCode(...data)
      for (const entry of ['test:message', 'test:store']) {
        const request = node.request(entry, [])
        let result: unknown
        node.relay.spawn(
          { ...request, args: [bytes] },
          () => {},
          (outcome) => {
            result = outcome.ok ? outcome.value : outcome.error
          },
        )
        node.driver.settle()
        expect(result).toBe(bytes)
      }
    }),
    { numRuns: 60 },
  )
  expect(toBytes('ä')).toBe('\xc3\xa4')
})
