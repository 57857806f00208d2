import { describe, expect, test } from 'vitest'
import { PayloadObject } from '../../lua-stdlib/payload.ts'
import { ErrorValue, TableValue } from '../../runtime/base/value.ts'
import { runLua } from '../tools/lua.ts'

const run = (source: string): unknown => runLua(source)

const FORMATS = ['JSON', 'YAML', 'STRING', 'BYTES', 'MSGPACK', 'LUA', 'GOLANG', 'ERROR']

describe('payload.new (lua-core.md §17)', () => {
  test('formats are constants', () => {
    expect(run(`return { ${FORMATS.map((name) => `payload.format.${name}`).join(', ')} }`)).toEqual([
      ...['json/plain', 'yaml/plain', 'text/plain', 'application/octet-stream'],
      ...['application/msgpack', 'lua/any', 'golang/any', 'golang/error'],
    ])
  })

  test('a value is LUA, an error object ERROR', () => {
    const source = `
      return { payload.new({ 1 }):get_format(), payload.new("x"):get_format(), payload.new(nil):get_format(),
        payload.new(errors.new("x")):get_format() }`
    expect(run(source)).toEqual(['lua/any', 'lua/any', 'lua/any', 'golang/error'])
  })

  test('data and unmarshal give the value, a fresh copy each time', () => {
    const source = `
      local given = { n = 1, list = { 1, 2 } }
      local p = payload.new(given)
      given.n = 2
      local a = p:data()
      a.n = 3
      return { p:data().n, p:unmarshal().list[2], p:data() == p:data(), select("#", p:data()), select("#", payload.new(nil):data()) }`
    expect(run(source)).toEqual([1, 2, false, 1, 1])
  })

  test('an error object comes back with kind, message, retryable and details', () => {
    const source = `
      local e = payload.new(errors.new{ message = "x", kind = "K", retryable = true, details = { a = 1 } }):data()
      return { e:kind(), e:message(), e:retryable(), e:details().a, payload.new(errors.new("y")):data():kind() }`
    expect(run(source)).toEqual(['K', 'x', true, 1, ''])
  })

  test('a payload in a payload is its data, what cannot leave is nil', () => {
    const source = `
      local p = payload.new({ inner = payload.new("x"), time = time.now(), f = print })
      local d = p:data()
      return { d.inner, d.time == nil, d.f == nil, payload.new(payload.new(5)):data() }`
    expect(run(source)).toEqual(['x', true, true, 5])
  })

  test('tostring shows the format', () => {
    expect(run('return tostring(payload.new(1))')).toBe('payload{format=lua/any}')
  })
})

