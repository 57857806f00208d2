import { describe, expect, test } from 'vitest'
import { runLua } from '../tools/lua.ts'

/** The message with which the call fails inside pcall. */
const raised = (expression: string): unknown =>
  runLua(`local ok, e = pcall(function() return ${expression} end); return { not ok, tostring(e) }`)

describe('errors: constants and predicates (lua-core.md §12.1, §12.2)', () => {
  test('every kind is a constant, and unknown is the empty string', () => {
    const names = [
      ...['NOT_FOUND', 'ALREADY_EXISTS', 'INVALID', 'PERMISSION_DENIED', 'UNAVAILABLE', 'INTERNAL'],
      ...['CANCELED', 'CONFLICT', 'TIMEOUT', 'RATE_LIMITED', 'UNKNOWN'],
    ]
    expect(runLua(`return { ${names.map((name) => `errors.${name}`).join(', ')} }`)).toEqual([
      ...['NotFound', 'AlreadyExists', 'Invalid', 'PermissionDenied', 'Unavailable', 'Internal'],
      ...['Canceled', 'Conflict', 'Timeout', 'RateLimited', ''],
    ])
  })

  test('the module is a global and refuses writes', () => {
    expect(raised('(function() errors.NEW = 1 end)()')).toEqual([true, expect.stringContaining('read-only')])
  })

  test('is: compares kinds, and is false for what is no error object', () => {
    const source = `
      local e = errors.new{ message = "x", kind = errors.CONFLICT }
      return {
        errors.is(e, errors.CONFLICT), errors.is(e, errors.INVALID), errors.is("x", errors.CONFLICT),
        errors.is(nil, errors.CONFLICT), errors.is({}, errors.CONFLICT), errors.is(errors.new("y"), errors.UNKNOWN),
      }`
    expect(runLua(source)).toEqual([true, false, false, false, false, true])
  })

  test('is: a kind that is no string raises, so that a misspelled constant is seen', () => {
    expect(raised('errors.is(errors.new("x"), errors.MISSPELLED)')).toEqual([
      true,
      expect.stringContaining("bad argument #2 to 'is' (string expected, got nil)"),
    ])
  })
})

describe('errors.new (lua-core.md §12.2)', () => {
  test('a string is the message; kind is empty, retryable unknown, details absent', () => {
    const source = `
      local e = errors.new("broken")
      return { e:message(), e:kind(), e:retryable() == nil, e:details() == nil, type(e), tostring(e) }`
    expect(runLua(source)).toEqual(['broken', '', true, true, 'userdata', 'broken'])
  })

  test('a second argument is ignored', () => {
    expect(runLua('return errors.new("TIMEOUT", "took too long"):message()')).toBe('TIMEOUT')
  })

  test('a table gives message, kind, retryable and details', () => {
    const source = `
      local e = errors.new{ message = "no stock", kind = "OutOfStock", retryable = true, details = { sku = "A1", at = { 1, 2 } } }
      return { e:message(), e:kind(), e:retryable(), e:details().sku, e:details().at[2] }`
    expect(runLua(source)).toEqual(['no stock', 'OutOfStock', true, 'A1', 2])
  })

  test('retryable false is not unknown', () => {
    expect(runLua('return errors.new{ message = "x", retryable = false }:retryable()')).toBe(false)
  })

  test('methods that answer nil still return one value', () => {
    const source = 'local e = errors.new("x"); return { select("#", e:retryable()), select("#", e:details()) }'
    expect(runLua(source)).toEqual([1, 1])
  })

  test('empty details are nil, and keys at the top become strings', () => {
    const source = `
      local e = errors.new{ message = "x", details = { "a", [2.5] = "b", k = "c" } }
      local d = e:details()
      return { errors.new{ message = "x", details = {} }:details() == nil, d["1"], d["2.5"], d.k, d[1] == nil }`
    expect(runLua(source)).toEqual([true, 'a', 'b', 'c', true])
  })

  test('details are copied: neither the table given nor the table got is shared', () => {
    const source = `
      local given = { n = 1 }
      local e = errors.new{ message = "x", details = given }
      given.n = 2
      e:details().n = 3
      return e:details().n`
    expect(runLua(source)).toBe(1)
  })

  test.each([
    ['errors.new{ kind = "x" }', 'message field is required'],
    ['errors.new{ message = 5 }', 'message must be a string'],
    ['errors.new{ message = true }', 'message must be a string'],
    ['errors.new(5)', 'expected string or table'],
    ['errors.new(nil)', 'expected string or table'],
    ['errors.new()', 'expected string or table'],
    ['errors.new(print)', 'expected string or table'],
  ])('%s raises "%s"', (expression, text) => {
    expect(raised(expression)).toEqual([true, expect.stringContaining(text)])
  })

  test('fields of a wrong type count as absent', () => {
    const source = `
      local e = errors.new{ message = "x", kind = {}, retryable = "yes", details = "none" }
      return { e:kind(), e:retryable() == nil, e:details() == nil }`
    expect(runLua(source)).toEqual(['', true, true])
  })
})

