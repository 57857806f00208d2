// The showcase: what `npm start` shows within its first seconds.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Cli, logRecords } from '../tools/cli.ts'

const app = join(import.meta.dirname, '../../examples/showcase/app.yaml')
const TIME_MS_MAX = 10_000
const LINES_A_SECOND_MAX = 3

let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

test('a trader crashes and comes back with its account, while everybody else goes on', async () => {
  const startedMs = performance.now()
  const program = cli.start(['run', app, '--log-format', 'json', '--set', `node.data_dir=${cli.dir}`])
  await program.until('the bank is open')
  await program.until(/iron \d+ \| anna \d+, ben \d+, carl \d+ \| \d+ trades/)
  await program.until('process failed: market:trader:14: attempt to divide by zero')
  await program.until(/service market:carl failed: .* it restarts in/)
  await program.until(/carl \d+ \(down\)/)
  await program.until(/carl trades bold[\s\S]*carl trades bold/)
  const tookMs = performance.now() - startedMs
  expect(tookMs).toBeLessThan(TIME_MS_MAX)

  program.signal('SIGINT')
  const { code, stderr } = await program.exit()
  expect(code).toBe(130)
  const records = logRecords(stderr)
  expect(records.length).toBeLessThan((tookMs / 1000) * LINES_A_SECOND_MAX)
  const failures = records.filter(({ level }) => level === 'error')
  expect(failures.map(({ entry }) => entry)).toEqual(['market:trader'])
})

test('on three nodes the markets hear of each other, and of the end of one', async () => {
  const args = ['run', app, '--nodes', '3', '--log-format', 'pretty', '--set', `node.data_dir=${cli.dir}`]
  const program = cli.start(args)
  await program.until('3 nodes are ready')
  for (const [node, others] of [
    ['node-1', 'node-2 \\d+, node-3 \\d+'],
    ['node-2', 'node-1 \\d+, node-3 \\d+'],
    ['node-3', 'node-1 \\d+, node-2 \\d+'],
  ]) {
    await program.until(new RegExp(`^${node} .*iron .* abroad: ${others}$`, 'm'))
  }
  const pid = Number(readFileSync(join(cli.dir, 'node-3/pid'), 'utf8'))
  process.kill(pid, 'SIGKILL')
  await program.until('node-3 | has ended by SIGKILL; the others go on')
  await program.until(/^node-1 .*no word from node-3 any more: node down: node-3/m)
  await program.until(/^node-2 .*no word from node-3 any more: node down: node-3/m)
  program.signal('SIGINT')
  expect((await program.exit()).code).toBe(130)
})

test('one node has the auctioneer, and another one when that is lost', async () => {
  const args = ['run', app, '--nodes', '3', '--log-format', 'pretty', '--set', `node.data_dir=${cli.dir}`]
  const program = cli.start(args)
  await program.until('rings the bell')
  const first = /is the auctioneer now, on (node-\d)/.exec(program.stdout + program.stderr)?.[1] ?? ''
  process.kill(Number(readFileSync(join(cli.dir, first, 'pid'), 'utf8')), 'SIGKILL')
  await program.until(new RegExp(`is the auctioneer now, on node-[^${first.at(-1)}]`))
  program.signal('SIGINT')
  expect((await program.exit()).code).toBe(130)
})
