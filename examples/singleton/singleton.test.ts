// One clock at a time; when its node dies another one goes on.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Cli } from '../../test/tools/cli.ts'

const app = join(import.meta.dirname, 'app.yaml')

let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

test('the clock outlives its node', async () => {
  const args = ['run', app, '--nodes', '3', '--log-format', 'pretty', '--set', `node.data_dir=${cli.dir}`]
  const cluster = cli.start(args)
  await cluster.until(/the clock is on node-\d/)
  await cluster.until(/tick 4 on/)
  const [, first] = /the clock is on (node-\d)/.exec(cluster.stderr) as unknown as [string, string]
  expect(cluster.stderr.match(/the clock is on/g)).toHaveLength(1)
  process.kill(Number(readFileSync(join(cli.dir, first, 'pid'), 'utf8')), 'SIGKILL')
  const others = ['node-1', 'node-2', 'node-3'].filter((name) => name !== first).join('|')
  await cluster.until(new RegExp(`the clock is on (${others})`))
  cluster.signal('SIGINT')
  expect((await cluster.exit()).code).toBe(130)
})