describe('transcode (lua-core.md §17)', () => {
  const VALUE = '{ name = "é", n = 3, x = 1.5, big = 2^40, yes = true, list = { 1, "2", { a = {} } } }'

  test.each(['JSON', 'YAML', 'MSGPACK', 'GOLANG', 'LUA'])('a table survives the way to %s and back', (format) => {
    const source = `
      local p = payload.new(${VALUE})
      local q, err = p:transcode(payload.format.${format})
      local back = q:transcode(payload.format.LUA)
      local d = q:data()
      return { q:get_format() == payload.format.${format}, err == nil, p:get_format(), back:get_format(),
        d.name, d.n, math.type(d.n), d.x, d.big == 2^40, d.yes, #d.list, d.list[2], back:data().list[3].a ~= nil,
        select("#", p:transcode(payload.format.${format})) }`
    expect(run(source)).toEqual([
      ...[true, true, 'lua/any', 'lua/any', 'é', 3, 'integer', 1.5, true, true, 3, '2', true, 2],
    ])
  })

  test.each(['STRING', 'BYTES', 'JSON', 'YAML', 'MSGPACK'])('a string survives the way through %s', (format) => {
    const source = `
      local q = payload.new("line\\nzwei é"):transcode(payload.format.${format})
      return { q:data(), q:transcode(payload.format.STRING):data() }`
    expect(run(source)).toEqual(['line\nzwei é', 'line\nzwei é'])
  })

  test('bytes that are no text survive STRING, BYTES and MSGPACK', () => {
    const source = `
      local same = {}
      for i, format in ipairs{ "STRING", "BYTES", "MSGPACK" } do
        same[i] = payload.new("\\xff\\0\\xfe"):transcode(payload.format[format]):data() == "\\xff\\0\\xfe"
      end
      return same`
    expect(run(source)).toEqual([true, true, true])
  })

  test.each(['nil', 'true', '-1', '0.25', '-2^31', '2^31', '2^53', '"12"', '"true"', '""'])(
    '%s survives JSON, YAML and MSGPACK',
    (value) => {
      const source = `
        local same = {}
        for i, format in ipairs{ "JSON", "YAML", "MSGPACK" } do
          same[i] = payload.new(${value}):transcode(payload.format[format]):data() == ${value}
        end
        return same`
      expect(run(source)).toEqual([true, true, true])
    },
  )

  test('numbers and errors become text where a string is wanted, errors their message in JSON', () => {
    const source = `
      return { payload.new(5):transcode(payload.format.STRING):data(), payload.new(errors.new("e")):transcode(payload.format.STRING):data(),
        payload.new(errors.new("e")):transcode(payload.format.JSON):data(),
        payload.new(errors.new("e")):transcode(payload.format.ERROR):data():message(),
        payload.new(errors.new("e")):transcode(payload.format.LUA):data():message() }`
    expect(run(source)).toEqual(['5', 'e', 'e', 'e', 'e'])
  })

  test.each(['7', '2.0', '1/3', '1e100', '-1/0', '0/0', 'math.mininteger'])(
    '%s becomes the text that tostring makes of it',
    (number) => {
      const source = `return payload.new(${number}):transcode(payload.format.STRING):data() == tostring(${number})`
      expect(run(source)).toBe(true)
    },
  )

  test('msgpack keeps numbers as keys, JSON and YAML make text of them', () => {
    const source = `
      local p = payload.new({ [0] = "zero", x = "y" })
      return { p:transcode(payload.format.MSGPACK):data()[0], p:transcode(payload.format.JSON):data()["0"],
        p:transcode(payload.format.YAML):data()["0"] }`
    expect(run(source)).toEqual(['zero', 'zero', 'zero'])
  })

  test('a table decoded from {} stays an object on every way, an empty table an array', () => {
    const source = `
      local d = json.decode('{"o":{},"a":[]}')
      local texts = {}
      for i, format in ipairs{ "LUA", "JSON", "YAML", "MSGPACK", "GOLANG" } do
        texts[i] = json.encode(payload.new(d):transcode(payload.format[format]):data())
      end
      return texts`
    const text = '{"a":[],"o":{}}'
    expect(run(source)).toEqual([text, text, text, text, text])
  })

  test.each([
    ['payload.new(1)', '"text/html"', 'unknown format'],
    ['payload.new({ 1, x = 2 })', 'payload.format.JSON', 'mixed-key table'],
    ['payload.new({ 1 })', 'payload.format.STRING', 'only a string'],
    ['payload.new(true)', 'payload.format.BYTES', 'only a string'],
    ['payload.new("x")', 'payload.format.ERROR', 'only an error object'],
    ['payload.new((function() local t = {}; t.t = t; return t end)())', 'payload.format.YAML', 'contains itself'],
    ['payload.new((function() local t = {}; t.t = t; return t end)())', 'payload.format.MSGPACK', 'contains itself'],
    [
      'payload.new((function() local t = {}; for _ = 1, 60 do t = { t, t } end; return t end)())',
      'payload.format.YAML',
      'parts',
    ],
  ])('%s to %s is Internal "%s"', (value, format, text) => {
    const source = `
      local p = ${value}
      local q, err = p:transcode(${format})
      return { q == nil, err:kind(), err:message(), err:retryable() }`
    expect(run(source)).toEqual([true, 'Internal', expect.stringContaining(text), false])
  })

  test('a format that is no string, and another receiver, raise', () => {
    const source = `
      local _, a = pcall(function() return payload.new(1):transcode() end)
      local _, b = pcall(payload.new(1).data, {})
      return { a, b }`
    expect(run(source)).toEqual([
      expect.stringContaining("bad argument #2 to 'transcode' (string expected, got no value)"),
      expect.stringContaining("bad argument #1 to 'data' (Payload expected, got table)"),
    ])
  })

  test('undecodable data is nil and Internal', () => {
    const broken = new PayloadObject('{', { format: 'json/plain' })
    expect(broken.leave()).toBeUndefined()
    expect(new PayloadObject('\xc1', { format: 'application/msgpack' }).leave()).toBeUndefined()
  })
})

describe('payloads in messages (lua-core.md §7.4, open 7)', () => {
  test('leave as their data', () => {
    expect(new PayloadObject('[1,{"a":null}]', { format: 'json/plain' }).leave()).toEqual(
      new TableValue([1, new TableValue()]),
    )
    expect(new PayloadObject(new ErrorValue('K', 'm')).format).toBe('golang/error')
  })

  test('a process receives the data of a payload that was sent, whatever its format', () => {
    const source = `
      local ch = process.listen("t")
      process.send(process.pid(), "t", (payload.new({ a = 1 }):transcode(payload.format.JSON)))
      return ch:receive().a`
    expect(run(source)).toBe(1)
  })

  test('the payload of a received message decodes anew each time', () => {
    const source = `
      local inbox = process.inbox()
      process.send(process.pid(), "t", { n = 1 })
      local p = inbox:receive():payload()
      p:data().n = 2
      return { p:get_format(), p:data().n }`
    expect(run(source)).toEqual(['lua/any', 1])
  })
})
