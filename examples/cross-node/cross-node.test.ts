// One job on three nodes, also when one of them dies over it.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Cli, type Program } from '../../test/tools/cli.ts'

const app = join(import.meta.dirname, 'app.yaml')

let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

const start = (): Program =>
  cli.start(['run', app, '--nodes', '3', '--log-format', 'pretty', '--set', `node.data_dir=${cli.dir}`])

test('three nodes count together', async () => {
  const cluster = start()
  await cluster.until(/^node-1 .*6057 primes up to 60000, counted on node-1, node-2, node-3$/m)
  cluster.signal('SIGINT')
  expect((await cluster.exit()).code).toBe(130)
})

test('what a node did not finish, the others do', async () => {
  const cluster = start()
  await cluster.until('3 nodes are ready')
  process.kill(Number(readFileSync(join(cli.dir, 'node-3/pid'), 'utf8')), 'SIGKILL')
  await cluster.until(/^node-1 .*6057 primes up to 60000/m)
  cluster.signal('SIGINT')
  expect((await cluster.exit()).code).toBe(130)
})
