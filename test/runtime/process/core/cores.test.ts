// The cores of a host: links and monitors, local names, the fair order, how a process ends.

import { describe, expect, test } from 'vitest'
import { toBytes } from '../../../../runtime/base/bytes.ts'
import { ErrorValue } from '../../../../runtime/base/value.ts'
import { outcomeOfRaise, outcomeOfReturn } from '../../../../runtime/process/core/lifecycle.ts'
import { Links } from '../../../../runtime/process/core/links.ts'
import { Names, nameProblem } from '../../../../runtime/process/core/names.ts'
import { RunQueue } from '../../../../runtime/process/core/run-queue.ts'

describe('links and monitors (lua-core.md §8, §9.5)', () => {
  test('a monitor fires once, for any end', () => {
    const links = new Links()
    expect([links.monitor('w', 't'), links.monitor('w', 't')]).toEqual([true, false])
    expect(links.exited('t', false).notices).toEqual([{ kind: 'exit', to: 'w' }])
    expect(links.exited('t', true).notices).toEqual([])
  })

  test('a link is symmetric and fires on failure only', () => {
    const links = new Links()
    links.link('a', 'b')
    links.link('b', 'a')
    expect([links.isLinked('a', 'b'), links.isLinked('b', 'a')]).toEqual([true, true])
    expect(links.exited('b', false)).toEqual({ notices: [], unmonitor: [], unlink: ['a'] })
    links.link('a', 'b')
    expect(links.exited('a', true).notices).toEqual([{ kind: 'link-down', to: 'b' }])
    expect(links.isLinked('b', 'a')).toBe(false)
  })

  test('whoever monitors and links hears both, the exit first', () => {
    const links = new Links()
    links.link('w', 't')
    links.monitor('w', 't')
    expect(links.exited('t', true).notices.map((notice) => notice.kind)).toEqual(['exit', 'link-down'])
  })

  test('the end of a watcher takes its monitors with it', () => {
    const links = new Links()
    links.monitor('w', 't')
    expect(links.exited('w', true).unmonitor).toEqual(['t'])
    expect(links.exited('t', true).notices).toEqual([])
  })

  test('nobody is linked to itself', () => {
    const links = new Links()
    links.link('a', 'a')
    expect(links.exited('a', true).notices).toEqual([])
  })

  test('pairs with a lost end are given out and forgotten', () => {
    const links = new Links()
    links.monitor('w', 'lost')
    links.monitor('lost', 't')
    links.link('a', 'lost')
    const isLost = (pid: string): boolean => pid === 'lost'
    expect(links.takeLost(isLost)).toEqual([{ watcher: 'w', target: 'lost' }])
    expect(links.takeLostLinks(isLost)).toEqual([{ survivor: 'a', lost: 'lost' }])
    expect(links.takeLostWatchers(isLost)).toEqual([{ watcher: 'lost', target: 't' }])
    expect(links.takeLost(() => true)).toEqual([])
    expect(links.takeLostLinks(() => true)).toEqual([])
  })
})

describe('local names (lua-core.md §10)', () => {
  test('the first registration wins; the same one again is fine', () => {
    const names = new Names()
    expect([names.register('n', 'a'), names.register('n', 'a'), names.register('n', 'b')]).toEqual([true, true, false])
    expect(names.lookup('n')).toBe('a')
  })

  test('a process may hold many, and loses all at its end', () => {
    const names = new Names()
    names.register('x', 'a')
    names.register('y', 'a')
    names.register('z', 'b')
    expect(names.namesOf('a')).toEqual(['x', 'y'])
    expect(names.releaseAll('a')).toEqual(['x', 'y'])
    expect([names.lookup('x'), names.lookup('z'), names.count]).toEqual([undefined, 'b', 1])
    expect(names.releaseAll('a')).toEqual([])
  })

  test('binding over another holder takes the name from it', () => {
    const names = new Names()
    names.bind('n', 'a')
    names.bind('n', 'b')
    expect([names.lookup('n'), names.namesOf('a'), names.namesOf('b')]).toEqual(['b', [], ['n']])
    expect([names.release('n'), names.release('n')]).toEqual([true, false])
  })
})

describe('what can be a name (cluster.md §6.1)', () => {
  test.each(['x', 'x'.repeat(255), toBytes('größe'), 'with space', 'a:b', 'a{b', 'a@b'])('%j', (name) =>
    expect(nameProblem(name)).toBeUndefined(),
  )
  test.each([
    ['', '1 to 255 bytes'],
    ['x'.repeat(256), '1 to 255 bytes'],
    [toBytes('ü'.repeat(128)), '1 to 255 bytes'],
    ['{a|b}', 'cannot begin with {'],
    ['@pid/inbox', 'cannot begin with @'],
    ['\xff', 'UTF-8'],
    ['a\0b', 'control characters'],
    ['a\x7f', 'control characters'],
    [toBytes('a\u0085'), 'control characters'],
  ])('not %j', (name, text) => expect(nameProblem(name)).toContain(text))
})

describe('the run queue', () => {
  test('is first come, first served, each process once, those that start before all', () => {
    const queue = new RunQueue<{ id: string; isQueued: boolean }>()
    const [a, b, c] = ['a', 'b', 'c'].map((id) => ({ id, isQueued: false }))
    if (a === undefined || b === undefined || c === undefined) throw new Error('three')
    queue.ready(a)
    queue.ready(b)
    queue.ready(a)
    queue.starting(c)
    expect(queue.count).toBe(3)
    const order = [queue.next(), queue.next(), queue.next(), queue.next()].map((process) => process?.id)
    expect(order).toEqual(['c', 'a', 'b', undefined])
    queue.ready(a)
    expect(queue.next()?.id).toBe('a')
  })
})

describe('the end of a process (lua-core.md §6.3)', () => {
  const error = new ErrorValue('Conflict', 'taken', true)

  test('a second value that is a string or an error object is a failure', () => {
    expect(outcomeOfReturn(1, undefined)).toEqual({ ok: true, value: 1 })
    expect(outcomeOfReturn(1, 5)).toEqual({ ok: true, value: 1 })
    expect(outcomeOfReturn(error, undefined)).toEqual({ ok: true, value: error })
    expect(outcomeOfReturn(1, 'why')).toMatchObject({
      ok: false,
      error: { kind: 'Internal', message: 'why', retryable: false },
    })
    expect(outcomeOfReturn(1, error)).toEqual({ ok: false, error })
  })

  test('a raised error object keeps what it has; anything else is Internal, retryable unset', () => {
    expect(outcomeOfRaise(error, '', 'tb')).toMatchObject({ error: { kind: 'Conflict', retryable: true, stack: 'tb' } })
    expect(outcomeOfRaise(new ErrorValue('', 'x'), '', '')).toMatchObject({ error: { kind: 'Internal' } })
    expect(outcomeOfRaise('ignored', 'a:b:1: boom', 'tb')).toMatchObject({
      error: { kind: 'Internal', message: 'a:b:1: boom', retryable: undefined },
    })
  })
})
