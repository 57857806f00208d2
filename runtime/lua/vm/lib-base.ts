// Global functions and coroutines.

import {
  functionArgument,
  type Natives,
  natives,
  positionArgument,
  tableArgument,
  toText,
  typeMismatch,
} from './library.ts'
import { type Machine, move, NESTING_MAX, PENDING } from './machine.ts'
import { digitOf, isNumber, isSpace, parseNumber, rawEqual, wrap } from './number.ts'
import { epoch, Table } from './table.ts'
import {
  type Continuation,
  Coroutine,
  LuaError,
  NATIVE,
  Native,
  PCALL,
  RESUMES,
  SUSPENDING,
  typeName,
  type Val,
  WRAPS,
  XPCALL,
  YIELDS,
} from './value.ts'

function anyArgument(m: Machine, count: number, index: number): void {
  if (index > count) throw m.argumentError(index, 'value expected')
}

/** Continues with what `next` gives for the key. */
function next(m: Machine, S: Val[], at: number, table: Table, key: Val): number {
  const from = table.position(key)
  if (from < 0) throw m.error("invalid key to 'next'")
  const position = table.nextPosition(from)
  if (position === 0) {
    S[at] = undefined
    return 1
  }
  S[at] = table.keyAt(position)
  S[at + 1] = table.valueAt(position)
  return 2
}

/** What natives do when what they called has returned; by name, so that a saved frame can say which. */
export const CONTINUATIONS = {
  ipairs(_m, S, at, count, i) {
    const found = count > 0 ? S[at] : undefined
    S[at] = found === undefined ? undefined : i
    S[at + 1] = found
    return found === undefined ? 1 : 2
  },
} satisfies Record<string, Continuation>

export const ipairsIterator = new Native('ipairs_iterator', (m, S, at, count) => {
  const t = S[at + 1]
  const i = positionArgument(m, S, at, count, 2) + 1
  let value: Val
  if (t instanceof Table) value = t.getNum(i)
  if (value === undefined && !(t instanceof Table && t.meta === undefined)) {
    const frame = m.pushFrame(NATIVE, at + 2)
    frame.goOn = CONTINUATIONS.ipairs
    frame.extra = i
    value = m.index(t, i)
    if (value === PENDING) return m.pending
    m.co.depth--
  }
  if (value === undefined) {
    S[at] = undefined
    return 1
  }
  S[at] = i
  S[at + 1] = value
  return 2
})

/** Each adds to the results of the one inside it. */
const PROTECTIONS_MAX = 5000

/** Calls what is behind the handler or `at`, below a frame that catches. @returns the number of results from there on, or how to go on */
function protectedCall(m: Machine, at: number, count: number): number {
  m.co.protections++
  if (m.co.protections > PROTECTIONS_MAX) throw m.error('C stack overflow')
  const results = m.callNow(at, count)
  if (results >= 0) m.co.protections--
  return results
}

