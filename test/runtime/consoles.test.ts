// Lua prompts inside a node. The host runs inline here.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import type { Console, ConsoleNews } from '../../runtime/consoles.ts'
import { createNode, type EntryDefinition, type Node } from '../../runtime/index.ts'
import { eventually } from '../tools/eventually.ts'

let dataDir = ''
let node: Node

const HOST: EntryDefinition = {
  id: 't:host',
  kind: 'process.host',
  host: { workers: 0 },
  lifecycle: { auto_start: true },
}
const INTRUDER: EntryDefinition = {
  id: 't:intruder',
  kind: 'process.lua',
  method: 'main',
  source: `return { main = function()
    local _, err = process.spawn("t:intruder", "system:console")
    return tostring(err)
  end }`,
}

async function start(...settings: string[]): Promise<void> {
  dataDir = mkdtempSync(join(tmpdir(), 'moonmesh-console-'))
  const set = [`node.data_dir=${dataDir}`, 'node.name=t', ...settings]
  node = await createNode({ entries: [HOST, INTRUDER], set, log: false })
  await node.start()
}

afterEach(async () => {
  await node.stop({ force: true })
  rmSync(dataDir, { recursive: true, force: true })
})

/** A console, and what it says from one thing typed to its end. */
async function open(): Promise<{ console: Console; news: ConsoleNews[]; type(source: string): Promise<ConsoleNews> }> {
  const news: ConsoleNews[] = []
  const console = node.openConsole((each) => news.push(each))
  await eventually(() => expect(news[0]).toMatchObject({ kind: 'ready' }))
  const type = async (source: string): Promise<ConsoleNews> => {
    const from = news.length
    console.run(source)
    const isEnd = ({ kind }: ConsoleNews): boolean => kind === 'done' || kind === 'error' || kind === 'syntax'
    return (await eventually(() => news.slice(from).find(isEnd) ?? false)) as ConsoleNews
  }
  return { console, news, type }
}

const values = (...shown: string[]): ConsoleNews => ({ kind: 'done', values: shown })

test('expressions, chunks, globals that stay, values as people read them', async () => {
  await start()
  const { type, news } = await open()
  expect(await type('1 + 1')).toEqual(values('2'))
  expect(await type('return 1, nil, "a\\nb\\255"')).toEqual(values('1', 'nil', '"a\\nb\\255"'))
  expect(await type('x = 4; local y = 5')).toEqual(values())
  expect(await type('x, y, 10 / 4, 1e15, 1 / 0')).toEqual(values('4', 'nil', '2.5', '1000000000000000', 'inf'))
  expect(await type('{ 1, { a = true }, ["b c"] = {} }')).toEqual(
    values('{\n  1,\n  {\n    a = true\n  },\n  ["b c"] = {}\n}'),
  )
  expect(await type('local t = {}; t.t = t; return t, print, coroutine.create(print)')).toEqual(
    values('{\n  t = {…}\n}', '<function>', '<thread>'),
  )
  await type('print("a", 1)')
  expect(news).toContainEqual({ kind: 'print', text: 'a\t1' })
  expect(await type('for i = 1, 2 do')).toMatchObject({ kind: 'syntax', isIncomplete: true })
  expect(await type('1 +')).toMatchObject({ kind: 'syntax', isIncomplete: true })
  expect(await type('x = "a')).toMatchObject({ kind: 'syntax', isIncomplete: false })
  expect(await type('end')).toMatchObject({ kind: 'syntax', message: expect.stringContaining('input:1:') })
})

test('every module, calls that wait, and no policy in the way', async () => {
  await start('security.strict_mode=true')
  const { type } = await open()
  expect(await type('(system.node.id())')).toEqual(values('"t"'))
  expect(await type('require("registry").get("t:host").kind')).toEqual(values('"process.host"'))
  expect(await type('time.sleep("1ms") ; return "slept"')).toEqual(values('"slept"'))
  expect(await type('process.spawn("t:intruder", "t:host") ~= nil')).toEqual(values('true'))
})

test('an error shows where it was raised and does not end the prompt', async () => {
  await start()
  const { type } = await open()
  await type('function deep() error("no luck") end')
  const failed = await type('deep() x = 1')
  expect(failed).toMatchObject({
    kind: 'error',
    message: 'input:1: no luck',
    traceback: expect.stringContaining('deep'),
  })
  expect(await type('error({})')).toMatchObject({ kind: 'error', message: '{}' })
  expect(await type('1')).toEqual(values('1'))
})

test('names go on', async () => {
  await start()
  const { console, news, type } = await open()
  await type('shop = { till = 1, tilt = 2 }')
  const names = async (text: string): Promise<readonly string[]> => {
    const from = news.length
    console.complete(text)
    const found = (await eventually(
      () => news.slice(from).find(({ kind }) => kind === 'candidates') ?? false,
    )) as ConsoleNews
    return (found as ConsoleNews & { kind: 'candidates' }).names
  }
  expect(await names('return sho')).toEqual(['shop'])
  expect(await names('shop.til')).toEqual(['shop.till', 'shop.tilt'])
  expect(await names('process.registry.reg')).toEqual(['process.registry.register'])
  expect(await names('nothing.at.all')).toEqual([])
})

test('what does not end is ended, and the prompt goes on with nothing set', async () => {
  await start()
  const { console, news, type } = await open()
  await type('x = 1')
  console.run('while true do end')
  console.interrupt()
  await eventually(() => expect(news.at(-1)).toMatchObject({ kind: 'ready', lost: 'interrupted' }))
  expect(await type('x')).toEqual(values('nil'))
  await type('process.cancel(process.pid(), "1s")')
})

test('consoles are few, end when they are closed, and scripts cannot get at their host', async () => {
  await start()
  const consoles = await Promise.all(Array.from({ length: 8 }, () => open()))
  expect(() => node.openConsole(() => {})).toThrow('8 consoles are open')
  expect(await node.exec('t:intruder', { host: 't:host' })).toContain('runs consoles alone')
  for (const { console } of consoles) console.close()
  await eventually(async () =>
    expect((await node.processes()).filter(({ entry }) => entry === 'system:console')).toEqual([]),
  )
  const { type } = await open()
  expect(await type('"again"')).toEqual(values('"again"'))
})
