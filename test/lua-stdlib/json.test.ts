import { describe, expect, test } from 'vitest'
import { runLua } from '../tools/lua.ts'

const run = (source: string): unknown => runLua(source)

/** Count of values, first value, second value (its kind, message and retryable if it is an error). */
const both = (expression: string): unknown =>
  run(`
    local n, v, e = select("#", ${expression}), ${expression}
    return { n, v == nil and "nil" or v, e == nil and "nil" or { e:kind(), e:message(), e:retryable() } }`)

const refusal = (kind: string, text: string, first: unknown = 'nil'): unknown => [
  2,
  first,
  [kind, expect.stringContaining(text), false],
]

describe('json.encode (lua-libraries.md §4.1)', () => {
  test.each([
    ['nil', 'null'],
    ['', 'null'],
    ['true', 'true'],
    ['42', '42'],
    ['2.0', '2'],
    ['2^53', '9007199254740992'],
    ['1e-7', '1e-7'],
    ['{1e-7}', '[0.0000001]'],
    ['0/0', 'null'],
    ['1/0', 'null'],
    ['"a<b"', '"a\\u003cb"'],
    ['errors.new("broken")', '"broken"'],
    ['{ errors.new("broken") }', '["broken"]'],
    ['print', 'null'],
    ['{ 1, print, time.now() }', '[1,null,null]'],
    ['{ f = print }', '{"f":null}'],
    ['{}', '[]'],
    ['{ {}, { {} } }', '[[],[[]]]'],
    ['{ 1, 2, 3 }', '[1,2,3]'],
    ['{ b = 1, a = { c = true } }', '{"a":{"c":true},"b":1}'],
    ['{ [-1] = 1, [0.5] = 2, [true] = 3 }', '{"-1":1,"0.5":2,"true":3}'],
    ['{ [print] = 1, a = 2 }', '{"a":2}'],
    ['setmetatable({ 1 }, { __index = { 2 }, __len = function() return 9 end })', '[1]'],
  ])('encode(%s) is %s', (value, text) => {
    expect(both(`json.encode(${value})`)).toEqual([2, text, 'nil'])
  })

  test('a string may hold any bytes', () => {
    expect(run('return json.encode("\\xff\\xe2\\x80\\xa8\\0é")')).toBe('"\\ufffd\\u2028\\u0000é"')
  })

  test.each([
    ['{ 1, x = 2 }', 'mixed-key table'],
    ['{ [1] = 1, [3] = 3 }', 'sparse array'],
    ['{ [2^40] = 1 }', 'sparse array'],
    ['(function() local t = {}; t.t = { t }; return t end)()', 'recursively nested'],
    ['(function() local t = {}; for _ = 1, 130 do t = { t } end; return t end)()', 'maximum nesting depth'],
    ['(function() local t = {}; for _ = 1, 60 do t = { t, t } end; return t end)()', 'more than 1000000 tables'],
    [
      '(function() local s = string.rep("x", 2^22); return { s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s } end)()',
      'longer than',
    ],
  ])('encode(%s) fails with "%s"', (value, text) => {
    expect(both(`json.encode(${value})`)).toEqual(refusal('Internal', text))
  })
})

describe('json.decode (lua-libraries.md §4.2)', () => {
  test('objects have string keys, arrays count from 1', () => {
    const source = `
      local v = json.decode('{"1":"x","list":[10,20],"deep":{"a":null}}')
      return { v["1"], v[1] == nil, #v.list, v.list[2], next(v.deep) == nil }`
    expect(run(source)).toEqual(['x', true, 2, 20, true])
  })

  test('numbers keep their subtype', () => {
    const source = `
      local v = json.decode("[1, 1.0, 1e2, -0]")
      return { math.type(v[1]), math.type(v[2]), math.type(v[3]), math.type(v[4]), v[3] == 100 }`
    expect(run(source)).toEqual(['integer', 'float', 'float', 'integer', true])
  })

  test('null is nil, also with two results', () => {
    expect(both('json.decode("null")')).toEqual([2, 'nil', 'nil'])
    expect(run('local v = json.decode("[null, 2]"); return { v[1] == nil, v[2] }')).toEqual([true, 2])
  })

  test('what follows the value is ignored', () => {
    expect(both(`json.decode('7 {"')`)).toEqual([2, 7, 'nil'])
  })

  test('text becomes UTF-8 bytes', () => {
    expect(run('local s = json.decode([["\\u00e9\\ud83d\\ude00"]]); return { #s, s }')).toEqual([6, 'é😀'])
  })

  test.each([
    ['5', 'Invalid', 'string expected'],
    ['nil', 'Invalid', 'string expected'],
    ['{}', 'Invalid', 'string expected'],
    ['""', 'Invalid', 'empty string'],
    ['" "', 'Internal', 'syntax error'],
    ['"{"', 'Internal', 'syntax error'],
    [`'{"a":1,"a":2}'`, 'Internal', 'syntax error'],
    [`'"\\xff"'`, 'Internal', 'invalid UTF-8'],
    ['string.rep("[", 200)', 'Internal', 'maximum nesting depth'],
  ])('decode(%s) is %s "%s"', (value, kind, text) => {
    expect(both(`json.decode(${value})`)).toEqual(refusal(kind, text))
  })
})