export function baseLibrary(): Natives {
  const nextNative = new Native('next', (m, S, at, count) =>
    next(m, S, at, tableArgument(m, S, at, count, 1), S[at + 2]),
  )
  return {
    next: nextNative,
    ...natives('', {
      assert(m, S, at, count) {
        anyArgument(m, count, 1)
        const value = S[at + 1]
        if (value !== undefined && value !== false) {
          move(S, at + 1, at, count)
          return count
        }
        const text = count > 1 ? S[at + 2] : 'assertion failed!'
        return m.raiseLater(typeof text === 'string' ? m.error(text) : new LuaError(text))
      },
      error(m, S, at, count) {
        const level = positionArgument(m, S, at, count, 2, 1)
        const value = S[at + 1]
        return m.raiseLater(new LuaError(typeof value === 'string' && level > 0 ? m.where(level) + value : value))
      },
      getmetatable(m, S, at, count) {
        anyArgument(m, count, 1)
        const meta = m.metaOf(S[at + 1])
        const shown = meta?.getStr('__metatable')
        S[at] = shown === undefined ? meta : shown
        return 1
      },
      setmetatable(m, S, at, count) {
        const table = tableArgument(m, S, at, count, 1)
        const meta = S[at + 2]
        if (count < 2 || (meta !== undefined && !(meta instanceof Table))) {
          throw m.argumentError(2, 'nil or table expected')
        }
        if (table.meta?.getStr('__metatable') !== undefined) throw m.error('cannot change a protected metatable')
        if (table.frozen !== undefined) throw m.error(`cannot change ${table.frozen}`)
        table.meta = meta
        if (table.shape.watched !== undefined) epoch.value++
        S[at] = table
        return 1
      },
      ipairs(m, S, at, count) {
        anyArgument(m, count, 1)
        S[at] = ipairsIterator
        S[at + 2] = 0
        return 3
      },
      pairs(m, S, at, count) {
        anyArgument(m, count, 1)
        const value = S[at + 1]
        const handler = m.metaOf(value)?.getStr('__pairs')
        if (handler !== undefined) {
          const free = m.freeAt
          m.room(S, free, 4)
          S[free] = handler
          S[free + 1] = value
          const results = m.callSync(free, 1)
          for (let i = 0; i < 3; i++) S[at + i] = i < results ? S[m.resultAt + i] : undefined
          return 3
        }
        // What is no table fails when the loop begins.
        S[at] = nextNative
        S[at + 2] = undefined
        return 3
      },
      pcall(m, S, at, count) {
        anyArgument(m, count, 1)
        m.pushFrame(PCALL, at)
        const { co, js } = m
        const { depth } = co
        try {
          const results = protectedCall(m, at + 1, count - 1)
          if (results < 0) return m.raisedAt(results, co, depth)
          co.depth--
          S[at] = true
          return results + 1
        } catch (thrown) {
          // What called `pcall` may be a function in JavaScript, which the error must not leave.
          m.js = js
          return m.caughtAt(thrown, co, depth)
        }
      },
      xpcall(m, S, at, count) {
        const handler = functionArgument(m, S, at, count, 2)
        const frame = m.pushFrame(XPCALL, at)
        frame.extra = handler
        S[at + 2] = S[at + 1]
        const { js } = m
        try {
          const results = protectedCall(m, at + 2, count - 2)
          if (results < 0) return results
          m.co.depth--
          S[at] = true
          move(S, at + 2, at + 1, results)
          return results + 1
        } catch (thrown) {
          m.js = js
          return m.caught(thrown)
        }
      },
      rawequal(m, S, at, count) {
        anyArgument(m, count, 1)
        anyArgument(m, count, 2)
        S[at] = rawEqual(S[at + 1], S[at + 2])
        return 1
      },
      rawget(m, S, at, count) {
        const table = tableArgument(m, S, at, count, 1)
        anyArgument(m, count, 2)
        S[at] = table.get(S[at + 2])
        return 1
      },
      rawset(m, S, at, count) {
        const table = tableArgument(m, S, at, count, 1)
        anyArgument(m, count, 2)
        anyArgument(m, count, 3)
        m.rawSet(table, S[at + 2], S[at + 3])
        S[at] = table
        return 1
      },
      select(m, S, at, count) {
        if (S[at + 1] === '#') {
          S[at] = count - 1
          return 1
        }
        let index = positionArgument(m, S, at, count, 1)
        if (index < 0) index += count
        else if (index > count) index = count
        if (index < 1) throw m.argumentError(1, 'index out of range')
        move(S, at + 1 + index, at, count - index)
        return count - index
      },
      tonumber(m, S, at, count) {
        anyArgument(m, count, 1)
        const value = S[at + 1]
        if (count < 2 || S[at + 2] === undefined) {
          S[at] = typeof value === 'string' ? parseNumber(value) : isNumber(value) ? value : undefined
          return 1
        }
        const base = positionArgument(m, S, at, count, 2)
        if (typeof value !== 'string') throw typeMismatch(m, S, at, count, 1, 'string')
        if (base < 2 || base > 36) throw m.argumentError(2, 'base out of range')
        S[at] = inBase(value, base)
        return 1
      },
      tostring(m, S, at, count) {
        anyArgument(m, count, 1)
        S[at] = toText(m, S[at + 1])
        return 1
      },
      type(m, S, at, count) {
        anyArgument(m, count, 1)
        S[at] = typeName(S[at + 1])
        return 1
      },
    }),
  }
}

function inBase(text: string, base: number): Val {
  let start = 0
  let end = text.length
  while (start < end && isSpace(text.charCodeAt(start))) start++
  while (end > start && isSpace(text.charCodeAt(end - 1))) end--
  const sign = start < end ? text.charCodeAt(start) : 0
  const isNegative = sign === 45
  if (isNegative || sign === 43) start++
  if (start === end) return undefined
  let small = 0
  for (let i = start; i < end; i++) {
    const digit = digitOf(text.charCodeAt(i))
    if (digit >= base) return undefined
    small = small * base + digit
  }
  if (Number.isSafeInteger(small)) return isNegative ? 0 - small : small
  let value = 0n
  for (let i = start; i < end; i++) {
    value = BigInt.asUintN(64, value * BigInt(base) + BigInt(digitOf(text.charCodeAt(i))))
  }
  return wrap(isNegative ? -value : value)
}

