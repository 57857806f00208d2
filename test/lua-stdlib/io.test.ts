import { describe, expect, test } from 'vitest'
import { ErrorValue } from '../../runtime/base/value.ts'
import { TestNode } from '../tools/lua.ts'

function onTerminal(source: string): TestNode {
  return new TestNode({ 'app:main': `local io = require("io") return function() ${source} end` })
}

const run = (node: TestNode): unknown => node.run('app:main', [], { host: 'app:term' })

describe('io.raw (lua-libraries.md §13)', () => {
  test('raw mode holds until every true has met its false', () => {
    const node = onTerminal(
      'return { select("#", io.raw()), io.raw(true), io.raw(false), io.raw(false), io.raw(false) }',
    )
    // Values in the middle of a list are cut to one; the last brings its nil.
    expect(run(node)).toEqual([2, true, true, true, true])
    expect(node.rawModes).toEqual([true, true, true, false, false])
    node.close()
  })

  test('it ends with the process', () => {
    const node = onTerminal('io.raw() io.raw() error("gone")')
    expect(() => run(node)).toThrow('gone')
    expect(node.rawModes).toEqual([true, true, false])
    node.close()
  })

  test('without a terminal it is Unavailable, and counts for nothing', () => {
    const node = onTerminal(
      'local v, e = io.raw() return { select("#", io.raw(true)), v == nil, e:kind(), e:message(), e:retryable() }',
    )
    node.rawError = new ErrorValue('Unavailable', 'raw terminal control unavailable', false)
    expect(run(node)).toEqual([2, true, 'Unavailable', 'raw terminal control unavailable', false])
    expect(node.rawModes).toEqual([true, true])
    node.close()
  })

  test('what it is given is a boolean', () => {
    const node = onTerminal('return select(2, pcall(io.raw, "yes"))')
    expect(run(node)).toContain("bad argument #1 to 'raw' (boolean expected, got string)")
    node.close()
  })
})

describe('a terminal host (lua-core.md §20)', () => {
  test('runs one process at a time, and says so', () => {
    const node = onTerminal(
      `local _, e = process.spawn("app:main", "app:term") return { e:kind(), e:message(), e:retryable() }`,
    )
    expect(run(node)).toEqual([
      'Unavailable',
      'terminal host app:term already runs a process, and runs one at a time',
      true,
    ])
    node.close()
  })
})
