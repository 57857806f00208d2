// The prompt of `attach`, typed at through streams that stand for a terminal.

import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { ConsoleOrder } from '../../../runtime/admin/attach.ts'
import { Output } from '../../../runtime/cli/output.ts'
import { Prompt } from '../../../runtime/cli/prompt.ts'
import type { ConsoleNews } from '../../../runtime/consoles.ts'
import { eventually } from '../../tools/eventually.ts'

const [TAB, ENTER, UP, CTRL_C, CTRL_D] = ['\t', '\r', '\u001b[A', '\u0003', '\u0004'] as const

/** A person, a terminal, and a node that answers as the test says. */
class Desk {
  readonly input = new PassThrough()
  readonly orders: ConsoleOrder[] = []
  readonly ended: Promise<number>
  shown = ''
  #tell: (news: ConsoleNews) => void = () => {}
  hangUp: () => void = () => {}

  constructor(historyFile: string) {
    const output = new PassThrough()
    output.setEncoding('utf8').on('data', (text: string) => {
      this.shown += text
    })
    const closed = new Promise<void>((resolve) => {
      this.hangUp = resolve
    })
    const client = {
      send: (order: ConsoleOrder) => void this.orders.push(order),
      onNews: (listener: (news: ConsoleNews) => void) => {
        this.#tell = listener
        this.tell({ kind: 'ready', pid: '{system:console|1}' })
      },
      closed,
    }
    const plain = new Output({ json: false, color: false, stdout: output, stderr: output })
    this.ended = new Prompt({
      client,
      output: plain,
      streams: { input: this.input, output },
      historyFile,
    }).run()
  }

  tell(news: ConsoleNews): void {
    this.#tell(news)
  }

  type(...keys: string[]): void {
    for (const key of keys) this.input.write(key)
  }

  /** Waits for an order, answers it, and forgets it. */
  async answer(order: ConsoleOrder, ...news: ConsoleNews[]): Promise<void> {
    await eventually(() => expect(this.orders[0]).toEqual(order))
    this.orders.shift()
    for (const each of news) this.tell(each)
  }

  shows(text: string): Promise<unknown> {
    return eventually(() => this.shown.includes(text), { what: `${text} in ${JSON.stringify(this.shown)}` })
  }
}

const done = (...values: string[]): ConsoleNews => ({ kind: 'done', values })

let dir = ''
let history = ''
const desks: Desk[] = []

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'mm-'))
  history = join(dir, 'state/attach_history')
})

afterEach(async () => {
  for (const desk of desks.splice(0)) {
    desk.hangUp()
    await desk.ended
  }
  rmSync(dir, { recursive: true, force: true })
})

async function sit(): Promise<Desk> {
  const desk = new Desk(history)
  desks.push(desk)
  await desk.shows('exit or Ctrl-D leaves')
  await desk.shows('> ')
  return desk
}

test('a line runs, its results are shown, and exit leaves', async () => {
  const desk = await sit()
  desk.type('1 + 1', ENTER)
  await desk.answer({ run: '1 + 1' }, { kind: 'print', text: 'tell\u001b[2Jtale' }, done('2'))
  await desk.shows('2\n')
  expect(desk.shown).toContain('tell[2Jtale\n')
  desk.type('exit', ENTER)
  expect(await desk.ended).toBe(0)
  expect(desk.orders).toEqual([])
})

test('a line that is not whole is continued; an error is shown with its traceback', async () => {
  const desk = await sit()
  desk.type('for i = 1, 2 do', ENTER)
  await desk.answer({ run: 'for i = 1, 2 do' }, { kind: 'syntax', message: '<eof>', isIncomplete: true })
  await desk.shows('>> ')
  desk.type('end', ENTER)
  await desk.answer({ run: 'for i = 1, 2 do\nend' }, { kind: 'error', message: 'boom', traceback: 'stack\n\tline' })
  await desk.shows('boom\n')
  await desk.shows('stack\n\tline\n')
  desk.type(CTRL_D)
  expect(await desk.ended).toBe(0)
})

test('the tab key completes the word before it', async () => {
  const desk = await sit()
  desk.type('return process.reg', TAB)
  await desk.answer({ complete: 'return process.reg' }, { kind: 'candidates', names: ['process.registry'] })
  await desk.shows('process.registry')
  desk.type(ENTER)
  await desk.answer({ run: 'return process.registry' }, done('table'))
})

test('what was typed is kept for the next time, for nobody else to read', async () => {
  const first = await sit()
  for (const line of ['a = 1', 'a = 2', 'a = 1']) {
    first.type(line, ENTER)
    await first.answer({ run: line }, done())
  }
  first.type(CTRL_D)
  await first.ended
  expect(readFileSync(history, 'utf8')).toBe('a = 2\na = 1\n')
  expect(statSync(history).mode & 0o777).toBe(0o600)
  const second = await sit()
  second.type(UP, UP, ENTER)
  await second.answer({ run: 'a = 2' }, done())
})

test('of a long history the newest thousand lines stay', async () => {
  const lines = Array.from({ length: 1500 }, (_, i) => `line ${i}`)
  history = join(dir, 'long')
  writeFileSync(history, `${lines.join('\n')}\n`)
  const desk = await sit()
  desk.type('last', ENTER)
  await desk.answer({ run: 'last' }, done())
  desk.type(CTRL_D)
  await desk.ended
  const kept = readFileSync(history, 'utf8').trim().split('\n')
  expect(kept).toEqual([...lines, 'last'].slice(-1000))
})

test('Ctrl-C ends what runs, clears what is typed, and leaves an empty prompt', async () => {
  const desk = await sit()
  desk.type('while true do end', ENTER)
  await desk.answer({ run: 'while true do end' })
  desk.type(CTRL_C)
  await desk.answer({ interrupt: true }, { kind: 'ready', pid: '{system:console|2}', lost: 'interrupted' })
  await desk.shows('interrupted; what was set is gone')
  desk.type('half a line', CTRL_C)
  desk.type('1', ENTER)
  await desk.answer({ run: '1' }, done('1'))
  desk.type(CTRL_C)
  expect(await desk.ended).toBe(130)
})

test('a node that hangs up, or has no room, ends it with exit code 1', async () => {
  const left = await sit()
  left.hangUp()
  expect(await left.ended).toBe(1)
  expect(left.shown).toContain('the node has closed the connection')
  const refused = await sit()
  refused.tell({ kind: 'over', why: '8 consoles are open' })
  expect(await refused.ended).toBe(1)
  expect(refused.shown).toContain('8 consoles are open')
})