describe('empty tables (lua-libraries.md §4.1)', () => {
  test('what was {} stays {}, what was [] stays []', () => {
    const text = '{"a":{},"b":[],"c":[{}],"d":{"e":{}}}'
    expect(run(`return json.encode(json.decode('${text}'))`)).toBe(text)
    expect(run(`return json.encode(json.decode('{"only":null}'))`)).toBe('{}')
  })

  test('the origin matters only while the table is empty', () => {
    const source = `
      local t = json.decode("{}")
      t[1] = "x"
      local filled = json.encode(t)
      t[1] = nil
      return { filled, json.encode(t) }`
    expect(run(source)).toEqual(['["x"]', '{}'])
  })
})

describe('json.validate (lua-libraries.md §4.3)', () => {
  const SCHEMA = `{ type = "object", required = { "n" }, properties = { n = { type = "integer" } } }`

  test('true and nothing else for data that fits', () => {
    expect(both(`json.validate(${SCHEMA}, { n = 3.0 })`)).toEqual([1, true, 'nil'])
    expect(both(`json.validate('{"type":"string"}', "x")`)).toEqual([1, true, 'nil'])
    expect(both(`json.validate_string(${SCHEMA}, '{"n":1}')`)).toEqual([1, true, 'nil'])
  })

  test.each([
    [`validate(nil, 1)`, 'schema is required'],
    [`validate()`, 'schema is required'],
    [`validate({})`, 'data is required'],
    [`validate(5, 1)`, 'schema must be a string or table'],
    [`validate(print, 1)`, 'schema must be a string or table'],
    [`validate('{"type":', 1)`, 'syntax error'],
    [`validate({ type = "text" }, 1)`, 'type must be'],
    [`validate({ 1, x = 2 }, 1)`, 'mixed-key table'],
    [`validate({ type = "integer" }, "x")`, 'expected integer, got string'],
    [`validate({}, (function() local t = {}; t.t = t; return t end)())`, 'contains itself'],
    [`validate({}, (function() local t = {}; for _ = 1, 60 do t = { t, t } end; return t end)())`, 'parts'],
    [`validate_string(nil, "1")`, 'schema is required'],
    [`validate_string({}, nil)`, 'data must be a JSON string'],
    [`validate_string({}, nil)`, 'data is required'],
    [`validate_string({}, {})`, 'data must be a JSON string'],
    [`validate_string({}, "{")`, 'syntax error'],
    [`validate_string({ type = "array" }, "{}")`, 'expected array, got object'],
  ])('%s is false, Invalid "%s"', (call, text) => {
    expect(both(`json.${call}`)).toEqual(refusal('Invalid', text, false))
  })

  test('an empty Lua table is an object, text can say both', () => {
    const source = `
      return { json.validate({ type = "object" }, {}), (json.validate({ type = "array" }, {})),
        json.validate_string({ type = "array" }, "[]") }`
    expect(run(source)).toEqual([true, false, true])
  })

  test('a table with a first element is the list up to its first hole; keys become text', () => {
    const source = `
      return { json.validate({ const = { 1, 2 } }, { 1, 2, x = 3, [4] = 4 }),
        json.validate({ required = { "5", "true" } }, { [5] = 1, [true] = 2 }) }`
    expect(run(source)).toEqual([true, true])
  })

  test('an empty table in a schema fits where an array and where an object of schemas is wanted', () => {
    const source = 'return json.validate({ required = {}, properties = {}, items = {} }, { a = 1 })'
    expect(run(source)).toBe(true)
  })

  test('the same schema may be used many times, and many schemas once', () => {
    const source = `
      for i = 1, 300 do
        assert(json.validate({ const = i }, i))
        assert(json.validate(${SCHEMA}, { n = i }))
      end
      return true`
    expect(run(source)).toBe(true)
  })
})
