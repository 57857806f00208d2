// Small processes that many tests spawn, and a node that is closed after each test.

import { afterEach } from 'vitest'
import type { Plain } from '../../runtime/base/plain.ts'
import type { ErrorValue } from '../../runtime/base/value.ts'
import { type TestEntry, TestNode } from './lua.ts'

export type Entries = Readonly<Record<string, string | TestEntry>>

const COMMON: Entries = {
  'app:echo': `return function()
    local inbox = process.inbox()
    while true do
      local m = inbox:receive()
      process.send(m:from(), m:topic(), m:payload() and m:payload():data())
    end
  end`,
  'app:idle': 'return function() channel.new():receive() end',
  'app:polite': 'return function() return process.events():receive().reason end',
  'app:ok': 'return function(...) return ... end',
  'app:boom': 'return function(text) error(text or "boom") end',
  'app:nilerr': 'return function(text) return nil, text end',
  'app:busy': 'return function() while true do end end',
}

/** A node that knows the common entries, and Lua run on it. */
interface ProcessLab {
  /** The node of the running test, once it was made. */
  readonly node: TestNode
  make(entries?: Entries): TestNode
  /** Runs `source` as the body of a process that receives `...`, on a node of its own. @throws ErrorValue when it fails */
  run(source: string, entries?: Entries, args?: readonly unknown[]): Plain
  /** The error that the body fails with. */
  failure(source: string, entries?: Entries): ErrorValue
}

export function processLab(): ProcessLab {
  let current: TestNode | undefined
  afterEach(() => {
    current?.close()
    current = undefined
  })
  const lab: ProcessLab = {
    get node() {
      if (current === undefined) throw new Error('make or run first')
      return current
    },
    make: (entries = {}) => {
      current?.close()
      current = new TestNode({ ...COMMON, ...entries })
      return current
    },
    run: (source, entries = {}, args = []) =>
      lab.make({ ...entries, 'app:main': `return function(...)\n${source}\nend` }).run('app:main', args),
    failure: (source, entries = {}) => {
      try {
        lab.run(source, entries)
      } catch (error) {
        return error as ErrorValue
      }
      throw new Error('did not fail')
    },
  }
  return lab
}
