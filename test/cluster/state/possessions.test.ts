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
  for (const pid of ['a', 'b']) possessions.mayOwn(pid)
  for (const pid of ['a', 'x', 'b', 'a']) possessions.exited(pid)
  expect(submitted).toEqual([])
  await turn()
  await turn()
  expect(submitted).toEqual([{ kind: 'proc-down', pids: ['a', 'b'] }])
})

test('many are told in parts', async () => {
  for (let i = 0; i < 600; i++) {
    possessions.mayOwn(`p${i}`)
    possessions.exited(`p${i}`)
  }
  for (let i = 0; i < 5; i++) await turn()
  const sizes = submitted.map((command) => (command.kind === 'proc-down' ? command.pids.length : 0))
  expect(sizes).toEqual([256, 256, 88])
})

test('what there was no room for is told again', async () => {
  answer = () => Promise.reject(new MoonmeshError('LimitExceeded', 'too many'))
  possessions.mayOwn('a')
  possessions.exited('a')
  await turn()
  answer = async () => ({ status: 'ok', changed: true })
  await turn()
  expect(submitted).toHaveLength(2)
})

test('with the session all that it owned is gone', async () => {
  for (const pid of ['a', 'b']) possessions.mayOwn(pid)
  possessions.exited('a')
  tellSession({ kind: 'ended', session: 1 })
  possessions.exited('b')
  await turn()
  expect(submitted).toEqual([])
})

test('closed, nothing is told any more', async () => {
  possessions.mayOwn('a')
  possessions.exited('a')
  possessions.close()
  await turn()
  expect(submitted).toEqual([])
})
