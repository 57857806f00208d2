// However many nodes want it, the migration runs once.

import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Cli } from '../../test/tools/cli.ts'

const app = join(import.meta.dirname, 'app.yaml')

let cli: Cli

beforeEach(() => {
  cli = new Cli()
})

afterEach(() => cli.close())

test('three nodes start, one migrates', async () => {
  const args = ['run', app, '--nodes', '3', '--log-format', 'pretty', '--set', `node.data_dir=${cli.dir}`]
  const cluster = cli.start(args)
  await cluster.until(/is there already[\s\S]*is there already/)
  expect(cluster.stderr.match(/migrating to version/g)).toHaveLength(2)
  expect(cluster.stderr.match(/migrated on/g)).toHaveLength(1)
  cluster.signal('SIGINT')
  expect((await cluster.exit()).code).toBe(130)
})
