// Ends of processes reach the replicated state, in groups, and are told until they are known. cluster.md §6.2.

import { beforeEach, expect, test } from 'vitest'
import type { Command } from '../../../cluster/state/core/commands.ts'
import type { Outcome } from '../../../cluster/state/core/outcomes.ts'
import type { SessionEvent } from '../../../cluster/state/core/session.ts'
import { Possessions } from '../../../cluster/state/possessions.ts'
import { MoonmeshError } from '../../../runtime/base/errors.ts'

let timers: (() => void)[]
let submitted: Command[]
let answer: () => Promise<Outcome>
let tellSession: (event: SessionEvent) => void
let possessions: Possessions

beforeEach(() => {
  timers = []
  submitted = []
  answer = async () => ({ status: 'ok', changed: true })
  possessions = new Possessions(
    {
      after: (_, run) => {
        timers.push(run)
        return () => {
          timers = timers.filter((other) => other !== run)
        }
      },
    },
    {
      submit: (command) => {
        submitted.push(command)
        return answer()
      },
      onSession: (listener) => {
        tellSession = listener
        return () => {}
      },
    },
  )
})

async function turn(): Promise<void> {
  for (const run of timers.splice(0)) run()
  await new Promise((done) => setImmediate(done))
}

test('only of those that may own something, several together, once', async () => {
  for (const pid of ['a', 'b']) possessions.asks(pid).answered()
  for (const pid of ['a', 'x', 'b', 'a']) possessions.exited(pid)
  expect(submitted).toEqual([])
  await turn()
  await turn()
  expect(submitted).toEqual([{ kind: 'proc-down', pids: ['a', 'b'] }])
})

test('many are told in parts', async () => {
  for (let i = 0; i < 600; i++) {
    possessions.asks(`p${i}`).answered()
    possessions.exited(`p${i}`)
  }
  for (let i = 0; i < 5; i++) await turn()
  const sizes = submitted.map((command) => (command.kind === 'proc-down' ? command.pids.length : 0))
  expect(sizes).toEqual([256, 256, 88])
})

test('what there was no room for is told again', async () => {
  answer = () => Promise.reject(new MoonmeshError('LimitExceeded', 'too many'))
  possessions.asks('a').answered()
  possessions.exited('a')
  await turn()
  answer = async () => ({ status: 'ok', changed: true })
  await turn()
  expect(submitted).toHaveLength(2)
})

test('with the session all that it owned is gone', async () => {
  for (const pid of ['a', 'b']) possessions.asks(pid).answered()
  possessions.exited('a')
  tellSession({ kind: 'ended', session: 1 })
  possessions.exited('b')
  await turn()
  expect(submitted).toEqual([])
})

test('closed, nothing is told any more', async () => {
  possessions.asks('a').answered()
  possessions.exited('a')
  possessions.close()
  await turn()
  expect(submitted).toEqual([])
})

test('what is given after the end of its process is released again', async () => {
  const asking = possessions.asks('a')
  possessions.exited('a')
  await turn()
  expect([asking.hasEnded, possessions.isEnded('a')]).toEqual([true, false])
  asking.answered()
  expect(possessions.isEnded('a')).toBe(true)
  await turn()
  expect(submitted).toHaveLength(2)
  expect([asking.hasEnded, possessions.endedCount]).toEqual([false, 0])
})

test('what was asked for in one session may be given in the next', async () => {
  const asking = [possessions.asks('a'), possessions.asks('b')]
  tellSession({ kind: 'ended', session: 1 })
  possessions.exited('b')
  for (const { answered } of asking) answered()
  possessions.exited('a')
  await turn()
  expect(submitted).toEqual([{ kind: 'proc-down', pids: ['b', 'a'] }])
})

test('nothing is kept of ends that an ended session made needless', () => {
  possessions.asks('a').answered()
  possessions.exited('a')
  tellSession({ kind: 'ended', session: 1 })
  expect(possessions.endedCount).toBe(0)
})
