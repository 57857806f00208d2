import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Cli } from '../../test/tools/cli.ts'

const app = join(import.meta.dirname, 'app.yaml')
let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

test('no addition of three nodes is lost', { timeout: 120_000 }, async () => {
  const set = ['--set', `node.data_dir=${join(cli.dir, '.runtime')}`]
  const cluster = cli.start(['run', app, '--nodes', '3', '--log-format', 'pretty', ...set])
  for (const name of ['node-1', 'node-2', 'node-3']) {
    await cluster.until(new RegExp(`^${name} \\| .*added 50 on ${name}`, 'm'))
    await cluster.until(new RegExp(`^${name} \\| .*all have finished: 150$`, 'm'))
  }
  const { stdout } = await cli.run(['kv', 'get', 'counter:store', 'counter:total', '--node', 'node-2'])
  expect(stdout).toBe('150\n')
  cluster.signal('SIGINT')
  await cluster.exit()
})