describe('errors.wrap (lua-core.md §12.2, open 17)', () => {
  test('keeps kind, message, retryable and details; the context shows in the stack only', () => {
    const source = `
      local e = errors.new{ message = "gone", kind = errors.NOT_FOUND, retryable = false, details = { id = 7 } }
      local w = errors.wrap(e, "loading user")
      return {
        w:message(), tostring(w), w:kind(), w:retryable(), w:details().id,
        w:stack():find("loading user", 1, true) ~= nil, w ~= e, e:stack():find("loading", 1, true) == nil,
      }`
    expect(runLua(source)).toEqual(['gone', 'gone', 'NotFound', false, 7, true, true, true])
  })

  test('wrapped again, the earlier context moves in front of the message', () => {
    const source = `
      local w = errors.wrap(errors.wrap(errors.wrap("disk full", "write"), "save"), "backup")
      return { w:message(), w:stack():find("backup", 1, true) ~= nil }`
    expect(runLua(source)).toEqual(['save: write: disk full', true])
  })

  test('takes a string for an error and an error object for the context', () => {
    const source = `
      local w = errors.wrap("boom", errors.new("while testing"))
      return { w:message(), w:kind(), w:stack():find("while testing", 1, true) ~= nil }`
    expect(runLua(source)).toEqual(['boom', '', true])
  })

  test.each([
    ['errors.wrap(nil, "x")', "bad argument #1 to 'wrap'"],
    ['errors.wrap({}, "x")', "bad argument #1 to 'wrap'"],
    ['errors.wrap("x")', "bad argument #2 to 'wrap'"],
  ])('%s raises "%s"', (expression, text) => {
    expect(raised(expression)).toEqual([true, expect.stringContaining(text)])
  })
})

describe('error objects as strings (lua-core.md §2.4, §12.3)', () => {
  test('join on either side with strings, numbers and each other', () => {
    const source = `
      local e = errors.new("bad")
      return { "why: " .. e, e .. "!", 1 .. e, e .. 2.5, e .. e, "a" .. "b" .. e .. "c" }`
    expect(runLua(source)).toEqual(['why: bad', 'bad!', '1bad', 'bad2.5', 'badbad', 'abbadc'])
  })

  test('do not join with nil', () => {
    expect(raised('errors.new("x") .. nil')).toEqual([
      true,
      expect.stringContaining('attempt to concatenate a nil value'),
    ])
  })

  test('pass for strings in the string library, table.concat and tostring', () => {
    const source = `
      local e = errors.new("user not found")
      return { string.find(e, "not found") ~= nil, string.upper(e), table.concat({ "x", e }, "/"), tostring(e) }`
    expect(runLua(source)).toEqual([true, 'USER NOT FOUND', 'x/user not found', 'user not found'])
  })

  test('error and pcall carry the object unchanged; assert raises it itself', () => {
    const source = `
      local e = errors.new("x")
      local _, a = pcall(error, e)
      local _, b = pcall(function() assert(nil, e) end)
      local _, c = pcall(function() error("text") end)
      return { a == e, b == e, type(c), c:find("text", 1, true) ~= nil }`
    expect(runLua(source)).toEqual([true, true, 'string', true])
  })

  test('two error objects are equal only if identical', () => {
    const source = 'local e = errors.new("x"); return { e == e, e == errors.new("x") }'
    expect(runLua(source)).toEqual([true, false])
  })

  test('their fields cannot be set, and their methods refuse other receivers', () => {
    expect(raised('(function() errors.new("x").kind = 1 end)()')).toEqual([true, expect.any(String)])
    expect(raised('errors.new("x").message("x")')).toEqual([
      true,
      expect.stringContaining("bad argument #1 to 'message' (Error expected, got string)"),
    ])
  })
})

describe('stacks (lua-core.md §12.3)', () => {
  test('stack begins with the message and says where the error was made', () => {
    const source = 'local e = errors.new("x")\nreturn { e:stack(), errors.new(""):stack() ~= "" }'
    expect(runLua(source)).toEqual(['x\n\ttest:main:1', true])
  })

  test('call_stack lists frames, and is nil without any', () => {
    const source = `
      local s = errors.call_stack(errors.new("x"))
      local f = s.frames[1]
      local _, made = require("time").load_location("")
      return { type(s.thread), #s.frames, f.level, f.source, f.line, f.type, type(f.name),
        errors.call_stack("x") == nil, errors.call_stack() == nil, errors.call_stack(made) == nil }`
    expect(runLua(source)).toEqual(['string', 1, 1, 'test:main', 2, 'Lua', 'string', true, true, true])
  })
})
