import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Cli } from '../../test/tools/cli.ts'

const app = join(import.meta.dirname, 'app.yaml')
let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

test('every node sees who is on the others, and who is gone', { timeout: 120_000 }, async () => {
  const set = ['--set', `node.data_dir=${join(cli.dir, '.runtime')}`]
  const cluster = cli.start(['run', app, '--nodes', '3', '--log-format', 'pretty', ...set])
  const all = 'present: user of node-1, user of node-2, user of node-3'
  for (const name of ['node-1', 'node-2', 'node-3']) await cluster.until(new RegExp(`^${name} \\| .*${all}`, 'm'))
  const left = await cli.run(['cluster', 'leave', '--node', 'node-2'])
  expect(left.code).toBe(0)
  await cluster.until(/^node-1 \| .*present: user of node-1, user of node-3$/m)
  await cluster.until(/^node-3 \| .*present: user of node-1, user of node-3$/m)
  const { stdout } = await cli.run(['kv', 'list', 'sessions:store', 'session:', '--node', 'node-3'])
  expect(stdout).toContain('session:node-1')
  cluster.signal('SIGINT')
  await cluster.exit()
})