// ---- coroutines

function threadArgument(m: Machine, S: Val[], at: number, count: number): Coroutine {
  const value = S[at + 1]
  if (count >= 1 && value instanceof Coroutine) return value
  throw typeMismatch(m, S, at, count, 1, 'thread')
}

function newCoroutine(m: Machine, body: Val): Coroutine {
  const co = new Coroutine()
  m.allocate(300)
  co.S[1] = body
  return co
}

/** @returns as native code does; a string says why it cannot be resumed */
function resume(
  m: Machine,
  S: Val[],
  first: number,
  count: number,
  co: Coroutine,
  isWrapped: boolean,
): number | string {
  if (co.isRoot) return 'cannot resume non-suspended coroutine'
  if (co.status !== 'suspended') {
    return co.status === 'dead' ? 'cannot resume dead coroutine' : 'cannot resume non-suspended coroutine'
  }
  const from = m.co
  if (from.nesting >= NESTING_MAX) throw m.error('C stack overflow')
  const isFresh = co.depth === 0
  const to = isFresh ? 2 : m.transferAt(co)
  m.room(co.S, to, count)
  for (let i = 0; i < count; i++) co.S[to + i] = S[first + i]
  m.goInto(co, isWrapped)
  m.nativeTop = 0
  try {
    if (!isFresh) return m.deliver(to, count)
    const results = m.callAt(1, count)
    return results < 0 ? results : m.deliver(1, results)
  } catch (error) {
    return m.caught(error, from)
  }
}

/**
 * As who runs sees it. The other coroutines of its process stand still, whatever they had begun: those that the process itself runs are
 * suspended, those that were resumed wait for a call inside.
 */
function statusOf(m: Machine, co: Coroutine): Coroutine['status'] {
  if (co.status !== 'running' && co.status !== 'normal') return co.status
  if (co === m.co) return 'running'
  if (!co.isRoot) return 'normal'
  let { resumer } = m.co
  while (resumer !== undefined && resumer !== co) resumer = resumer.resumer
  return resumer === co ? 'normal' : 'suspended'
}

/** What `coroutine.wrap` gives. */
export class Wrap extends Native {
  declare held: Coroutine
  constructor(body: Coroutine) {
    super('wrap', (m, S, at, count) => {
      const co = this.held
      const results = resume(m, S, at + 1, count, co, true)
      if (typeof results === 'number') return results
      throw m.error(results)
    })
    this.held = body
    this.role = WRAPS
  }
}

/** Where a callback of a library function runs; by the words of 5.3, which scripts may look for, and with the place besides. */
const acrossCall = (m: Machine): LuaError => m.error('attempt to yield across a C-call boundary')

export function coroutineLibrary(): Natives {
  const library = natives('coroutine.', {
    create(m, S, at, count) {
      S[at] = newCoroutine(m, functionArgument(m, S, at, count, 1))
      return 1
    },
    resume(m, S, at, count) {
      const co = threadArgument(m, S, at, count)
      const results = resume(m, S, at + 2, count - 1, co, false)
      if (typeof results === 'number') return results
      S[at] = false
      S[at + 1] = results
      return 2
    },
    wrap(m, S, at, count) {
      S[at] = new Wrap(newCoroutine(m, functionArgument(m, S, at, count, 1)))
      return 1
    },
    yield(m, S, at, count) {
      const { co } = m
      if (co.isRoot) {
        if (!m.canSuspend) throw acrossCall(m)
        m.outcome = 'yielded'
        return SUSPENDING
      }
      if (co.barriers > 0) throw acrossCall(m)
      const to = co.resumer as Coroutine
      co.status = 'suspended'
      m.leave(co, to)
      if (co === m.nested) return m.exit(co, S, at + 1, count)
      try {
        const top = m.transfer(S, at + 1, count, to, !co.isWrapped)
        return m.deliver(top, co.isWrapped ? count : count + 1)
      } catch (error) {
        // An error of who resumed it. What called `yield` may be a function in JavaScript, which lives on.
        return m.raiseLater(error)
      }
    },
    status(m, S, at, count) {
      S[at] = statusOf(m, threadArgument(m, S, at, count))
      return 1
    },
    running(m, S, at) {
      S[at] = m.co
      S[at + 1] = m.co.isMain
      return 2
    },
    isyieldable(m, S, at) {
      S[at] = m.co.isRoot ? m.canSuspend : m.co.barriers === 0
      return 1
    },
  })
  ;(library['resume'] as Native).role = RESUMES
  ;(library['yield'] as Native).role = YIELDS
  return library
}
